//! Stands in for `page.rs` in the models, whose caches cannot be allocated as zeros.

use super::cache::Cache;

/// Allocates `len` vacant caches.
pub(super) fn new(len: usize) -> *mut Cache {
    let caches: Box<[Cache]> = (0..len).map(|_| Cache::vacant()).collect();
    Box::into_raw(caches).cast()
}

/// Frees caches.
///
/// # Safety
/// `first` is from [`new`] with the same `len`, and no thread uses these caches any more.
pub(super) unsafe fn free(first: *mut Cache, len: usize) {
    // SAFETY: `first` is from `Box::into_raw` of a slice of this length; guaranteed by the caller.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(first, len)) });
}
