//! How many objects a contender has created, and how many of them are alive.
//!
//! Every contender has objects of a unique size, a byte apart, and the global allocator counts
//! those sizes: so the pools are observed from outside, and nothing is added to the path of a hit.
//! Other sizes are not counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The number of counted sizes: no scenario has more contenders.
pub const SIZES: usize = 24;

/// The smallest of them.
static FIRST: AtomicUsize = AtomicUsize::new(usize::MAX);
static CREATED: [AtomicUsize; SIZES] = [const { AtomicUsize::new(0) }; SIZES];
static DROPPED: [AtomicUsize; SIZES] = [const { AtomicUsize::new(0) }; SIZES];

pub struct Counting;

/// The index of a size in the tables.
#[inline]
fn place(size: usize) -> usize {
    size.wrapping_sub(FIRST.load(Relaxed))
}

// SAFETY: every call is forwarded to `System` unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(counter) = CREATED.get(place(layout.size())) {
            counter.fetch_add(1, Relaxed);
        }
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(counter) = DROPPED.get(place(layout.size())) {
            counter.fetch_add(1, Relaxed);
        }
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// From now on, counts objects of [`SIZES`] sizes, starting with this one.
pub fn count_from(first: usize) {
    FIRST.store(first, Relaxed);
    for counter in CREATED.iter().chain(&DROPPED) {
        counter.store(0, Relaxed);
    }
}

/// Returns the objects of this size created so far.
pub fn created(size: usize) -> usize {
    CREATED[place(size)].load(Relaxed)
}

/// Returns the objects of this size that are alive.
pub fn alive(size: usize) -> usize {
    created(size).saturating_sub(DROPPED[place(size)].load(Relaxed))
}
