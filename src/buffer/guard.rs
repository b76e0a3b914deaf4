//! [`Buffer`]: the user's handle to a pooled `BytesMut`.

use super::cell::{self, Cell};
use super::inner::Inner;
use crate::object::by_value::{ByValue, Leave};
use crate::object::guard::Pooled;
use crate::sync::lazy::Stock;
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
    held: ByValue<Held>,
}

/// The cell knows its pool by locks and flags that a panic leaves as they should be.
impl UnwindSafe for Buffer {}
impl RefUnwindSafe for Buffer {}

/// Two words, so that a buffer travels in registers.
enum Held {
    Pooled(Pooled<Cell>),
    /// Asked for without any capacity: it has no memory yet, and no place in the pool.
    Empty(Option<Weak<Inner>>),
    /// One that was empty, once somebody wants to write.
    Loose(Box<Loose>),
}

struct Loose {
    bytes: BytesMut,
    home: Option<Weak<Inner>>,
}

/// What is in an empty one.
static NOTHING: Stock<BytesMut> = Stock::new();

impl Buffer {
    #[inline(always)]
    pub(super) fn of(cell: Pooled<Cell>) -> Self {
        Self {
            held: ByValue::new(Held::Pooled(cell)),
        }
    }

    pub(super) fn loose(home: Option<Weak<Inner>>) -> Self {
        Self {
            held: ByValue::new(Held::Empty(home)),
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
    #[inline]
    #[must_use = "the content is gone without it"]
    pub fn freeze(self) -> Bytes {
        match self.held.into_inner() {
            Held::Pooled(cell) => cell::freeze(cell),
            Held::Empty(_) => Bytes::new(),
            Held::Loose(loose) => loose.bytes.freeze(),
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
    pub fn into_inner(self) -> BytesMut {
        match self.held.into_inner() {
            Held::Pooled(cell) => Pooled::into_inner(cell).bytes,
            Held::Empty(_) => BytesMut::new(),
            Held::Loose(loose) => loose.bytes,
        }
    }
}

impl Held {
    /// With memory to be had. By value, so that a buffer need not be in memory itself.
    #[cold]
    #[inline(never)]
    fn loosened(self) -> Self {
        match self {
            Held::Empty(home) => Held::Loose(Box::new(Loose {
                bytes: BytesMut::new(),
                home,
            })),
            held => held,
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
            Held::Loose(loose) => &loose.bytes,
        }
    }
}

impl DerefMut for Buffer {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut BytesMut {
        let held = &mut *self.held;
        if let Held::Empty(home) = held {
            let loose = Held::Empty(home.take()).loosened();
            mem::forget(mem::replace(held, loose)); // an empty one without a home
        }
        match held {
            Held::Pooled(cell) => &mut cell.bytes,
            Held::Loose(loose) => &mut loose.bytes,
            Held::Empty(_) => unreachable!("just made one that is not"),
        }
    }
}

/// What the drop of a [`Buffer`] does.
impl Leave for Held {
    /// As it came and well used, it goes back by the hit path of its class's pool.
    #[inline(always)]
    fn leave(self) {
        let held = match self {
            Held::Pooled(cell) if cell.is_as_it_was() => match cell::give_back_fast(cell) {
                Ok(()) => return,
                Err(cell) => Held::Pooled(cell),
            },
            held => held,
        };
        give_back_slow(held);
    }
}

#[cold]
#[inline(never)]
fn give_back_slow(held: Held) {
    match held {
        Held::Pooled(cell) => cell::give_back_slow(cell),
        Held::Loose(loose) if loose.bytes.capacity() != 0 => {
            if let Some(inner) = loose.home.and_then(|home| home.upgrade()) {
                inner.adopt_loose(loose.bytes);
            }
        }
        _ => {}
    }
}
