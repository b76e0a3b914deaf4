//! Passes over a pool that one thread uses.

#![cfg(not(repool_loom))]

use super::*;
use crate::budget::Budget;
use crate::object::builder::Builder;
use crate::object::pool::Pool;
use crate::sys::process::janitor_is_possible;

const CAPACITY: usize = 1000;

fn builder() -> Builder<Vec<u8>> {
    Pool::builder(|| Vec::with_capacity(CAPACITY)).trim_manually()
}

/// Runs a pass. Returns how many objects it dropped, and whether the pool is quiescent.
fn pass_over(pool: &Pool<Vec<u8>>, level: Level) -> (u64, bool) {
    let (trimmed, quiescent) = pass(pool.core(), level);
    let each = (CAPACITY + size_of::<Vec<u8>>()) as u64;
    assert_eq!(trimmed.bytes, trimmed.objects * each);
    (trimmed.objects, quiescent)
}

fn fill(pool: &Pool<Vec<u8>>, objects: usize) {
    drop((0..objects).map(|_| pool.get()).collect::<Vec<_>>());
}

/// Puts objects into this thread's cache.
fn put(pool: &Pool<Vec<u8>>, objects: usize) {
    for _ in 0..objects {
        pool.put(Vec::with_capacity(CAPACITY));
    }
}

/// What passes over an unused pool of ten objects drop, and when they find it quiescent.
fn unused(pool: &Pool<Vec<u8>>, level: Level) -> Vec<(u64, bool)> {
    fill(pool, 10);
    (0..4).map(|_| pass_over(pool, level)).collect()
}

#[test]
fn a_pass_counts_intervals_by_the_level_and_leaves_the_minimum() {
    if !janitor_is_possible() {
        return; // no caches
    }
    let quiet = (0, true);
    let busy = (0, false);
    let passes = |level| unused(&builder().build(), level);
    assert_eq!(passes(Level::Normal), [busy, busy, (10, true), quiet]);
    assert_eq!(passes(Level::Elevated), [busy, (10, true), quiet, quiet]);
    assert_eq!(passes(Level::Critical), [(10, true), quiet, quiet, quiet]);
    let passes = |level| unused(&builder().min_idle(3).build(), level);
    assert_eq!(passes(Level::Normal), [busy, busy, (7, true), quiet]);
    assert_eq!(passes(Level::Elevated), [busy, (7, true), quiet, quiet]);
    assert_eq!(passes(Level::Critical), [(7, true), quiet, quiet, quiet]);
    let passes = |level| unused(&builder().min_idle(10).build(), level);
    assert_eq!(passes(Level::Normal), [busy, quiet, quiet, quiet]);
    assert_eq!(passes(Level::Critical), [quiet; 4]);
}

#[test]
fn passes_that_shut_no_gate_need_no_fence() {
    let (one, other) = (builder().build(), builder().build());
    let passes = [&one, &other].map(|pool| Some(Pass::begin(pool.core(), Level::Normal)));
    let [one, other] = passes;
    let mut passes = [one, None, other];
    assert_eq!(visit_all(&mut passes), 0);
    assert_eq!(visit_all(&mut []), 0);
}

#[test]
fn pools_share_a_fence_until_they_have_shut_some_dozens_of_gates() {
    if !janitor_is_possible() {
        return; // no caches, so no gates
    }
    for (count, fences) in [(1, 1), (GATES, 1), (GATES + 1, 2), (2 * GATES + 1, 3)] {
        let pools: Vec<_> = (0..count).map(|_| builder().build()).collect();
        for pool in &pools {
            drop(pool.get());
        }
        let mut passes: Vec<_> = pools
            .iter()
            .map(|pool| Some(Pass::begin(pool.core(), Level::Normal)))
            .collect();
        assert_eq!(visit_all(&mut passes), fences, "{count}");
    }
}

#[test]
fn a_pool_whose_owner_works_is_not_quiescent() {
    if !janitor_is_possible() {
        return;
    }
    let pool = builder().min_idle(100).build();
    for _ in 0..5 {
        drop(pool.get());
        assert_eq!(pass_over(&pool, Level::Normal), (0, false));
    }
    assert_eq!(pass_over(&pool, Level::Normal), (0, true));
}

#[test]
fn a_pool_with_a_hook_of_its_own_may_not_be_quiescent_yet() {
    let pool = builder().on_pass(|| true).build();
    let passes = unused(&pool, Level::Normal);
    assert_eq!(passes.iter().map(|(objects, _)| objects).sum::<u64>(), 10);
    assert!(passes.iter().all(|(_, quiescent)| !quiescent));
}

#[test]
fn what_caches_keep_counts_towards_the_minimum() {
    if !janitor_is_possible() {
        return;
    }
    for (level, minimum) in [
        (Level::Normal, 22),
        (Level::Elevated, 22),
        (Level::Elevated, 24),
    ] {
        let pool = builder().min_idle(minimum).build();
        assert_eq!(pool.prefill(20), 20);
        put(&pool, 5);
        let mut idle = 25;
        for _ in 0..6 {
            drop(pool.get()); // a hit: the cache stays in use
            idle -= pass_over(&pool, level).0;
            assert_eq!(pool.stats().idle, idle);
            assert!(idle >= minimum as u64);
        }
        assert_eq!(idle, minimum as u64, "{level:?}");
        assert_eq!(pool.stats().trimmed, 25 - idle);
    }
}

#[test]
fn a_pool_gives_way_to_pools_that_lose_more_than_it_uses() {
    let budget = Budget::new(3 * (CAPACITY + 100));
    let (kept, other) = (
        builder().budget(budget.clone()).build(),
        builder().budget(budget.clone()).build(),
    );
    for (refused, dropped) in [(0, 0), (3, 0), (4, 3)] {
        fill(&kept, 3);
        put(&other, refused);
        assert_eq!(other.stats().idle, 0);
        assert_eq!(pass_over(&kept, Level::Normal).0, dropped, "{refused}");
    }
    assert_eq!((kept.stats().idle, budget.used()), (0, 0));
}

#[test]
fn the_coldest_are_taken_across_batches() {
    let pool = builder().build();
    let core = pool.core();
    assert_eq!(pool.prefill(150), 150);
    assert!(core.depots().objects() == 150);
    let cold = take_cold(core.depots().own(), 100);
    assert_eq!((cold.len, core.depots().objects()), (100, 50));
    let (came_in, refused) = give_to_depot(core, cold);
    assert_eq!((came_in, refused.len), (100, 0));
    assert_eq!(take_cold(core.depots().own(), 0).len, 0);
    let all = take_cold(core.depots().own(), 1000);
    assert_eq!((all.len, core.depots().objects()), (150, 0));
    let (came_in, refused) = give_to_depot(core, all);
    assert_eq!(
        (came_in, refused.len, core.depots().objects()),
        (150, 0, 150)
    );
}
