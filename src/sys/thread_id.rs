//! A thread's id, and its place in every pool, worked out once.
//!
//! A thread that uses a pool for the first time gets the lowest free id (`thread/register.rs`). ThreadId `n`
//! has the same place in every pool: bucket `k`, offset within it (buckets double: 1, 1, 2, 4, … caches).
//! The hit path reads that place from [`CURRENT`], a `const` thread-local without a destructor.
//!
//! A thread that is not registered, is being torn down, or lives in a process without a process-wide barrier
//! or where no janitor can run, holds the *sentinel*: a bucket whose pointer is always null. So one null
//! check on the hit path serves "unknown thread", "no cache yet" and "thread is ending", and the
//! slow path tells them apart.

use crate::sync::IN_MODELS;
use std::cell::Cell;

/// Buckets of 1, 1, 2, 4, … caches: 65,536 threads at once. More than that work without a cache.
pub(crate) const BUCKETS: usize = if IN_MODELS { 3 } else { 17 };
/// The bucket that is never there.
pub(crate) const NO_BUCKET: usize = BUCKETS;
/// The owner of nothing: what the sentinel place holds.
const NO_THREAD: u32 = u32::MAX;

/// The id of a live thread; dense and reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadId(pub(crate) usize);

impl ThreadId {
    /// Bucket and index within it.
    pub(crate) fn locate(self) -> (usize, usize) {
        match self.0.checked_ilog2() {
            None => (0, 0),
            Some(log) => (log as usize + 1, self.0 - (1 << log)),
        }
    }

    /// Caches in a bucket.
    pub(crate) fn bucket_len(bucket: usize) -> usize {
        if bucket == 0 { 1 } else { 1 << (bucket - 1) }
    }

    /// What a node's `owner` holds for this thread; never `NO_OWNER`, which is zero.
    pub(crate) fn as_owner(self) -> u32 {
        self.0 as u32 + 1
    }
}

/// Where this thread's cache is in every pool.
#[derive(Debug)]
pub(crate) struct CurrentThread {
    bucket: Cell<usize>,
    /// In bytes from the start of the bucket.
    offset: Cell<usize>,
    /// [`ThreadId::as_owner`], or [`NO_THREAD`] for the sentinel.
    owner: Cell<u32>,
    state: Cell<State>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    Unknown,
    Registered(ThreadId),
    /// Being torn down, or beyond the last id: every operation goes to the depot.
    Without,
}

impl CurrentThread {
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "only ever used to make a thread-local"
    )]
    const SENTINEL: Self = Self {
        bucket: Cell::new(NO_BUCKET),
        offset: Cell::new(0),
        owner: Cell::new(NO_THREAD),
        state: Cell::new(State::Unknown),
    };

    #[inline(always)]
    pub(crate) fn bucket(&self) -> usize {
        self.bucket.get()
    }

    #[inline(always)]
    pub(crate) fn offset(&self) -> usize {
        self.offset.get()
    }

    #[inline(always)]
    pub(crate) fn owner(&self) -> u32 {
        self.owner.get()
    }

    pub(crate) fn state(&self) -> State {
        self.state.get()
    }

    /// The thread has this id from now on; caches are `stride` bytes apart. Without a stride, it keeps the
    /// sentinel place.
    pub(crate) fn set_id(&self, id: ThreadId, stride: Option<usize>) {
        self.state.set(State::Registered(id));
        if let Some(stride) = stride {
            let (bucket, index) = id.locate();
            self.bucket.set(bucket);
            self.offset.set(index * stride);
            self.owner.set(id.as_owner());
        }
    }

    /// The thread is ending, or works without a id.
    pub(crate) fn clear(&self) {
        self.bucket.set(NO_BUCKET);
        self.owner.set(NO_THREAD);
        self.state.set(State::Without);
    }
}

thread_local! {
    static CURRENT: CurrentThread = const { CurrentThread::SENTINEL };
}

/// This thread's place. Never panics, also during teardown: there is no destructor.
#[inline(always)]
pub(crate) fn current<R>(f: impl FnOnce(&CurrentThread) -> R) -> R {
    CURRENT.with(f)
}
