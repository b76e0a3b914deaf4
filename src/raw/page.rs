//! The only place that allocates and frees caches. The models have `page_loom.rs` in its place.

use super::cache::Cache;

// Zeroed and not written: of a large bucket, only the pages in use are to become resident. But
// std asks the system for zeroed memory only up to its usual alignment, and zeroes by hand
// above; so a large bucket is aligned here.

/// Buckets from this length on are worth the extra alignment space. Not under Miri, whose
/// symbolic alignment check believes an allocation's alignment only.
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

pub(super) fn new(len: usize) -> *mut Cache {
    let layout = layout(len);
    // SAFETY: the layout has a size, since a bucket has at least one cache.
    let base = unsafe { std::alloc::alloc_zeroed(layout) };
    if base.is_null() {
        std::alloc::handle_alloc_error(layout);
    }
    // I9: all zero is a vacant cache.
    if len < LARGE {
        return base.cast();
    }
    // Between one pointer and `ALIGN` bytes in: there is space for the base in front.
    let offset = ALIGN - base.addr() % ALIGN;
    // SAFETY: `offset` is at most `ALIGN`, by which the allocation is larger.
    let first = unsafe { base.add(offset) }.cast::<Cache>();
    // SAFETY: in bounds: `base` is aligned for a pointer, so `offset` is at least one.
    let note = unsafe { first.cast::<*mut u8>().sub(1) };
    // SAFETY: in bounds and aligned, and no other thread has the page yet.
    unsafe { note.write(base) };
    first
}

pub(super) unsafe fn free(first: *mut Cache, len: usize) {
    let base = if len < LARGE {
        first.cast()
    } else {
        // SAFETY: `new` put it there.
        let note = unsafe { first.cast::<*mut u8>().sub(1) };
        // SAFETY: as above.
        unsafe { note.read() }
    };
    // SAFETY: the caller has it from `new` with the same length; caches have no destructor.
    unsafe { std::alloc::dealloc(base, layout(len)) };
}
