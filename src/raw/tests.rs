//! Tests of this layer that need a typed pool, which the models do without.

use super::node::LIST_LEN;
use super::visit::RECOVERING;
use crate::object::pool::Pool;
use crate::sync::{Ordering, Timeout};
use crate::sys::generation::generation;
use crate::sys::process::janitor_is_possible;

/// A thread's grant starts with what it got from the depot, of whatever length.
#[test]
fn a_cache_is_never_charged_for_more_than_two_lists() {
    if !janitor_is_possible() {
        return; // no caches
    }
    for first in [1, 7, 40, LIST_LEN - 1] {
        let pool = Pool::builder(Vec::<u8>::new)
            .max_idle(10_000)
            .trim_manually()
            .build();
        assert_eq!(pool.prefill(first), first);
        for held in (1..=5 * LIST_LEN).step_by(3) {
            drop((0..held).map(|_| pool.get()).collect::<Vec<_>>());
            let core = pool.core();
            let in_cache = core.limits.charged() - core.depot.objects();
            assert!(
                in_cache <= 2 * LIST_LEN,
                "{in_cache} after {first} and {held}"
            );
        }
    }
}

/// In a child, two threads may find the visits lost at once. The second one comes when the first has opened
/// them, and when a visitor of the child has them.
#[test]
fn visits_that_were_recovered_are_not_taken_from_their_next_visitor() {
    let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
    let core = pool.core();
    let visits = core.lock_visits(Timeout::Short);
    assert!(visits.is_some());
    assert!(core.recover_visits_slow());
    assert!(core.visits.try_lock().is_none(), "unlocked under a visitor");
    drop(visits);
    assert!(core.lock_visits(Timeout::Short).is_some());
}

/// The parent was forked while one of its threads was recovering.
#[test]
fn a_recovery_that_was_lost_in_a_fork_is_done_again() {
    let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
    let core = pool.core();
    let of_parent = (generation() + 1) | RECOVERING; // any other process's
    core.visit_generation.store(of_parent, Ordering::Relaxed);
    std::mem::forget(core.visits.try_lock());
    assert!(core.lock_visits(Timeout::Short).is_some());
    assert_eq!(core.visit_generation.load(Ordering::Relaxed), generation());
}

#[test]
fn threads_that_switch_at_once_agree_on_what_is_off() {
    let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
    let rounds = if cfg!(miri) { 5 } else { 10_000 };
    for _ in 0..rounds {
        std::thread::scope(|scope| {
            for on in [true, false] {
                let pool = &pool;
                scope.spawn(move || pool.set_enabled(on));
            }
        });
        let core = pool.core();
        assert_eq!(core.off_counter().is_none(), core.is_enabled());
    }
}
