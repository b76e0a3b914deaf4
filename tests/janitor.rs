//! The background thread, seen from outside: when it is there, what it does, what it costs.
//!
//! A binary of its own, since the claims are about the whole process. One test at a time.
#![cfg(all(target_os = "linux", not(miri)))]

use repool::{Budget, Level, Pool, Pressure, janitor_stats};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

static TURN: Mutex<()> = Mutex::new(());
const FAST: Duration = Duration::from_millis(20);

fn alone() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    eventually("the janitor of the last test is gone", || {
        janitor_threads() == 0
    });
    turn
}

/// Waits for something that another thread is about to do; ten seconds is "never".
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

/// Times the janitor's thread was switched in or out, by the kernel's count.
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

/// C10: a pool costs no thread before its first object is idle, and none after the last pool.
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

/// `trim_manually` is no business of the janitor's.
#[test]
fn manual_pools_have_no_janitor() {
    let _turn = alone();
    let pool = Pool::builder(Vec::<u8>::new).trim_manually().build();
    drop(pool.get());
    assert_eq!(janitor_stats().pools, 0);
    assert_eq!(janitor_threads(), 0);
}

/// C8 and the promise itself: parked threads' caches come back without being asked, and then
/// nothing wakes up any more.
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
    // Two quiet passes later it leaves the pool alone.
    thread::sleep(5 * FAST);
    let (before, counted) = (janitor_stats(), switches());
    thread::sleep(20 * FAST);
    let after = janitor_stats();
    assert_eq!(
        (after.wake_ups, after.passes),
        (before.wake_ups, before.passes)
    );
    assert_eq!(switches(), counted, "the kernel's count says the same");
    // And it comes back when something is idle again, also by a hit-path return.
    drop(pool.get());
    eventually("the next one goes as well", || pool.stats().idle == 0);
    for (thread, release) in parked {
        drop(release);
        thread.join().unwrap();
    }
}

/// An object that was in use while the pool fell quiet comes back by the hit path: it is found.
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

/// C14: a destructor that panics, and one that takes its time.
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

/// Pools that come and go leave nothing in the registry.
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

/// C7: at high pressure everything idle goes at once; passes come sooner under some.
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
    pressure.set(Level::High);
    eventually("an hour is not waited for", || pool.stats().idle == 0);
    pressure.set(Level::None);
    Pressure::system().install();
}

/// A budget is given back with what it was spent on.
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

/// A23: a forked child has no janitor, and gets one of its own.
#[test]
fn a_forked_child_starts_its_own() {
    let _turn = alone();
    let pool = pool();
    drop(pool.get());
    eventually("it runs", || janitor_threads() == 1);
    // SAFETY: the child only uses the pool, the allocator and the file system, and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // A watchdog, should it hang.
        // SAFETY: plain system calls.
        unsafe { libc::alarm(20) };
        let all: Vec<_> = (0..100).map(|_| pool.get()).collect();
        drop(all);
        let start = Instant::now();
        while pool.stats().idle != 0 && start.elapsed() < Duration::from_secs(10) {
            thread::sleep(FAST);
        }
        let ok = pool.stats().idle == 0 && janitor_threads() == 1;
        // SAFETY: ends the child.
        unsafe { libc::_exit(if ok { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waits for the child above.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(status, 0, "the child's objects are trimmed");
}

/// C18: many pools, many caches: one pass over all of them is short.
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
    // The claim is 50 ms, measured by `pass_cost` in benches/ on a machine of its own. Here, with
    // other tests and whatever else the machine does, only the order of magnitude can be tested.
    let limit = if cfg!(debug_assertions) { 2_000 } else { 250 };
    passes.sort();
    assert!(passes[1] < Duration::from_millis(limit), "{passes:?}");
    drop(release);
    for thread in threads {
        thread.join().unwrap();
    }
}
