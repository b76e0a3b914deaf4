//! Passes against everything else.

use super::{Pool, run_model};
use crate::background::manual;
use crate::background::watch_list::janitor_passes;
use crate::sys::memory::Level;
use crate::sys::thread_id::ThreadId;
use crate::thread::{exit, register};
use crate::raw::pool::Core;
use loom::thread;

/// Runs the janitor's pass over one pool.
fn janitor_pass(core: &Core) {
    let _ = janitor_passes(std::iter::once(core), Level::Normal);
}

/// A pass while the owner gets and drops.
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

/// A pass that empties the idle cache of one thread while another one fills its own and looks in
/// the depot.
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

/// A pass while the owner ends.
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

/// A pass by the janitor, which has a weak reference, while the pool goes.
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

/// The janitor finds a pool quiescent while a return makes an object idle: one of the two notices.
/// Fails when `watched` goes down after the look instead of before, and when an emptied cache is
/// left with room for a return that takes the hit path.
#[test]
fn no_return_falls_between_quiet_and_watched() {
    run_model("no_return_falls_between_quiet_and_watched", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let held = pool.get(0);
        // In use, and then unused for a whole interval.
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

/// The same for what an ending thread has in its hands between its cache and the depot.
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

/// And for what a thread without objects fetches from the depot.
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

/// A pass gets into a cache or misses it, because the owner is inside: it looks at the cache once at most, and opens
/// the gate again. Fails when a gate stays shut, until the visit ends or for good.
#[test]
fn a_pass_opens_the_gates_that_it_has_shut() {
    run_model("a_pass_opens_the_gates_that_it_has_shut", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let owner = thread::spawn(move || _ = pool.touch_top(0));
        let _ = manual::pass(pool.core(), Level::Normal);
        owner.join().unwrap();
        // Looked at a second time, an active owner's cache would seem unused.
        assert_eq!(pool.core().depot.objects(), 0, "taken from an active owner");
        pool.create().give_back(Some(0));
        assert_eq!(pool.core().depot.objects(), 0, "the gate is shut");
        pool.close();
    });
}

/// The same for a visitor that waits for the owner.
#[test]
fn a_visitor_that_has_waited_opens_the_gate() {
    run_model("a_visitor_that_has_waited_opens_the_gate", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let owner = thread::spawn(move || _ = pool.touch_top(0));
        let _ = pool.core().clear();
        owner.join().unwrap();
        // If the visitor's timeout has run out, this one finds the mark that it has left, and goes to the depot.
        pool.create().give_back(Some(0));
        let before = pool.core().depot.objects();
        pool.create().give_back(Some(0));
        assert_eq!(pool.core().depot.objects(), before, "the gate is shut");
        pool.close();
    });
}
