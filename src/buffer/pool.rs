//! [`BufferPool`]: the buffer pool that users call.

use super::class;
use super::error::CapacityError;
use super::guard::Buffer;
use super::inner::{Inner, Used};
use super::memory;
use super::settings::Settings;
use super::stats::{self, ClassStats};
use super::unpooled::Unpooled;
use crate::background::hook;
use crate::object::settings::Role;
use crate::object::unpooled;
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
/// [`get`](BufferPool::get) hands out an empty [`Buffer`], a [`BytesMut`] with at least the
/// requested capacity. Dropping the buffer returns it. In the steady state neither calls the
/// allocator.
///
/// # Sizes
/// The pool creates and keeps buffers by size class: 64, 80, 96, 112, 128, 160, … bytes up to 4 MiB
/// (see [`max_class`](crate::BufferPoolBuilder::max_class)). So a new buffer is at most a quarter
/// larger than requested. A buffer belongs to the class it was created for as long as it lives,
/// however much it grows, so the requests that made it grow find it again. The pool learns no size
/// from one buffer for another. A request looks in its own class, then in the next larger one, and
/// then creates a buffer. Requests for 0 bytes have their own class: a new buffer there has no
/// memory, and one that grew serves the next request for 0 bytes.
///
/// - Each class never has more idle buffers than each thread had in use at once, added up over the
///   threads.
/// - A buffer of exactly its class size is kept, however little of it is used: a 64 KiB read window
///   that sees 20 bytes is still there for the next read.
/// - A buffer that grew (to more than 1 KiB, and by more than a quarter of its class) is cut back
///   to its class when the pool has seen five uses in a row fill less than a quarter of it. If it
///   grows again within ten uses, the cut was a mistake: the next cut takes 20 such uses, then up
///   to 80 after further mistakes. Mistakes are forgotten three trim passes after the buffer last
///   grew. So an idle buffer is at most as large as its class, or four times what one of its last
///   80 uses filled; and from three passes after it grew, four times what one of its last five
///   filled.
/// - A buffer is dropped if it comes back smaller than its class, comes back larger than the
///   largest class, or is refused by a limit. Requests above the largest class are served and
///   counted like any other.
///
/// This policy has weak points:
///
/// - Content that `advance`, `split` or `clear` has removed before the buffer comes back does not
///   count as use. So a buffer that *grew* and is consumed before it is dropped is cut now and
///   then. Request the size it grows to, and it is not.
/// - In bursts where each of many buffers grows rarely, each buffer that grew stays large for some
///   more bursts. With 500 at once, of which one in 50 grows, the pool keeps five to ten times what
///   a burst needs.
/// - With more than 15 small uses for each large one, every large use grows the buffer again.
/// - A buffer of which exactly a quarter is used stays four times too large.
/// - Unless the pool has a limit, it cannot see the true size of a buffer that grew in place in its
///   second use or later, was cut back to exactly its former capacity by `split_off`, and comes
///   back partly filled. It sees the size when the buffer next comes back empty, full or frozen.
///
/// Each class is a [`Pool`](crate::Pool), so idle buffers are gone after three trim passes (15 s by
/// default), also those in the caches of threads that never run again.
///
/// # Frozen buffers
/// [`Buffer::freeze`] returns a plain [`Bytes`](bytes::Bytes) without a copy and, in the steady
/// state, without a call to the allocator. The buffer is then *lent*: the pool keeps a handle to it
/// and takes the memory back when the last view is gone. `bytes` does not report when that happens,
/// so the pool has to look:
///
/// - A `get` that finds no idle buffer in its thread's cache looks at the oldest buffer that its
///   thread has lent in that class, then at up to eight more, and now and then at some that were
///   still lent when last looked at.
/// - A freeze looks at all buffers that its thread has lent before it makes room for more.
/// - Each trim pass looks at all lent buffers of all threads.
/// - In a pool with a limit, returns and freezes also look at all of them now and then, while more
///   is lent than the limit allows to be idle.
///
/// So after its last view is gone, memory waits for one of these events: with automatic trimming at
/// most until the next pass, 5 s by default. A thread that keeps many views for a long time creates
/// fewer extra buffers than the number of views it keeps. If a large part of those views goes at
/// once, again and again, up to three extra buffers per view have been seen, until the next pass
/// finds what has no views.
///
/// Lent buffers count as [in use](Stats::in_use), and not towards limits or a budget;
/// [`class_stats`](BufferPool::class_stats) has their number. A buffer that is dropped while parts
/// of it (from `split_to` and the like) are alive is lent, too. For those, and for frozen buffers
/// that had grown or were split, the pool waits only three passes and then leaves the memory to its
/// last view.
///
/// # When a plain pool is better
/// [`Pool<Vec<u8>>`](crate::Pool) or `Pool<String>` costs less per get. It is the better choice if
/// all buffers have about the same size, or if an API wants a `Vec` or a `String`. `BufferPool`
/// pays if sizes differ, if the code around it uses `bytes`, and if buffers end up as `Bytes`. If a
/// buffer can stay in a local variable or in the connection's state, keep it there: nothing is
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
    /// Requests for 0 bytes before `inner` existed.
    early: AtomicU8,
    /// The name given to a `const` constructor.
    name: Option<&'static str>,
}

/// The number of requests for 0 bytes after which the pool allocates `inner`. Earlier ones are not
/// pooled, so a program that never writes to its buffers allocates nothing.
const EARLY: u8 = 8;

// A panic leaves locks and flags consistent; no user code runs inside.
impl UnwindSafe for BufferPool {}
impl RefUnwindSafe for BufferPool {}

static GLOBAL: BufferPool = BufferPool::named("global");

impl BufferPool {
    /// Creates a pool with the default settings.
    ///
    /// This is a `const fn`, so it works in a `static`. It allocates nothing; the first use does.
    #[must_use]
    pub const fn new() -> Self {
        Self::of_name(None)
    }

    /// Like [`BufferPool::new`], with a name.
    ///
    /// The name identifies the pool in [`pools`](crate::pools), in metrics, and in
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
        inner.register();
        Self {
            inner: Lazy::made(inner),
            ..Self::new()
        }
    }

    /// Returns the process-wide pool, named `global`.
    ///
    /// It is for libraries and for programs that need no pool of their own: one part of the program
    /// can reuse what another part has returned.
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

    /// Returns an empty buffer with at least this capacity, in bytes.
    ///
    /// A buffer requested with capacity 0 may have no memory yet; it then allocates when something
    /// is written.
    ///
    /// # Panics
    /// If `min_capacity` exceeds `isize::MAX`, as `Vec` does.
    /// [`try_with_capacity`](BufferPool::try_with_capacity) returns an error instead.
    #[inline]
    #[track_caller]
    pub fn get(&self, min_capacity: usize) -> Buffer {
        match self.hit(min_capacity) {
            Some(buffer) => buffer,
            None => self.get_slow(min_capacity),
        }
    }

    /// Like [`get`](BufferPool::get), but returns an error if the capacity is impossible or, from 1
    /// MiB on, if the allocator has no memory.
    ///
    /// (This function was called `try_get`, which means something else for a
    /// [`Pool`](crate::Pool::try_get): an idle object or `None`.)
    ///
    /// # Errors
    /// If there can be no buffer of that capacity.
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

    /// Returns a buffer with a copy of `content`.
    ///
    /// # Panics
    /// If [`get`](BufferPool::get) panics.
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

    /// Gives the pool a `BytesMut` that was made elsewhere, or taken out by [`Buffer::into_inner`]:
    /// the read buffer of a `Framed`, for example.
    ///
    /// The pool clears it. It then belongs to the largest class that its capacity can serve. The
    /// pool frees it instead if it is smaller than the smallest class (64 bytes), larger than the
    /// largest class, refused by a limit, or if other handles to its memory are alive.
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
        let object = self.inner.get()?.hit(class::slot(min_capacity))?;
        debug_assert!(object.bytes.is_empty() && object.bytes.capacity() >= min_capacity);
        Some(Buffer::of(object))
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn get_slow(&self, min_capacity: usize) -> Buffer {
        if let Some(off) = self.inner.get().and_then(Inner::off) {
            if min_capacity <= isize::MAX as usize {
                let buffer = Buffer::unpooled(Unpooled::with_capacity(min_capacity));
                unpooled::count_off(off);
                return buffer;
            }
        }
        self.get_slower(min_capacity)
    }

    /// The rest of [`get_slow`](Self::get_slow), for a pool that is on.
    #[inline(never)]
    #[track_caller]
    fn get_slower(&self, min_capacity: usize) -> Buffer {
        match self.find(min_capacity, false) {
            Ok(buffer) => buffer.went_out(),
            Err(_) => panic!("capacity overflow: no buffer can hold {min_capacity} bytes"),
        }
    }

    /// Returns a buffer by the slow path.
    fn find(&self, min_capacity: usize, fallible: bool) -> Result<Buffer, CapacityError> {
        if let Some(off) = self.inner.get().and_then(Inner::off) {
            let memory = memory::allocate(min_capacity, fallible);
            let memory = memory.ok_or_else(|| CapacityError::of(min_capacity))?;
            unpooled::count_off(off);
            return Ok(Buffer::unpooled(Unpooled::new(memory)));
        }
        if min_capacity == 0 {
            return Ok(self.find_unsized());
        }
        self.inner().get(min_capacity, fallible).map(Buffer::of)
    }

    #[cold]
    fn find_unsized(&self) -> Buffer {
        let Some(inner) = self.inner.get() else {
            // Relaxed: an approximate count is enough.
            let early = self.early.load(Ordering::Relaxed);
            if early < EARLY {
                self.early.store(early + 1, Ordering::Relaxed);
                return Buffer::empty(None);
            }
            return Buffer::empty(Some(self.inner().weak()));
        };
        match inner.get_unsized() {
            Some(object) => Buffer::of(object),
            None => Buffer::empty(Some(inner.weak())),
        }
    }

    /// Runs one trim pass over all classes and returns what it dropped; see
    /// [`Pool::trim`](crate::Pool::trim).
    ///
    /// The pass also looks at each lent buffer, and takes back those whose views are gone.
    pub fn trim(&self) -> Trimmed {
        self.trim_under(Level::Normal)
    }

    /// Runs one trim pass under the rule for this level of memory pressure; see
    /// [`Pool::trim_under`](crate::Pool::trim_under).
    pub fn trim_under(&self, level: Level) -> Trimmed {
        hook::once_for(|| self.each(|used| used.pool.trim_under(level)))
    }

    /// Drops every idle buffer, releases lent ones, and returns what was idle.
    ///
    /// The memory of a lent buffer is freed with its last view. Buffers that a pass on another
    /// thread is handling at that moment stay.
    pub fn clear(&self) -> Trimmed {
        self.each(|used| {
            used.class.look_at_all();
            used.class.lent.clear();
            used.pool.clear()
        })
    }

    /// Returns what the pool has done and what it holds, all classes together.
    ///
    /// Counters never go back, so a Prometheus counter can read them. A request for 0 bytes counts
    /// when something is written (up to eight of them that come before all other requests belong to
    /// no pool, and do not count). Lent buffers (frozen, or with parts split off) are `in_use`.
    /// Buffers handed out while the pool was switched off count as created and discarded at once.
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

    /// Returns the figures of each class that has been used, smallest class first.
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

    /// Switches pooling off or on, to compare runs with and without it.
    ///
    /// While the pool is off, a buffer is a `BytesMut` of exactly the requested capacity and
    /// nothing else: `get`, drop and freeze call the allocator exactly as code without a pool does,
    /// and take about as long. Such a buffer counts as created and discarded at once, and is freed
    /// when dropped even if the pool is on again by then. What was idle stays until
    /// [`clear`](BufferPool::clear). The pool stops waiting for buffers that were lent before.
    ///
    /// (A pool that wipes its buffers, with the feature `zeroize`, continues to do so. That takes
    /// longer, and more allocator calls.)
    pub fn set_enabled(&self, on: bool) {
        self.inner().set_enabled(on);
    }

    /// Returns whether the pool keeps buffers: `false` if [`set_enabled`](BufferPool::set_enabled)
    /// or `REPOOL` in the environment has switched it off.
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

    /// Returns the name given to the builder or to [`named`](BufferPool::named).
    pub fn name(&self) -> Option<&str> {
        match self.inner.get() {
            Some(inner) => inner.settings().common.name(),
            None => self.name,
        }
    }

    pub(super) fn inner(&self) -> &Inner {
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
        inner.register();
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
