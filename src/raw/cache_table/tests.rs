//! The caches of a table, by thread ID and by the calling thread.

#![cfg(not(repool_loom))]

use super::*;
use crate::sys::thread_id::current;

/// The cache that the hit path of a thread with this ID finds.
fn on_hits(table: &CacheTable, id: ThreadId, registered: bool) -> usize {
    let look = || {
        current(|thread| {
            if registered {
                thread.set_id(id, Some(size_of::<Cache>()));
            }
            table.cache_at(thread).addr()
        })
    };
    // A thread of its own, which uses no pool.
    std::thread::scope(|scope| scope.spawn(look).join().expect("no panic"))
}

#[test]
fn each_thread_has_a_cache_of_its_own_and_both_paths_find_it() {
    let mut first = Cache::vacant();
    let mut table = CacheTable::new();
    // SAFETY: the cache outlives the table, which no other thread knows.
    unsafe { table.set_first(&raw mut first) };
    let mut seen = std::collections::HashSet::new();
    for id in [0, 4, 1, 2, 3, 5, 6, 7, 8, 100].map(ThreadId) {
        let (bucket, index) = id.locate();
        // The first is always there. 2 comes with 3, and 4 with 5 to 7: each in one bucket.
        let made_before = [0, 3, 5, 6, 7].contains(&id.0);
        assert_eq!(table.cache_of(id).is_null(), !made_before, "{id:?}");
        assert_eq!(on_hits(&table, id, true) == 0, !made_before, "{id:?}");
        let cache = table.cache_of_or_make(id);
        let start = table.buckets[bucket].load(Ordering::Relaxed).addr();
        assert_eq!(cache.addr(), start + index * size_of::<Cache>());
        assert_eq!(table.cache_of(id), cache);
        assert_eq!(table.cache_of_or_make(id), cache);
        assert_eq!(on_hits(&table, id, true), cache.addr());
        assert!(seen.insert(cache.addr()), "{id:?}");
    }
    assert_eq!(table.cache_of(ThreadId(0)), &raw const first);
    assert_eq!(on_hits(&table, ThreadId(0), false), 0, "the sentinel");
    // SAFETY: the table is not used any more.
    unsafe { table.free() };
}
