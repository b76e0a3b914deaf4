//! Passes against all other operations.

use super::{Pool, run_model};
use crate::background::manual;
use crate::background::watch_list::janitor_passes;
use crate::raw::pool::Core;
use crate::sys::memory::Level;
use crate::sys::thread_id::ThreadId;
use crate::thread::exit;
use loom::thread;

/// Runs the janitor's pass over one pool.
fn janitor_pass(core: &Core) {
    let _ = janitor_passes(std::iter::once(core), Level::Normal);
}

/// A pass against an owner that gets and drops.
#[test]
fn pass_against_get() {
    run_model("pass_against_get", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let owner = thread::spawn(move || pool.get(0).give_back(Some(0)));
        let _ = manual::pass(pool.core(), Level::Normal);
        owner.join().unwrap();
        pool.close();
    });
}

/// A pass drains the cache of an inactive thread, while another thread returns to its own cache and takes from the
/// depot.
#[test]
fn pass_against_drop() {
    run_model("pass_against_drop", || {
        let pool = Pool::new().register(0).register(1);
        pool.create().give_back(Some(0));
        let _ = manual::pass(pool.core(), Level::Normal);
        let held = pool.create();
        let other = thread::spawn(move || {
            held.give_back(Some(1));
            pool.get(1).give_back(Some(1));
        });
        let _ = manual::pass(pool.core(), Level::Normal);
        other.join().unwrap();
        pool.close();
    });
}

/// A pass against an owner that ends.
#[test]
fn pass_against_exit() {
    run_model("pass_against_exit", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let _ = manual::pass(pool.core(), Level::Normal);
        let ending = thread::spawn(move || {
            let _ = exit::vacate(pool.core(), ThreadId(0));
        });
        let _ = manual::pass(pool.core(), Level::Normal);
        ending.join().unwrap();
        pool.close();
    });
}

/// A pass by the janitor, which holds a weak reference, against the end of the pool.
#[test]
fn pass_against_close() {
    run_model("pass_against_close", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let _ = manual::pass(pool.core(), Level::Normal);
        let weak = crate::raw::refs::WeakCore::new(pool.core());
        let janitor = thread::spawn(move || {
            let _ = manual::pass(&weak, Level::Normal);
            drop(weak);
        });
        pool.close();
        janitor.join().unwrap();
    });
}

/// The janitor finds a pool quiescent while a return makes an object idle: one of the two threads notices.
/// Fails if `watched` is cleared after the pass has looked at the caches, and if a drained cache has room for a
/// return on the hit path.
#[test]
fn no_return_falls_between_quiet_and_watched() {
    run_model("no_return_falls_between_quiet_and_watched", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let held = pool.get(0);
        // Active, and then inactive for a whole interval.
        janitor_pass(pool.core());
        let owner = thread::spawn(move || held.give_back(Some(0)));
        janitor_pass(pool.core());
        owner.join().unwrap();
        let idle = pool.core().stats().idle;
        assert!(
            idle == 0 || pool.core().is_watched(),
            "an idle object that no janitor watches"
        );
        pool.close();
    });
}

/// The same for objects that an ending thread moves from its cache to the depot.
#[test]
fn no_hand_over_falls_between_quiet_and_watched() {
    run_model("no_hand_over_falls_between_quiet_and_watched", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        janitor_pass(pool.core());
        let held = pool.create();
        let ending = thread::spawn(move || {
            held.give_back(Some(0));
            let _ = exit::vacate(pool.core(), ThreadId(0));
        });
        janitor_pass(pool.core());
        ending.join().unwrap();
        let idle = pool.core().stats().idle;
        assert!(
            idle == 0 || pool.core().is_watched(),
            "an idle object that no janitor watches"
        );
        pool.close();
    });
}

/// The same for objects that a thread takes from the depot to its cache.
#[test]
fn no_refill_falls_between_quiet_and_watched() {
    run_model("no_refill_falls_between_quiet_and_watched", || {
        let pool = Pool::new().register(0).register(1);
        let (one, two) = (pool.create(), pool.create());
        one.give_back(None);
        two.give_back(None);
        janitor_pass(pool.core());
        let getting = thread::spawn(move || pool.get(1));
        janitor_pass(pool.core());
        let held = getting.join().unwrap();
        let idle = pool.core().stats().idle;
        assert!(
            idle == 0 || pool.core().is_watched(),
            "an idle object that no janitor watches"
        );
        held.give_back(Some(1));
        pool.close();
    });
}

/// A pass enters a cache, or misses it because the owner is inside. It visits the cache at most once, and opens the
/// gate again. Fails if a gate stays shut, until the end of the visit or for good.
#[test]
fn a_pass_opens_the_gates_that_it_has_shut() {
    run_model("a_pass_opens_the_gates_that_it_has_shut", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let owner = thread::spawn(move || _ = pool.touch_top(0));
        let _ = manual::pass(pool.core(), Level::Normal);
        owner.join().unwrap();
        // At a second visit, the cache of an active owner would seem unused.
        assert_eq!(
            pool.core().depots().objects(),
            0,
            "taken from an active owner"
        );
        pool.create().give_back(Some(0));
        assert_eq!(pool.core().depots().objects(), 0, "the gate is shut");
        pool.close();
    });
}

/// The same with a visitor that waits for the owner.
#[test]
fn a_visitor_that_has_waited_opens_the_gate() {
    run_model("a_visitor_that_has_waited_opens_the_gate", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let owner = thread::spawn(move || _ = pool.touch_top(0));
        let _ = pool.core().clear();
        owner.join().unwrap();
        // If the visitor has timed out, this return finds the drain request, drains the cache, and uses the depot.
        pool.create().give_back(Some(0));
        let before = pool.core().depots().objects();
        pool.create().give_back(Some(0));
        assert_eq!(pool.core().depots().objects(), before, "the gate is shut");
        pool.close();
    });
}
