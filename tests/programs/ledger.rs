//! An allocator that counts byte memory: blocks with alignment 1, which buffers use, and nothing
//! else that stays for long.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

struct Ledger;

#[global_allocator]
static ALLOCATOR: Ledger = Ledger;

static BLOCKS: AtomicI64 = AtomicI64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) blocks: i64,
    pub(crate) bytes: i64,
}

impl Live {
    pub(crate) fn now() -> Self {
        Self {
            blocks: BLOCKS.load(SeqCst),
            bytes: BYTES.load(SeqCst),
        }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            blocks: self.blocks - before.blocks,
            bytes: self.bytes - before.bytes,
        }
    }
}

fn enter(layout: Layout, blocks: i64, bytes: i64) {
    if layout.align() == 1 {
        BLOCKS.fetch_add(blocks, SeqCst);
        BYTES.fetch_add(bytes, SeqCst);
    }
}

// SAFETY: forwards every call to the system's allocator.
unsafe impl GlobalAlloc for Ledger {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        enter(layout, 1, layout.size() as i64);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        enter(layout, -1, -(layout.size() as i64));
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        enter(layout, 1, layout.size() as i64);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        enter(layout, 0, size as i64 - layout.size() as i64);
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(at, layout, size) }
    }
}
