//! How a thread gets its cache, and what an owner does at a gate that is shut.

#![cfg(not(repool_loom))]

use super::*;
use crate::object::pool::Pool;
use crate::raw::visit::RECOVERING;
use crate::sync::Ordering;
use crate::sys::generation::generation;
use crate::sys::process::janitor_is_possible;
use crate::thread::local;

fn pool() -> Pool<Vec<u8>> {
    Pool::builder(Vec::new).trim_manually().build()
}

fn my_id() -> ThreadId {
    local::thread_id().expect("a thread like any other")
}

#[test]
fn a_thread_registers_once_with_a_pool_that_is_open() {
    let pool = pool();
    let (core, id) = (pool.core(), my_id());
    let held = core.lock_visits(Timeout::Short);
    assert!(cache_of(core, id).is_none(), "another thread visits");
    drop(held);
    let cache = cache_of(core, id).expect("free");
    assert!(cache.is_occupied() && cache.is_listed());
    let again = cache_of(core, id).expect("registered");
    assert!(std::ptr::eq(cache, again));
    let mut listed = 0;
    core.each_cache(|_| listed += 1);
    assert_eq!(listed, 1);
}

#[test]
fn a_thread_does_not_register_with_a_pool_that_is_closed() {
    let pool = pool();
    let core = pool.core();
    core.set_closed();
    assert!(cache_of(core, my_id()).is_none());
    let mut listed = 0;
    core.each_cache(|_| listed += 1);
    assert_eq!(listed, 0);
}

/// A pool with two idle objects in this thread's cache, at which a visitor has left a request.
fn asked() -> Pool<Vec<u8>> {
    let pool = pool();
    drop([pool.get(), pool.get()]);
    let cache = cache_of(pool.core(), my_id()).expect("used above");
    cache.lose_owner_inside(true);
    assert!(!pool.core().empty(false).1);
    cache.lose_owner_inside(false);
    assert!(cache.is_drain_requested());
    pool
}

#[test]
fn an_owner_drains_its_cache_for_a_visitor_that_has_asked() {
    if !janitor_is_possible() {
        return; // no caches
    }
    let pool = asked();
    let core = pool.core();
    let cache = cache_of(core, my_id()).expect("used above");
    let held = core.lock_visits(Timeout::Short);
    assert!(!reopen_slow(core, cache), "another thread visits");
    assert!(cache.is_drain_requested());
    drop(held);
    assert!(reopen_slow(core, cache), "the owner tries again");
    assert!(!cache.is_drain_requested() && cache.is_empty());
    assert_eq!((pool.stats().trimmed, pool.stats().idle), (2, 0));
    assert!(!reopen_slow(core, cache), "nothing to do");
}

#[test]
fn an_owner_drains_its_cache_of_a_closed_pool_and_does_not_try_again() {
    if !janitor_is_possible() {
        return;
    }
    let pool = asked();
    let core = pool.core();
    let cache = cache_of(core, my_id()).expect("used above");
    core.set_closed();
    for _ in 0..2 {
        assert!(!reopen_slow(core, cache));
        let stats = pool.stats();
        assert_eq!((stats.discarded_by.closed, stats.trimmed), (2, 0));
    }
    assert!(cache.is_empty());
}

#[test]
fn an_owner_in_a_forked_child_recovers_the_visits_first() {
    if !janitor_is_possible() {
        return;
    }
    let pool = asked();
    let core = pool.core();
    let cache = cache_of(core, my_id()).expect("used above");
    core.visit_generation
        .store(generation() | RECOVERING, Ordering::Relaxed);
    assert!(!reopen_slow(core, cache), "another thread does that");
    core.visit_generation
        .store(generation() + 1, Ordering::Relaxed);
    assert!(reopen_slow(core, cache));
    assert!(!core.visits_are_lost() && cache.is_drain_requested());
    assert!(reopen_slow(core, cache));
    assert!(!cache.is_drain_requested());
}
