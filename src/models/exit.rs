//! A thread ends, and hands its objects and its ID over.

use super::{Pool, run_model};
use crate::sys::thread_id::ThreadId;
use crate::thread::{exit, register};
use loom::thread;

/// Other threads find the objects of a thread that has ended.
#[test]
fn an_ending_thread_loses_nothing() {
    run_model("an_ending_thread_loses_nothing", || {
        let pool = Pool::new().register(0).register(1);
        pool.create().give_back(Some(0));
        let ending = thread::spawn(move || {
            assert!(exit::vacate(pool.core(), ThreadId(0)));
        });
        let getting = thread::spawn(move || pool.try_get(1));
        ending.join().unwrap();
        let found = getting.join().unwrap();
        let found = found.or_else(|| pool.try_get(1)).expect("handed over");
        found.give_back(Some(1));
        pool.close();
    });
}

/// An ending thread against a visitor.
#[test]
fn exit_against_clear_drops_once() {
    run_model("exit_against_clear_drops_once", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let ending = thread::spawn(move || {
            pool.get(0).give_back(Some(0));
            // With three preemptions the visitor can outlast a model's timeout. Then the ID is not reused, and the end
            // of the pool finds what is in the cache.
            let _ = exit::vacate(pool.core(), ThreadId(0));
        });
        let _ = pool.core().clear();
        ending.join().unwrap();
        pool.close();
    });
}

/// A thread ID is reused. The lock of the free IDs orders that (here: a join).
#[test]
fn the_next_owner_of_an_id_finds_an_empty_cache() {
    run_model("the_next_owner_of_an_id_finds_an_empty_cache", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let ending = thread::spawn(move || assert!(exit::vacate(pool.core(), ThreadId(0))));
        ending.join().unwrap();
        let next = thread::spawn(move || pool.get(0).give_back(Some(0)));
        let _ = pool.core().clear();
        next.join().unwrap();
        pool.close();
    });
}

/// A thread registers while another one walks the list of caches, without a lock: the walk misses no cache that was on
/// the list. Fails if a cache is published without Release, or the list is read without Acquire. (The spawned thread
/// does the walk: loom does not reorder what the spawning thread does first.)
#[test]
fn a_walk_misses_no_cache_while_a_thread_registers() {
    run_model("a_walk_misses_no_cache_while_a_thread_registers", || {
        let pool = Pool::new().register(0);
        let walking = thread::spawn(move || {
            let there = pool.core().cache_table().cache_of(ThreadId(0));
            let mut missed = true;
            pool.core()
                .each_cache(|cache| missed &= !std::ptr::eq(cache, there));
            assert!(!missed, "a cache was missed");
        });
        assert!(register::cache_of(pool.core(), ThreadId(1)).is_some());
        walking.join().unwrap();
        pool.close();
    });
}
