//! When objects that cross threads go to the depot.

#![cfg(not(repool_loom))]

use super::*;
use crate::object::pool::Pool;

fn bounded() -> Pool<Vec<u8>> {
    Pool::builder(Vec::new).max_idle(4).trim_manually().build()
}

fn seen(core: &Core) -> bool {
    core.header.crossing_seen.load(Ordering::Relaxed) != 0
}

#[test]
fn before_a_pass_only_bounded_pools_note_crossings() {
    let unbounded: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
    unbounded.core().note_crossing();
    assert!(!seen(unbounded.core()));
    let pool = bounded();
    for _ in 0..2 {
        assert_eq!(pool.core().note_crossing(), ());
        assert!(seen(pool.core()));
    }
}

/// In every order in which half of the limit is used, an object crosses, and a get finds nothing.
#[test]
fn crossings_use_the_depot_after_a_crossing_and_then_a_miss_under_a_tight_limit() {
    for tight in [false, true] {
        for crossing in [false, true] {
            let pool = bounded();
            let core = pool.core();
            assert_eq!(
                pool.prefill(if tight { 2 } else { 1 }),
                if tight { 2 } else { 1 }
            );
            core.note_miss();
            assert!(!core.crossings_use_depot(), "no crossing yet");
            if crossing {
                core.note_crossing();
            }
            assert!(!core.crossings_use_depot(), "no miss yet");
            core.note_miss();
            assert_eq!(core.crossings_use_depot(), tight && crossing);
            core.note_miss();
            assert_eq!(core.crossings_use_depot(), tight && crossing);
        }
    }
}

fn tight() -> Pool<Vec<u8>> {
    let pool = bounded();
    assert_eq!(pool.prefill(2), 2);
    pool
}

#[test]
fn a_crossing_counts_until_the_third_pass() {
    for (passes, counts) in [(0, true), (2, true), (3, false), (4, false)] {
        let pool = tight();
        let core = pool.core();
        core.note_crossing();
        (0..passes).for_each(|_| core.age_crossings(1));
        core.note_miss();
        assert_eq!(core.crossings_use_depot(), counts, "{passes} passes");
        assert_eq!(seen(core), counts, "{passes} passes");
    }
}

/// A tight bounded pool, and a slow unbounded one, in which crossings use the depot.
fn with_crossings(objects: usize) -> [(Pool<Vec<u8>>, usize); 2] {
    [(2 * objects, 64), (usize::MAX, 0)].map(|(limit, each)| {
        let pool = Pool::builder(Vec::new).max_idle(limit);
        let pool: Pool<Vec<u8>> = pool.trim_manually().build();
        assert_eq!(pool.prefill(objects), objects);
        let core = pool.core();
        core.age_crossings(1);
        core.note_crossing();
        core.note_miss();
        assert!(core.crossings_use_depot());
        (pool, 1024.max(each * objects))
    })
}

#[test]
fn crossings_use_the_depot_while_there_are_any() {
    for (pool, _) in with_crossings(1) {
        let core = pool.core();
        for _ in 0..100 {
            core.age_crossings(1);
            assert!(core.crossings_use_depot());
            core.note_crossing();
        }
        for still in [true, true, false] {
            core.age_crossings(1);
            assert_eq!(core.crossings_use_depot(), still);
        }
    }
}

#[test]
fn crossings_use_the_depot_until_an_interval_has_many_returns() {
    for objects in [1, 500] {
        for (pool, many) in with_crossings(objects) {
            let core = pool.core();
            core.age_crossings(many - 1);
            assert!(core.crossings_use_depot() && core.notes_crossings());
            core.age_crossings(many);
            assert!(!core.crossings_use_depot());
            let bounded = core.limits.bounded();
            assert_eq!(core.notes_crossings(), bounded);
            core.age_crossings(many - 1);
            assert!(core.notes_crossings());
        }
    }
}

#[test]
fn in_an_unbounded_pool_crossings_use_the_depot_for_some_returns_to_it_at_most() {
    for objects in [1, 500] {
        for (pool, many) in with_crossings(objects) {
            let core = pool.core();
            // Also if the counter wraps around meanwhile.
            core.counters.returned(usize::MAX - 10);
            core.age_crossings(1);
            core.note_crossing();
            for (returns, left) in [(0, true), (many - 1, true), (1, false)] {
                core.counters.returned(returns);
                let still = left || core.limits.bounded();
                assert_eq!(core.crossing_uses_depot(), still, "{objects}");
                assert_eq!(core.notes_crossings(), still);
            }
        }
    }
}

#[test]
fn an_unbounded_pool_notes_crossings_only_after_an_interval_with_few_returns() {
    let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
    let core = pool.core();
    for (returned, notes) in [(1024, false), (0, true), (1024, false), (1023, true)] {
        core.age_crossings(returned);
        core.note_crossing();
        assert_eq!((core.notes_crossings(), seen(core)), (notes, notes));
        core.note_miss();
        assert_eq!(core.crossings_use_depot(), notes);
    }
}

#[test]
fn in_a_slow_unbounded_pool_crossings_use_the_depot_without_a_miss() {
    for (limit, uses) in [(4, false), (usize::MAX, true)] {
        let pool = Pool::builder(Vec::new).max_idle(limit);
        let pool: Pool<Vec<u8>> = pool.trim_manually().build();
        assert_eq!(pool.prefill(2), 2);
        let core = pool.core();
        core.age_crossings(1);
        core.note_crossing();
        assert!(!core.crossings_use_depot());
        core.age_crossings(1);
        assert_eq!(core.crossings_use_depot(), uses, "{limit}");
        core.age_crossings(1024);
        assert!(!core.crossings_use_depot());
    }
}

#[test]
fn an_unbounded_pool_stops_to_note_crossings_when_threads_take_many_objects() {
    for (limit, stops) in [(4, false), (usize::MAX, true)] {
        let pool = Pool::builder(Vec::new).max_idle(limit);
        let pool: Pool<Vec<u8>> = pool.trim_manually().build();
        let core = pool.core();
        core.age_crossings(1);
        core.note_crossing();
        for _ in 0..15 {
            assert!(core.notes_refill(64));
        }
        assert!(core.notes_refill(63) && seen(core));
        assert_eq!(core.notes_refill(1), !stops);
        assert_eq!((core.notes_crossings(), seen(core)), (!stops, !stops));
        core.age_crossings(1);
        assert!(core.notes_refill(1), "the next interval");
    }
}
