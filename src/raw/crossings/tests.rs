//! When objects that cross threads go to the depot.

#![cfg(not(repool_loom))]

use super::*;
use crate::object::pool::Pool;

fn bounded() -> Pool<Vec<u8>> {
    Pool::builder(Vec::new).max_idle(4).trim_manually().build()
}

fn seen(core: &Core) -> bool {
    core.header.crossing_seen.load(Ordering::Relaxed)
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
            core.forget_crossings();
            assert!(!core.crossings_use_depot() && !seen(core));
        }
    }
}
