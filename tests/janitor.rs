//! The background thread, seen from outside: when it exists, what it does, what it costs.
//!
//! A separate binary, because the claims are about the whole process. Tests run one at a time.
#![cfg(all(target_os = "linux", not(miri)))]

use repool::{Budget, Level, Pool, Pressure, janitor_stats};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

#[path = "janitor/process.rs"]
mod process;

static TURN: Mutex<()> = Mutex::new(());
const FAST: Duration = Duration::from_millis(20);

fn alone() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    eventually("the janitor of the last test is gone", || {
        janitor_threads() == 0
    });
    turn
}

/// Waits for another thread to do something; fails after ten seconds.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn tasks() -> impl Iterator<Item = std::path::PathBuf> {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|task| task.unwrap().path())
}

fn is_janitor(task: &std::path::Path) -> bool {
    std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "repool-janitor")
}

fn janitor_threads() -> usize {
    tasks().filter(|task| is_janitor(task)).count()
}

/// Returns how often the kernel has switched the janitor's thread in or out.
fn switches() -> u64 {
    let task = tasks().find(|task| is_janitor(task)).expect("a janitor");
    let status = std::fs::read_to_string(task.join("status")).unwrap();
    let count = |line: &str| {
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    status
        .lines()
        .filter(|line| line.contains("ctxt_switches"))
        .map(count)
        .sum()
}

fn pool() -> Pool<Vec<u8>> {
    Pool::builder(|| Vec::with_capacity(1000))
        .trim_every(FAST)
        .build()
}

/// A pool costs no thread before its first object is idle; there is none after the last pool.
#[test]
fn it_starts_with_the_first_idle_object_and_ends_with_the_last_pool() {
    let _turn = alone();
    let (first, second) = (pool(), pool());
    let held = first.get();
    assert_eq!(
        janitor_threads(),
        0,
        "creating a pool, and using it, is no reason"
    );
    drop(held);
    eventually("it starts", || janitor_threads() == 1);
    drop(second.get());
    assert_eq!(janitor_stats().pools, 2);
    drop(first);
    assert_eq!(janitor_threads(), 1);
    drop(second);
    eventually("it ends", || janitor_threads() == 0);
    assert!(!janitor_stats().running);
}

/// A pool that becomes watched wakes the janitor only if its pass is due before the janitor wakes up
/// by itself.
#[test]
fn short_lived_pools_do_not_wake_it_each_time() {
    const POOLS: u32 = 2000;
    let _turn = alone();
    let watched = pool();
    drop(watched.get());
    eventually("it starts", || janitor_threads() == 1);
    let (before, start) = (janitor_stats().wake_ups, Instant::now());
    for _ in 0..POOLS {
        drop(pool().get());
    }
    let wake_ups = janitor_stats().wake_ups - before;
    let passes = start.elapsed().as_millis() / FAST.as_millis();
    // One for the pass over `watched` in each interval, and a few for what other tests have left.
    assert!(
        u128::from(wake_ups) <= 2 * passes + 10,
        "{wake_ups} for {POOLS} pools in {passes} intervals"
    );
}

/// The janitor does not touch pools with `trim_manually`.
#[test]
fn manual_pools_have_no_janitor() {
    let _turn = alone();
    let pool = Pool::builder(Vec::<u8>::new).trim_manually().build();
    drop(pool.get());
    assert_eq!(janitor_stats().pools, 0);
    assert_eq!(janitor_threads(), 0);
}

/// The janitor empties parked threads' caches on its own, and then nothing wakes up any more.
#[test]
fn parked_threads_are_emptied_and_then_nothing_wakes_up() {
    let _turn = alone();
    let pool = std::sync::Arc::new(pool());
    let mut parked = Vec::new();
    for _ in 0..4 {
        let (tell, told) = mpsc::channel();
        let (release, wait) = mpsc::channel::<()>();
        let pool = pool.clone();
        let thread = thread::spawn(move || {
            let all: Vec<_> = (0..50).map(|_| pool.get()).collect();
            drop(all);
            tell.send(()).unwrap();
            let _ = wait.recv();
        });
        told.recv().unwrap();
        parked.push((thread, release));
    }
    eventually("idle memory is back", || pool.stats().idle == 0);
    // Two quiet passes later the janitor leaves the pool alone.
    thread::sleep(5 * FAST);
    let (before, counted) = (janitor_stats(), switches());
    thread::sleep(20 * FAST);
    let after = janitor_stats();
    assert_eq!(
        (after.wake_ups, after.passes),
        (before.wake_ups, before.passes)
    );
    assert_eq!(switches(), counted, "the kernel's count says the same");
    // And it comes back when something is idle again, even after a return by the hit path.
    drop(pool.get());
    eventually("the next one goes as well", || pool.stats().idle == 0);
    for (thread, release) in parked {
        drop(release);
        thread.join().unwrap();
    }
}

/// An object that was in use while the pool became quiescent returns by the hit path; a pass finds
/// it.
#[test]
fn an_object_that_comes_back_to_a_quiet_pool_is_trimmed() {
    let _turn = alone();
    let pool = pool();
    for _ in 0..5 {
        let held = pool.get();
        drop(pool.get());
        thread::sleep(8 * FAST);
        drop(held);
        eventually("everything goes", || pool.stats().idle == 0);
    }
}

/// A destructor that panics, and one that takes long.
#[test]
fn it_survives_destructors() {
    struct Bad(bool);
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    impl Drop for Bad {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, SeqCst);
            if self.0 {
                thread::sleep(10 * FAST);
            } else {
                panic!("on purpose");
            }
        }
    }
    let _turn = alone();
    let pools = [false, true].map(|slow| {
        Pool::builder(move || Bad(slow))
            .reset(|_| true)
            .trim_every(FAST)
            .build()
    });
    let all: Vec<_> = pools
        .iter()
        .flat_map(|pool| [pool.get(), pool.get()])
        .collect();
    drop(all);
    // Get and drop go on meanwhile.
    let other = pool();
    let start = Instant::now();
    while DROPPED.load(SeqCst) < 4 {
        drop(other.get());
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the janitor died"
        );
    }
    drop(other.get());
    eventually("passes go on", || other.stats().idle == 0);
}

/// Pools that come and go leave nothing in the janitor's watch list.
#[test]
fn pools_by_the_thousand_leave_nothing_behind() {
    let _turn = alone();
    let keeper = pool();
    drop(keeper.get());
    for _ in 0..2_000 {
        let pool = pool();
        drop(pool.get());
    }
    eventually("only one is left", || janitor_stats().pools == 1);
    eventually("one thread, once it has its name", || {
        janitor_threads() == 1
    });
}

/// At critical pressure everything idle is dropped at once; at elevated pressure passes run more
/// often.
#[test]
fn pressure_empties_at_once() {
    let _turn = alone();
    let pressure = Pressure::manual();
    pressure.install();
    let pool = Pool::builder(|| vec![0u8; 1000])
        .trim_every(Duration::from_secs(3600))
        .build();
    let all: Vec<_> = (0..100).map(|_| pool.get()).collect();
    drop(all);
    assert_eq!(pool.stats().idle, 100);
    pressure.set(Level::Critical);
    eventually("an hour is not waited for", || pool.stats().idle == 0);
    pressure.set(Level::Normal);
    Pressure::system().install();
}

// ---------------------------------------------------------------- the hook

/// What [`repool::on_trimmed`] was called with: calls, objects, bytes.
static TOLD: Mutex<(u64, u64, u64)> = Mutex::new((0, 0, 0));

fn told() -> (u64, u64, u64) {
    *TOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts counting, until another hook is installed.
fn count_calls() {
    *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = (0, 0, 0);
    repool::on_trimmed(|trimmed| {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        *told = (told.0 + 1, told.1 + trimmed.objects, told.2 + trimmed.bytes);
    });
}

#[test]
fn a_hook_is_told_once_for_a_round_of_passes() {
    let _turn = alone();
    count_calls();
    let pools: Vec<_> = (0..10).map(|_| pool()).collect();
    for pool in &pools {
        drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
    }
    eventually("all pools are empty", || {
        pools.iter().all(|pool| pool.stats().idle == 0)
    });
    eventually("the hook was told of all", || told().1 == 100);
    let (calls, _, bytes) = told();
    assert!(calls < 10, "{calls} calls for ten pools that tick together");
    assert!(bytes >= 100 * 1000, "{bytes} bytes");
    // Quiescent pools, and passes that drop nothing, do not call the hook.
    thread::sleep(5 * FAST);
    for pool in &pools {
        let _ = pool.trim();
    }
    assert_eq!(told().0, calls);
    repool::on_trimmed(|_| ());
}

#[test]
fn a_hook_is_told_of_a_pass_that_the_program_runs() {
    let _turn = alone();
    count_calls();
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(1000))
        .trim_manually()
        .build();
    drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
    let trimmed: u64 = (0..4).map(|_| pool.trim().objects).sum();
    assert_eq!((trimmed, told().1), (10, 10));
    drop(pool.get());
    let _ = pool.clear();
    assert_eq!(told().1, 10, "`clear` is no pass");
    repool::on_trimmed(|_| ());
    drop(pool.get());
    let _ = pool.trim_under(Level::Critical);
    assert_eq!(told().1, 10, "replaced");
}

#[test]
fn a_hook_may_use_pools_and_panic() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let _turn = alone();
    let pool = std::sync::Arc::new(pool());
    let used = std::sync::Arc::downgrade(&pool);
    repool::on_trimmed(move |_| {
        if let Some(pool) = used.upgrade() {
            drop((0..40).map(|_| pool.get()).collect::<Vec<_>>());
            // Drops something without a call of the hook.
            let _ = (pool.trim_under(Level::Critical), pool.stats());
        }
        // Last: what the test returns after this is not dropped by the pass above.
        CALLS.fetch_add(1, SeqCst);
        panic!("on purpose");
    });
    for round in 1..=3 {
        drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
        eventually("told", || CALLS.load(SeqCst) >= round);
    }
    eventually("the janitor goes on", || pool.stats().idle == 0);
    // On this thread as well.
    let before = CALLS.load(SeqCst);
    drop(pool.get());
    let trimmed = pool.trim_under(Level::Critical);
    assert!(trimmed.objects == 0 || CALLS.load(SeqCst) > before);
    repool::on_trimmed(|_| ());
}

/// A budget gets back what was spent.
#[test]
fn an_idle_budget_is_unspent() {
    let _turn = alone();
    let budget = Budget::new(1 << 20);
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(1000))
        .budget(budget.clone())
        .trim_every(FAST)
        .build();
    let all: Vec<_> = (0..100).map(|_| pool.get()).collect();
    drop(all);
    assert!(budget.used() >= 100_000);
    eventually("nothing is charged for", || budget.used() == 0);
    assert_eq!(pool.stats().idle, 0);
}

/// Runs `check` in a forked child, which has one thread: the calling one. The exit code of the
/// child is 0 if `check` returns `true`; a signal that kills it is detected as well.
fn in_child(check: impl FnOnce() -> bool) -> libc::c_int {
    // SAFETY: the child uses only pools, the allocator, threads and the file system, and leaves
    // through `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // In case it hangs.
        // SAFETY: a plain system call.
        unsafe { libc::alarm(20) };
        let ok = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).unwrap_or(false);
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(!ok)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child above.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    status
}

/// A forked child has no janitor, and starts its own.
#[test]
fn a_forked_child_starts_its_own() {
    let _turn = alone();
    let pool = pool();
    drop(pool.get());
    eventually("it runs", || janitor_threads() == 1);
    let status = in_child(|| {
        let all: Vec<_> = (0..100).map(|_| pool.get()).collect();
        drop(all);
        eventually("trimmed", || pool.stats().idle == 0);
        janitor_threads() == 1
    });
    assert_eq!(status, 0, "the child's objects are trimmed");
}

/// The same for a child that finds everything in its cache: none of its operations takes the slow
/// path.
#[test]
fn a_forked_child_that_only_has_hits_is_trimmed() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Counted {
        fn new() -> Self {
            ALIVE.fetch_add(1, SeqCst);
            Self
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, SeqCst);
        }
    }
    let _turn = alone();
    let pools = [(); 3].map(|()| {
        Pool::builder(Counted::new)
            .reset(|_| true)
            .trim_every(Duration::from_millis(200))
            .build()
    });
    let touch = || {
        for pool in &pools {
            let held: Vec<_> = (0..5).map(|_| pool.get()).collect();
            drop(held);
        }
    };
    touch();
    touch();
    let status = in_child(|| {
        let created = pools.iter().map(|pool| pool.stats().created).sum::<u64>();
        touch();
        let again = pools.iter().map(|pool| pool.stats().created).sum::<u64>();
        assert_eq!(created, again, "only hits");
        eventually("trimmed", || ALIVE.load(SeqCst) == 0);
        true
    });
    assert_eq!(status, 0);
    // A grandchild as well, whose parent has a janitor.
    touch();
    let status = in_child(|| {
        touch();
        eventually("trimmed", || ALIVE.load(SeqCst) == 0);
        touch();
        in_child(|| {
            touch();
            eventually("trimmed", || ALIVE.load(SeqCst) == 0);
            true
        }) == 0
    });
    assert_eq!(status, 0);
}

/// A child that the C library has not created, so that no fork handler has run, is still detected
/// as a new process. (The kernel wipes a page for that: Linux 4.14.)
#[test]
fn a_child_by_the_bare_system_call_is_trimmed() {
    let _turn = alone();
    let pool = pool();
    // More than a cache holds, and what fits into one.
    for objects in [100, 100, 5, 5] {
        let fill = || drop((0..objects).map(|_| pool.get()).collect::<Vec<_>>());
        fill();
        eventually("quiet", || pool.stats().idle == 0);
        thread::sleep(5 * FAST);
        fill();
        thread::sleep(FAST / 4); // the janitor has been woken, and sleeps again
        let (flags, none) = (libc::SIGCHLD as libc::c_long, 0 as libc::c_long);
        // SAFETY: a copy of this process with the calling thread only, as by `fork`. The other
        // threads of this test sleep, so none is inside the allocator; the child leaves through
        // `_exit`.
        let child = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
        let child = child as libc::pid_t;
        if child == 0 {
            // SAFETY: a plain system call.
            unsafe { libc::alarm(20) };
            let ok = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                assert!(!janitor_stats().running, "the parent's");
                fill();
                eventually("trimmed", || pool.stats().idle == 0);
                janitor_threads() == 1
            }));
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!ok.unwrap_or(false))) };
        }
        let mut status = 0;
        // SAFETY: waits for the child above.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0, "the child's objects are trimmed");
    }
}

/// A process that was stopped for many intervals runs one pass when it continues, not one for each
/// missed interval.
#[test]
fn a_stopped_process_does_not_make_up_for_missed_passes() {
    const MISSED: u32 = 50;
    let _turn = alone();
    // SAFETY: the child uses only pools, the allocator, threads and the file system, and leaves
    // through `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: a plain system call.
        unsafe { libc::alarm(30) };
        let pool = pool();
        let mut last = (Instant::now(), janitor_stats().passes);
        let deadline = last.0 + Duration::from_secs(20);
        let extra = loop {
            drop((0..100).map(|_| pool.get()).collect::<Vec<_>>());
            thread::sleep(Duration::from_millis(1));
            let now = (Instant::now(), janitor_stats().passes);
            if now.0 - last.0 > MISSED / 2 * FAST {
                // It continues: counts what comes within two and a half intervals.
                thread::sleep(FAST * 5 / 2);
                break janitor_stats().passes - last.1;
            }
            if now.0 > deadline {
                break 200; // never stopped
            }
            last = now;
        };
        // SAFETY: ends the child.
        unsafe { libc::_exit(extra as i32) };
    }
    thread::sleep(10 * FAST);
    // SAFETY: our own child.
    unsafe { libc::kill(child, libc::SIGSTOP) };
    thread::sleep(MISSED * FAST);
    // SAFETY: as above.
    unsafe { libc::kill(child, libc::SIGCONT) };
    let mut status = 0;
    // SAFETY: waits for the child above.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert!(libc::WIFEXITED(status), "{status}");
    let passes = libc::WEXITSTATUS(status);
    assert!((1..=5).contains(&passes), "{passes} passes");
}

/// Many pools, many caches: one pass over all of them is short.
#[test]
fn a_pass_over_a_thousand_pools_with_a_hundred_caches_is_short() {
    let _turn = alone();
    let pools: std::sync::Arc<Vec<Pool<Vec<u8>>>> = std::sync::Arc::new(
        (0..1000)
            .map(|_| Pool::builder(Vec::new).trim_manually().build())
            .collect(),
    );
    let (release, wait) = mpsc::channel::<()>();
    let wait = std::sync::Arc::new(Mutex::new(wait));
    let ready = std::sync::Arc::new(std::sync::Barrier::new(101));
    let threads: Vec<_> = (0..100)
        .map(|_| {
            let (pools, ready, wait) = (pools.clone(), ready.clone(), wait.clone());
            thread::spawn(move || {
                for pool in pools.iter() {
                    drop(pool.get());
                }
                ready.wait();
                let _ = wait.lock().unwrap().recv();
            })
        })
        .collect();
    ready.wait();
    let mut passes = Vec::new();
    for _ in 0..4 {
        let start = Instant::now();
        for pool in pools.iter() {
            let _ = pool.trim();
        }
        passes.push(start.elapsed());
    }
    println!("passes over 100,000 caches: {passes:?}");
    // The claim is 50 ms, measured by `pass_cost` in benches/ on an idle machine. Here, beside
    // other tests and whatever else the machine does, only the order of magnitude can be tested.
    let limit = if cfg!(debug_assertions) { 2_000 } else { 250 };
    passes.sort();
    assert!(passes[1] < Duration::from_millis(limit), "{passes:?}");
    drop(release);
    for thread in threads {
        thread.join().unwrap();
    }
}
