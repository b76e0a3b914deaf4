//! Tests of this layer that need a typed pool, which the models do without.

use super::node::LIST_LEN;
use super::visit::RECOVERING;
use crate::object::pool::Pool;
use crate::sync::{Ordering, Timeout};
use crate::sys::generation::generation;
use crate::sys::process::janitor_is_possible;
use std::ptr;
use std::sync::Barrier;
use std::thread::{self, ScopedJoinHandle};

/// A cache's charge starts with the batch that it took from the depot, which may have any length.
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
            let in_cache = core.limits.charged() - core.depots().objects();
            assert!(
                in_cache <= 2 * LIST_LEN,
                "{in_cache} after {first} and {held}"
            );
        }
    }
}

/// In a forked child, two threads may find at once that the visits have to be recovered. Here the second one comes when
/// the first is done, and a visitor of the child already holds the lock.
#[test]
fn visits_that_were_recovered_are_not_taken_from_their_next_visitor() {
    let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
    let core = pool.core();
    let visits = core.lock_visits(Timeout::Short);
    assert!(visits.is_some());
    assert!(core.recover_visits_slow());
    assert!(
        core.visits.try_lock().is_none(),
        "the lock was released while a visitor held it"
    );
    drop(visits);
    assert!(core.lock_visits(Timeout::Short).is_some());
}

/// The parent process forked while one of its threads recovered the visits.
#[test]
fn a_recovery_that_was_lost_in_a_fork_is_done_again() {
    let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
    let core = pool.core();
    let of_parent = (generation() + 1) | RECOVERING; // of some other process
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

/// The more threads there are, the more depots their objects are spread over: also when they end.
#[test]
fn threads_that_end_leave_their_objects_in_their_own_depots() {
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
    let core = pool.core().address().cast_mut();
    // SAFETY: no other thread knows the core yet.
    unsafe { (*core).set_depots(4) };
    let all_have_one = Barrier::new(8);
    let own = thread::scope(|scope| {
        let use_it = || {
            let object = pool.get();
            all_have_one.wait();
            drop(object);
            ptr::from_ref(pool.core().depots().own()).addr()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(use_it)).collect();
        let join = |thread: ScopedJoinHandle<'_, usize>| thread.join().expect("no panic");
        threads.into_iter().map(join).collect::<Vec<_>>()
    });
    for depot in pool.core().depots().all() {
        let at = ptr::from_ref(depot).addr();
        let expected = own.iter().filter(|own| **own == at).count();
        assert_eq!(depot.objects(), expected, "{own:?}");
    }
}
