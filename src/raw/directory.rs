//! The way from a thread to its cache in a core: the directory that a hit looks it up in, how a
//! thread's cache is made on its first use, and what becomes of it when the thread ends.
//!
//! # Orderings
//! - a bucket's pointer: publish Release, read Acquire: the reader sees vacant caches.
//! - `Home::owner`: Relaxed; see `guard.rs`, `my_home`.

use super::page;
use super::pool::Core;
use crate::raw::cache::Cache;
use crate::raw::depot::End;
use crate::raw::node::Batch;
use crate::sync::{AtomicPtr, Ordering, Patience};
#[cfg(not(repool_loom))]
use crate::thread::attach::Place;
use crate::thread::attach::{self, BUCKETS, Number};
use std::ptr;

/// The way from a thread's place to its cache.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Directory {
    /// Null where nobody has come yet; the last one, [`NO_BUCKET`](attach::NO_BUCKET), for ever.
    buckets: [AtomicPtr<Cache>; BUCKETS + 1],
}

impl Directory {
    /// The directory of a pool that nobody has used yet.
    #[cfg(not(repool_loom))]
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "only ever used to make a static"
    )]
    pub(crate) const EMPTY: Self = Self {
        buckets: [const { AtomicPtr::new(ptr::null_mut()) }; BUCKETS + 1],
    };

    pub(super) fn new() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// The cache at this place; null: take the slow path.
    #[cfg(not(repool_loom))]
    #[inline(always)]
    pub(crate) fn cache_at(&self, place: &Place) -> *const Cache {
        debug_assert!(place.bucket() <= BUCKETS);
        // SAFETY: a place's bucket is at most `NO_BUCKET`, the last index.
        let bucket = unsafe { self.buckets.get_unchecked(place.bucket()) };
        // Acquire: pairs with the Release in `bucket_slow`.
        let first = bucket.load(Ordering::Acquire);
        if first.is_null() {
            return ptr::null();
        }
        // SAFETY: the offset is that of a cache in this bucket (I3).
        unsafe { first.byte_add(place.offset()) }
    }
}

impl Core {
    /// The calling thread's cache; makes it if need be. `None`: work without one this time.
    pub(crate) fn cache_of(&self, number: Number) -> Option<&Cache> {
        let (bucket, index) = number.locate();
        // Acquire: pairs with the Release in `bucket_slow`.
        let mut first = self.directory.buckets[bucket].load(Ordering::Acquire);
        if first.is_null() {
            first = self.bucket_slow(bucket);
        }
        // SAFETY: `index` is less than the bucket's length; caches live as long as the core.
        let cache = unsafe { first.add(index) };
        // SAFETY: as above.
        let cache = unsafe { &*cache };
        (cache.is_occupied() || self.register_slow(cache, number)).then_some(cache)
    }

    #[cold]
    fn bucket_slow(&self, bucket: usize) -> *mut Cache {
        let fresh = page::new(Number::bucket_len(bucket));
        // Release: pairs with the Acquire in `cache_of` and `cache_at`; Acquire: the other's.
        match self.directory.buckets[bucket].compare_exchange(
            ptr::null_mut(),
            fresh,
            Ordering::AcqRel, // mutant: publish-bucket
            Ordering::Acquire,
        ) {
            Ok(_) => fresh,
            Err(first) => {
                // SAFETY: fresh, and nobody else's.
                unsafe { page::free(fresh, Number::bucket_len(bucket)) };
                first
            }
        }
    }

    #[cold]
    fn register_slow(&self, cache: &Cache, number: Number) -> bool {
        // First, so that no registered cache is ever forgotten.
        if self.is_closed() || !attach::remember(self) {
            return false;
        }
        let listed = self.visits.lock_bounded(Patience::Short);
        let Some(mut listed) = listed.filter(|_| !self.is_closed()) else {
            attach::unremember(self);
            return false;
        };
        if cache.home.core().is_null() {
            cache.home.set_core(self.address());
            cache
                .next_listed
                .store(listed.newest.cast_mut(), Ordering::Relaxed);
            listed.newest = cache;
        }
        // Relaxed: read on the hit path by this thread, and by others only to see "not mine".
        cache.home.owner.store(number.owner(), Ordering::Relaxed);
        // SAFETY: I3: this thread has the number, and the visits are held.
        unsafe { cache.occupy(&self.limits, self.is_barred()) };
        drop(listed);
        true
    }

    /// The thread of this number ends: its objects go to the depot. `false` if that could not be
    /// done, and the number must not be used again.
    #[must_use]
    pub(crate) fn vacate(&self, number: Number) -> bool {
        let (bucket, index) = number.locate();
        // Acquire: pairs with the Release in `bucket_slow`.
        let first = self.directory.buckets[bucket].load(Ordering::Acquire);
        if first.is_null() {
            return true;
        }
        // SAFETY: as in `cache_of`.
        let cache = unsafe { first.add(index) };
        // SAFETY: as above.
        let cache = unsafe { &*cache };
        if !cache.is_occupied() {
            return true;
        }
        let Some(listed) = self.visits.lock_bounded(Patience::Long) else {
            return false;
        };
        // SAFETY: the calling thread is the owner and on its way out; the visits are held.
        let [loaded, spare] = unsafe { cache.vacate(&self.limits) };
        drop(listed);
        let mut dropping = Batch::EMPTY;
        for batch in [spare, loaded] {
            if let Err(refused) = self.depot.give(batch, End::Hot, Patience::Long) {
                dropping.append(self.count_refused(refused));
            }
        }
        self.tell_janitor(); // mutant: drop-tell-exit
        self.drop_batch(dropping);
        true
    }

    /// Frees the buckets.
    ///
    /// # Safety
    /// The core is about to be freed: nobody uses its caches any more.
    pub(crate) unsafe fn free_buckets(&mut self) {
        for (bucket, first) in self.directory.buckets.iter().enumerate() {
            let first = first.load(Ordering::Relaxed);
            if !first.is_null() {
                // SAFETY: made by `bucket_slow` with this length.
                unsafe { page::free(first, Number::bucket_len(bucket)) };
            }
        }
    }
}
