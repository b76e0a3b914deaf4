//! Where objects come from: the one place in which the sides differ.
//!
//! A source hands out guards. The plain one makes each object with the capacity that a careful
//! programmer would ask for; the pooled one takes an idle object, and `reserve`, which a warm
//! object does not need, sees to the same capacity.

use crate::compressor::Compressor;
use crate::document::{Heap, Place};
use crate::request::Tally;
use crate::task::Pools;
use crate::{crossing, own, small};
use bumpalo::Bump;
use bytes::BytesMut;
use repool::{Arena, ArenaPool, Buffer, BufferPool, Pool, Pooled as Guard, Stats, Trimmed};
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

pub(crate) trait Source {
    /// Where the parsed body goes.
    fn parts() -> impl Parts;
    /// Scratch for picked numbers.
    fn numbers(capacity: usize) -> impl DerefMut<Target = Vec<f64>>;
    /// Tallies by name.
    fn tallies(capacity: usize) -> impl DerefMut<Target = HashMap<u64, Tally>>;
    /// Scratch for rewriting one text.
    fn text(capacity: usize) -> impl DerefMut<Target = String>;
    /// Scratch for the serialised reply.
    fn reply(capacity: usize) -> impl DerefMut<Target = BytesMut>;
    /// The output buffer: the compressed reply.
    fn packed(capacity: usize) -> impl DerefMut<Target = BytesMut>;
    fn compressor() -> impl DerefMut<Target = Compressor>;

    /// A vector of [`small::BYTES`].
    fn tiny() -> impl DerefMut<Target = Vec<u8>>;
    /// The same, for code that has a variable to keep it in.
    fn kept(local: &mut Vec<u8>) -> impl DerefMut<Target = Vec<u8>>;

    /// What goes to another thread: a body that was read, and a vector of [`crossing::PARCEL`].
    type Message: DerefMut<Target = BytesMut> + Send + 'static;
    type Parcel: DerefMut<Target = Vec<u8>> + Send + 'static;
    fn message(capacity: usize) -> Self::Message;
    fn parcel() -> Self::Parcel;

    /// The user's own work.
    fn own(request: &[u8]) -> u64;

    /// Every pool of this side.
    fn pools() -> Vec<&'static (dyn Idle + Sync)>;

    /// What a service does when it has nothing to do: three passes, by hand, which an idle pool
    /// needs to be empty. Says what its pools did.
    fn idle() -> Option<Pools> {
        let pools = Self::pools();
        if pools.is_empty() {
            return None;
        }
        let mut figures = Pools::default();
        for pool in pools {
            let stats = pool.stats();
            figures.created += stats.created;
            figures.reused += stats.reused;
            figures.idle_bytes += stats.idle_bytes;
            let name = pool.name().unwrap_or("a pool without a name");
            let advice = stats.advice().into_iter();
            figures
                .advice
                .extend(advice.map(|one| format!("{name}: {one}")));
            for _ in 0..3 {
                pool.trim();
            }
            figures.trimmed_to_bytes += pool.stats().idle_bytes;
        }
        Some(figures)
    }
}

/// What a document's parts live in, for one request.
pub(crate) trait Parts {
    type Place<'p>: Place<'p>
    where
        Self: 'p;

    fn place(&self) -> Self::Place<'_>;
    /// Keeps the root of a tree where its parts are.
    fn root<'p, T: 'p>(&'p self, root: T) -> impl Deref<Target = T> + 'p;
}

impl Parts for Heap {
    type Place<'p> = Heap;

    fn place(&self) -> Heap {
        Heap
    }

    fn root<'p, T: 'p>(&'p self, root: T) -> impl Deref<Target = T> + 'p {
        Owned(root)
    }
}

impl Parts for Arena {
    type Place<'p> = &'p Bump;

    fn place(&self) -> &Bump {
        self
    }

    /// Not dropped: that would walk the whole tree, to free nothing.
    fn root<'p, T: 'p>(&'p self, root: T) -> impl Deref<Target = T> + 'p {
        self.alloc(root)
    }
}

pub(crate) enum Plain {}

/// A guard that only drops.
pub(crate) struct Owned<T>(T);

impl<T> Deref for Owned<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Owned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl Source for Plain {
    fn parts() -> impl Parts {
        Heap
    }

    fn numbers(capacity: usize) -> impl DerefMut<Target = Vec<f64>> {
        Owned(Vec::with_capacity(capacity))
    }

    fn tallies(capacity: usize) -> impl DerefMut<Target = HashMap<u64, Tally>> {
        Owned(HashMap::with_capacity(capacity))
    }

    fn text(capacity: usize) -> impl DerefMut<Target = String> {
        Owned(String::with_capacity(capacity))
    }

    fn reply(capacity: usize) -> impl DerefMut<Target = BytesMut> {
        Owned(BytesMut::with_capacity(capacity))
    }

    fn packed(capacity: usize) -> impl DerefMut<Target = BytesMut> {
        Owned(BytesMut::with_capacity(capacity))
    }

    fn compressor() -> impl DerefMut<Target = Compressor> {
        Owned(Compressor::new())
    }

    #[inline]
    fn tiny() -> impl DerefMut<Target = Vec<u8>> {
        Owned(Vec::with_capacity(small::BYTES))
    }

    #[inline]
    fn kept(local: &mut Vec<u8>) -> impl DerefMut<Target = Vec<u8>> {
        local.clear();
        local
    }

    type Message = Owned<BytesMut>;
    type Parcel = Owned<Vec<u8>>;

    fn message(capacity: usize) -> Owned<BytesMut> {
        Owned(BytesMut::with_capacity(capacity))
    }

    #[inline]
    fn parcel() -> Owned<Vec<u8>> {
        Owned(Vec::with_capacity(crossing::PARCEL))
    }

    fn own(request: &[u8]) -> u64 {
        own::plain(request)
    }

    fn pools() -> Vec<&'static (dyn Idle + Sync)> {
        Vec::new()
    }
}

/// Also the side that is switched off, once its pools are.
pub(crate) enum Pooled {}

static ARENAS: ArenaPool = ArenaPool::named("arenas");
static NUMBERS: Pool<Vec<f64>> = Pool::named("numbers", Vec::new);
static TALLIES: Pool<HashMap<u64, Tally>> = Pool::named("tallies", HashMap::new);
static TEXTS: Pool<String> = Pool::named("texts", String::new);
/// Replies and output: of any size, so by size class.
static BUFFERS: BufferPool = BufferPool::named("buffers");
static COMPRESSORS: Pool<Compressor> = Pool::named("compressors", Compressor::new);
static TINY: Pool<Vec<u8>> = Pool::named("tiny", || Vec::with_capacity(small::BYTES));

static PARCELS: Pool<Vec<u8>> = Pool::named("parcels", || Vec::with_capacity(crossing::PARCEL));

static POOLS: [&(dyn Idle + Sync); 8] = [
    &ARENAS,
    &NUMBERS,
    &TALLIES,
    &TEXTS,
    &BUFFERS,
    &COMPRESSORS,
    &TINY,
    &PARCELS,
];

/// A pool of anything: its name, its passes, its figures and its switch.
pub(crate) trait Idle {
    fn name(&self) -> Option<&str>;
    fn trim(&self) -> Trimmed;
    fn stats(&self) -> Stats;
    fn set_enabled(&self, on: bool);
}

impl Idle for BufferPool {
    fn name(&self) -> Option<&str> {
        BufferPool::name(self)
    }

    fn trim(&self) -> Trimmed {
        BufferPool::trim(self)
    }

    fn stats(&self) -> Stats {
        BufferPool::stats(self)
    }

    fn set_enabled(&self, on: bool) {
        BufferPool::set_enabled(self, on);
    }
}

impl<T: Send> Idle for Pool<T> {
    fn name(&self) -> Option<&str> {
        Pool::name(self)
    }

    fn trim(&self) -> Trimmed {
        Pool::trim(self)
    }

    fn stats(&self) -> Stats {
        Pool::stats(self)
    }

    fn set_enabled(&self, on: bool) {
        Pool::set_enabled(self, on);
    }
}

impl Idle for ArenaPool {
    fn name(&self) -> Option<&str> {
        ArenaPool::name(self)
    }

    fn trim(&self) -> Trimmed {
        ArenaPool::trim(self)
    }

    fn stats(&self) -> Stats {
        ArenaPool::stats(self)
    }

    fn set_enabled(&self, on: bool) {
        ArenaPool::set_enabled(self, on);
    }
}

impl Source for Pooled {
    fn parts() -> impl Parts {
        ARENAS.get()
    }

    fn numbers(capacity: usize) -> impl DerefMut<Target = Vec<f64>> {
        let mut numbers = NUMBERS.get();
        numbers.reserve(capacity);
        numbers
    }

    fn tallies(capacity: usize) -> impl DerefMut<Target = HashMap<u64, Tally>> {
        let mut tallies = TALLIES.get();
        tallies.reserve(capacity);
        tallies
    }

    fn text(capacity: usize) -> impl DerefMut<Target = String> {
        let mut text = TEXTS.get();
        text.reserve(capacity);
        text
    }

    fn reply(capacity: usize) -> impl DerefMut<Target = BytesMut> {
        BUFFERS.get(capacity)
    }

    fn packed(capacity: usize) -> impl DerefMut<Target = BytesMut> {
        BUFFERS.get(capacity)
    }

    fn compressor() -> impl DerefMut<Target = Compressor> {
        COMPRESSORS.get()
    }

    #[inline]
    fn tiny() -> impl DerefMut<Target = Vec<u8>> {
        TINY.get()
    }

    #[inline]
    fn kept(_: &mut Vec<u8>) -> impl DerefMut<Target = Vec<u8>> {
        TINY.get()
    }

    type Message = Buffer;
    type Parcel = Guard<Vec<u8>>;

    fn message(capacity: usize) -> Buffer {
        BUFFERS.get(capacity)
    }

    #[inline]
    fn parcel() -> Guard<Vec<u8>> {
        PARCELS.get()
    }

    fn own(request: &[u8]) -> u64 {
        own::pooled(request)
    }

    fn pools() -> Vec<&'static (dyn Idle + Sync)> {
        POOLS.iter().chain(&own::POOLS).copied().collect()
    }
}
