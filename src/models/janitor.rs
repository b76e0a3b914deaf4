//! The janitor as it ships (`background/watch_list.rs`), against pools that come, go, fall quiescent and
//! wake up again.
//!
//! A model that never ends is one that fails: loom sees a thread that is never woken as
//! a deadlock, and one that goes round for ever as too many branches.

use super::time::{self, ASLEEP};
use super::{NODES, Pool, explore, lock};
use crate::background::manual;
use crate::background::watch_list::{
    Watch, WatchList, finish_later as finish_later_in, unwatch as unwatch_in, run, watch,
};
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;
use crate::sync::{Mutex, Thread};
use crate::sys::memory::Level;
use crate::sys::thread_id::ThreadId;
use crate::thread::{exit, register};
use loom::thread;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The janitor of the iteration that runs, if it has one.
static JANITOR: std::sync::Mutex<Option<&'static Mutex<WatchList>>> = std::sync::Mutex::new(None);
/// Its threads.
static THREADS: std::sync::Mutex<Vec<thread::JoinHandle<()>>> = std::sync::Mutex::new(Vec::new());
/// How often a thread was started.
static STARTED: AtomicUsize = AtomicUsize::new(0);

fn watch_list() -> Option<&'static Mutex<WatchList>> {
    *lock(&JANITOR)
}

/// As in `background/worker.rs`. In a model without a janitor the call is all there is to see.
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

/// As `background/hook.rs`, without a hook.
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

/// What a model that failed has left must not be touched in another one.
pub(super) fn forget_all() {
    *lock(&JANITOR) = None;
    std::mem::forget(std::mem::take(&mut *lock(&THREADS)));
}

/// A model with a janitor, which is to end with the last pool.
fn run_janitor(name: &str, f: impl Fn() + Send + Sync + 'static) {
    // With three, the four tries of a bounded wait for the watch list run out while another thread is
    // inside. What a pool that goes then leaves to the janitor, it may sleep on; the real wait is
    // thousands of tries and a fifth of a second.
    explore(name, 2, move || {
        STARTED.store(0, SeqCst);
        ASLEEP.store(false, SeqCst);
        let watch_list: *mut _ = Box::into_raw(Box::new(Mutex::new(WatchList::new())));
        // SAFETY: freed below, when the threads have ended.
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
        // SAFETY: allocated above, and not shared any more.
        drop(unsafe { Box::from_raw(watch_list) });
    });
}

/// Always in the watch list's order, since loom wants every run to be the same.
fn two_pools() -> (Pool, Pool) {
    let (one, other) = (Pool::new(), Pool::new());
    if one.0.addr() < other.0.addr() {
        (one, other)
    } else {
        (other, one)
    }
}

/// Waits until the janitor sleeps without a timeout. Everything idle has to be gone then.
fn all_quiet() {
    while !ASLEEP.load(SeqCst) {
        thread::yield_now();
    }
    let left = NODES.load(SeqCst);
    assert_eq!(left, 0, "an idle object that is not looked after");
}

/// The first idle object starts it, and not the pool; it empties the pool, sleeps without a
/// timeout, and ends with the last pool.
#[test]
fn it_starts_with_the_first_idle_object_and_ends_with_the_last_pool() {
    run_janitor(
        "it_starts_with_the_first_idle_object_and_ends_with_the_last_pool",
        || {
            let pool = Pool::new().register(0);
            let held = pool.create();
            assert_eq!(STARTED.load(SeqCst), 0, "nothing is idle");
            held.give_back(Some(0));
            all_quiet();
            pool.close();
            assert_eq!(STARTED.load(SeqCst), 1);
        },
    );
}

/// A pool goes while a pass runs on it, and stops the janitor. Fails when it is not woken for that.
#[test]
fn stop_against_pass() {
    run_janitor("stop_against_pass", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        pool.close();
    });
}

/// An object comes back to a cache while the janitor decides that all is quiescent: it sees that, or is
/// woken. Fails when the pool is left alone although a return has called, and when the call
/// does not wake.
#[test]
fn a_return_is_seen_or_wakes_it() {
    run_janitor("a_return_is_seen_or_wakes_it", || {
        let pool = Pool::new().register(0);
        let held = pool.create();
        pool.create().give_back(Some(0));
        held.give_back(Some(0));
        all_quiet();
        pool.close();
    });
}

/// The same by a thread without a cache.
#[test]
fn a_return_to_the_depot_is_seen_or_wakes_it() {
    run_janitor("a_return_to_the_depot_is_seen_or_wakes_it", || {
        let pool = Pool::new();
        let held = pool.create();
        pool.create().give_back(None);
        held.give_back(None);
        all_quiet();
        pool.close();
    });
}

/// The same for a full list on its way to the depot. (What comes before does not matter, and
/// calls no janitor.)
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
        all_quiet();
        pool.close();
    });
}

/// The same by a thread that ends.
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
        all_quiet();
        pool.close();
    });
}

/// The same by a pass of the program's, which has in its hands what the janitor then does not see.
#[test]
fn a_pass_of_the_program_is_seen_or_wakes_it() {
    run_janitor("a_pass_of_the_program_is_seen_or_wakes_it", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let _ = manual::pass(pool.core(), Level::Normal);
        all_quiet();
        pool.close();
    });
}

/// A return that comes while the pool goes enters nothing that would keep the janitor. Fails when
/// the pool's entry is taken out before the pool says that it is closed.
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

/// The last pool goes, and the next one comes: the janitor stays, or there is another one. Fails
/// when the one that ends does not say so.
#[test]
fn a_new_pool_after_the_stop_is_watched() {
    run_janitor("a_new_pool_after_the_stop_is_watched", || {
        let (first, second) = two_pools();
        first.create().give_back(None);
        let closing = thread::spawn(move || first.close());
        second.create().give_back(None);
        closing.join().unwrap();
        all_quiet();
        second.close();
    });
}

/// Of two pools one goes, while a pass runs or not: the other one is looked after all the same.
#[test]
fn a_pool_that_goes_leaves_the_others_watched() {
    run_janitor("a_pool_that_goes_leaves_the_others_watched", || {
        let (first, second) = two_pools();
        first.create().give_back(None);
        second.create().give_back(None);
        first.close();
        all_quiet();
        second.close();
    });
}

/// A pool goes while an owner is held up inside its cache: what is there goes when the owner has left.
/// Fails when there is no other try.
#[test]
fn what_closing_could_not_reach_goes_later() {
    run_janitor("what_closing_could_not_reach_goes_later", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        close_while_the_owner_is_inside(pool);
    });
}

/// The same while the janitor sleeps, with another pool to look after. Fails when it is not woken.
#[test]
fn what_closing_could_not_reach_wakes_it() {
    run_janitor("what_closing_could_not_reach_wakes_it", || {
        let (pool, other) = two_pools();
        other.create().give_back(None);
        all_quiet();
        // The janitor has not been told of this one.
        let pool = pool.register(0);
        pool.core().set_watched(true);
        pool.create().give_back(Some(0));
        close_while_the_owner_is_inside(pool);
        // A janitor that sleeps on would do so for ever.
        while NODES.load(SeqCst) != 0 {
            thread::yield_now();
        }
        other.close();
    });
}

/// The owner is this thread, which only looks as if it were inside.
fn close_while_the_owner_is_inside(pool: Pool) {
    let cache = register::cache_of(pool.core(), ThreadId(0)).expect("registered");
    // Keeps the cache.
    let keep = WeakCore::new(pool.core());
    cache.lose_owner_inside(true);
    pool.close();
    cache.lose_owner_inside(false);
    drop(keep);
}
