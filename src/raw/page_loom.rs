//! What `page.rs` is in the models, whose caches cannot be allocated as zeros.

use super::cache::Cache;

pub(super) fn new(len: usize) -> *mut Cache {
    let caches: Box<[Cache]> = (0..len).map(|_| Cache::vacant()).collect();
    Box::into_raw(caches).cast()
}

pub(super) unsafe fn free(first: *mut Cache, len: usize) {
    // SAFETY: the caller has it from `new` with the same length.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(first, len)) });
}
