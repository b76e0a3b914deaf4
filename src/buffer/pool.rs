//! [`BufferPool`]: what users call.

use super::class;
use super::error::CapacityError;
use super::guard::Buffer;
use super::inner::{Inner, Used};
use super::memory;
use super::settings::Settings;
use super::stats::{self, ClassStats};
use crate::background::hook;
use crate::object::free_nodes;
use crate::object::settings::Role;
use crate::raw::stats::{Stats, Trimmed};
use crate::sync::lazy::Lazy;
use crate::sync::rare::Arc;
use crate::sync::{AtomicU8, Ordering};
use crate::sys::memory::Level;
use bytes::BytesMut;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// Reusable byte buffers of any size, with a cache per thread.
///
/// [`get`](BufferPool::get) hands out an empty [`Buffer`], a [`BytesMut`] with at least the capacity
/// requested; dropping it gives it back. Warm, neither allocates.
///
/// # Sizes
/// Buffers are made and kept by size class: 64, 80, 96, 112, 128, 160, … bytes up to 4 MiB (see
/// [`max_class`](crate::BufferPoolBuilder::max_class)), so one is made at most a quarter larger than was requested.
/// It belongs to that class for as long as it lives, however much it grows, so that the requests which made
/// it grow find it again; no size is learned from one buffer for another. A request looks at its own class,
/// then at the next one, and then makes a buffer. A request for 0 bytes is a class of its own: a new buffer
/// has no memory, and one that grew serves the next request for 0 bytes.
///
/// - Idle buffers of a class are never more than were in use at once.
/// - A buffer of just its class is kept, however little of it is used: a 64 KiB read window that sees 20
///   bytes is still there for the next read.
/// - A buffer that grew (to more than 1 KiB and a quarter more than its class) is cut back to its class by
///   the fifth use in a row that was seen to fill less than a quarter of it. If it grows again within ten
///   uses the cut was a mistake: the next one takes 20 such uses, and up to 80 after more mistakes, for three
///   trim passes. So an idle buffer is at most as large as its class, or four times what one of its last 80
///   uses filled; and three passes after it grew, one of its last five.
/// - What comes back smaller than its class, larger than the largest class, or is refused by a limit is
///   dropped. What is larger than the largest class is served and counted all the same.
///
/// Where this is weak: use that `advance`, `split` or `clear` has hidden when the buffer comes back does not
/// count, so a buffer that *grew* and is consumed before it is dropped is cut now and then (request what it
/// grows to, and it is not); in bursts, where each of many buffers grows rarely, each that did stays large
/// for some more bursts (500 at once, one in 50 of which grows: five to ten times what a burst needs);
/// of more than 15 small uses for each large one, every large use grows the buffer anew; and one that
/// is used by just a quarter stays four times too large. And unless the pool has a limit, a buffer that
/// grew in place in its second use or later, was cut back to just its former capacity by `split_off`, and comes back filled in part
/// is not seen to have more memory until it comes back empty, full or frozen.
///
/// Each class is a [`Pool`](crate::Pool): idle buffers are gone after three trim passes, 15 s by default, also
/// those in the caches of threads that never run again.
///
/// # Frozen buffers
/// [`Buffer::freeze`] gives a plain [`Bytes`](bytes::Bytes) without a copy and, once warm, without
/// any call to the allocator. Nothing tells the pool when the last view of it goes, so it asks: each
/// `get` that finds none in its thread's cache asks the oldest of the buffers that its thread has
/// lent out in that class, then up to eight more, and now and then some of those that were asked before
/// and still lent. A freeze asks all that its thread has lent before it makes room for more of them, and
/// each pass asks all, of all threads. So after its last view is gone memory waits until one of these: with
/// automatic trimming until the next pass, 5 s by default, at the most. A thread that keeps many views for
/// long makes fewer than as many buffers more than it needs.
///
/// Buffers that are lent out or wait count as [in use](Stats::in_use), and not
/// towards limits and budget; how many there are is in [`class_stats`](BufferPool::class_stats). In a pool
/// with a limit, returns and freezes ask all of them as well, now and then, while they are more than the
/// limit. The same goes for buffers that are dropped while parts of them, by `split_to` and the like, are
/// still around; but the pool waits for those (and for frozen ones that had grown and were split) for three
/// passes only, and then leaves their memory to the last part.
///
/// # When a plain pool is better
/// [`Pool<Vec<u8>>`](crate::Pool) or `Pool<String>` costs less on each get, and serves well where all
/// buffers are of about one size, or where the API wants a `Vec` or a `String`. `BufferPool` pays
/// where sizes differ, where `bytes` is the language, and where buffers end up as `Bytes`. And
/// where a buffer can stay in a local variable or in the connection's state, it should: nothing is
/// faster than `clear`.
///
/// # Examples
/// ```
/// use repool::BufferPool;
/// use std::io::Write;
///
/// static BUFFERS: BufferPool = BufferPool::new();
///
/// let mut page = BUFFERS.get(4000);
/// assert!(page.capacity() >= 4000 && page.is_empty());
/// page.write_all(b"hello")?;
/// drop(page); // back to the pool
///
/// assert!(BUFFERS.get(4000).is_empty());
/// assert_eq!(BUFFERS.stats().reused, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct BufferPool {
    inner: Lazy<Inner>,
    /// Requests without a size before there was an inside.
    early: AtomicU8,
    /// Of a `const` pool.
    name: Option<&'static str>,
}

/// A request without a size that makes the inside; those before it are not pooled, so that a program
/// which asks for nothing has nothing allocated.
const EARLY: u8 = 8;

// A panic in between leaves locks and flags as they should be; no user code runs inside.
impl UnwindSafe for BufferPool {}
impl RefUnwindSafe for BufferPool {}

static GLOBAL: BufferPool = BufferPool::named("global");

impl BufferPool {
    /// A pool with the default settings. `const`, so it works in a `static`; nothing is allocated
    /// before the first use.
    #[must_use]
    pub const fn new() -> Self {
        Self::of_name(None)
    }

    /// A pool as by [`BufferPool::new`] that has a name: for [`pools`](crate::pools), metrics, and
    /// `REPOOL=off:name` in the environment.
    ///
    /// # Examples
    /// ```
    /// use repool::BufferPool;
    /// static FRAMES: BufferPool = BufferPool::named("frames");
    /// drop(FRAMES.get(4096));
    /// assert!(repool::pools().iter().any(|pool| pool.name == "frames"));
    /// ```
    #[must_use]
    pub const fn named(name: &'static str) -> Self {
        Self::of_name(Some(name))
    }

    const fn of_name(name: Option<&'static str>) -> Self {
        Self {
            inner: Lazy::new(),
            early: AtomicU8::new(0),
            name,
        }
    }

    pub(super) fn of(inner: Arc<Inner>) -> Self {
        inner.enter();
        Self {
            inner: Lazy::made(inner),
            ..Self::new()
        }
    }

    /// The process's pool, named `global`, for libraries and for programs that need no pool of their own: what one part
    /// of the program gives back, another can use.
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// let buffer = BufferPool::global().get(512);
    /// assert!(buffer.capacity() >= 512);
    /// ```
    #[must_use]
    pub fn global() -> &'static Self {
        &GLOBAL
    }

    /// An empty buffer with at least this capacity, in bytes.
    ///
    /// With a capacity of 0 it may have no memory yet, and then allocates when something is written.
    ///
    /// # Panics
    /// As `Vec`: if `min_capacity` exceeds `isize::MAX`.
    /// [`try_with_capacity`](BufferPool::try_with_capacity) does not.
    #[inline]
    #[track_caller]
    pub fn get(&self, min_capacity: usize) -> Buffer {
        match self.hit(min_capacity) {
            Some(buffer) => buffer,
            None => self.get_slow(min_capacity),
        }
    }

    /// As [`get`](BufferPool::get), with an error instead of a panic or an abort when there cannot
    /// be so much memory, or (from 1 MiB) when the allocator has none.
    ///
    /// (It was called `try_get`, which for a [`Pool`](crate::Pool::try_get) means something else: an idle
    /// object or none.)
    ///
    /// # Errors
    /// If the buffer cannot be had.
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// let pool = BufferPool::new();
    /// assert!(pool.try_with_capacity(1000).is_ok());
    /// let error = pool.try_with_capacity(usize::MAX).unwrap_err();
    /// assert_eq!((error.requested, error.max), (usize::MAX, isize::MAX as usize));
    /// ```
    #[track_caller]
    pub fn try_with_capacity(&self, min_capacity: usize) -> Result<Buffer, CapacityError> {
        match self.hit(min_capacity) {
            Some(buffer) => Ok(buffer),
            None => Ok(self.find(min_capacity, true)?.went_out()),
        }
    }

    /// The former name of [`try_with_capacity`](BufferPool::try_with_capacity).
    #[doc(hidden)]
    #[track_caller]
    pub fn try_get(&self, min_capacity: usize) -> Result<Buffer, CapacityError> {
        self.try_with_capacity(min_capacity)
    }

    /// A buffer with a copy of `content`.
    ///
    /// # Panics
    /// As [`get`](BufferPool::get).
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// assert_eq!(BufferPool::global().copy_from(b"hello"), "hello");
    /// ```
    #[track_caller]
    pub fn copy_from(&self, content: &[u8]) -> Buffer {
        let mut buffer = self.get(content.len());
        buffer.extend_from_slice(content);
        buffer
    }

    /// Gives the pool a `BytesMut` that was made elsewhere, or taken out by
    /// [`Buffer::into_inner`]: the read buffer that a `Framed` had, for example.
    ///
    /// It is cleared and belongs to the largest class that its capacity can serve from then on. It is
    /// freed instead if it is too small for any class (64 bytes), too large for all, refused by a limit, or
    /// if other parts of its memory are still around.
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// # use bytes::BytesMut;
    /// let pool = BufferPool::new();
    /// pool.put(BytesMut::with_capacity(8192));
    /// let buffer = pool.get(8192);
    /// assert_eq!((pool.stats().adopted, pool.stats().created), (1, 0));
    /// ```
    pub fn put(&self, bytes: BytesMut) {
        self.inner().adopt(bytes);
    }

    #[inline(always)]
    fn hit(&self, min_capacity: usize) -> Option<Buffer> {
        let cell = self.inner.get()?.hit(class::slot(min_capacity))?;
        debug_assert!(cell.bytes.is_empty() && cell.bytes.capacity() >= min_capacity);
        Some(Buffer::of(cell))
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn get_slow(&self, min_capacity: usize) -> Buffer {
        if let Some(off) = self.inner.get().and_then(Inner::off) {
            if min_capacity <= isize::MAX as usize {
                let buffer = Buffer::plain(BytesMut::with_capacity(min_capacity));
                free_nodes::count_off(off);
                return buffer;
            }
        }
        match self.find(min_capacity, false) {
            Ok(buffer) => buffer.went_out(),
            Err(_) => panic!("capacity overflow: no buffer can hold {min_capacity} bytes"),
        }
    }

    /// A buffer by the slow path.
    fn find(&self, min_capacity: usize, fallible: bool) -> Result<Buffer, CapacityError> {
        if let Some(off) = self.inner.get().and_then(Inner::off) {
            let memory = memory::allocate(min_capacity, fallible);
            let memory = memory.ok_or_else(|| CapacityError::of(min_capacity))?;
            free_nodes::count_off(off);
            return Ok(Buffer::plain(memory));
        }
        if min_capacity == 0 {
            return Ok(self.find_unsized());
        }
        self.inner().get(min_capacity, fallible).map(Buffer::of)
    }

    #[cold]
    fn find_unsized(&self) -> Buffer {
        let Some(inner) = self.inner.get() else {
            // Relaxed: that it is more than a few is enough.
            let early = self.early.load(Ordering::Relaxed);
            if early < EARLY {
                self.early.store(early + 1, Ordering::Relaxed);
                return Buffer::empty(None);
            }
            return Buffer::empty(Some(self.inner().weak()));
        };
        match inner.get_unsized() {
            Some(cell) => Buffer::of(cell),
            None => Buffer::empty(Some(inner.weak())),
        }
    }

    /// Runs one trim pass over all classes, and says what it dropped; see [`Pool::trim`](crate::Pool::trim). It asks
    /// each lent-out buffer whether it is back as well.
    pub fn trim(&self) -> Trimmed {
        self.trim_under(Level::Normal)
    }

    /// Runs one trim pass by the rule for this level of memory pressure; see
    /// [`Pool::trim_under`](crate::Pool::trim_under).
    pub fn trim_under(&self, level: Level) -> Trimmed {
        hook::once_for(|| self.each(|used| used.pool.trim_under(level)))
    }

    /// Drops every idle buffer, and lets go of those that are lent out: their memory goes with
    /// their last view. Says what was idle. (Those that another thread's pass has in hand at that
    /// moment stay.)
    pub fn clear(&self) -> Trimmed {
        self.each(|used| {
            used.class.look_at_all();
            used.class.lent.clear();
            used.pool.clear()
        })
    }

    /// What the pool has done and holds, all classes together.
    ///
    /// Its counters never go back, so a Prometheus counter may read them. A request without a size counts
    /// when something is written. Buffers that are lent out, frozen or with parts split off, are `in_use`.
    /// Buffers that were handed out while the pool was switched off count as created and discarded at once.
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// let pool = BufferPool::new();
    /// drop(pool.get(100));
    /// drop(pool.get(110));
    /// let stats = pool.stats();
    /// assert_eq!((stats.created, stats.reused, stats.idle_bytes), (1, 1, 112));
    /// ```
    pub fn stats(&self) -> Stats {
        self.inner.get().map(stats::of_all).unwrap_or_default()
    }

    /// The figures of each class that has been used, smallest first.
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// let pool = BufferPool::new();
    /// let mut buffer = pool.get(4096);
    /// buffer.extend_from_slice(b"hello");
    /// let frozen = buffer.freeze();
    /// let classes = pool.class_stats();
    /// assert_eq!((classes[0].capacity, classes[0].requests, classes[0].lent), (4096, 1, 1));
    /// ```
    pub fn class_stats(&self) -> Vec<ClassStats> {
        self.used().map(ClassStats::of).collect()
    }

    /// Switches pooling off and on, for comparing runs with and without.
    ///
    /// Off, a buffer is a `BytesMut` of just the capacity requested and nothing else: `get`, drop and
    /// freeze call the allocator as code without a pool does, and take about as long. It counts as
    /// created and discarded at once, and is freed when dropped even if the pool is on again by then. What is idle stays until
    /// [`clear`](BufferPool::clear); nothing waits for what was frozen before.
    ///
    /// (Pools that wipe, by the feature `zeroize`, go on to do so, and take longer than that.)
    pub fn set_enabled(&self, on: bool) {
        self.inner().set_enabled(on);
    }

    /// Whether pooling is switched on: by [`set_enabled`](BufferPool::set_enabled), or, before that,
    /// by `REPOOL` in the environment.
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// let pool = BufferPool::new();
    /// assert!(pool.is_enabled());
    /// pool.set_enabled(false);
    /// assert!(!pool.is_enabled());
    /// ```
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        match self.inner.get() {
            Some(inner) => inner.is_enabled(),
            None => !Role::Whole.is_off(self.name),
        }
    }

    /// The name given to the builder or to [`named`](BufferPool::named).
    pub fn name(&self) -> Option<&str> {
        match self.inner.get() {
            Some(inner) => inner.settings().common.name(),
            None => self.name,
        }
    }

    fn inner(&self) -> &Inner {
        match self.inner.get() {
            Some(inner) => inner,
            None => self.make_inner(),
        }
    }

    #[cold]
    fn make_inner(&self) -> &Inner {
        let make = || {
            let mut settings = Settings::default();
            settings.common.set_role(Role::Whole, self.name);
            Inner::new(settings)
        };
        let inner = self.inner.get_or_make(make);
        inner.enter();
        inner
    }

    fn used(&self) -> impl Iterator<Item = &Used> {
        self.inner
            .get()
            .into_iter()
            .flat_map(|inner| inner.all_used())
    }

    fn each(&self, f: impl FnMut(&Used) -> Trimmed) -> Trimmed {
        self.used()
            .map(f)
            .fold(Trimmed::default(), |sum, one| Trimmed {
                objects: sum.objects + one.objects,
                bytes: sum.bytes + one.bytes,
            })
    }
}

impl Default for BufferPool {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferPool")
            .field("name", &self.name())
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}
