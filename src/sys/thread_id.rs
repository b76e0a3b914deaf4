//! Thread IDs, and where a thread's cache is in every pool.
//!
//! A thread that uses a pool for the first time gets the lowest free ID (`thread/local.rs`). A thread ID stands for the
//! same bucket, and the same offset within it, in every pool; the buckets hold 1, 1, 2, 4, … caches. The hit path reads
//! bucket and offset from [`CURRENT`], a `const` thread-local without a destructor.
//!
//! A thread without caches holds the *sentinel*, a bucket whose pointer is always null. That is a thread that has not
//! registered yet or is ending, and every thread of a process that has no process-wide barrier or can have no janitor.
//! So the hit path needs only one null check for an unknown thread, a missing cache and an ending thread; the slow path
//! tells them apart.

use crate::sync::IN_MODELS;
use std::cell::Cell;

/// Buckets of 1, 1, 2, 4, … caches: for 65,536 threads at once. Any more threads work without a cache.
pub(crate) const BUCKETS: usize = if IN_MODELS { 3 } else { 17 };
/// The bucket of the sentinel, whose pointer is always null.
pub(crate) const NO_BUCKET: usize = BUCKETS;
/// The `owner` of the sentinel: that of no node.
const NO_THREAD: u32 = u32::MAX;

/// The ID of a live thread. IDs are dense, and are reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadId(pub(crate) usize);

impl ThreadId {
    /// The bucket, and the index within it.
    pub(crate) fn locate(self) -> (usize, usize) {
        match self.0.checked_ilog2() {
            None => (0, 0),
            Some(log) => (log as usize + 1, self.0 - (1 << log)),
        }
    }

    /// The number of caches in a bucket.
    pub(crate) fn bucket_len(bucket: usize) -> usize {
        if bucket == 0 { 1 } else { 1 << (bucket - 1) }
    }

    /// The value of a node's `last_owner` that stands for this thread. Never `NO_OWNER`, which is zero.
    pub(crate) fn as_owner(self) -> u32 {
        self.0 as u32 + 1
    }
}

/// What the calling thread needs to find its cache in any pool.
#[derive(Debug)]
pub(crate) struct CurrentThread {
    bucket: Cell<usize>,
    /// The offset of the cache in bytes from the start of the bucket.
    offset: Cell<usize>,
    /// [`ThreadId::as_owner`], or [`NO_THREAD`] in the sentinel.
    owner: Cell<u32>,
    state: Cell<State>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    Unknown,
    Registered(ThreadId),
    /// The thread is ending: every operation uses the depot.
    Ending,
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

    /// Gives the thread this ID. Caches are `stride` bytes apart. Without a stride, the thread keeps the sentinel.
    pub(crate) fn set_id(&self, id: ThreadId, stride: Option<usize>) {
        self.state.set(State::Registered(id));
        if let Some(stride) = stride {
            let (bucket, index) = id.locate();
            self.bucket.set(bucket);
            self.offset.set(index * stride);
            self.owner.set(id.as_owner());
        }
    }

    /// Sets the sentinel for good: the thread is ending.
    pub(crate) fn clear(&self) {
        self.bucket.set(NO_BUCKET);
        self.owner.set(NO_THREAD);
        self.state.set(State::Ending);
    }
}

thread_local! {
    static CURRENT: CurrentThread = const { CurrentThread::SENTINEL };
}

/// Calls `f` with the data of the calling thread. Never panics, not even while the thread ends: the thread-local has no
/// destructor.
#[inline(always)]
pub(crate) fn current<R>(f: impl FnOnce(&CurrentThread) -> R) -> R {
    CURRENT.with(f)
}
