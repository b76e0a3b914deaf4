//! Limits, and pools that are switched off: an independent count of idle objects never exceeds a limit, and every
//! charge is released.

use super::{Pool, run_model};
use crate::background::manual;
use crate::raw::limits::{Limit, Limits, Quota};
use crate::sys::memory::Level;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The number of objects that guards of the model hold, in the present iteration.
static HELD: AtomicUsize = AtomicUsize::new(0);

fn hold() {
    hold_many(1);
}

fn hold_many(objects: usize) {
    HELD.fetch_add(objects, SeqCst);
}

fn idle_at_rest() -> usize {
    super::NODES.load(SeqCst) - HELD.load(SeqCst)
}

/// Two owners return objects under a limit of one. Fails if a cache keeps an object without a charge.
#[test]
fn two_owners_never_keep_more_than_a_limit() {
    run_model("two_owners_never_keep_more_than_a_limit", || {
        HELD.store(0, SeqCst);
        let pool = Pool::bounded(1).register(0).register(1);
        let (one, other) = (pool.create(), pool.create());
        let owner = thread::spawn(move || one.give_back(Some(0)));
        other.give_back(Some(1));
        owner.join().unwrap();
        assert!(idle_at_rest() <= 1, "a limit of one is exceeded");
        let held = pool.get(1);
        hold();
        assert!(idle_at_rest() <= 1);
        held.give_back(Some(1));
        pool.close();
    });
}

/// One thread gets objects, and another one drops them. Under a limit, the getting thread finds what was dropped.
#[test]
fn what_crosses_threads_under_a_limit_is_found() {
    run_model("what_crosses_threads_under_a_limit_is_found", || {
        HELD.store(0, SeqCst);
        let pool = Pool::bounded(2).register(0).register(1);
        // After this, the pool knows that its objects cross threads.
        pool.get(0).give_back(Some(1));
        pool.get(0).give_back(Some(1));
        let held = pool.get(0);
        let dropper = thread::spawn(move || held.give_back(Some(1)));
        let found = pool.try_get(0);
        dropper.join().unwrap();
        assert!(idle_at_rest() <= 2 + usize::from(found.is_some()));
        let found = found.or_else(|| pool.try_get(0));
        found
            .expect("an idle object is out of reach")
            .give_back(Some(0));
        let _ = pool.core().clear();
        assert_eq!(pool.core().limits.charged(), 0, "a charge has leaked");
        pool.close();
    });
}

/// An owner on its slow path in a bounded pool, against a pass that takes its objects.
#[test]
fn a_pass_against_an_owner_keeps_charges_right() {
    run_model("a_pass_against_an_owner_keeps_charges_right", || {
        HELD.store(0, SeqCst);
        let pool = Pool::bounded(2).register(0);
        pool.create().give_back(Some(0));
        let owner = thread::spawn(move || pool.get(0).give_back(Some(0)));
        let _ = manual::pass(pool.core(), Level::Normal);
        owner.join().unwrap();
        assert!(idle_at_rest() <= 2);
        let _ = pool.core().clear();
        // Every charge is released.
        let (one, two) = (pool.create(), pool.create());
        one.give_back(Some(0));
        two.give_back(Some(0));
        assert_eq!(idle_at_rest(), 2, "a charge has leaked");
        pool.close();
    });
}

/// A pool is switched off and on while an owner works. Nothing is lost, and at rest the last switch holds.
#[test]
fn switching_against_an_owner() {
    run_model("switching_against_an_owner", || {
        HELD.store(0, SeqCst);
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let owner = thread::spawn(move || pool.get(0).give_back(Some(0)));
        pool.core().set_enabled(false);
        pool.core().set_enabled(true);
        owner.join().unwrap();
        assert!(pool.core().is_enabled());
        pool.create().give_back(Some(0));
        assert!(
            pool.try_get(0)
                .map(|found| found.give_back(Some(0)))
                .is_some()
        );
        pool.close();
    });
}

/// An object comes back on another thread than the one that got it, while a visitor drains both caches.
#[test]
fn a_foreign_return_against_a_visitor() {
    run_model("a_foreign_return_against_a_visitor", || {
        HELD.store(0, SeqCst);
        let pool = Pool::new().register(0).register(1);
        pool.create().give_back(Some(0));
        let here = pool.get(0);
        let other = thread::spawn(move || {
            here.give_back(Some(1));
            pool.get(1).give_back(Some(1));
        });
        let _ = pool.core().clear();
        other.join().unwrap();
        pool.close();
    });
}

/// Two threads reserve and release parts of a limit, which has no room for both at once.
#[test]
fn a_limit_is_never_exceeded() {
    run_model("a_limit_is_never_exceeded", || {
        HELD.store(0, SeqCst);
        let limit = Arc::new(Limit::new(3));
        let others = limit.clone();
        let take = |limit: &Limit, amount: usize| {
            if limit.reserve(amount) {
                hold_many(amount);
                assert!(HELD.load(SeqCst) <= 3, "exceeded");
                HELD.fetch_sub(amount, SeqCst);
                limit.release(amount);
            }
        };
        let other = thread::spawn(move || take(&others, 2));
        take(&limit, 2);
        take(&limit, 1);
        other.join().unwrap();
        assert_eq!(limit.used(), 0);
        assert!(limit.reserve(3));
    });
}

/// The owners of two pools with a common budget of one object never keep two, and each charge is released. Fails if a
/// charge that the budget refuses stays with the pool's own limit.
#[test]
fn two_pools_never_keep_more_than_their_budget() {
    run_model("two_pools_never_keep_more_than_their_budget", || {
        HELD.store(0, SeqCst);
        let budget = Arc::new(Quota::new(usize::MAX, 1));
        let pool = || {
            let limits = Limits::new(usize::MAX, usize::MAX, usize::MAX);
            Pool::with(limits.with_budget(Some(budget.clone())))
        };
        let (one, other) = (pool().register(0), pool().register(1));
        let (first, second) = (one.create(), other.create());
        let owner = thread::spawn(move || first.give_back(Some(0)));
        second.give_back(Some(1));
        owner.join().unwrap();
        assert!(idle_at_rest() <= 1, "more than the budget");
        assert!(budget.bytes().used() <= 1);
        let _ = (one.core().clear(), other.core().clear());
        assert_eq!(budget.bytes().used(), 0, "a charge has leaked");
        assert_eq!(
            one.core().limits.charged() + other.core().limits.charged(),
            0
        );
        other.create().give_back(Some(1));
        assert_eq!(idle_at_rest(), 1, "there is room for one");
        one.close();
        other.close();
        assert_eq!(budget.bytes().used(), 0, "a charge has leaked");
    });
}
