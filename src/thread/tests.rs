//! Tests of the slow path that need a typed pool, which the models do without.

use super::slow::{combine, refill};
use super::{local, register};
use crate::budget::Budget;
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::raw::indexed::IndexedBatch;
use crate::raw::lists::Leaving;
use crate::raw::node::{Batch, End};
use crate::raw::pool::Core;
use crate::raw::stats::Reason;
use crate::sys::process::janitor_is_possible;
use std::ptr::NonNull;

/// While a visitor ages a cache, the statistics may say for a moment that the cache is empty.
#[test]
fn a_cache_that_only_looked_empty_loses_nothing_where_objects_are_shared() {
    // Another pool takes most of the budget: only then are objects shared.
    let budget = Budget::new(1_000);
    let other = Pool::builder(|| Vec::<u8>::with_capacity(600))
        .budget(budget.clone())
        .trim_manually()
        .build();
    drop(other.get());
    let pool = Pool::builder(Vec::<u8>::new)
        .budget(budget)
        .trim_manually()
        .build();
    drop([pool.get(), pool.get(), pool.get()]);
    let core = pool.core();
    core.note_crossing();
    core.note_miss();
    assert!(core.crossings_use_depot());
    let id = local::thread_id().expect("a thread like any other");
    let cache = register::cache_of(core, id).expect("used above");
    assert!(!cache.is_empty());
    let link = NonNull::new(refill(core, cache, id)).expect("there were three");
    assert_eq!((pool.stats().idle, pool.stats().in_use), (2, 1));
    // SAFETY: just taken, and held here.
    unsafe { Core::discard(link.as_ptr(), Reason::User) };
    assert_eq!(pool.clear().objects, 2);
}

fn nodes(pool: &Pool<Vec<u8>>, count: usize) -> Batch {
    let mut batch = Batch::EMPTY;
    for _ in 0..count {
        let link = Pooled::into_link(pool.attach(Vec::new()));
        // SAFETY: the guard held it.
        unsafe { batch.push(link.as_ptr()) };
    }
    batch
}

/// When a limit refuses a return, the objects that the thread hands over are the hottest of all.
#[test]
fn hot_objects_do_not_go_to_the_cold_end_with_cold_ones() {
    let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
    for (cold, hot, expected) in [
        (0, 0, End::Cold),
        (2, 0, End::Cold),
        (0, 2, End::Hot),
        (2, 3, End::Hot),
    ] {
        let mut leaving = Leaving {
            batch: IndexedBatch::new(nodes(&pool, cold)),
            end: End::Cold,
        };
        let rest = nodes(&pool, hot);
        let top = if hot > 0 {
            rest.head
        } else {
            leaving.batch.batch().head
        };
        combine(&mut leaving, rest);
        let (all, end) = (leaving.batch.into_batch(), leaving.end);
        assert_eq!((all.len, all.head, end), (cold + hot, top, expected));
        pool.core().drop_nodes(all);
    }
}

/// A thread's first object may come from outside the pool, before the thread has a cache.
#[test]
fn an_object_that_comes_back_to_the_thread_that_attached_it_does_not_cross_threads() {
    for how in 0..3 {
        let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).max_idle(2).trim_manually().build();
        match how {
            0 => drop(pool.attach(Vec::new())),
            1 => drop(pool.get()),
            _ => pool.put(Vec::new()),
        }
        // The pool is at its limit, so a miss after a crossing would change the mode.
        let held = [pool.get(), pool.get(), pool.get()];
        pool.core().note_miss();
        assert!(!pool.core().crossings_use_depot(), "way {how}");
        drop(held);
    }
}

/// What the pool has learned about crossings lasts for three intervals without any.
#[test]
fn passes_forget_that_objects_crossed_threads() {
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).max_idle(1).trim_manually().build();
    drop(pool.get());
    let core = pool.core();
    core.note_crossing();
    core.note_miss();
    assert!(core.crossings_use_depot());
    for _ in 0..3 {
        assert!(core.crossings_use_depot());
        let _ = pool.trim();
    }
    drop(pool.get());
    core.note_miss();
    assert!(!core.crossings_use_depot());
}

/// A visitor has timed out, and the pool is switched off when the owner comes back.
#[test]
fn an_owner_empties_its_cache_for_a_visitor_also_while_the_pool_is_off() {
    if !janitor_is_possible() {
        return; // no caches
    }
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
    drop([pool.get(), pool.get()]);
    let id = local::thread_id().expect("a thread like any other");
    let cache = register::cache_of(pool.core(), id).expect("used above");
    pool.set_enabled(false);
    cache.lose_owner_inside(true);
    assert_eq!(pool.clear().objects, 0);
    cache.lose_owner_inside(false);
    assert_eq!(pool.stats().idle, 2);
    drop(pool.get());
    assert_eq!((pool.stats().idle, pool.stats().trimmed), (0, 2));
}
