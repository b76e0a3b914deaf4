//! A pool is dropped while guards are alive.

use super::{FORGETFUL, Pool, run_model};
use loom::thread;
use std::sync::atomic::Ordering::SeqCst;

/// The last holder frees the core, once, after all other holders are done with it. Fails if a reference is released
/// without Release, or if the last release has no Acquire.
#[test]
fn the_last_guard_and_the_pool_free_once() {
    run_model("the_last_guard_and_the_pool_free_once", || {
        let pool = Pool::new().register(0);
        let held = pool.create();
        let owner = thread::spawn(move || held.give_back(Some(0)));
        pool.close();
        owner.join().unwrap();
    });
}

/// The same with a return on a thread without a cache, which keeps the core's memory by itself.
#[test]
fn a_return_without_a_cache_outlives_the_pool() {
    run_model("a_return_without_a_cache_outlives_the_pool", || {
        let pool = Pool::new();
        let held = pool.create();
        let other = thread::spawn(move || held.give_back(None));
        pool.close();
        other.join().unwrap();
    });
}

/// An owner that works while the pool closes leaves nothing in its cache.
#[test]
fn closing_leaves_nothing_behind() {
    run_model("closing_leaves_nothing_behind", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let (one, two) = (pool.create(), pool.create());
        let owner = thread::spawn(move || {
            one.give_back(Some(0));
            two.give_back(Some(0));
        });
        pool.close();
        owner.join().unwrap();
    });
}

/// A return moves a full list to a depot that is closed meanwhile, so it drops the pool's last object, and the closures
/// with it. The closures use another pool, so the thread forgets this one. Then only the reference of the return itself
/// keeps the core. Fails without that reference.
#[test]
fn a_return_outlives_a_pool_that_its_thread_forgets() {
    run_model("a_return_outlives_a_pool_that_its_thread_forgets", || {
        let pool = Pool::new().register(0);
        let all: Vec<_> = (0..4).map(|_| pool.create()).collect();
        let last = pool.create();
        for held in all {
            held.give_back(Some(0));
        }
        FORGETFUL.store(true, SeqCst);
        let owner = thread::spawn(move || last.give_back(Some(0)));
        pool.close();
        owner.join().unwrap();
    });
}
