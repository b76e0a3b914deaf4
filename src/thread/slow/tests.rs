//! Gets that refill a cache, gets that find a request, and returns that evict others.

#![cfg(not(repool_loom))]

use super::*;
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::raw::node::LIST_BYTES;
use crate::sys::process::janitor_is_possible;
use crate::thread::local;
use std::sync::Barrier;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3_600);

fn pool() -> Pool<Vec<u8>> {
    Pool::builder(Vec::new).trim_manually().build()
}

fn my_id() -> ThreadId {
    local::thread_id().expect("a thread like any other")
}

fn mine(core: &Core) -> &Cache {
    register::cache_of(core, my_id()).expect("the pool is open")
}

/// The number of objects in this thread's cache.
fn in_cache(core: &Core) -> usize {
    mine(core).stats().0.idle
}

/// Gives the depot one batch of this many nodes, which weigh that much each.
fn give_batch(pool: &Pool<Vec<u8>>, count: usize, weight: usize, heaviest: usize) {
    let mut batch = Batch::EMPTY;
    for _ in 0..count {
        let link = Pooled::into_link(pool.attach(Vec::new())).as_ptr();
        // SAFETY: the guard held it.
        unsafe { Link::set_weight(link, weight) };
        // SAFETY: as above.
        unsafe { batch.push(link) };
    }
    batch.heaviest = heaviest;
    // SAFETY: the nodes belong to this pool, which outlives the call.
    unsafe { into_depot(pool.core().address(), batch, End::Hot) };
    assert_eq!(pool.core().depots().objects(), count);
}

/// Drops a node that a get has found.
fn discard(link: *mut Link) {
    assert!(!link.is_null());
    // SAFETY: the get gave it to the caller.
    unsafe { Core::discard(link, Reason::User) };
}

#[test]
fn a_refill_loads_as_much_as_a_list_may_hold_and_leaves_the_rest() {
    if !janitor_is_possible() {
        return; // no caches
    }
    let heavy = 8 << 10;
    let full = LIST_BYTES / heavy;
    for (weight, heaviest, count, loaded) in [
        (1, 1, 10, 9),
        (heavy, heavy, full + 1, full),
        (heavy, heavy, full + 14, full),
        // Weighed, because what the batch says is far from its sum.
        (1, 64 << 10, 10, 9),
        (heavy, 64 << 10, full + 14, full),
    ] {
        let pool = pool();
        let core = pool.core();
        mine(core);
        give_batch(&pool, count, weight, heaviest);
        discard(take(core, Some(my_id())));
        let found = (in_cache(core), core.depots().objects());
        assert_eq!(found, (loaded, count - 1 - loaded), "{weight} {heaviest}");
    }
}

#[test]
fn what_is_in_either_list_of_a_cache_comes_before_the_depot() {
    if !janitor_is_possible() {
        return;
    }
    let pool = pool();
    let core = pool.core();
    drop([pool.get(), pool.get()]);
    give_batch(&pool, 3, 1, 1);
    // The objects are in the spare list now.
    assert!(core.visit(|_, lists| assert!(lists.age(&core.limits).is_empty())));
    assert_eq!(in_cache(core), 2);
    for left in [1, 0] {
        discard(take(core, Some(my_id())));
        assert_eq!((in_cache(core), core.depots().objects()), (left, 3));
    }
    discard(take(core, Some(my_id())));
    assert_eq!((in_cache(core), core.depots().objects()), (2, 0));
    for _ in 0..2 {
        discard(take(core, Some(my_id())));
    }
    assert!(take(core, Some(my_id())).is_null());
}

/// A visitor that could not enter has asked for an empty cache, in which objects may have been at the time.
#[test]
fn a_get_with_an_empty_cache_does_what_a_visitor_has_asked_for() {
    if !janitor_is_possible() {
        return;
    }
    let pool = pool();
    let core = pool.core();
    let cache = mine(core);
    cache.lose_owner_inside(true);
    assert!(!core.empty(false).1);
    cache.lose_owner_inside(false);
    assert!(cache.is_drain_requested() && cache.is_empty());
    give_batch(&pool, 2, 1, 1);
    discard(take(core, Some(my_id())));
    assert!(!cache.is_drain_requested());
    assert_eq!((in_cache(core), core.depots().objects()), (1, 0));
}

#[test]
fn a_thread_without_a_cache_takes_single_objects() {
    let pool = pool();
    let core = pool.core();
    give_batch(&pool, 2, 1, 1);
    for left in [1, 0] {
        discard(take(core, None));
        assert_eq!(core.depots().objects(), left);
    }
    assert!(take(core, None).is_null());
    assert_eq!(pool.stats().reused, 2);
}

#[test]
fn one_return_evicts_no_more_than_some_dozens_of_objects() {
    let each = 100 + size_of::<Vec<u8>>();
    let all = EVICTED + 8;
    let pool = || {
        Pool::builder(|| Vec::<u8>::with_capacity(100))
            .max_idle_bytes(all * each)
            .trim_manually()
            .build()
    };
    for more in [0, 1] {
        let pool = pool();
        let core = pool.core();
        assert_eq!(pool.prefill(all), all);
        assert_eq!(core.limits.charged(), all);
        let weight = EVICTED * each - size_of::<Vec<u8>>() + more;
        match make_space(core, weight) {
            Ok(evicted) => {
                assert_eq!((evicted.len, more), (EVICTED, 0));
                assert_eq!(core.limits.charged(), all - EVICTED + 1);
                core.drop_nodes(evicted);
                core.limits.release(Charge {
                    objects: 1,
                    bytes: weight,
                });
            }
            Err(reason) => {
                assert_eq!((reason, more), (Reason::Full, 1));
                assert_eq!(core.limits.charged(), all);
                assert_eq!(core.depots().objects(), all, "they stay");
            }
        }
    }
}

#[test]
fn closing_drops_what_is_idle_and_counts_it() {
    let pool = pool();
    let core = pool.core();
    drop([pool.get(), pool.get()]);
    give_batch(&pool, 3, 1, 1);
    close(core);
    assert!(core.is_closed());
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.discarded_by.closed), (0, 5));
}

/// What limits refuse here is in the cache of another thread.
#[test]
fn a_hoard_is_in_the_depot_once_it_was_recalled() {
    if !janitor_is_possible() {
        return;
    }
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).max_idle(1).trim_manually().build();
    let core = pool.core();
    let both = Barrier::new(2);
    let found = std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(pool.get());
            both.wait();
            both.wait();
        });
        both.wait();
        for _ in 0..1_000 {
            if core.returns_use_depot() {
                break;
            }
            drop(pool.get());
        }
        let (stats, objects) = (pool.stats(), core.depots().objects());
        both.wait();
        (objects, core.limits.charged(), stats.idle, stats.in_use)
    });
    assert_eq!(found, (1, 1, 1, 0));
}

/// Or its return would count as one on another thread.
#[test]
fn an_object_from_the_depot_gets_the_cache_of_the_thread_that_has_taken_it() {
    if !janitor_is_possible() {
        return;
    }
    for objects_are_shared in [false, true] {
        let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).max_idle(2).trim_manually().build();
        let core = pool.core();
        assert_eq!(pool.prefill(2), 2);
        if objects_are_shared {
            core.note_crossing();
            core.note_miss();
        }
        assert_eq!(core.crossings_use_depot(), objects_are_shared);
        for _ in 0..2 {
            let link = take(core, Some(my_id()));
            assert!(!link.is_null());
            // SAFETY: the get gave it to the caller.
            let last_cache = unsafe { Link::last_cache(link) };
            assert_eq!(last_cache, mine(core).as_opaque());
            discard(link);
        }
        assert!(take(core, Some(my_id())).is_null());
    }
}

/// The first return of a thread takes the slow path, and stays in its cache.
#[test]
fn the_janitor_watches_a_pool_once_an_object_is_idle() {
    if !janitor_is_possible() {
        return;
    }
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_every(HOUR).build();
    let core = pool.core();
    let object = pool.get();
    assert!(!core.is_watched());
    drop(object);
    assert_eq!((in_cache(core), core.is_watched()), (1, true));
}

#[test]
fn the_janitor_drops_what_closing_could_not_reach() {
    if !janitor_is_possible() {
        return;
    }
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_every(HOUR).build();
    let core = pool.core();
    drop([pool.get(), pool.get()]);
    let cache = mine(core);
    cache.lose_owner_inside(true);
    close(core);
    assert_eq!((in_cache(core), pool.stats().discarded_by.closed), (2, 0));
    cache.lose_owner_inside(false);
    let start = Instant::now();
    while pool.stats().discarded_by.closed < 2 {
        assert!(start.elapsed() < Duration::from_secs(20), "never dropped");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(in_cache(core), 0);
}
