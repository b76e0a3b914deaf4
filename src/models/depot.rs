//! Threads that share the depot: batches, and objects that another thread drops.

use super::{Pool, run_model};
use loom::thread;

/// One thread overflows its cache, and another one gets those objects from the depot. The tracked cell shows that what
/// the first thread did with an object happens before what the second one does.
#[test]
fn two_caches_meet_in_the_depot() {
    run_model("two_caches_meet_in_the_depot", || {
        let pool = Pool::new().register(0).register(1);
        let all: Vec<_> = (0..5).map(|_| pool.create()).collect();
        let full = thread::spawn(move || {
            for held in all {
                held.give_back(Some(0));
            }
        });
        let held = pool.get(1);
        let more = pool.get(1);
        held.give_back(Some(1));
        more.give_back(Some(1));
        full.join().unwrap();
        pool.close();
    });
}

/// An object that another thread drops has one holder at a time.
#[test]
fn a_foreign_return_is_held_by_one() {
    run_model("a_foreign_return_is_held_by_one", || {
        let pool = Pool::new().register(0).register(1);
        let here: Vec<_> = (0..5).map(|_| pool.get(0)).collect();
        let other = thread::spawn(move || {
            for held in here {
                held.give_back(Some(1));
            }
        });
        let getting = thread::spawn(move || pool.get(0).give_back(Some(0)));
        other.join().unwrap();
        getting.join().unwrap();
        pool.close();
    });
}

/// Threads without a cache (they are ending) share the depot object by object.
#[test]
fn threads_without_a_cache_share_the_depot() {
    run_model("threads_without_a_cache_share_the_depot", || {
        let pool = Pool::new().register(0);
        let (one, two) = (pool.create(), pool.create());
        let other = thread::spawn(move || one.give_back(None));
        two.give_back(None);
        let held = pool.get(0);
        other.join().unwrap();
        held.give_back(Some(0));
        pool.close();
    });
}

/// Two threads use a pool for the first time, and need the same bucket. Fails if the bucket's pointer is published
/// without Release, or read without Acquire.
#[test]
fn two_threads_register_in_one_bucket() {
    run_model("two_threads_register_in_one_bucket", || {
        let pool = Pool::new();
        let other = thread::spawn(move || pool.get(2).give_back(Some(2)));
        pool.get(3).give_back(Some(3));
        other.join().unwrap();
        pool.close();
    });
}
