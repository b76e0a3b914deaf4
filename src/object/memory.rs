//! The memory of a node: how large it is, and where in it the node starts.
//!
//! # Size
//! glibc keeps freed blocks of up to 120 bytes in separate lists and does not merge them with their
//! neighbours until it is asked to ([`malloc_trim`]) or frees something large. Nodes of that size
//! lie between the buffers that their objects own and keep the free memory around them apart, so
//! none of it goes back to the system. Therefore a node whose object has a destructor, and so may
//! own memory, is made larger than that.
//!
//! # Start
//! The larger block has room to start the node on a cache line. A thread that takes an object that
//! another thread has used waits for each cache line of its node. A node with a `Vec` takes up one
//! line, but glibc aligns blocks to 16 bytes, which would put three of four nodes on two lines.
//! `benches/README.md` has the times with and without.
//!
//! [`malloc_trim`]: https://man7.org/linux/man-pages/man3/malloc_trim.3.html

use std::alloc::{self, Layout};
use std::ptr::NonNull;

/// The least size of a node whose object may own memory, in bytes.
const APART: usize = if cfg!(all(target_os = "linux", target_env = "gnu")) {
    128
} else {
    0
};

/// The size of a cache line, in bytes.
const LINE: usize = 64;

/// The size of a node, and the layout of the block that holds it.
#[derive(Clone, Copy)]
pub(super) struct Room {
    node: usize,
    block: Layout,
    /// The node starts on a cache line. The byte after the node holds the node's distance from the
    /// start of the block.
    on_line: bool,
}

impl Room {
    /// The room for a node that holds a `T`, in its own block.
    pub(super) const fn of<Node, T>() -> Self {
        let own = Layout::new::<Node>();
        let as_it_is = Self {
            node: own.size(),
            block: own,
            on_line: false,
        };
        if !std::mem::needs_drop::<T>() || own.size() >= APART {
            return as_it_is;
        }
        // Allocators align blocks to 16 bytes at no extra cost.
        let align = if own.align() > 16 { own.align() } else { 16 };
        match Layout::from_size_align(APART, align) {
            Ok(block) => Self {
                on_line: own.size() + LINE - align < APART,
                block,
                ..as_it_is
            },
            Err(_) => as_it_is,
        }
    }
}

/// Memory for a node; freed on drop.
pub(super) struct Block {
    node: NonNull<u8>,
    room: Room,
}

impl Block {
    pub(super) fn new(room: Room) -> Self {
        // SAFETY: a node has a head, so its layout is not empty.
        let fresh = unsafe { alloc::alloc(room.block) };
        let start = NonNull::new(fresh).unwrap_or_else(|| alloc::handle_alloc_error(room.block));
        if !room.on_line {
            return Self { node: start, room };
        }
        let before = start.addr().get().wrapping_neg() % LINE;
        // SAFETY: `before` is less than a line, and `Room::of` checked that the block holds the node
        // after so many bytes.
        let node = unsafe { start.add(before) };
        // SAFETY: in bounds: `Room::of` checked that the block is larger than that.
        let note = unsafe { node.add(room.node) };
        // SAFETY: as above; no other data is there.
        unsafe { note.write(before as u8) };
        Self { node, room }
    }

    /// Releases the memory to the caller.
    pub(super) fn into_raw(self) -> NonNull<u8> {
        let node = self.node;
        std::mem::forget(self);
        node
    }

    /// The start of the node.
    pub(super) fn node(&self) -> *mut u8 {
        self.node.as_ptr()
    }

    /// # Safety
    /// `node` is from [`Block::into_raw`] of a block with this room; the caller gives it up.
    pub(super) unsafe fn from_raw(node: NonNull<u8>, room: Room) -> Self {
        Self { node, room }
    }

    /// The start of the block.
    fn start(&self) -> *mut u8 {
        if !self.room.on_line {
            return self.node.as_ptr();
        }
        // SAFETY: in bounds: `new` wrote this byte.
        let note = unsafe { self.node.add(self.room.node) };
        // SAFETY: as above.
        let before = unsafe { note.read() };
        // SAFETY: the node starts `before` bytes into the block.
        unsafe { self.node.sub(before.into()) }.as_ptr()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: I8: allocated with this layout in `new`, and owned here.
        unsafe { alloc::dealloc(self.start(), self.room.block) };
    }
}
