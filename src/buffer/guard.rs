//! [`Buffer`]: the user's handle to a pooled `BytesMut`.

use super::inner::Inner;
use super::pooled_bytes::PooledBytes;
use super::returns;
use super::unpooled::Unpooled;
use crate::object::by_value::{ByValue, Leave};
use crate::object::guard::Pooled;
use crate::sync::lazy::LazyStatic;
use crate::sync::rare::Weak;
use bytes::{Bytes, BytesMut};
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A byte buffer on loan from a [`BufferPool`](crate::BufferPool); dropping it returns it.
///
/// A buffer dereferences to [`BytesMut`], with everything that `bytes` offers: `put_u32`,
/// `extend_from_slice`, `split_to`, [`BufMut`](bytes::BufMut) for `read_buf`. It is `'static`, any
/// thread may drop it, and it may outlive its pool. If it is dropped while its thread panics, its
/// memory is freed and not reused.
///
/// A buffer may grow like any `BytesMut`. It still goes back to the class it was created for, where
/// requests like that one find it again. The pool cuts a buffer that grew back to its class once
/// five uses in a row were small; see [`BufferPool`](crate::BufferPool#sizes). Parts that were
/// split off keep the memory in use; when the last one is gone, the memory goes back to the pool.
///
/// [`clone`](Clone::clone) copies the content into another buffer of the same pool.
/// `Buffer::default()` and `Buffer::from(BytesMut)` create buffers of no pool; dropping them frees
/// their memory.
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

/// A panic leaves the locks and flags of the pool consistent.
impl UnwindSafe for Buffer {}
impl RefUnwindSafe for Buffer {}

/// Two words, so that a buffer travels in registers.
enum Held {
    Pooled(Pooled<PooledBytes>),
    /// Requested with capacity 0 and not written to yet: has no memory, and does not count in the
    /// pool.
    Empty(Option<Weak<Inner>>),
    /// Of no pool, or of a pool that is switched off.
    Unpooled(Unpooled),
}

/// The content of an empty buffer.
static NOTHING: LazyStatic<BytesMut> = LazyStatic::new();

impl Buffer {
    #[inline(always)]
    pub(super) fn of(mut object: Pooled<PooledBytes>) -> Self {
        object.goes_out();
        Self {
            held: ByValue::new(Held::Pooled(object)),
        }
    }

    pub(super) fn empty(pool: Option<Weak<Inner>>) -> Self {
        Self {
            held: ByValue::new(Held::Empty(pool)),
        }
    }

    #[inline(always)]
    pub(super) fn unpooled(held: Unpooled) -> Self {
        Self {
            held: ByValue::new(Held::Unpooled(held)),
        }
    }

    /// A buffer of no pool with room for the content of this one. A copy of what is wiped is wiped.
    fn unpooled_copy(&self, wipes: bool) -> Self {
        if !wipes {
            return Self::unpooled(Unpooled::with_capacity(self.len()));
        }
        Self::unpooled(Unpooled::wiped(BytesMut::with_capacity(self.len())))
    }

    /// Tells a pool with diagnostics that the buffer goes out. Slow path only.
    #[track_caller]
    pub(super) fn went_out(mut self) -> Self {
        if let Held::Pooled(object) = &mut *self.held {
            if object.went_out() {
                object.poison();
            }
        }
        self
    }

    /// Turns the content into a [`Bytes`] without a copy.
    ///
    /// The pool keeps a handle to the memory and takes it back once the last view of it (clones and
    /// slices included) is gone; [`BufferPool`](crate::BufferPool#frozen-buffers) says when. In the
    /// steady state neither freezing nor cloning or dropping views allocates. The first freeze of a
    /// buffer allocates its reference count, which stays with the buffer.
    ///
    /// The views stay valid whatever happens to the pool, to the thread, or to the capacity behind
    /// the content. In return they keep the whole buffer in use: to keep a small part of a large
    /// buffer, copy it.
    ///
    /// # A view is never the only handle
    /// While the pool waits for a buffer, it holds a handle itself. So [`Bytes::is_unique`] returns
    /// `false`, [`Bytes::try_into_mut`] fails, and `Vec::from(view)` and `BytesMut::from(view)`
    /// copy the content. To give memory away for good, so that its next owner can make it mutable
    /// without a copy, take it out of the pool first: call [`into_inner`](Buffer::into_inner), then
    /// `BytesMut::freeze`.
    ///
    /// # Wiping
    /// With the feature `zeroize`, frozen memory is overwritten
    ///
    /// - when the pool takes it back;
    /// - when the pool is dropped, cleared or switched off, if the last view is gone by then;
    /// - with the last view, if the pool does not wait for the memory at all: above the largest
    ///   class, refused by a limit, while the pool is switched off or gone, or during a panic. Such
    ///   a freeze costs an allocation.
    ///
    /// It is not overwritten if the pool was waiting for it and is dropped, cleared or switched off
    /// before the last view is gone, or if a buffer that had grown or was split has views for longer
    /// than three trim passes. Nor is the old block that a buffer left behind when it grew.
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
    /// To give the memory away for good:
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
            Held::Pooled(object) => returns::freeze(object),
            Held::Unpooled(unpooled) => unpooled.freeze(),
            Held::Empty(_) => Bytes::new(),
        }
    }

    /// Takes the `BytesMut` out of the pool for good. The feature `zeroize` does not overwrite it.
    ///
    /// [`BufferPool::put`](crate::BufferPool::put) can give it back later.
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
            Held::Pooled(object) => PooledBytes::into_bytes(object),
            held => held.into_bytes(),
        }
    }
}

/// Creates a buffer of no pool, without memory. (With the feature `zeroize`, the memory that it gets
/// later is overwritten when the buffer is dropped.)
impl Default for Buffer {
    fn default() -> Self {
        Self::empty(None)
    }
}

/// Wraps a `BytesMut` in a buffer of no pool. To give it to a pool, use
/// [`BufferPool::put`](crate::BufferPool::put).
impl From<BytesMut> for Buffer {
    fn from(bytes: BytesMut) -> Self {
        Self::unpooled(Unpooled::new(bytes))
    }
}

/// Copies the content into another buffer of the same pool. The copy belongs to no pool if the pool
/// is gone or switched off, or if there never was one.
impl Clone for Buffer {
    #[track_caller]
    fn clone(&self) -> Self {
        let mut copy = match &*self.held {
            Held::Pooled(object) => {
                let origin = object.class.origin.upgrade();
                let found = origin.and_then(|pool| pool.get(self.len().max(1)));
                match found {
                    Some(object) => Self::of(object).went_out(),
                    None => self.unpooled_copy(object.class.wipes),
                }
            }
            Held::Empty(pool) => return Self::empty(pool.clone()),
            Held::Unpooled(unpooled) => self.unpooled_copy(unpooled.wipes()),
        };
        copy.extend_from_slice(self);
        copy
    }
}

impl Held {
    /// The content of a buffer without an object.
    #[inline(always)]
    fn into_bytes(self) -> BytesMut {
        match self {
            Held::Unpooled(unpooled) => unpooled.into_inner(),
            _ => BytesMut::new(),
        }
    }

    /// Gives an empty buffer memory when it is written to. Takes it by value, so that a buffer need
    /// not live in memory itself.
    #[track_caller]
    #[cold]
    #[inline(never)]
    fn open(pool: Option<Weak<Inner>>) -> Self {
        match pool.and_then(|pool| pool.upgrade()) {
            Some(inner) if inner.pools() => {
                let mut object = inner.create_unsized();
                object.goes_out();
                object.went_out(); // nothing in it to fill
                Held::Pooled(object)
            }
            Some(_) => Held::Unpooled(Unpooled::new(BytesMut::new())),
            // It may have been the first request to a pool that wipes its buffers.
            None => Held::Unpooled(Unpooled::wiped(BytesMut::new())),
        }
    }
}

impl Deref for Buffer {
    type Target = BytesMut;

    #[inline(always)]
    fn deref(&self) -> &BytesMut {
        match &*self.held {
            Held::Pooled(object) => &object.bytes,
            Held::Empty(_) => NOTHING.get(BytesMut::new),
            Held::Unpooled(unpooled) => unpooled,
        }
    }
}

impl DerefMut for Buffer {
    #[track_caller]
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut BytesMut {
        let held = &mut *self.held;
        match held {
            Held::Pooled(object) => &mut object.bytes,
            Held::Unpooled(unpooled) => unpooled,
            Held::Empty(pool) => {
                let open = Held::open(pool.take());
                mem::forget(mem::replace(held, open)); // an empty one without a pool
                match held {
                    Held::Pooled(object) => &mut object.bytes,
                    Held::Unpooled(unpooled) => unpooled,
                    Held::Empty(_) => unreachable!("`open` never returns an empty one"),
                }
            }
        }
    }
}

/// What dropping a [`Buffer`] does.
impl Leave for Held {
    /// A buffer that is as it went out, and well used, goes back to its class by the hot path.
    #[inline(always)]
    fn leave(self) {
        match self {
            Held::Pooled(object) => leave(object),
            held => leave_slow(held),
        }
    }
}

#[inline(always)]
fn leave(object: Pooled<PooledBytes>) {
    if !object.is_unchanged() {
        return returns::give_back_slow(object);
    }
    let weight = object.full();
    if let Err(object) = Pooled::give_back_fast(object, weight, |object| object.bytes.clear()) {
        returns::give_back_unchanged(object);
    }
}

/// Drops a buffer without an object.
#[inline(never)]
fn leave_slow(held: Held) {
    if let Held::Unpooled(unpooled) = held {
        drop(unpooled);
    }
}
