//! [`Plain`]: a `BytesMut` that is no pool's, in one word.
//!
//! A pool that is switched off has to cost what plain code costs, so that a comparison is fair: the same
//! calls of the allocator, and hardly more time. A [`Buffer`](super::Buffer) is two words so that pooled
//! ones travel in registers, and a `BytesMut` is four. So it sits in a shell, and each thread keeps
//! shells that are empty: warm, a plain buffer costs the allocator its own memory and nothing else.
//!
//! A shell is a node of no pool (`object/free_nodes.rs`) with a `BytesMut` in it. Its [`Plain`] owns it, and no other thread
//! touches it.

use crate::object::free_nodes::FreeNode;
use crate::object::words;
use crate::raw::node::Link;
use bytes::BytesMut;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Laid out as the node of a cell is, so that a [`Buffer`](super::Buffer) finds its bytes by the same
/// instruction whether it is pooled or not. (Nothing else depends on that.)
#[repr(C)]
struct Shell {
    link: Link,
    bytes: BytesMut,
}

/// A `BytesMut` in a shell.
pub(super) struct Plain(NonNull<Link>);

// SAFETY: it owns its shell, in which there is a `BytesMut`, which is `Send`.
unsafe impl Send for Plain {}
// SAFETY: `&Plain` gives `&BytesMut` and nothing else, and that is `Sync`.
unsafe impl Sync for Plain {}

impl Plain {
    #[inline(always)]
    pub(super) fn new(bytes: BytesMut) -> Self {
        let shell = FreeNode::<Shell>::take();
        let plain = Self(shell.into_raw());
        let content = plain.content().cast::<MaybeUninit<BytesMut>>();
        // SAFETY: the shell is ours, and there is nothing in it.
        words::write(unsafe { &mut *content }, bytes);
        plain
    }

    /// Where the content is.
    #[inline(always)]
    fn content(&self) -> *mut BytesMut {
        let shell = self.0.as_ptr().cast::<Shell>();
        // SAFETY: in bounds of the shell.
        unsafe { &raw mut (*shell).bytes }
    }

    /// Gives the shell back. There is nothing in it any more, or nothing that is looked at.
    ///
    /// # Safety
    /// `self` is not used again.
    #[inline(always)]
    unsafe fn leave_shell(&self) {
        // SAFETY: from `new`; the caller's.
        drop(unsafe { FreeNode::<Shell>::from_raw(self.0) });
    }

    #[inline(always)]
    pub(super) fn into_inner(self) -> BytesMut {
        let this = ManuallyDrop::new(self);
        // SAFETY: taken once: there is something in a `Plain`, and it is neither dropped nor used again.
        let bytes = unsafe { words::read(this.content()) };
        // SAFETY: as above.
        unsafe { this.leave_shell() };
        bytes
    }
}

impl Deref for Plain {
    type Target = BytesMut;

    #[inline(always)]
    fn deref(&self) -> &BytesMut {
        // SAFETY: it owns the shell, and there is something in it.
        unsafe { &*self.content() }
    }
}

impl DerefMut for Plain {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut BytesMut {
        // SAFETY: as in `deref`; `&mut self` makes it the only reference.
        unsafe { &mut *self.content() }
    }
}

impl Drop for Plain {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: dropped once: nothing uses a `Plain` that is being dropped.
        unsafe { self.content().drop_in_place() };
        // SAFETY: as above.
        unsafe { self.leave_shell() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_are_used_again() {
        let one = Plain::new(BytesMut::from(&b"one"[..]));
        let place = one.0;
        assert_eq!(one.into_inner(), "one");
        let mut two = Plain::new(BytesMut::from(&b"two"[..]));
        assert_eq!((two.0, &two[..]), (place, &b"two"[..]));
        two.extend_from_slice(b" more");
        assert_eq!(&two[..], b"two more");
        drop(two);
        assert_eq!(Plain::new(BytesMut::new()).0, place);
    }

    #[test]
    fn dropped_on_another_thread_and_at_a_threads_end() {
        use std::cell::RefCell;
        struct Late(Plain);
        impl Drop for Late {
            fn drop(&mut self) {
                drop(Plain::new(BytesMut::from(&b"later still"[..])));
                assert_eq!(&self.0[..], b"late");
            }
        }
        thread_local!(static SLOT: RefCell<Option<Late>> = const { RefCell::new(None) });
        let late = || Late(Plain::new(BytesMut::from(&b"late"[..])));
        for first in [true, false] {
            let moved = Plain::new(BytesMut::from(&b"moved"[..]));
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
