//! How large the memory of a node is.
//!
//! glibc keeps freed blocks of up to 120 bytes in lists of their own and joins them with nothing until it is asked to
//! ([`malloc_trim`]) or frees something large. Nodes of that size, which lie between the buffers that their objects
//! own, keep the free memory on either side of them apart, so none of it goes back to the system. A node whose object
//! has a destructor, and may own memory, is therefore made larger than that.
//!
//! [`malloc_trim`]: https://man7.org/linux/man-pages/man3/malloc_trim.3.html

use std::alloc::{self, Layout};
use std::ptr::NonNull;

/// The least size of a node whose object may own memory.
const APART: usize = if cfg!(all(target_os = "linux", target_env = "gnu")) {
    128
} else {
    0
};

/// The layout of a node that holds a `T`, in a block of its own.
pub(super) const fn layout_of<Node, T>() -> Layout {
    let own = Layout::new::<Node>();
    if !std::mem::needs_drop::<T>() || own.size() >= APART {
        return own;
    }
    match Layout::from_size_align(APART, own.align()) {
        Ok(padded) => padded,
        Err(_) => own,
    }
}

/// Memory for a node. It is freed on drop.
pub(super) struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

impl Block {
    pub(super) fn new(layout: Layout) -> Self {
        // SAFETY: a node has a head, so its layout is not empty.
        let fresh = unsafe { alloc::alloc(layout) };
        let start = NonNull::new(fresh).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Self { start, layout }
    }

    /// The caller owns the memory from then on.
    pub(super) fn into_raw(self) -> NonNull<u8> {
        let start = self.start;
        std::mem::forget(self);
        start
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// # Safety
    /// `start` is from [`Block::into_raw`], of a block of this layout; the caller gives it up.
    pub(super) unsafe fn from_raw(start: NonNull<u8>, layout: Layout) -> Self {
        Self { start, layout }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: I8: allocated with this layout in `new`, and owned here.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}
