//! Where scratch memory comes from: the only place in which the three sides differ.
//!
//! A source hands out guards. The plain source creates each object with the capacity that a careful
//! programmer would request. The others take an existing object and reserve the same capacity,
//! which is a no-op for a warm object.

use crate::compressor::Compressor;
use crate::document::Heap;
use crate::parts::{Owned, Parts};
use bumpalo::Bump;
use bytes::{Bytes, BytesMut};
use repool::{ArenaPool, Buffer, BufferPool, Pool, Recycle};
use std::cell::Cell;
use std::collections::HashSet;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

pub(crate) trait Source: 'static {
    /// May cross an `.await` or leave its thread.
    type Buffer: DerefMut<Target = BytesMut> + Send + 'static;
    /// For a body that arrives in parts.
    fn body(capacity: usize) -> Self::Buffer;
    /// For what goes to the client.
    fn reply(capacity: usize) -> Self::Buffer;
    fn freeze(buffer: Self::Buffer) -> Bytes;

    /// Holds the parsed document.
    fn parts() -> impl Parts;
    /// For a reply that will be compressed.
    fn text(capacity: usize) -> impl DerefMut<Target = BytesMut>;
    fn compressor() -> impl DerefMut<Target = Compressor>;
    /// For the numbers of the document.
    fn numbers() -> impl DerefMut<Target = Vec<f64>>;
    /// For the hashes of its keys.
    fn keys() -> impl DerefMut<Target = HashSet<u64>>;
    /// For the key order of all maps that are being written.
    fn order() -> impl DerefMut<Target = Vec<u32>>;
}

/// Initial capacities: what most documents need.
const NUMBERS: usize = 128;
const KEYS: usize = 64;
const ORDER: usize = 64;

// -------------------------------------------------------------------- pooled

pub(crate) enum Pooled {}

static BODIES: BufferPool = BufferPool::named("bodies");
static REPLIES: BufferPool = BufferPool::named("replies");
static DOCUMENTS: ArenaPool = ArenaPool::named("documents");
static TEXTS: BufferPool = BufferPool::named("texts");
static COMPRESSORS: Pool<Compressor> = Pool::named("compressors", Compressor::new);
static NUMBER_LISTS: Pool<Vec<f64>> = Pool::named("numbers", || Vec::with_capacity(NUMBERS));
static KEY_SETS: Pool<HashSet<u64>> = Pool::named("keys", || HashSet::with_capacity(KEYS));
static ORDERS: Pool<Vec<u32>> = Pool::named("orders", || Vec::with_capacity(ORDER));

impl Source for Pooled {
    type Buffer = Buffer;

    fn body(capacity: usize) -> Buffer {
        BODIES.get(capacity)
    }

    fn reply(capacity: usize) -> Buffer {
        REPLIES.get(capacity)
    }

    fn freeze(buffer: Buffer) -> Bytes {
        buffer.freeze()
    }

    fn parts() -> impl Parts {
        DOCUMENTS.get()
    }

    fn text(capacity: usize) -> impl DerefMut<Target = BytesMut> {
        TEXTS.get(capacity)
    }

    fn compressor() -> impl DerefMut<Target = Compressor> {
        COMPRESSORS.get()
    }

    fn numbers() -> impl DerefMut<Target = Vec<f64>> {
        NUMBER_LISTS.get()
    }

    fn keys() -> impl DerefMut<Target = HashSet<u64>> {
        KEY_SETS.get()
    }

    fn order() -> impl DerefMut<Target = Vec<u32>> {
        ORDERS.get()
    }
}

// -------------------------------------------------------------------- plain

pub(crate) enum Plain {}

impl Source for Plain {
    type Buffer = Owned<BytesMut>;

    fn body(capacity: usize) -> Self::Buffer {
        Owned(BytesMut::with_capacity(capacity))
    }

    fn reply(capacity: usize) -> Self::Buffer {
        Owned(BytesMut::with_capacity(capacity))
    }

    fn freeze(buffer: Self::Buffer) -> Bytes {
        buffer.0.freeze()
    }

    fn parts() -> impl Parts {
        Heap
    }

    fn text(capacity: usize) -> impl DerefMut<Target = BytesMut> {
        Owned(BytesMut::with_capacity(capacity))
    }

    fn compressor() -> impl DerefMut<Target = Compressor> {
        Owned(Compressor::new())
    }

    fn numbers() -> impl DerefMut<Target = Vec<f64>> {
        Owned(Vec::with_capacity(NUMBERS))
    }

    fn keys() -> impl DerefMut<Target = HashSet<u64>> {
        Owned(HashSet::with_capacity(KEYS))
    }

    fn order() -> impl DerefMut<Target = Vec<u32>> {
        Owned(Vec::with_capacity(ORDER))
    }
}

// -------------------------------------------------------------------- thread-local

pub(crate) enum ThreadLocal {}

/// A thread's own object, taken out of its slot while in use. Not `Send`: it goes back to the slot
/// it came from.
pub(crate) struct Kept<T: Recycle + 'static> {
    object: Option<T>,
    slot: &'static LocalKey<Cell<Option<T>>>,
    on_its_thread: std::marker::PhantomData<*const ()>,
}

fn kept<T: Recycle>(
    slot: &'static LocalKey<Cell<Option<T>>>,
    create: impl FnOnce() -> T,
) -> Kept<T> {
    Kept {
        object: Some(slot.take().unwrap_or_else(create)),
        slot,
        on_its_thread: std::marker::PhantomData,
    }
}

impl<T: Recycle> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.object.as_ref().expect("it is there until the drop")
    }
}

impl<T: Recycle> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.object.as_mut().expect("it is there until the drop")
    }
}

impl<T: Recycle> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(mut object) = self.object.take() {
            object.recycle();
            self.slot.set(Some(object));
        }
    }
}

thread_local! {
    static DOCUMENT: Cell<Option<Bump>> = const { Cell::new(None) };
    static TEXT: Cell<Option<BytesMut>> = const { Cell::new(None) };
    static COMPRESSOR: Cell<Option<Compressor>> = const { Cell::new(None) };
    static NUMBER_LIST: Cell<Option<Vec<f64>>> = const { Cell::new(None) };
    static KEY_SET: Cell<Option<HashSet<u64>>> = const { Cell::new(None) };
    static ORDER_LIST: Cell<Option<Vec<u32>>> = const { Cell::new(None) };
}

impl Source for ThreadLocal {
    type Buffer = Owned<BytesMut>;

    /// A body waits for its client over `.await`s, and a reply leaves for good, so no thread can
    /// keep them.
    fn body(capacity: usize) -> Self::Buffer {
        Plain::body(capacity)
    }

    fn reply(capacity: usize) -> Self::Buffer {
        Plain::reply(capacity)
    }

    fn freeze(buffer: Self::Buffer) -> Bytes {
        Plain::freeze(buffer)
    }

    fn parts() -> impl Parts {
        kept(&DOCUMENT, Bump::new)
    }

    fn text(capacity: usize) -> impl DerefMut<Target = BytesMut> {
        let mut text = kept(&TEXT, BytesMut::new);
        text.reserve(capacity);
        text
    }

    fn compressor() -> impl DerefMut<Target = Compressor> {
        kept(&COMPRESSOR, Compressor::new)
    }

    fn numbers() -> impl DerefMut<Target = Vec<f64>> {
        kept(&NUMBER_LIST, || Vec::with_capacity(NUMBERS))
    }

    fn keys() -> impl DerefMut<Target = HashSet<u64>> {
        kept(&KEY_SET, || HashSet::with_capacity(KEYS))
    }

    fn order() -> impl DerefMut<Target = Vec<u32>> {
        kept(&ORDER_LIST, || Vec::with_capacity(ORDER))
    }
}
