//! An allocator for tests that count its calls: each thread's by itself, so that the test harness
//! does not disturb.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Tells the test of each call as well: the size that is freed, and the one that is allocated, 0 for
/// neither. What it is told by must neither allocate nor have a destructor.
pub(crate) struct Counting(pub(crate) fn(usize, usize));

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Allocator calls of this thread during `f`, and while what it returns is dropped.
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

// SAFETY: passes everything on to the system's allocator; the counter allocates nothing and has no
// destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.count(0, layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        self.count(layout.size(), 0);
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.count(0, layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.count(layout.size(), size);
        // SAFETY: the caller's.
        unsafe { System.realloc(at, layout, size) }
    }
}
