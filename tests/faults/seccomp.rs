//! A filter forbids `membarrier(2)`, from the start or later. Each case runs in its own process,
//! this binary again, because a process chooses its barrier once.

use super::{alone, balanced, eventually};
use repool::Pool;
use std::process::Command;
use std::sync::{OnceLock, mpsc};
use std::thread::spawn;
use std::time::{Duration, Instant};

/// Makes `membarrier` fail with EPERM, in all threads of this process.
fn forbid() {
    // Offsets in `seccomp_data`: the number of the call, the architecture.
    const NUMBER: u32 = 0;
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let answer = (libc::BPF_RET | libc::BPF_K) as u16;
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let step = |code, k, jt| libc::sock_filter { code, jt, jf: 0, k };
    let mut steps = [
        step(load, NUMBER, 0),
        step(equal, libc::SYS_membarrier as u32, 1),
        step(answer, libc::SECCOMP_RET_ALLOW, 0),
        step(answer, refuse, 0),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: takes integers.
    let failed = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(failed, 0);
    // SAFETY: the program and its steps are valid, and only read.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: takes integers.
    let refused = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    assert_eq!(refused, -1, "it is forbidden");
}

/// Runs the calling test again in its own process; returns whether this is that process.
fn is_inside(test: &str) -> bool {
    const INSIDE: &str = "REPOOL_SECCOMP_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let _turn = alone();
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{wrong}"
    );
    false
}

/// The pool of this process.
fn static_pool() -> &'static Pool<Vec<u8>> {
    static POOL: OnceLock<Pool<Vec<u8>>> = OnceLock::new();
    POOL.get_or_init(|| {
        Pool::builder(|| Vec::with_capacity(100))
            .trim_manually()
            .build()
    })
}

/// Gets, drops, and lets visitors of all kinds look.
fn use_it(pool: &Pool<Vec<u8>>) {
    for _ in 0..50 {
        let mut held: Vec<_> = (0..90).map(|_| pool.get()).collect();
        for buf in &mut held {
            assert!(buf.is_empty());
            buf.push(1);
        }
        drop(held);
        balanced(&pool.stats());
    }
}

#[test]
fn a_filter_that_forbids_the_barrier_from_the_start_changes_nothing_but_the_price() {
    if !is_inside(
        "seccomp::a_filter_that_forbids_the_barrier_from_the_start_changes_nothing_but_the_price",
    ) {
        return;
    }
    forbid();
    let pool = static_pool();
    use_it(pool);
    let threads: Vec<_> = (0..4).map(|_| spawn(|| use_it(pool))).collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    let stats = pool.stats();
    balanced(&stats);
    assert!(stats.idle > 0, "{stats:?}");
    // Nothing is in a cache, so every visitor reaches everything.
    assert_eq!(pool.clear().objects, stats.idle);
    // And so does the janitor.
    let watched: Pool<Vec<u8>> = Pool::builder(Vec::new)
        .trim_every(Duration::from_millis(5))
        .build();
    drop(watched.get());
    eventually("trimmed", || watched.stats().idle == 0);
}

#[test]
fn a_filter_that_forbids_the_barrier_later_leaves_caches_to_their_owners() {
    if !is_inside("seccomp::a_filter_that_forbids_the_barrier_later_leaves_caches_to_their_owners")
    {
        return;
    }
    let pool = static_pool();
    let (go_on, wait) = mpsc::channel::<()>();
    let (ready, all_ready) = mpsc::channel();
    let other = spawn(move || {
        drop((0..30).map(|_| pool.get()).collect::<Vec<_>>());
        ready.send(()).expect("received below");
        let _ = wait.recv();
        use_it(pool);
    });
    all_ready.recv().expect("it is there");
    use_it(pool);
    forbid();
    // Hits and returns go on, and no visitor waits long for what it cannot reach.
    let start = Instant::now();
    use_it(pool);
    let before = pool.stats().idle;
    let cleared = pool.clear().objects;
    for _ in 0..3 {
        let _ = pool.trim();
    }
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    let stats = pool.stats();
    balanced(&stats);
    assert_eq!(stats.in_use, 0, "{stats:?}");
    assert!(cleared <= before);
    // `clear` has left a request at both caches: their owners empty them at their next slow
    // operation.
    assert!(stats.idle >= 30, "{stats:?}");
    drop(pool.get());
    let emptied = pool.stats();
    assert!(
        emptied.trimmed > stats.trimmed && emptied.idle < stats.idle,
        "{emptied:?}"
    );
    let _ = go_on.send(());
    other.join().expect("no panic");
    use_it(pool);
    balanced(&pool.stats());
    // A dropped pool frees everything, if only through the owners.
    struct Counted(&'static std::sync::atomic::AtomicI64);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
    static ALIVE: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    let owner = spawn(|| {
        let counted = Pool::builder(|| {
            ALIVE.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Counted(&ALIVE)
        })
        .reset(|_| true)
        .build();
        drop((0..40).map(|_| counted.get()).collect::<Vec<_>>());
        let late = counted.get();
        drop(counted);
        drop(late);
    });
    owner.join().expect("no panic");
    eventually("all objects of the pool that went are dropped", || {
        ALIVE.load(std::sync::atomic::Ordering::SeqCst) == 0
    });
}
