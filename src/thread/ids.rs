//! [`Ids`]: which thread IDs are free, and the exit of a thread, which frees its own.
//!
//! The lock orders what the old owner of an ID did to its caches before what the next owner does (I3). A thread that
//! exits frees its ID once all its caches are vacant. If one cannot be vacated, the ID is not reused.

use super::exit::vacate;
use crate::raw::refs::WeakCore;
use crate::sync::{Mutex, Timeout, const_fn};
use crate::sys::panics::catch_panic;
use crate::sys::thread_id::{BUCKETS, ThreadId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The IDs of all threads.
#[derive(Debug)]
pub(crate) struct Ids(Mutex<FreeIds>);

impl Ids {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self(Mutex::new(FreeIds {
                next: 0,
                free: BinaryHeap::new(),
            }))
        }
    }

    /// An ID for the calling thread. `None` if all are taken, or if the lock could not be taken.
    pub(crate) fn take(&self) -> Option<ThreadId> {
        self.0.lock_bounded(Timeout::Short)?.take()
    }

    /// Vacates the caches of an exiting thread in each of `cores`, and then frees its ID.
    pub(crate) fn exit(&self, id: ThreadId, cores: Vec<WeakCore>) {
        let mut vacated = true;
        for core in cores {
            // A panic must not escape from the destructor of a thread-local: it would abort the process.
            let one = catch_panic(|| {
                let vacated = vacate(&core, id);
                drop(core);
                vacated
            });
            // When a destructor panics, the cache is vacant already.
            vacated &= one.unwrap_or(true); // mutant: drop-vacated
        }
        // If a cache could not be vacated, because its visitor was lost in a fork, its ID is not reused.
        if !vacated {
            return;
        }
        if let Some(mut ids) = self.0.lock_bounded(Timeout::Long) {
            ids.give_back(id);
        }
    }
}

/// The free IDs. The lowest is taken first, so that cache tables stay small.
#[derive(Debug)]
struct FreeIds {
    next: usize,
    free: BinaryHeap<Reverse<usize>>,
}

impl FreeIds {
    fn take(&mut self) -> Option<ThreadId> {
        if let Some(Reverse(id)) = self.free.pop() {
            return Some(ThreadId(id));
        }
        let id = ThreadId(self.next);
        if id.locate().0 >= BUCKETS {
            return None;
        }
        self.next += 1;
        Some(id)
    }

    fn give_back(&mut self, id: ThreadId) {
        self.free.push(Reverse(id.0));
    }
}

#[cfg(all(test, not(repool_loom)))]
mod tests {
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
}
