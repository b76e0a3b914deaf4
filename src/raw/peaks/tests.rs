//! Peaks, and objects on their way out of a cache.

#![cfg(not(repool_loom))]

use crate::object::pool::Pool;
use crate::sys::process::janitor_is_possible;
use crate::thread::{local, register};

#[test]
fn objects_on_their_way_out_of_a_cache_count_as_idle() {
    if !janitor_is_possible() {
        return; // no caches
    }
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(100))
        .trim_manually()
        .build();
    drop([(); 3].map(|()| pool.get()));
    let core = pool.core();
    assert_eq!(core.outside_caches().idle, 0);
    let id = local::thread_id().expect("a thread like any other");
    let cache = register::cache_of(core, id).expect("used above");
    assert_eq!(core.announce_exit(cache), 3);
    assert_eq!(core.outside_caches().idle, 3);
    assert_eq!(core.announce_exit(cache), 3);
    assert_eq!(core.outside_caches().idle, 6);
    core.finish_exit(3);
    assert_eq!(core.outside_caches().idle, 3);
    core.finish_exit(3);
    assert_eq!(core.outside_caches().idle, 0);
    pool.clear();
    assert_eq!(pool.prefill(2), 2);
    assert_eq!(core.announce_exit(cache), 0);
    let outside = core.outside_caches();
    assert_eq!((outside.idle, outside.idle_bytes), (2, 200));
    assert_eq!((outside.reused, outside.returned), (0, 0));
}

#[test]
fn misses_raise_the_peak_of_what_is_in_use() {
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
    let held: Vec<_> = (0..10).map(|_| pool.get()).collect();
    drop(held);
    // No other statistics were read meanwhile.
    let stats = pool.stats();
    assert_eq!(
        (stats.created, stats.peak_in_use, stats.in_use),
        (10, 10, 0)
    );
}

#[test]
fn a_sample_raises_the_peaks() {
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
    assert_eq!(pool.prefill(7), 7);
    pool.core().sample_peaks();
    pool.clear();
    assert_eq!((pool.stats().idle, pool.stats().peak_idle), (0, 7));
}
