//! [`Plain`]: a `BytesMut` that is no pool's, in one word.
//!
//! A pool that is switched off has to cost what plain code costs, so that a comparison is fair: the same
//! calls of the allocator, and hardly more time. A [`Buffer`](super::Buffer) is two words so that pooled
//! ones travel in registers, and a `BytesMut` is four. So it sits in a shell, and each thread keeps the
//! shells that are empty: warm, a plain buffer costs the allocator its own memory and nothing else.
//!
//! A shell is owned by its `Plain`, which has a `BytesMut` in it, or by the list of a thread, which has
//! none. No other thread touches either.

use crate::raw::node::Link;
use bytes::BytesMut;
use std::cell::Cell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

/// A thread keeps this many empty shells.
const MOST: usize = 64;

/// Laid out as the node of a cell is, so that a [`Buffer`](super::Buffer) finds its bytes by the same
/// instruction whether it is pooled or not. (Nothing else depends on that.)
#[repr(C)]
struct Shell {
    link: MaybeUninit<Link>,
    bytes: MaybeUninit<BytesMut>,
    /// In a list: the one below.
    next: *mut Shell,
}

/// A thread's empty shells.
struct Empty {
    first: Cell<*mut Shell>,
    len: Cell<usize>,
}

thread_local! {
    static EMPTY: Empty = const {
        Empty {
            first: Cell::new(ptr::null_mut()),
            len: Cell::new(0),
        }
    };
}

impl Empty {
    #[inline(always)]
    fn pop(&self) -> Option<NonNull<Shell>> {
        let first = NonNull::new(self.first.get())?;
        // SAFETY: the list owns what is in it.
        self.first.set(unsafe { (*first.as_ptr()).next });
        self.len.set(self.len.get() - 1);
        Some(first)
    }

    /// Takes a shell over; `false` if there are enough.
    #[inline(always)]
    fn push(&self, shell: NonNull<Shell>) -> bool {
        if self.len.get() >= MOST {
            return false;
        }
        // SAFETY: the caller owns the shell, and gives it up.
        unsafe { (*shell.as_ptr()).next = self.first.get() };
        self.first.set(shell.as_ptr());
        self.len.set(self.len.get() + 1);
        true
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        while let Some(shell) = self.pop() {
            free(shell);
        }
    }
}

/// Frees a shell that its caller owns, without what is in it.
#[cold]
fn free(shell: NonNull<Shell>) {
    // SAFETY: from a box in `in_new_shell`, and owned by the caller.
    drop(unsafe { Box::from_raw(shell.as_ptr()) });
}

#[cold]
fn in_new_shell() -> NonNull<Shell> {
    let shell = Box::new(Shell {
        link: MaybeUninit::uninit(),
        bytes: MaybeUninit::uninit(),
        next: ptr::null_mut(),
    });
    // SAFETY: a box is not null.
    unsafe { NonNull::new_unchecked(Box::into_raw(shell)) }
}

const WORDS: usize = size_of::<BytesMut>() / size_of::<usize>();
type Words = [MaybeUninit<*mut ()>; WORDS];
const _: () = assert!(size_of::<Words>() == size_of::<BytesMut>());

/// Reads a `BytesMut` word by word. What its user wrote to it last were single words, and a wider load
/// right after that would wait until they have left the store buffer: three times the price of a freeze.
///
/// # Safety
/// As [`ptr::read`], and it is aligned as a pointer is.
#[inline(always)]
unsafe fn read_by_words(from: *const BytesMut) -> BytesMut {
    let mut bytes = MaybeUninit::<BytesMut>::uninit();
    let to = bytes.as_mut_ptr().cast::<MaybeUninit<*mut ()>>();
    for word in 0..WORDS {
        // SAFETY: in bounds of what is read.
        let from = unsafe { from.cast::<MaybeUninit<*mut ()>>().add(word) };
        // SAFETY: in bounds of what is written.
        let to = unsafe { to.add(word) };
        // SAFETY: the caller's. Volatile, or the words become one load.
        let one = unsafe { from.read_volatile() };
        // SAFETY: in bounds, and nothing is there.
        unsafe { to.write(one) };
    }
    // SAFETY: all of its words, with their provenance.
    unsafe { bytes.assume_init() }
}

/// A `BytesMut` in a shell.
pub(super) struct Plain(NonNull<Shell>);

// SAFETY: it owns its shell, in which there is a `BytesMut`, which is `Send`.
unsafe impl Send for Plain {}
// SAFETY: `&Plain` gives `&BytesMut` and nothing else, and that is `Sync`.
unsafe impl Sync for Plain {}

/// Where the content of a shell is.
#[inline(always)]
fn content(shell: NonNull<Shell>) -> *mut BytesMut {
    // SAFETY: in bounds of the shell.
    unsafe { (&raw mut (*shell.as_ptr()).bytes).cast() }
}

impl Plain {
    #[inline(always)]
    pub(super) fn new(bytes: BytesMut) -> Self {
        // At the thread's end there is no list any more.
        let shell = EMPTY.try_with(Empty::pop).ok().flatten();
        let shell = shell.unwrap_or_else(in_new_shell);
        // SAFETY: the shell is ours, and there is nothing in it.
        unsafe { content(shell).write(bytes) };
        Self(shell)
    }

    #[inline(always)]
    pub(super) fn into_inner(self) -> BytesMut {
        let this = ManuallyDrop::new(self);
        // SAFETY: taken once: there is something in a `Plain`, and it is neither dropped nor used again.
        let bytes = unsafe { read_by_words(content(this.0)) };
        keep(this.0);
        bytes
    }
}

/// Gives a shell back from which the content is gone, and which the caller owns.
#[inline(always)]
fn keep(shell: NonNull<Shell>) {
    if !EMPTY.try_with(|empty| empty.push(shell)).unwrap_or(false) {
        free(shell);
    }
}

impl Deref for Plain {
    type Target = BytesMut;

    #[inline(always)]
    fn deref(&self) -> &BytesMut {
        // SAFETY: it owns the shell, and there is something in it.
        unsafe { &*content(self.0) }
    }
}

impl DerefMut for Plain {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut BytesMut {
        // SAFETY: as in `deref`; `&mut self` makes it the only reference.
        unsafe { &mut *content(self.0) }
    }
}

impl Drop for Plain {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: dropped once: nothing uses a `Plain` that is being dropped.
        unsafe { content(self.0).drop_in_place() };
        keep(self.0);
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
    fn only_so_many_are_kept() {
        let many: Vec<_> = (0..3 * MOST).map(|_| Plain::new(BytesMut::new())).collect();
        drop(many);
        assert_eq!(EMPTY.with(|empty| empty.len.get()), MOST);
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
