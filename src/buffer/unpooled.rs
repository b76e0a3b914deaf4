//! [`Unpooled`]: a one-word handle to a `BytesMut` that belongs to no pool.
//!
//! A pool that is switched off has to cost what plain code costs, so that a comparison is fair: the
//! same allocator calls and nearly the same time. A [`Buffer`](super::Buffer) is two words wide, so
//! that pooled buffers travel in registers, but a `BytesMut` is four words. So the `BytesMut` of an
//! unpooled buffer lives in an [unpooled node](crate::object::unpooled). Each thread keeps empty
//! nodes, so in the steady state an unpooled buffer calls the allocator for its own memory and
//! nothing else.
//!
//! An [`Unpooled`] owns its node; no other thread touches it.

use super::wipe;
use crate::object::unpooled::UnpooledNode;
use crate::object::word_copy;
use crate::raw::node::Link;
use bytes::{Bytes, BytesMut};
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A node with a `BytesMut`. It has the layout of a pooled buffer's node, so a
/// [`Buffer`](super::Buffer) finds its bytes by the same instruction whether it is pooled or not.
/// (Nothing else depends on that.)
#[repr(C)]
struct BytesNode {
    link: Link,
    bytes: BytesMut,
    /// Whether the memory is overwritten at the end. Written and read with the feature `zeroize` only.
    wipes: bool,
}

/// Owns a node with a `BytesMut`.
pub(super) struct Unpooled(NonNull<Link>);

// SAFETY: it owns its node, which holds a `BytesMut`, which is `Send`.
unsafe impl Send for Unpooled {}
// SAFETY: `&Unpooled` gives `&BytesMut` and nothing else, which is `Sync`.
unsafe impl Sync for Unpooled {}

impl Unpooled {
    #[inline(always)]
    pub(super) fn new(bytes: BytesMut) -> Self {
        Self::of(|| bytes, false)
    }

    /// Creates a handle to a new buffer of this capacity.
    #[inline(always)]
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self::of(|| BytesMut::with_capacity(bytes), false)
    }

    /// Creates a handle whose memory is overwritten at the end, with the feature `zeroize`.
    #[cold]
    pub(super) fn wiped(bytes: BytesMut) -> Self {
        Self::of(|| bytes, true)
    }

    /// `make` may panic.
    #[inline(always)]
    fn of(make: impl FnOnce() -> BytesMut, wipes: bool) -> Self {
        // Before the value, which then stays in registers until it is written.
        let node = UnpooledNode::<BytesNode>::take();
        // SAFETY: in bounds of the node.
        let content = unsafe { &raw mut (*node.node()).bytes };
        let bytes = make();
        // SAFETY: the node is owned here and holds no value.
        unsafe { content.write(bytes) };
        let unpooled = Self(node.into_raw());
        if wipe::ON {
            let node = unpooled.0.as_ptr().cast::<BytesNode>();
            // SAFETY: in bounds of the node.
            let to = unsafe { &raw mut (*node).wipes };
            // SAFETY: the node is owned here.
            unsafe { to.write(wipes) };
        }
        unpooled
    }

    /// Whether the memory has to be overwritten.
    #[inline(always)]
    pub(super) fn wipes(&self) -> bool {
        if !wipe::ON {
            return false;
        }
        let node = self.0.as_ptr().cast::<BytesNode>();
        // SAFETY: in bounds of the node.
        let wipes = unsafe { &raw const (*node).wipes };
        // SAFETY: written by `of`.
        unsafe { wipes.read() }
    }

    #[inline(always)]
    pub(super) fn freeze(self) -> Bytes {
        if !self.wipes() {
            return self.into_inner().freeze();
        }
        if self.is_empty() {
            return Bytes::new();
        }
        wipe::freeze_wiped(self.into_inner())
    }

    /// Returns a pointer to the content.
    #[inline(always)]
    fn content(&self) -> *mut BytesMut {
        let node = self.0.as_ptr().cast::<BytesNode>();
        // SAFETY: in bounds of the node.
        unsafe { &raw mut (*node).bytes }
    }

    /// Frees the node without dropping its content.
    ///
    /// # Safety
    /// `self` is not used again.
    #[inline(always)]
    unsafe fn free_node(&self) {
        // SAFETY: from `new`; the caller does not use it again.
        drop(unsafe { UnpooledNode::<BytesNode>::from_raw(self.0) });
    }

    #[inline(always)]
    pub(super) fn into_inner(self) -> BytesMut {
        let this = ManuallyDrop::new(self);
        // SAFETY: taken once: an `Unpooled` holds a value, and is neither dropped nor used again.
        let bytes = unsafe { word_copy::read(this.content()) };
        // SAFETY: as above.
        unsafe { this.free_node() };
        bytes
    }
}

impl Deref for Unpooled {
    type Target = BytesMut;

    #[inline(always)]
    fn deref(&self) -> &BytesMut {
        // SAFETY: it owns the node, which holds a value.
        unsafe { &*self.content() }
    }
}

impl DerefMut for Unpooled {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut BytesMut {
        // SAFETY: as in `deref`; `&mut self` makes it the only reference.
        unsafe { &mut *self.content() }
    }
}

impl Drop for Unpooled {
    #[inline(always)]
    fn drop(&mut self) {
        if self.wipes() {
            wipe::wipe_all(self);
        }
        // SAFETY: dropped once: nothing uses an `Unpooled` that is being dropped.
        unsafe { self.content().drop_in_place() };
        // SAFETY: as above.
        unsafe { self.free_node() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_used_again() {
        let one = Unpooled::new(BytesMut::from(&b"one"[..]));
        let place = one.0;
        assert_eq!(one.into_inner(), "one");
        let mut two = Unpooled::new(BytesMut::from(&b"two"[..]));
        assert_eq!((two.0, &two[..]), (place, &b"two"[..]));
        two.extend_from_slice(b" more");
        assert_eq!(&two[..], b"two more");
        drop(two);
        assert_eq!(Unpooled::new(BytesMut::new()).0, place);
    }

    #[test]
    fn dropped_on_another_thread_and_at_a_threads_end() {
        use std::cell::RefCell;
        struct Late(Unpooled);
        impl Drop for Late {
            fn drop(&mut self) {
                drop(Unpooled::new(BytesMut::from(&b"later still"[..])));
                assert_eq!(&self.0[..], b"late");
            }
        }
        thread_local!(static SLOT: RefCell<Option<Late>> = const { RefCell::new(None) });
        let late = || Late(Unpooled::new(BytesMut::from(&b"late"[..])));
        for first in [true, false] {
            let moved = Unpooled::new(BytesMut::from(&b"moved"[..]));
            std::thread::spawn(move || {
                if first {
                    SLOT.with_borrow_mut(|slot| *slot = None);
                }
                assert_eq!(&moved[..], b"moved");
                drop(moved);
                SLOT.with_borrow_mut(|slot| *slot = Some(late()));
            })
            .join()
            .expect("no panic");
        }
    }
}
