//! An owner against a visitor, at one cache.

use super::{Pool, run_model};
use loom::thread;

/// The core of the protocol. Fails if the fence of the owner or of the visitor is missing, and if the gate is read, the
/// gate is opened, or the owner leaves with a weaker ordering.
#[test]
fn owner_and_visitor_are_never_both_at_the_lists() {
    run_model("owner_and_visitor_are_never_both_at_the_lists", || {
        let pool = Pool::new().register(0);
        pool.get(0).give_back(Some(0));
        let owner = thread::spawn(move || {
            let held = pool.get(0);
            held.give_back(Some(0));
        });
        let _ = pool.core().clear();
        owner.join().unwrap();
        pool.close();
    });
}

/// The owner returns objects to lists that a visitor has emptied.
#[test]
fn a_return_after_a_visit_sees_the_lists_as_the_visitor_left_them() {
    run_model(
        "a_return_after_a_visit_sees_the_lists_as_the_visitor_left_them",
        || {
            let pool = Pool::new().register(0);
            let (first, second) = (pool.create(), pool.create());
            first.give_back(Some(0));
            let held = pool.get(0);
            let owner = thread::spawn(move || {
                held.give_back(Some(0));
                second.give_back(Some(0));
            });
            let _ = pool.core().clear();
            owner.join().unwrap();
            pool.close();
        },
    );
}

/// The same on the slow path: the lists are full, and one has to leave.
#[test]
fn a_full_cache_rotates_under_visits() {
    run_model("a_full_cache_rotates_under_visits", || {
        let pool = Pool::new().register(0);
        let all: Vec<_> = (0..5).map(|_| pool.create()).collect();
        let owner = thread::spawn(move || {
            for held in all {
                held.give_back(Some(0));
            }
        });
        let _ = pool.core().clear();
        owner.join().unwrap();
        pool.close();
    });
}

/// An owner uses an object in its slot while a visitor drops the idle objects: one of them comes first.
#[test]
fn an_object_is_used_in_place_or_taken_by_a_visitor() {
    run_model("an_object_is_used_in_place_or_taken_by_a_visitor", || {
        let pool = Pool::new().register(0);
        pool.get(0).give_back(Some(0));
        let owner = thread::spawn(move || {
            // Either may find the gate shut.
            pool.touch_top(0);
            pool.touch_top(0);
        });
        let _ = pool.core().clear();
        owner.join().unwrap();
        pool.close();
    });
}

/// A thread reads the statistics while the owner works: they are off by at most the operation in progress, and exact
/// at rest.
#[test]
fn statistics_are_read_during_operations() {
    run_model("statistics_are_read_during_operations", || {
        let pool = Pool::new().register(0);
        pool.get(0).give_back(Some(0));
        let owner = thread::spawn(move || pool.get(0).give_back(Some(0)));
        let during = pool.core().stats();
        owner.join().unwrap();
        let stats = pool.core().stats();
        // The owner creates a second object if it finds the gate shut.
        assert!(during.idle <= 2 && during.returned <= 2 && during.reused <= stats.reused);
        assert_eq!(
            (stats.idle, stats.idle_bytes),
            (stats.created, stats.created)
        );
        assert_eq!(stats.returned, 2);
        pool.close();
    });
}
