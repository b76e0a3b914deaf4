//! An allocator that knows how much all threads together have allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

pub(crate) struct Ledger;

/// Threads count separately, so that they do not order each other.
#[repr(align(128))]
struct Shard {
    blocks: AtomicI64,
    bytes: AtomicI64,
}

const SHARDS: usize = 16;
static LIVE: [Shard; SHARDS] = [const {
    Shard {
        blocks: AtomicI64::new(0),
        bytes: AtomicI64::new(0),
    }
}; SHARDS];

/// What is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) blocks: i64,
    pub(crate) bytes: i64,
}

impl Live {
    /// Exact while no other thread allocates.
    pub(crate) fn now() -> Self {
        let sum = |figure: fn(&Shard) -> &AtomicI64| {
            LIVE.iter().map(|shard| figure(shard).load(Relaxed)).sum()
        };
        Self {
            blocks: sum(|shard| &shard.blocks),
            bytes: sum(|shard| &shard.bytes),
        }
    }
}

thread_local! {
    /// Its address identifies the thread.
    static HERE: u8 = const { 0 };
}

fn count(blocks: i64, bytes: i64) {
    let here = HERE.with(|here| std::ptr::from_ref(here).addr());
    let shard = &LIVE[(here >> 12) % SHARDS];
    shard.blocks.fetch_add(blocks, Relaxed);
    shard.bytes.fetch_add(bytes, Relaxed);
}

// SAFETY: forwards every call to the system's allocator; counting allocates nothing and needs no destructor.
unsafe impl GlobalAlloc for Ledger {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-1, -(layout.size() as i64));
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(0, size as i64 - layout.size() as i64);
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(at, layout, size) }
    }
}
