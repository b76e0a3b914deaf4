//! Where objects come from: the only place in which the sides differ.
//!
//! A source hands out guards. The plain source creates each object with the capacity that a careful
//! programmer would request. The pooled source takes an idle object and reserves the same capacity,
//! which is a no-op for a warm object.

use crate::compressor::Compressor;
use crate::document::Heap;
use crate::parts::{Owned, Parts};
use crate::request::Tally;
use crate::task::Pools;
use crate::{crossing, own, small};
use bytes::BytesMut;
use repool::{ArenaPool, Buffer, BufferPool, Pool, Pooled as Guard, Stats, Trimmed};
use std::collections::HashMap;
use std::ops::DerefMut;

pub(crate) trait Source {
    /// Holds the parsed body.
    fn parts() -> impl Parts;
    /// Scratch memory for picked numbers.
    fn numbers(capacity: usize) -> impl DerefMut<Target = Vec<f64>>;
    /// Counts by field name.
    fn tallies(capacity: usize) -> impl DerefMut<Target = HashMap<u64, Tally>>;
    /// Scratch memory for rewriting one text.
    fn text(capacity: usize) -> impl DerefMut<Target = String>;
    /// Scratch memory for the serialised reply.
    fn reply(capacity: usize) -> impl DerefMut<Target = BytesMut>;
    /// The output buffer for the compressed reply.
    fn packed(capacity: usize) -> impl DerefMut<Target = BytesMut>;
    fn compressor() -> impl DerefMut<Target = Compressor>;

    /// A vector of [`small::BYTES`] bytes.
    fn tiny() -> impl DerefMut<Target = Vec<u8>>;
    /// A vector of [`small::BYTES`] bytes, for code that has a variable to keep it in.
    fn kept(local: &mut Vec<u8>) -> impl DerefMut<Target = Vec<u8>>;

    /// What goes to another thread: a body that was read, and a vector of [`crossing::PARCEL`]
    /// bytes.
    type Message: DerefMut<Target = BytesMut> + Send + 'static;
    type Parcel: DerefMut<Target = Vec<u8>> + Send + 'static;
    fn message(capacity: usize) -> Self::Message;
    fn parcel() -> Self::Parcel;

    /// Runs the user's own work.
    fn own(request: &[u8]) -> u64;

    /// Every pool of this side.
    fn pools() -> Vec<&'static (dyn Idle + Sync)>;

    /// What a service does when it has nothing to do: three manual passes, after which an idle pool
    /// is empty. Returns what its pools did.
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

pub(crate) enum Plain {}

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

/// Also used for the side that is switched off, after its pools were.
pub(crate) enum Pooled {}

static ARENAS: ArenaPool = ArenaPool::named("arenas");
static NUMBERS: Pool<Vec<f64>> = Pool::named("numbers", Vec::new);
static TALLIES: Pool<HashMap<u64, Tally>> = Pool::named("tallies", HashMap::new);
static TEXTS: Pool<String> = Pool::named("texts", String::new);
/// Replies and output have any size, so they come from size classes.
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

/// A pool of any kind: its name, its passes, its figures and its switch.
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
