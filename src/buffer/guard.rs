//! [`Buffer`]: the user's handle to a pooled `BytesMut`.

use super::cell::Cell;
use super::comeback;
use super::inner::Inner;
use super::shells::Plain;
use crate::object::by_value::{ByValue, Leave};
use crate::object::guard::Pooled;
use crate::sync::lazy::LazyStatic;
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
/// It may grow like any `BytesMut`, and goes back to the class of the request it was made for all the
/// same: requests like that one find it again. One that grew and is then little used, five times in a
/// row, is cut back; see [`BufferPool`](crate::BufferPool#sizes). Parts that are split off keep the memory
/// in use until they are gone; then it goes back to the pool as well.
///
/// [`clone`](Clone::clone) copies the content into another buffer of the same pool. `Buffer::default()` and
/// `Buffer::from(BytesMut)` are buffers of no pool: they are a `BytesMut` in a buffer's clothes, and freed
/// when dropped.
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
    held: ByValue<Held>,
}

/// The cell knows its pool by locks and flags that a panic leaves as they should be.
impl UnwindSafe for Buffer {}
impl RefUnwindSafe for Buffer {}

/// Two words, so that a buffer travels in registers.
enum Held {
    Pooled(Pooled<Cell>),
    /// Requested without a size and not written to yet: it has no memory, and no place in the pool.
    Empty(Option<Weak<Inner>>),
    /// Of no pool, or of one that is switched off.
    Plain(Plain),
}

/// What is in an empty one.
static NOTHING: LazyStatic<BytesMut> = LazyStatic::new();

impl Buffer {
    #[inline(always)]
    pub(super) fn of(mut cell: Pooled<Cell>) -> Self {
        cell.goes_out();
        Self {
            held: ByValue::new(Held::Pooled(cell)),
        }
    }

    pub(super) fn empty(home: Option<Weak<Inner>>) -> Self {
        Self {
            held: ByValue::new(Held::Empty(home)),
        }
    }

    #[inline(always)]
    pub(super) fn plain(bytes: BytesMut) -> Self {
        Self {
            held: ByValue::new(Held::Plain(Plain::new(bytes))),
        }
    }

    /// It goes out by a slow path: a diagnosed pool takes note.
    #[track_caller]
    pub(super) fn went_out(mut self) -> Self {
        if let Held::Pooled(cell) = &mut *self.held {
            if cell.went_out() {
                cell.poison();
            }
        }
        self
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
    /// # A view is never the only handle
    /// While the pool waits for it, the pool has a handle too. So [`Bytes::try_into_mut`] fails and
    /// [`Bytes::is_unique`] is `false`, and `Vec::from(view)` and `BytesMut::from(view)` copy the content.
    /// To give memory away for good, so that its next owner can make it mutable without a copy, take it out
    /// of the pool first: [`into_inner`](Buffer::into_inner), and then `BytesMut::freeze`.
    ///
    /// # Wiping
    /// With the feature `zeroize` the memory is overwritten when the pool takes it back; when the pool goes,
    /// is cleared or switched off, if the last view is gone by then; and with the last view, if the pool does
    /// not wait for it to begin with (above the largest class, refused by a limit, switched off, gone, or in
    /// a panic: such a freeze costs an allocation). It is not if the pool waited and goes, is cleared or is
    /// switched off before the last view does; nor is what the buffer left behind when it grew.
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
    ///
    /// For good:
    /// ```
    /// # use repool::BufferPool;
    /// let pool = BufferPool::new();
    /// let mut buffer = pool.get(64);
    /// buffer.extend_from_slice(b"hello");
    /// let bytes = buffer.into_inner().freeze();
    /// assert!(bytes.try_into_mut().is_ok());
    /// ```
    #[inline]
    #[must_use = "the content is gone without it"]
    pub fn freeze(self) -> Bytes {
        match self.held.into_inner() {
            Held::Pooled(cell) => comeback::freeze(cell),
            held => held.into_plain().freeze(),
        }
    }

    /// Takes the `BytesMut` out for good; it does not go back, and is not overwritten by `zeroize`.
    /// [`BufferPool::put`](crate::BufferPool::put) gives it back later.
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
    pub fn into_inner(self) -> BytesMut {
        match self.held.into_inner() {
            Held::Pooled(cell) => Cell::into_bytes(cell),
            held => held.into_plain(),
        }
    }
}

/// A buffer of no pool, without memory.
impl Default for Buffer {
    fn default() -> Self {
        Self::empty(None)
    }
}

/// A buffer of no pool. ([`BufferPool::put`](crate::BufferPool::put) gives a `BytesMut` to a pool.)
impl From<BytesMut> for Buffer {
    fn from(bytes: BytesMut) -> Self {
        Self::plain(bytes)
    }
}

/// A copy of the content in another buffer of the same pool; of no pool, if that is gone, switched off,
/// or there never was one.
impl Clone for Buffer {
    #[track_caller]
    fn clone(&self) -> Self {
        let mut copy = match &*self.held {
            Held::Pooled(cell) => {
                let origin = cell.class.origin.upgrade();
                let found = origin.and_then(|pool| pool.get(self.len().max(1)));
                match found {
                    Some(cell) => Self::of(cell).went_out(),
                    None => Self::plain(BytesMut::with_capacity(self.len())),
                }
            }
            Held::Empty(home) => return Self::empty(home.clone()),
            Held::Plain(_) => Self::plain(BytesMut::with_capacity(self.len())),
        };
        copy.extend_from_slice(self);
        copy
    }
}

impl Held {
    /// The content of one without a cell.
    #[inline(always)]
    fn into_plain(self) -> BytesMut {
        match self {
            Held::Plain(plain) => plain.into_inner(),
            _ => BytesMut::new(),
        }
    }

    /// What an empty one becomes when it is written to. By value, so that a buffer need not be in
    /// memory itself.
    #[track_caller]
    #[cold]
    #[inline(never)]
    fn open(home: Option<Weak<Inner>>) -> Self {
        match home.and_then(|home| home.upgrade()) {
            Some(inner) if inner.pools() => {
                let cell = inner.create_unsized();
                cell.went_out(); // nothing in it to fill
                Held::Pooled(cell)
            }
            _ => Held::Plain(Plain::new(BytesMut::new())),
        }
    }
}

impl Deref for Buffer {
    type Target = BytesMut;

    #[inline(always)]
    fn deref(&self) -> &BytesMut {
        match &*self.held {
            Held::Pooled(cell) => &cell.bytes,
            Held::Empty(_) => NOTHING.get(BytesMut::new),
            Held::Plain(plain) => plain,
        }
    }
}

impl DerefMut for Buffer {
    #[track_caller]
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut BytesMut {
        let held = &mut *self.held;
        match held {
            Held::Pooled(cell) => &mut cell.bytes,
            Held::Plain(plain) => plain,
            Held::Empty(home) => {
                let open = Held::open(home.take());
                mem::forget(mem::replace(held, open)); // an empty one without a home
                match held {
                    Held::Pooled(cell) => &mut cell.bytes,
                    Held::Plain(plain) => plain,
                    Held::Empty(_) => unreachable!("just made one that is not"),
                }
            }
        }
    }
}

/// What the drop of a [`Buffer`] does.
impl Leave for Held {
    /// As it came and well used, it goes back by the hit path of its class's pool.
    #[inline(always)]
    fn leave(self) {
        match self {
            Held::Pooled(cell) => leave(cell),
            held => leave_slow(held),
        }
    }
}

#[inline(always)]
fn leave(cell: Pooled<Cell>) {
    if !cell.is_plain() {
        return comeback::give_back_slow(cell);
    }
    let weight = cell.full();
    if let Err(cell) = Pooled::give_back_fast(cell, weight, |cell| cell.bytes.clear()) {
        comeback::give_back_plain(cell);
    }
}

/// One without a cell.
#[inline(never)]
fn leave_slow(held: Held) {
    if let Held::Plain(plain) = held {
        drop(plain);
    }
}
