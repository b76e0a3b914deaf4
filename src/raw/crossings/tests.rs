//! When objects that cross threads go to the depot.

#![cfg(not(repool_loom))]

use super::*;
use crate::object::pool::Pool;
use crate::raw::limits::Charge;

fn bounded() -> Pool<Vec<u8>> {
    Pool::builder(Vec::new).max_idle(4).trim_manually().build()
}

fn seen(core: &Core) -> bool {
    core.header.crossing_seen.load(Ordering::Relaxed) != 0
}

#[test]
fn only_bounded_pools_note_crossings() {
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
fn a_crossing_counts_until_the_second_pass() {
    for (passes, counts) in [(0, true), (1, true), (2, false), (3, false)] {
        let pool = tight();
        let core = pool.core();
        core.note_crossing();
        (0..passes).for_each(|_| core.age_crossings());
        core.note_miss();
        assert_eq!(core.crossings_use_depot(), counts, "{passes} passes");
        assert_eq!(seen(core), counts, "{passes} passes");
    }
}

#[test]
fn crossings_use_the_depot_while_there_are_any() {
    let pool = tight();
    let core = pool.core();
    core.note_crossing();
    core.note_miss();
    for _ in 0..100 {
        core.age_crossings();
        assert!(core.crossings_use_depot());
        core.note_crossing();
    }
    core.age_crossings();
    assert!(core.crossings_use_depot());
    core.age_crossings();
    assert!(!core.crossings_use_depot());
}

#[test]
fn crossings_use_the_depot_until_a_pass_after_a_number_of_returns_to_it() {
    let pool = Pool::builder(Vec::<u8>::new).max_idle(100);
    let pool = pool.trim_manually().build();
    let core = pool.core();
    // Also if the counter wraps around meanwhile.
    core.counters.returned(usize::MAX - 10);
    for (objects, expected) in [(60, 64 * 60), (1, 1024)] {
        let _ = pool.clear();
        assert_eq!(pool.prefill(objects), objects);
        let rest = Charge {
            objects: 100 - objects,
            bytes: 0,
        };
        core.limits.reserve(rest).expect("100 fit");
        core.note_crossing();
        core.note_miss();
        assert!(core.crossings_use_depot());
        for (returns, still) in [(0, true), (expected - 1, true), (1, false)] {
            core.counters.returned(returns);
            core.note_crossing();
            core.age_crossings();
            assert_eq!(core.crossings_use_depot(), still, "{objects}, {returns}");
        }
        core.limits.release(rest);
    }
}
