//! The table of a pool's caches by thread ID, in buckets: what a hit looks up first.
//!
//! # Orderings
//! - a bucket's pointer: publish Release, read Acquire: the reader sees vacant caches.

use super::cache::Cache;
use super::page;
use crate::sync::publish::publish;
use crate::sync::{AtomicPtr, Ordering};
use crate::sys::thread_id::{BUCKETS, CurrentThread, ThreadId};
use std::ptr;

/// A pool's caches, in buckets of 1, 1, 2, 4, ...
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct CacheTable {
    /// Null until a thread needs the bucket. The first one is the cache within the core. The last one, `NO_BUCKET`,
    /// stays null.
    pub(super) buckets: [AtomicPtr<Cache>; BUCKETS + 1],
}

impl CacheTable {
    pub(super) fn new() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// Sets the first bucket, whose only cache is a field of the core.
    ///
    /// # Safety
    /// `cache` lives as long as this table, and no other thread knows the table yet.
    pub(super) unsafe fn set_first(&self, cache: *mut Cache) {
        // Relaxed: the core is published afterwards.
        self.buckets[0].store(cache, Ordering::Relaxed);
    }

    /// The calling thread's cache. Null: take the slow path.
    #[inline(always)]
    pub(crate) fn cache_at(&self, thread: &CurrentThread) -> *const Cache {
        debug_assert!(thread.bucket() <= BUCKETS);
        // SAFETY: a thread's bucket is at most `NO_BUCKET`, which is the last index.
        let bucket = unsafe { self.buckets.get_unchecked(thread.bucket()) };
        // Acquire: pairs with the Release in `bucket_slow`. No mutant: the models run the same load in `cache_of`.
        let first = bucket.load(Ordering::Acquire);
        if first.is_null() {
            return ptr::null();
        }
        // SAFETY: the offset is that of a cache in this bucket (I3).
        unsafe { first.byte_add(thread.offset()) }
    }

    /// The cache of this thread ID; null if its bucket has not been allocated.
    pub(crate) fn cache_of(&self, id: ThreadId) -> *const Cache {
        let (bucket, index) = id.locate();
        // Acquire: pairs with the Release in `bucket_slow`.
        let first = self.buckets[bucket].load(Ordering::Acquire); // mutant: read-bucket
        if first.is_null() {
            return ptr::null();
        }
        // SAFETY: `index` is less than the bucket's length.
        unsafe { first.add(index) }
    }

    /// The cache of this thread ID. Allocates its bucket if necessary.
    pub(crate) fn cache_of_or_make(&self, id: ThreadId) -> *const Cache {
        let cache = self.cache_of(id);
        if !cache.is_null() {
            return cache;
        }
        let (bucket, index) = id.locate();
        let first = self.bucket_slow(bucket);
        // SAFETY: `index` is less than the bucket's length.
        unsafe { first.add(index) }
    }

    #[cold]
    fn bucket_slow(&self, bucket: usize) -> *mut Cache {
        let fresh = page::new(ThreadId::bucket_len(bucket));
        // Pairs with the Acquire in `cache_of` and `cache_at`.
        match publish(&self.buckets[bucket], fresh) {
            Ok(()) => fresh,
            Err(first) => {
                // SAFETY: allocated above, and no other thread has seen it.
                unsafe { page::free(fresh, ThreadId::bucket_len(bucket)) };
                first
            }
        }
    }

    /// Frees the buckets, except for the first one.
    ///
    /// # Safety
    /// The core is about to be freed, and no thread uses its caches.
    pub(super) unsafe fn free(&mut self) {
        // The first bucket is a field of the core.
        for (bucket, first) in self.buckets.iter().enumerate().skip(1) {
            let first = first.load(Ordering::Relaxed);
            if !first.is_null() {
                // SAFETY: allocated by `bucket_slow` with this length.
                unsafe { page::free(first, ThreadId::bucket_len(bucket)) };
            }
        }
    }
}

#[cfg(test)]
mod tests;
