//! Owner against visitor, on one cache.

use super::{Pool, run_model};
use loom::thread;

/// The heart of it. Fails without the owner's fence, without the visitor's, when the gate is read
/// or opened without its order, and when the owner leaves without its own.
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

/// The owner comes back to lists that a visitor has emptied, by a push first.
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

/// The same by the slow path, where the lists are full and one has to leave.
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

/// What an owner does to an object that stays in its place comes before or after what a visitor does,
/// which here drops it.
#[test]
fn an_object_is_used_in_place_or_taken_by_a_visitor() {
    run_model("an_object_is_used_in_place_or_taken_by_a_visitor", || {
        let pool = Pool::new().register(0);
        pool.get(0).give_back(Some(0));
        let owner = thread::spawn(move || {
            let before = pool.touch_top(0);
            let after = pool.touch_top(0);
            assert!(before || !after, "no thread has put one there");
        });
        let _ = pool.core().clear();
        owner.join().unwrap();
        pool.close();
    });
}

/// The figures are read while the owner works: off by the operation under way at most, and right at rest.
#[test]
fn figures_are_read_beside_operations() {
    run_model("figures_are_read_beside_operations", || {
        let pool = Pool::new().register(0);
        pool.get(0).give_back(Some(0));
        let owner = thread::spawn(move || pool.get(0).give_back(Some(0)));
        let during = pool.core().stats();
        owner.join().unwrap();
        let stats = pool.core().stats();
        // The owner makes a second object if it finds the gate shut.
        assert!(during.idle <= 2 && during.returned <= 2 && during.reused <= stats.reused);
        assert_eq!(
            (stats.idle, stats.idle_bytes),
            (stats.created, stats.created)
        );
        assert_eq!(stats.returned, 2);
        pool.close();
    });
}
