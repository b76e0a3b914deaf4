//! An allocator that counts the calls of each thread separately, so that the test harness does not
//! disturb.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Also reports each call to the test: the freed size and the allocated size, 0 for neither. The
/// callback must neither allocate nor have a destructor.
pub(crate) struct Counting(pub(crate) fn(usize, usize));

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Returns the allocator calls of this thread during `f`, and while its result is dropped.
pub(crate) fn calls<R>(f: impl FnOnce() -> R) -> usize {
    let before = CALLS.get();
    drop(f());
    CALLS.get() - before
}

impl Counting {
    fn count(&self, freed: usize, allocated: usize) {
        CALLS.set(CALLS.get() + 1);
        (self.0)(freed, allocated);
    }
}

// SAFETY: forwards every call to the system's allocator; the counter allocates nothing and has no
// destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(0, layout.size());
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        self.count(layout.size(), 0);
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count(0, layout.size());
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.count(layout.size(), size);
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(at, layout, size) }
    }
}
