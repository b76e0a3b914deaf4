//! The memory of nodes: how large a block is, and which blocks a thread keeps while pools are switched off.
//!
//! # Size
//! glibc keeps freed blocks of up to 120 bytes in lists of their own and joins them with nothing until it is asked to
//! ([`malloc_trim`]) or frees something large. Nodes of that size, which lie between the buffers that their objects
//! own, keep the free memory on either side of them apart, so none of it goes back to the system. A node whose object
//! has a destructor, and may own memory, is therefore made larger than that.
//!
//! # Spares
//! A pool that is switched off makes a node for each get and frees it at the drop, where code without a pool has none.
//! So that it calls the allocator no more often than such code, a thread keeps the blocks of nodes that it frees
//! meanwhile: [`SPARE_BYTES`] of each of [`KINDS`] layouts at most, until the thread ends. Only the thread itself
//! touches them; the allocator is never called while they are borrowed.
//!
//! [`malloc_trim`]: https://man7.org/linux/man-pages/man3/malloc_trim.3.html

use std::alloc::{self, Layout};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// The least size of a node whose object may own memory.
const APART: usize = if cfg!(all(target_os = "linux", target_env = "gnu")) {
    128
} else {
    0
};
/// Layouts that a thread keeps spare blocks of.
const KINDS: usize = 4;
/// Bytes of spare blocks of one layout.
const SPARE_BYTES: usize = 16 << 10;
/// Larger blocks are not kept.
const LARGEST_SPARE: usize = 4 << 10;

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
    /// Whether the pool is switched off: the block then comes from the thread's spares and goes back to them.
    off: bool,
}

impl Block {
    pub(super) fn new(layout: Layout, off: bool) -> Self {
        let start = if off { spare(layout) } else { ptr::null_mut() };
        let start = NonNull::new(start).unwrap_or_else(|| {
            // SAFETY: a node has a head, so its layout is not empty.
            let fresh = unsafe { alloc::alloc(layout) };
            NonNull::new(fresh).unwrap_or_else(|| alloc::handle_alloc_error(layout))
        });
        Self { start, layout, off }
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
    pub(super) unsafe fn from_raw(start: NonNull<u8>, layout: Layout, off: bool) -> Self {
        Self { start, layout, off }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.off && keep(self.start.as_ptr(), self.layout) {
            return;
        }
        // SAFETY: I8: allocated with this layout in `new`, and owned here.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Spare blocks of one layout; the first word of each leads to the next.
#[derive(Clone, Copy)]
struct Spares {
    layout: Layout,
    head: *mut u8,
    len: usize,
}

struct OfThread([Cell<Spares>; KINDS]);

thread_local! {
    static SPARES: OfThread = const {
        OfThread([const {
            Cell::new(Spares {
                layout: Layout::new::<()>(),
                head: ptr::null_mut(),
                len: 0,
            })
        }; KINDS])
    };
}

impl Drop for OfThread {
    fn drop(&mut self) {
        for spares in &self.0 {
            while let Some(block) = pop(spares) {
                // SAFETY: kept by `keep` with its layout, and owned by the list until now.
                unsafe { alloc::dealloc(block, spares.get().layout) };
            }
        }
    }
}

fn pop(spares: &Cell<Spares>) -> Option<*mut u8> {
    let Spares { layout, head, len } = spares.get();
    if head.is_null() {
        return None;
    }
    // SAFETY: the list owns its blocks, and `keep` has written this word.
    let next = unsafe { head.cast::<*mut u8>().read() };
    spares.set(Spares {
        layout,
        head: next,
        len: len - 1,
    });
    Some(head)
}

/// A spare block of this layout; null if there is none.
fn spare(layout: Layout) -> *mut u8 {
    let block = SPARES.try_with(|all| {
        let mut of_layout = all.0.iter().filter(|spares| spares.get().layout == layout);
        of_layout.next().and_then(pop)
    });
    // A thread that is being torn down has none.
    block.ok().flatten().unwrap_or(ptr::null_mut())
}

/// Whether a block was kept; else it is still the caller's.
fn keep(block: *mut u8, layout: Layout) -> bool {
    if layout.size() > LARGEST_SPARE {
        return false;
    }
    let kept = SPARES.try_with(|all| {
        let same = |spares: &&Cell<Spares>| spares.get().layout == layout;
        let empty = |spares: &&Cell<Spares>| spares.get().len == 0;
        let spares = all.0.iter().find(same);
        let Some(spares) = spares.or_else(|| all.0.iter().find(empty)) else {
            return false;
        };
        let Spares { head, len, .. } = spares.get();
        if (len + 1) * layout.size() > SPARE_BYTES {
            return false;
        }
        // SAFETY: the block is the caller's, has room for the head of a node, and is aligned for it.
        unsafe { block.cast::<*mut u8>().write(head) };
        spares.set(Spares {
            layout,
            head: block,
            len: len + 1,
        });
        true
    });
    kept.unwrap_or(false)
}
