//! The janitor as it ships (`background/watch_list.rs`), against pools that are created, are dropped, become
//! quiescent and are used again.
//!
//! A model that does not end is one that fails: loom reports a thread that is never woken as a deadlock, and an endless
//! loop as too many branches.

use super::time::{self, ASLEEP};
use super::{NODES, Pool, explore, lock};
use crate::background::manual;
use crate::background::watch_list::{
    Watch, WatchList, finish_later as finish_later_in, run, unwatch as unwatch_in, watch,
};
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;
use crate::sync::{Mutex, Thread};
use crate::sys::memory::Level;
use crate::sys::thread_id::ThreadId;
use crate::thread::{exit, register};
use loom::thread;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The watch list of the present iteration, if it has a janitor.
static JANITOR: std::sync::Mutex<Option<&'static Mutex<WatchList>>> = std::sync::Mutex::new(None);
/// Its threads.
static THREADS: std::sync::Mutex<Vec<thread::JoinHandle<()>>> = std::sync::Mutex::new(Vec::new());
/// How often the janitor's thread was started.
static STARTED: AtomicUsize = AtomicUsize::new(0);

fn watch_list() -> Option<&'static Mutex<WatchList>> {
    *lock(&JANITOR)
}

/// As in `background/worker.rs`. In a model without a janitor it only records that it was called.
pub(crate) fn watch_slow(core: &Core) {
    super::assert_alive(core);
    let Some(watch_list) = watch_list() else {
        core.set_watched(true);
        return;
    };
    let interval = core.interval().expect("models have a janitor");
    let called = watch(watch_list, core, interval, start);
    assert_ne!(called, Watch::NoThread, "a thread can be started");
}

pub(crate) fn unwatch(core: &Core) {
    if let Some(watch_list) = watch_list() {
        unwatch_in(watch_list, core);
    }
}

/// Stands in for `background/hook.rs`, without a hook.
pub(crate) mod hook {
    pub(crate) fn add(_: crate::raw::stats::Trimmed) {}

    pub(crate) fn once_for<R>(passes: impl FnOnce() -> R) -> R {
        passes()
    }
}

pub(crate) fn finish_later(core: &Core) {
    if let Some(watch_list) = watch_list() {
        finish_later_in(watch_list, core, start);
    }
}

fn start() -> Option<Thread> {
    STARTED.fetch_add(1, SeqCst);
    let watch_list = watch_list()?;
    let (thread, handle) = time::spawn(move || run(watch_list, || Level::Normal));
    lock(&THREADS).push(handle);
    Some(thread)
}

/// Forgets what a failed model has left, which must not be touched in another model.
pub(super) fn forget_all() {
    *lock(&JANITOR) = None;
    std::mem::forget(std::mem::take(&mut *lock(&THREADS)));
}

/// Explores a model with a janitor, which has to end with the last pool.
fn run_janitor(name: &str, f: impl Fn() + Send + Sync + 'static) {
    // Two preemptions. With three, the four tries for the lock of the watch list can all fail, and a pool that closes
    // then tells the janitor nothing. The real wait has thousands of tries, and takes a fifth of a second.
    explore(name, 2, move || {
        STARTED.store(0, SeqCst);
        ASLEEP.store(false, SeqCst);
        let watch_list: *mut _ = Box::into_raw(Box::new(Mutex::new(WatchList::new())));
        // SAFETY: freed below, after the threads have ended.
        let shared = unsafe { &*watch_list };
        *lock(&JANITOR) = Some(shared);
        f();
        loop {
            let Some(thread) = lock(&THREADS).pop() else {
                break;
            };
            thread.join().unwrap();
        }
        *lock(&JANITOR) = None;
        let left = shared.try_lock().expect("unlocked").pools();
        assert_eq!(left, 0, "a pool that is gone is still watched");
        // SAFETY: allocated above, and no longer shared.
        drop(unsafe { Box::from_raw(watch_list) });
    });
}

/// Two pools in the order of the watch list, because loom needs every iteration to behave the same.
fn two_pools() -> (Pool, Pool) {
    let (one, other) = (Pool::new(), Pool::new());
    if one.0.addr() < other.0.addr() {
        (one, other)
    } else {
        (other, one)
    }
}

/// Waits until the janitor sleeps without a timeout. No object may be idle then.
fn until_quiescent() {
    while !ASLEEP.load(SeqCst) {
        thread::yield_now();
    }
    let left = NODES.load(SeqCst);
    assert_eq!(left, 0, "an idle object that no janitor watches");
}

/// The first idle object starts the janitor, and not the pool. It empties the pool, sleeps without a timeout, and ends
/// with the last pool.
#[test]
fn it_starts_with_the_first_idle_object_and_ends_with_the_last_pool() {
    run_janitor(
        "it_starts_with_the_first_idle_object_and_ends_with_the_last_pool",
        || {
            let pool = Pool::new().register(0);
            let held = pool.create();
            assert_eq!(STARTED.load(SeqCst), 0, "nothing is idle");
            held.give_back(Some(0));
            until_quiescent();
            pool.close();
            assert_eq!(STARTED.load(SeqCst), 1);
        },
    );
}

/// A pool closes while a pass runs over it, and the janitor ends. Fails if the janitor is not woken for that.
#[test]
fn stop_against_pass() {
    run_janitor("stop_against_pass", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        pool.close();
    });
}

/// An object comes back to a cache while the janitor decides that all pools are quiescent: the janitor sees the object,
/// or is woken. Fails if the janitor stops watching the pool although a return has marked it, and if the return does
/// not wake the janitor.
#[test]
fn a_return_is_seen_or_wakes_it() {
    run_janitor("a_return_is_seen_or_wakes_it", || {
        let pool = Pool::new().register(0);
        let held = pool.create();
        pool.create().give_back(Some(0));
        held.give_back(Some(0));
        until_quiescent();
        pool.close();
    });
}

/// The same with returns on a thread without a cache.
#[test]
fn a_return_to_the_depot_is_seen_or_wakes_it() {
    run_janitor("a_return_to_the_depot_is_seen_or_wakes_it", || {
        let pool = Pool::new();
        let held = pool.create();
        pool.create().give_back(None);
        held.give_back(None);
        until_quiescent();
        pool.close();
    });
}

/// The same with a full list that moves to the depot. (The returns before that do not matter here, and do not wake the
/// janitor.)
#[test]
fn a_full_list_is_seen_or_wakes_it() {
    run_janitor("a_full_list_is_seen_or_wakes_it", || {
        let pool = Pool::new().register(0);
        let last = pool.create();
        let full: Vec<_> = (0..4).map(|_| pool.create()).collect();
        pool.core().set_watched(true);
        for held in full {
            held.give_back(Some(0));
        }
        pool.core().set_watched(false);
        last.give_back(Some(0));
        until_quiescent();
        pool.close();
    });
}

/// The same with a thread that ends.
#[test]
fn a_hand_over_is_seen_or_wakes_it() {
    run_janitor("a_hand_over_is_seen_or_wakes_it", || {
        let pool = Pool::new().register(0);
        let held = pool.create();
        held.give_back(Some(0));
        let ending = thread::spawn(move || {
            let _ = exit::vacate(pool.core(), ThreadId(0));
        });
        ending.join().unwrap();
        until_quiescent();
        pool.close();
    });
}

/// The same with a pass of the program, which holds objects that the janitor does not see meanwhile.
#[test]
fn a_pass_of_the_program_is_seen_or_wakes_it() {
    run_janitor("a_pass_of_the_program_is_seen_or_wakes_it", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let _ = manual::pass(pool.core(), Level::Normal);
        until_quiescent();
        pool.close();
    });
}

/// A return while the pool closes leaves no entry that would keep the janitor running. Fails if the pool's entry is
/// removed before the pool is marked as closed.
#[test]
fn a_late_return_does_not_keep_it() {
    run_janitor("a_late_return_does_not_keep_it", || {
        let pool = Pool::new();
        let held = pool.create();
        let other = thread::spawn(move || held.give_back(None));
        pool.close();
        other.join().unwrap();
    });
}

/// The last pool closes, and a new one comes: the janitor keeps running, or another one starts. Fails if a janitor that
/// ends does not say so.
#[test]
fn a_new_pool_after_the_stop_is_watched() {
    run_janitor("a_new_pool_after_the_stop_is_watched", || {
        let (first, second) = two_pools();
        first.create().give_back(None);
        let closing = thread::spawn(move || first.close());
        second.create().give_back(None);
        closing.join().unwrap();
        until_quiescent();
        second.close();
    });
}

/// One of two pools closes, perhaps during a pass. The other one stays watched.
#[test]
fn a_pool_that_goes_leaves_the_others_watched() {
    run_janitor("a_pool_that_goes_leaves_the_others_watched", || {
        let (first, second) = two_pools();
        first.create().give_back(None);
        second.create().give_back(None);
        first.close();
        until_quiescent();
        second.close();
    });
}

/// A pool closes while an owner is inside its cache. The objects there are dropped after the owner has left. Fails if
/// the janitor does not try again.
#[test]
fn what_closing_could_not_reach_goes_later() {
    run_janitor("what_closing_could_not_reach_goes_later", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        close_while_the_owner_is_inside(pool);
    });
}

/// The same while the janitor sleeps and watches another pool. Fails if the janitor is not woken.
#[test]
fn what_closing_could_not_reach_wakes_it() {
    run_janitor("what_closing_could_not_reach_wakes_it", || {
        let (pool, other) = two_pools();
        other.create().give_back(None);
        until_quiescent();
        // The janitor has not been told of this one.
        let pool = pool.register(0);
        pool.core().set_watched(true);
        pool.create().give_back(Some(0));
        close_while_the_owner_is_inside(pool);
        // Does not end if the janitor is not woken.
        while NODES.load(SeqCst) != 0 {
            thread::yield_now();
        }
        other.close();
    });
}

/// Closes a pool while the owner of a cache, which is this thread, looks as if it were inside.
fn close_while_the_owner_is_inside(pool: Pool) {
    let cache = register::cache_of(pool.core(), ThreadId(0)).expect("registered");
    // Keeps the cache's memory.
    let keep = WeakCore::new(pool.core());
    cache.lose_owner_inside(true);
    pool.close();
    cache.lose_owner_inside(false);
    drop(keep);
}
