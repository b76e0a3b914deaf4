//! What a thread remembers, and what it leaves when it ends.

#![cfg(not(repool_loom))]

use super::*;
use crate::object::pool::Pool;
use crate::sys::process::janitor_is_possible;
use std::sync::Barrier;
use std::thread;

fn pool() -> Pool<Vec<u8>> {
    Pool::builder(Vec::new).trim_manually().build()
}

/// The length and the capacity of what the calling thread remembers.
fn remembered() -> (usize, usize) {
    EXIT.with(|exit| {
        let cores = exit.cores.borrow();
        (cores.len(), cores.capacity())
    })
}

/// Runs `work` on a new thread.
fn on_a_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(work).join().expect("no panic"))
}

#[test]
fn a_thread_forgets_pools_that_are_gone_when_its_list_is_full() {
    on_a_thread(|| {
        let first = pool();
        assert!(remember(first.core()));
        let (len, room) = remembered();
        assert!(len == 1 && room >= 8);
        let pools: Vec<_> = (1..room).map(|_| pool()).collect();
        drop(first);
        for pool in &pools {
            assert!(remember(pool.core()));
        }
        assert_eq!(remembered(), (room, room), "not looked at before");
        let kept = pools.into_iter().take(2).collect::<Vec<_>>();
        let last = pool();
        assert!(remember(last.core()));
        let (len, room) = remembered();
        assert!(len == 3 && room >= 10);
        for pool in kept.iter().chain([&last]) {
            EXIT.with(|exit| {
                let cores = exit.cores.borrow();
                let is_it = |core: &WeakCore| std::ptr::eq(&raw const **core, pool.core());
                assert!(cores.iter().any(is_it));
            });
        }
    });
}

#[test]
fn only_the_last_pool_is_unremembered() {
    on_a_thread(|| {
        let (one, other) = (pool(), pool());
        unremember(one.core());
        assert!(remember(one.core()) && remember(other.core()));
        unremember(one.core());
        assert_eq!(remembered().0, 2);
        unremember(other.core());
        unremember(other.core());
        assert_eq!(remembered().0, 1);
    });
}

#[test]
fn a_thread_keeps_its_id_and_two_threads_have_two() {
    let both = Barrier::new(2);
    let id = || {
        let id = thread_id();
        both.wait();
        assert_eq!(thread_id(), id);
        id.expect("there are enough")
    };
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(id);
        (on_a_thread(id), other.join().expect("no panic"))
    });
    assert_ne!(one, other);
}

#[test]
fn a_thread_that_ends_leaves_its_objects_in_the_depot_and_its_cache_vacant() {
    if !janitor_is_possible() {
        return; // no caches
    }
    let pool = pool();
    let core = pool.core();
    let id = on_a_thread(|| {
        drop([pool.get(), pool.get()]);
        assert_eq!(core.depots().objects(), 0, "in the cache");
        thread_id().expect("used above")
    });
    assert_eq!(core.depots().objects(), 2);
    let cache = core.cache_table().cache_of(id);
    // SAFETY: the caches live as long as the pool.
    let cache = unsafe { cache.as_ref() }.expect("used above");
    assert!(cache.is_listed() && !cache.is_occupied());
}
