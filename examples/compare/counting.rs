//! The global allocator: the system's, counted when a run asks for it.
//!
//! Counting costs two atomic additions on lines that all threads share, so a counting run is never
//! a timed one: it has a child process of its own. In timed runs both sides pay one relaxed load
//! and a branch that is never taken.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static ON: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Counting;

/// Counts from here on. Call it while the workers wait: a barrier is what orders the flag.
pub(crate) fn start() {
    ON.store(true, Ordering::Relaxed);
}

/// Stops, and says how many calls there were and how many bytes they asked for.
pub(crate) fn stop() -> (u64, u64) {
    ON.store(false, Ordering::Relaxed);
    (CALLS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed))
}

#[inline(always)]
fn count(bytes: usize) {
    if ON.load(Ordering::Relaxed) {
        count_slow(bytes);
    }
}

#[cold]
fn count_slow(bytes: usize) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
}

// SAFETY: every call goes to `System` as it came; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's.
        unsafe { System.realloc(block, layout, size) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) }
    }
}
