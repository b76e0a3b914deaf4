//! How many objects a contender has made, and how many of them are alive.
//!
//! Every contender has objects of a size of its own, a byte apart, and the global allocator counts
//! those sizes: so the pools are looked at from outside, and nothing is on the path of a hit. What is
//! not in the counted range goes through uncounted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many sizes are counted: no scenario has more contenders.
pub const SIZES: usize = 24;

/// The smallest of them.
static FIRST: AtomicUsize = AtomicUsize::new(usize::MAX);
static CREATED: [AtomicUsize; SIZES] = [const { AtomicUsize::new(0) }; SIZES];
static DROPPED: [AtomicUsize; SIZES] = [const { AtomicUsize::new(0) }; SIZES];

pub struct Counting;

/// The place of a size in the tables.
#[inline]
fn place(size: usize) -> usize {
    size.wrapping_sub(FIRST.load(Relaxed))
}

// SAFETY: every call goes to `System` as it came; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(counter) = CREATED.get(place(layout.size())) {
            counter.fetch_add(1, Relaxed);
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(counter) = DROPPED.get(place(layout.size())) {
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

/// From now on, counts objects of [`SIZES`] sizes, this one and those above.
pub fn count_from(first: usize) {
    FIRST.store(first, Relaxed);
    for counter in CREATED.iter().chain(&DROPPED) {
        counter.store(0, Relaxed);
    }
}

/// Objects of this size made so far.
pub fn created(size: usize) -> usize {
    CREATED[place(size)].load(Relaxed)
}

/// Objects of this size that are alive.
pub fn alive(size: usize) -> usize {
    created(size).saturating_sub(DROPPED[place(size)].load(Relaxed))
}
