//! Which IDs are used again.

#![cfg(not(repool_loom))]

use super::*;
use crate::object::pool::Pool;
use crate::thread::register;

#[test]
fn the_lowest_free_id_is_taken_and_there_are_as_many_as_caches() {
    let mut ids = FreeIds {
        next: 0,
        free: BinaryHeap::new(),
    };
    let mut take = |back: &[usize]| {
        back.iter().for_each(|&id| ids.give_back(ThreadId(id)));
        ids.take().map(|id| id.0)
    };
    assert_eq!([take(&[]), take(&[]), take(&[])], [0, 1, 2].map(Some));
    assert_eq!([take(&[1, 2]), take(&[0]), take(&[])], [1, 0, 2].map(Some));
    assert_eq!(take(&[]), Some(3));
    let all = (0..BUCKETS).map(ThreadId::bucket_len).sum::<usize>();
    ids.next = all - 1;
    let last = [ids.take(), ids.take(), ids.take()];
    assert_eq!(last, [Some(ThreadId(all - 1)), None, None]);
    ids.give_back(ThreadId(5));
    assert_eq!([ids.take(), ids.take()], [Some(ThreadId(5)), None]);
}

/// An owner that was lost with the lock of the visits, in a fork, may still be in its cache.
#[test]
fn an_id_is_not_used_again_if_one_of_its_caches_could_not_be_vacated() {
    let pool = || -> Pool<Vec<u8>> { Pool::builder(Vec::new).trim_manually().build() };
    let (one, other) = (pool(), pool());
    let ids = Ids::new();
    let id = ids.take().expect("the first");
    for pool in [&one, &other] {
        assert!(register::cache_of(pool.core(), id).is_some());
    }
    let cores = || [&one, &other].map(|pool| WeakCore::new(pool.core()));
    let held = one.core().lock_visits(Timeout::Short);
    assert!(held.is_some());
    ids.exit(id, cores().into());
    let occupied = || {
        [&one, &other].map(|pool| {
            let cache = pool.core().cache_table().cache_of(id);
            // SAFETY: made above, and the pool is alive.
            unsafe { &*cache }.is_occupied()
        })
    };
    assert_eq!(occupied(), [true, false]);
    let next = ids.take().expect("there are more");
    assert_ne!(next, id);
    drop(held);
    ids.exit(id, cores().into());
    assert_eq!(occupied(), [false, false]);
    assert_eq!(ids.take(), Some(id));
    ids.exit(id, Vec::new());
    assert_eq!(ids.take(), Some(id), "without a cache");
}
