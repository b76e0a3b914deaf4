//! [`Buffer`]: the user's handle to a pooled `BytesMut`.

use super::cell::{self, Cell};
use super::inner::Inner;
use crate::guard::Pooled;
use crate::sync::rare::Weak;
use bytes::{Bytes, BytesMut};
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A byte buffer on loan from a [`BufferPool`](crate::BufferPool); goes back when dropped.
///
/// It is a [`BytesMut`] by `Deref`, with all that `bytes` offers: `put_u32`, `extend_from_slice`,
/// `split_to`, [`BufMut`](bytes::BufMut) for `read_buf` and friends. It is `'static`, may be dropped
/// on any thread, and may outlive its pool. One that is dropped while its thread panics is dropped
/// and not used again.
///
/// It may grow like any `BytesMut`: it comes back to the class of the capacity that it then has.
/// Parts that are split off keep the memory in use until they are gone; then it goes back to the
/// pool as well.
///
/// # Examples
/// ```
/// use bytes::BufMut;
/// use repool::BufferPool;
///
/// static BUFFERS: BufferPool = BufferPool::new();
///
/// let mut frame = BUFFERS.get(1024);
/// frame.put_u32(5);
/// frame.put_slice(b"hello");
/// let bytes: bytes::Bytes = frame.freeze(); // no copy, and no allocation once warm
/// assert_eq!(&bytes[4..], b"hello");
/// ```
#[must_use = "a buffer that is dropped at once goes straight back"]
pub struct Buffer {
    held: Held,
}

/// The cell knows its pool by locks and flags that a panic leaves as they should be.
impl UnwindSafe for Buffer {}
impl RefUnwindSafe for Buffer {}

enum Held {
    Pooled(Pooled<Cell>),
    /// Asked for without any capacity: it has no memory yet, and no place in the pool.
    Loose(BytesMut, Option<Weak<Inner>>),
    /// Given back.
    Gone,
}

impl Buffer {
    #[inline(always)]
    pub(super) fn of(cell: Pooled<Cell>) -> Self {
        Self {
            held: Held::Pooled(cell),
        }
    }

    pub(super) fn loose(home: Option<Weak<Inner>>) -> Self {
        Self {
            held: Held::Loose(BytesMut::new(), home),
        }
    }

    /// Turns the content into a [`Bytes`], without a copy.
    ///
    /// The pool keeps a handle to the memory, and takes it back once the last view of it (clones,
    /// slices) is gone; see [`BufferPool`](crate::BufferPool#frozen-buffers) for when that is. Warm,
    /// freezing allocates nothing, and neither does cloning or dropping views; the first freeze of
    /// a buffer allocates its reference count, which stays with it.
    ///
    /// What the views refer to stays theirs, whatever happens to the pool, to the thread, or to
    /// the capacity behind the content. The price: they keep the whole buffer in use, so to keep a
    /// little of a lot, copy it.
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// let pool = BufferPool::new();
    /// let mut buffer = pool.get(64);
    /// buffer.extend_from_slice(b"hello world");
    /// let bytes = buffer.freeze();
    /// let hello = bytes.slice(..5);
    /// drop(pool);
    /// assert_eq!(hello, "hello");
    /// ```
    #[must_use = "the content is gone without it"]
    pub fn freeze(mut self) -> Bytes {
        match self.take() {
            Held::Pooled(cell) => cell::freeze(cell),
            Held::Loose(bytes, _) => bytes.freeze(),
            Held::Gone => Bytes::new(),
        }
    }

    /// Takes the `BytesMut` out for good; it does not go back.
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// let pool = BufferPool::new();
    /// let mut buffer = pool.get(100);
    /// buffer.extend_from_slice(b"mine");
    /// let mine: bytes::BytesMut = buffer.into_inner();
    /// assert_eq!((&mine[..], pool.stats().taken), (&b"mine"[..], 1));
    /// ```
    #[must_use]
    pub fn into_inner(mut self) -> BytesMut {
        match self.take() {
            Held::Pooled(cell) => Pooled::into_inner(cell).bytes,
            Held::Loose(bytes, _) => bytes,
            Held::Gone => BytesMut::new(),
        }
    }

    #[inline(always)]
    fn take(&mut self) -> Held {
        mem::replace(&mut self.held, Held::Gone)
    }
}

impl Deref for Buffer {
    type Target = BytesMut;

    #[inline(always)]
    fn deref(&self) -> &BytesMut {
        match &self.held {
            Held::Pooled(cell) => &cell.bytes,
            Held::Loose(bytes, _) => bytes,
            Held::Gone => unreachable!("a buffer is given back when it is dropped"),
        }
    }
}

impl DerefMut for Buffer {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut BytesMut {
        match &mut self.held {
            Held::Pooled(cell) => &mut cell.bytes,
            Held::Loose(bytes, _) => bytes,
            Held::Gone => unreachable!("a buffer is given back when it is dropped"),
        }
    }
}

impl Drop for Buffer {
    /// As it came and well used, it goes back by the hit path of its class's pool.
    #[inline]
    fn drop(&mut self) {
        let straight = match &mut self.held {
            Held::Pooled(cell) => cell.is_as_it_was(),
            Held::Loose(..) => false,
            Held::Gone => true,
        };
        // If so, the drop of the field is what gives it back.
        if !straight {
            give_back_slow(self.take());
        }
    }
}

#[cold]
#[inline(never)]
fn give_back_slow(held: Held) {
    match held {
        Held::Pooled(cell) => cell::give_back_slow(cell),
        Held::Loose(bytes, Some(home)) if bytes.capacity() != 0 => {
            if let Some(inner) = home.upgrade() {
                inner.adopt_loose(bytes);
            }
        }
        Held::Loose(..) | Held::Gone => {}
    }
}
