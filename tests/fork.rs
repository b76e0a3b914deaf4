//! `fork` in a process whose other threads are working with the pool: they hold its locks and flags
//! at that moment, and in the child these are never released.
#![cfg(all(unix, not(miri)))]

#[path = "support/scale.rs"]
mod scale;

use repool::Pool;
use scale::n;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::thread::spawn;
use std::time::{Duration, Instant};

/// Runs `f` in a forked child, and returns the time that took. The child must end within a
/// tolerable time: each wait inside is bounded, by about one second at most.
fn in_child(f: impl FnOnce()) -> Duration {
    let started = Instant::now();
    // SAFETY: the child calls only what this test is about (pools, and the allocator, which the C
    // library makes safe across a fork), and leaves through `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no fork");
    if child == 0 {
        let ended = catch_unwind(AssertUnwindSafe(f));
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    PHASE.store(PAUSE, SeqCst);
    loop {
        let mut status = 0;
        // SAFETY: our own child; `status` is valid.
        let waited = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
        if waited == child {
            assert!(
                libc::WIFEXITED(status),
                "the child was killed: status {status}"
            );
            assert_eq!(libc::WEXITSTATUS(status), 0, "the child panicked");
            return started.elapsed();
        }
        if started.elapsed() > Duration::from_secs(60) {
            // SAFETY: our own child, which still exists.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child hangs");
        }
        std::thread::sleep(Duration::from_millis(1)); // polls; nothing is synchronised by it
    }
}

/// One test at a time; and what the hammering threads have to do.
static ALONE: Mutex<()> = Mutex::new(());
static PHASE: AtomicU8 = AtomicU8::new(HAMMER);
const HAMMER: u8 = 0;
const PAUSE: u8 = 1;
const END: u8 = 2;

/// Forks while three threads hammer the pool, one of them with visits. They pause while the child
/// runs, so that they do not take its time.
fn forks(times: usize, child: impl Fn(*mut Pool<Vec<u8>>)) -> Vec<Duration> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    PHASE.store(HAMMER, SeqCst);
    // The child must be able to drop a pool that the parent's threads are using.
    let pool = Box::into_raw(Box::new(Pool::<Vec<u8>>::builder(|| vec![0; 100]).build()));
    // SAFETY: from a box, and freed at the end, when the threads have ended.
    let shared: &'static Pool<Vec<u8>> = unsafe { &*pool };
    let threads: Vec<_> = (0..3)
        .map(|me| {
            spawn(move || {
                loop {
                    match PHASE.load(SeqCst) {
                        HAMMER => drop((0..100).map(|_| shared.get()).collect::<Vec<_>>()),
                        PAUSE => std::thread::sleep(Duration::from_millis(1)),
                        _ => break,
                    }
                    if me == 0 {
                        let _ = (shared.trim(), shared.stats(), shared.clear());
                    }
                }
            })
        })
        .collect();
    let mut random = 12_345_u64;
    let took = (0..times).map(|_| {
        PHASE.store(HAMMER, SeqCst);
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // Not synchronisation: any moment will do, the more varied the better.
        std::thread::sleep(Duration::from_micros(500 + (random >> 40) % 3_000));
        in_child(|| child(pool))
    });
    let took = took.collect();
    PHASE.store(END, SeqCst);
    for thread in threads {
        thread.join().expect("no panic");
    }
    let stats = shared.stats();
    assert_eq!(
        stats.created,
        stats.idle + stats.discarded + stats.trimmed,
        "the parent goes on"
    );
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(pool) });
    took
}

#[test]
fn a_forked_child_uses_the_pool_at_once() {
    // A hit path that waits for a thread that does not exist.
    let times = forks(n(20, 1), |pool| {
        // SAFETY: the pool is alive in the child as it was in the parent.
        let pool = unsafe { &*pool };
        for _ in 0..100 {
            let mut held: Vec<_> = (0..50).map(|_| pool.get()).collect();
            for buf in &mut held {
                assert!(buf.iter().all(|&byte| byte == 0));
                buf.push(0);
            }
            drop(held);
            pool.put(vec![0; 10]);
            drop(pool.try_get());
        }
    });
    let longest = times.iter().max().expect("some");
    assert!(*longest < Duration::from_secs(5), "{times:?}");
}

#[test]
fn a_forked_child_uses_and_drops_the_pool() {
    // Visits and dropping the pool, which must reach everything, give up in time where they cannot.
    let times = forks(n(4, 1), |pool| {
        // SAFETY: in the child this is the only thread, so the box is its own.
        let pool = unsafe { Box::from_raw(pool) };
        drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
        let late = pool.get();
        let _ = (pool.trim(), pool.stats());
        drop(pool);
        drop(late);
    });
    let longest = times.iter().max().expect("some");
    assert!(*longest < Duration::from_secs(20), "{times:?}");
}

#[test]
fn a_forked_child_may_start_threads_and_pools_of_its_own() {
    // The table of thread IDs, whose lock another thread may have held.
    let _ = forks(n(10, 1), |shared| {
        let shared = shared.expose_provenance();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                spawn(move || {
                    // SAFETY: alive until the child exits.
                    let shared =
                        unsafe { &*std::ptr::with_exposed_provenance::<Pool<Vec<u8>>>(shared) };
                    drop((0..10).map(|_| shared.get()).collect::<Vec<_>>());
                    let own: Pool<String> = Pool::new(String::new);
                    for _ in 0..100 {
                        own.get().push('x');
                    }
                    assert!(own.get().is_empty());
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic in the child's thread");
        }
    });
}

#[test]
fn a_child_of_an_idle_process_finds_what_the_parent_left() {
    // If no other threads were working, a fork changes nothing: the objects are there, and the
    // barrier, whose registration a child may lose, still empties caches.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let pool: Pool<Vec<u8>> = Pool::builder(|| vec![0; 100]).build();
    drop((0..50).map(|_| pool.get()).collect::<Vec<_>>());
    let took = in_child(|| {
        assert_eq!(pool.stats().idle, 50);
        drop((0..50).map(|_| pool.get()).collect::<Vec<_>>());
        assert_eq!(pool.stats().created, 50);
        assert_eq!(pool.clear().objects, 50);
    });
    assert!(took < Duration::from_secs(5));
    assert_eq!(pool.clear().objects, 50, "the parent has its own");
}
