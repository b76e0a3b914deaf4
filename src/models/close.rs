//! The pool goes while guards are out.

use super::{FORGETFUL, Pool, run_model};
use loom::thread;
use std::sync::atomic::Ordering::SeqCst;

/// The last one to let go frees the core, once, after all others are done with it. Fails when
/// a reference is given up without Release, or the last one taken without Acquire.
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

/// The same from a thread without a cache, which keeps the core's memory by itself.
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

/// A return hands a full list over to a depot that is closed by then, and drops the pool's last object. The closures go
/// with it, and use another pool, so that the thread forgets this one: what is left to keep the core is what the return
/// itself keeps. Fails without that.
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
