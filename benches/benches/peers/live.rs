//! How many objects a contender has made, and how many of them are alive.
//!
//! Every contender of every scenario has objects of a size of its own, a few bytes apart, and the
//! global allocator counts those sizes: so the pools are looked at from outside, and nothing is on
//! the path of a hit. What is not in the counted range goes through uncounted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of the first contender's objects. Those of the others are one byte apart: malloc rounds to
/// 16, so their cost is the same, and no other allocation of a run has just that size.
pub const FIRST: usize = 1000;
/// How many sizes there are.
const SIZES: usize = 24;

static CREATED: [AtomicUsize; SIZES] = [const { AtomicUsize::new(0) }; SIZES];
static DROPPED: [AtomicUsize; SIZES] = [const { AtomicUsize::new(0) }; SIZES];

pub struct Counting;

// SAFETY: every call goes to `System` as it came; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(counter) = CREATED.get(layout.size().wrapping_sub(FIRST)) {
            counter.fetch_add(1, Relaxed);
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(counter) = DROPPED.get(layout.size().wrapping_sub(FIRST)) {
            counter.fetch_add(1, Relaxed);
        }
        // SAFETY: the caller's.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Objects of this size made so far.
pub fn created(size: usize) -> usize {
    CREATED[size - FIRST].load(Relaxed)
}

/// Objects of this size that are alive.
pub fn alive(size: usize) -> usize {
    created(size).saturating_sub(DROPPED[size - FIRST].load(Relaxed))
}
