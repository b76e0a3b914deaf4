//! Tests of passes that need typed pools, which the models do without.

use super::trim::{GATES, Pass, visit_all};
use crate::object::pool::Pool;
use crate::sys::memory::Level;
use crate::sys::process::janitor_is_possible;

#[test]
fn passes_over_many_small_pools_share_a_heavy_fence() {
    if !janitor_is_possible() {
        return; // no caches
    }
    // One more than ten fences are enough for.
    let pools: Vec<Pool<Vec<u8>>> = (0..=10 * GATES)
        .map(|_| Pool::builder(Vec::new).trim_manually().build())
        .collect();
    for _ in 0..4 {
        for pool in &pools {
            drop([pool.get(), pool.get()]);
        }
        let mut passes: Vec<_> = pools
            .iter()
            .map(|pool| Some(Pass::begin(pool.core(), Level::Normal)))
            .collect();
        assert_eq!(visit_all(&mut passes), 11);
        for pass in passes.into_iter().flatten() {
            let _ = pass.finish();
        }
    }
    assert!(pools.iter().all(|pool| pool.stats().created == 2));
    for pool in &pools {
        let _ = (pool.trim(), pool.trim(), pool.trim());
    }
    assert!(pools.iter().all(|pool| pool.stats().idle == 0));
}
