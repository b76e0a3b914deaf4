//! Allocates and frees the buckets of caches. `page_loom.rs` stands in for it in the models.

use super::cache::Cache;

// The memory comes zeroed from the system: of a large bucket, only the pages in use should become resident. But std
// asks the system for zeroed memory only up to a default alignment, and writes the zeros itself above that. So a large
// bucket is aligned here.

/// Buckets of this length or more are aligned here, at the cost of some extra space. None under Miri, whose symbolic
/// alignment check knows no alignment but that of the allocation.
const LARGE: usize = if cfg!(miri) { usize::MAX } else { 32 };
const ALIGN: usize = align_of::<Cache>();

fn layout(len: usize) -> std::alloc::Layout {
    let size = len * size_of::<Cache>();
    let (size, align) = if len < LARGE {
        (size, ALIGN)
    } else {
        (size + ALIGN, align_of::<*mut u8>())
    };
    std::alloc::Layout::from_size_align(size, align).expect("at most 2^15 caches")
}

/// Allocates `len` vacant caches.
pub(super) fn new(len: usize) -> *mut Cache {
    let layout = layout(len);
    // SAFETY: the size is not zero, since a bucket has at least one cache.
    let base = unsafe { std::alloc::alloc_zeroed(layout) };
    if base.is_null() {
        std::alloc::handle_alloc_error(layout);
    }
    // I9: all zeros are a vacant cache.
    if len < LARGE {
        return base.cast();
    }
    // At least the size of a pointer and at most `ALIGN`: `base` fits in front.
    let offset = ALIGN - base.addr() % ALIGN;
    // SAFETY: `offset` is at most `ALIGN`, by which the allocation is larger.
    let first = unsafe { base.add(offset) }.cast::<Cache>();
    // SAFETY: in bounds: `base` is aligned for a pointer, so `offset` is at least the size of one.
    let note = unsafe { first.cast::<*mut u8>().sub(1) };
    // SAFETY: in bounds and aligned, and no other thread has the allocation yet.
    unsafe { note.write(base) };
    first
}

/// Frees caches.
///
/// # Safety
/// `first` is from [`new`] with the same `len`, and no thread uses these caches any more.
pub(super) unsafe fn free(first: *mut Cache, len: usize) {
    let base = if len < LARGE {
        first.cast()
    } else {
        // SAFETY: in bounds: `new` stored the base there.
        let note = unsafe { first.cast::<*mut u8>().sub(1) };
        // SAFETY: as above.
        unsafe { note.read() }
    };
    // SAFETY: allocated by `new` with this layout, guaranteed by the caller. Caches have no destructor.
    unsafe { std::alloc::dealloc(base, layout(len)) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn the_caches_of_a_bucket_lie_in_its_allocation_one_after_the_other() {
        for len in [1, 2, 16, 31, 32, 33, 64, 256] {
            let layout = layout(len);
            let extra = if len < LARGE { 0 } else { ALIGN };
            assert_eq!(layout.size(), len * size_of::<Cache>() + extra);
            let first = new(len);
            assert!(first.is_aligned(), "{len}");
            if len >= LARGE {
                // SAFETY: in bounds: `new` has stored the base there.
                let note = unsafe { first.cast::<*mut u8>().sub(1) };
                // SAFETY: as above.
                let base = unsafe { note.read() };
                let offset = first.addr() - base.addr();
                assert!((size_of::<*mut u8>()..=ALIGN).contains(&offset));
                assert!(base.addr() % layout.align() == 0);
            }
            for index in 0..len {
                // SAFETY: the bucket has `len` caches.
                let cache = unsafe { first.add(index) };
                // SAFETY: as above. All zeros are a vacant cache (I9).
                let cache = unsafe { &*cache };
                assert!(!cache.is_occupied() && cache.is_empty());
                assert!(cache.next_listed.load(Ordering::Relaxed).is_null());
                cache.next_listed.store(first, Ordering::Relaxed);
            }
            // SAFETY: from `new`, with this length.
            unsafe { free(first, len) };
        }
    }
}
