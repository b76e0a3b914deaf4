//! [`BufferPool`] and its builder: what users call.

use super::cell::Cell;
use super::class;
use super::guard::Buffer;
use super::inner::{Class, Inner, Used};
use crate::background::hook;
use crate::budget::Budget;
use crate::object::pool::Pool;
use crate::raw::limits::Quota;
use crate::raw::stats::{Reason, Stats, Trimmed};
use crate::sync::lazy::Lazy;
use crate::sync::rare::Arc;
use crate::sys::memory::Level;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

/// Reusable byte buffers of any size, with a cache per thread.
///
/// [`get`](BufferPool::get) hands out an empty [`Buffer`], a [`BytesMut`](bytes::BytesMut) with at
/// least the capacity asked for; dropping it gives it back. Warm, neither allocates.
///
/// Buffers are kept by size class: 64, 80, 96, 112, 128, 160, … bytes up to 4 MiB (see
/// [`max_class`](BufferPoolBuilder::max_class)), so one costs at most a quarter more than what was
/// asked for. A request looks at its own class, then at the next one, and then makes a buffer.
/// What is larger than the largest class is served, counted and not kept.
///
/// Each class is a [`Pool`]: idle buffers are gone after three trim passes, 15 s by default, also
/// those in the caches of threads that never run again.
///
/// # Frozen buffers
/// [`Buffer::freeze`] gives a plain [`Bytes`](bytes::Bytes) without a copy and, once warm, without
/// any call to the allocator. Nobody tells the pool when the last view of it goes, so it asks: each
/// `get` that finds none in its thread's cache asks up to eight of the buffers that its thread has
/// lent out in that class, oldest first, and some more before it makes one; a freeze by a thread that
/// has more than sixteen lent out asks two; and each pass asks all, of all threads. So after its last
/// view is gone memory waits until one of these: with automatic trimming until the next pass, 5 s by
/// default, at the most. Buffers that are lent out or wait count as [in use](Stats::in_use), and not
/// towards limits and budget; how many there are is in [`class_stats`](BufferPool::class_stats). The
/// same goes for buffers that are dropped while parts of them, by `split_to` and the like, are still
/// around; but the pool waits for those (and for frozen ones that had grown) for three passes only,
/// and then leaves their memory to the last part.
///
/// # One huge request
/// A buffer above 4 KiB that comes back five times in a row with less than a quarter filled is
/// dropped, so that buffers which once grew do not stay large for ever; requests like the last one
/// then get a buffer of the size they used. (One that comes back empty says nothing about its use:
/// it is no strike.) Ask for what you need: who asks for 64 KiB and writes 1 KiB each time gets
/// every fifth buffer from the allocator.
///
/// # When a plain pool is better
/// [`Pool<Vec<u8>>`](Pool) or `Pool<String>` costs less on each get, and serves well where all
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
}

// A panic in between leaves locks and flags as they should be; no user code runs inside.
impl UnwindSafe for BufferPool {}
impl RefUnwindSafe for BufferPool {}

static GLOBAL: BufferPool = BufferPool::new();

impl BufferPool {
    /// A pool with the default settings. `const`, so it works in a `static`; nothing is allocated
    /// before the first use.
    #[must_use]
    pub const fn new() -> Self {
        Self { inner: Lazy::new() }
    }

    /// The process's pool, for libraries and whoever needs no pool of their own: what one part of
    /// the program gives back, another can use.
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

    /// A pool with settings.
    ///
    /// # Examples
    /// ```
    /// use repool::BufferPool;
    /// let pool = BufferPool::builder()
    ///     .name("frames")
    ///     .max_class(1 << 20)
    ///     .max_idle_bytes(64 << 20)
    ///     .build();
    /// drop(pool.get(2 << 20)); // served, and not kept
    /// assert_eq!(pool.stats().idle, 0);
    /// ```
    pub fn builder() -> BufferPoolBuilder {
        BufferPoolBuilder {
            settings: Settings::default(),
        }
    }

    /// An empty buffer with at least this capacity.
    ///
    /// With a capacity of 0 it has no memory yet, and allocates when something is written.
    ///
    /// # Panics
    /// As `Vec`: if `min_capacity` exceeds `isize::MAX`. [`try_get`](BufferPool::try_get) does not.
    #[inline]
    pub fn get(&self, min_capacity: usize) -> Buffer {
        match self.hit(min_capacity) {
            Some(buffer) => buffer,
            None => self.get_slow(min_capacity),
        }
    }

    /// As [`get`](BufferPool::get), with an error instead of a panic or an abort when there cannot
    /// be so much memory, or (from 1 MiB) when the allocator has none.
    ///
    /// # Errors
    /// If the buffer cannot be had.
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// let pool = BufferPool::new();
    /// assert!(pool.try_get(1000).is_ok());
    /// let error = pool.try_get(usize::MAX).unwrap_err();
    /// assert_eq!((error.asked, error.possible), (usize::MAX, isize::MAX as usize));
    /// ```
    pub fn try_get(&self, min_capacity: usize) -> Result<Buffer, CapacityError> {
        match self.hit(min_capacity) {
            Some(buffer) => Ok(buffer),
            None => self.find(min_capacity, true),
        }
    }

    #[inline(always)]
    fn hit(&self, min_capacity: usize) -> Option<Buffer> {
        let cell = self.inner.get()?.hit(class::slot(min_capacity))?;
        debug_assert!(cell.bytes.is_empty() && cell.bytes.capacity() >= min_capacity);
        Some(Buffer::of(cell))
    }

    #[cold]
    #[inline(never)]
    fn get_slow(&self, min_capacity: usize) -> Buffer {
        match self.find(min_capacity, false) {
            Ok(buffer) => buffer,
            Err(_) => panic!("capacity overflow: no buffer can hold {min_capacity} bytes"),
        }
    }

    #[cold]
    fn find(&self, min_capacity: usize, fallible: bool) -> Result<Buffer, CapacityError> {
        if min_capacity == 0 {
            return Ok(Buffer::loose(self.inner.get().map(Inner::weak)));
        }
        self.inner().get(min_capacity, fallible)
    }

    /// Runs one trim pass over all classes, and says what it dropped; see [`Pool::trim`]. It asks
    /// each lent-out buffer whether it is back as well.
    pub fn trim(&self) -> Trimmed {
        self.trim_under(Level::Normal)
    }

    /// Runs one trim pass by the rule for this level of memory pressure; see [`Pool::trim_under`].
    pub fn trim_under(&self, level: Level) -> Trimmed {
        hook::together(|| self.each(|used| used.pool.trim_under(level)))
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

    /// What the pool has done and holds, all classes together. Cheap enough for once a second: like
    /// a pass, it visits each thread's cache in each class.
    ///
    /// Requests without capacity do not count. Buffers that are lent out, frozen or with parts split
    /// off, are `in_use`.
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
        let mut sum = Stats::default();
        let mut moved = [0, 0];
        for Used { pool, class } in self.used() {
            sum.add(&pool.stats());
            let again = class.lent.figures().again;
            sum.reused += again;
            sum.returned += again;
            let [.., left, arrived] = class.counts.read();
            moved[0] += left;
            moved[1] += arrived;
        }
        // From class to class, and not in or out. One that is under way counts as taken, or not at
        // all: as much off each keeps the books in balance.
        let both = moved[0].min(moved[1]).min(sum.taken).min(sum.adopted);
        sum.taken -= both;
        sum.adopted -= both;
        if let Some(inner) = self.inner.get() {
            // What goes from class to class may have been seen twice; no limit is exceeded (I7).
            let (objects, bytes) = inner.settings().most();
            let idle = sum.idle.min(objects as u64);
            sum.in_use += sum.idle - idle;
            sum.idle = idle;
            sum.idle_bytes = sum.idle_bytes.min(bytes as u64);
        }
        sum
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

    /// Switches pooling off and on, for comparing runs with and without; see
    /// [`Pool::set_enabled`]. Off, nothing waits for frozen buffers: their memory goes with the last
    /// view.
    pub fn set_enabled(&self, on: bool) {
        self.inner().set_enabled(on);
    }

    /// The name given to the builder.
    pub fn name(&self) -> Option<&str> {
        self.inner.get()?.settings().name.as_deref()
    }

    fn inner(&self) -> &Inner {
        self.inner.get_or_make(|| Inner::new(Settings::default()))
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
            .field("stats", &self.stats())
            .finish()
    }
}

/// The figures of one size class, from [`BufferPool::class_stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// The capacity that the class serves; `usize::MAX` for requests above the largest class.
    pub capacity: usize,
    /// Buffers asked for, in sizes of this class.
    pub requests: u64,
    /// Buffers of this class made.
    pub created: u64,
    /// Buffers of this class handed out again, also for requests of smaller ones.
    pub reused: u64,
    /// Buffers dropped because they came back larger than the largest class, or than
    /// `max_object_bytes`.
    pub oversize: u64,
    /// Buffers waiting to be handed out.
    pub idle: u64,
    /// Their capacity together.
    pub idle_bytes: u64,
    /// Buffers in use, the lent ones among them.
    pub in_use: u64,
    /// Buffers given up by their user of which views may still be around: frozen, or split.
    pub lent: u64,
    /// Their capacity together.
    pub lent_bytes: u64,
}

impl ClassStats {
    fn of(Used { pool, class }: &Used) -> Self {
        let stats = pool.stats();
        let [helped, helps, ..] = class.counts.read();
        let lent = class.lent.figures();
        let reused = stats.reused + lent.again;
        Self {
            capacity: if class.index == class::OUTSIDE {
                usize::MAX
            } else {
                class::size(class.index)
            },
            requests: (stats.created + reused + helped).saturating_sub(helps),
            created: stats.created,
            reused,
            oversize: stats.discarded_by.oversize,
            idle: stats.idle,
            idle_bytes: stats.idle_bytes,
            in_use: stats.in_use,
            lent: lent.handles,
            lent_bytes: lent.bytes,
        }
    }
}

/// No buffer of that capacity can be had; from [`BufferPool::try_get`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CapacityError {
    /// The capacity asked for.
    pub asked: usize,
    /// No buffer can be larger than this. What was asked for may be less: then the allocator had
    /// no memory.
    pub possible: usize,
}

impl CapacityError {
    pub(super) fn of(asked: usize) -> Self {
        Self {
            asked,
            possible: isize::MAX as usize,
        }
    }
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.asked > self.possible {
            write!(
                f,
                "capacity overflow: {} bytes asked for, {} possible",
                self.asked, self.possible
            )
        } else {
            write!(f, "no memory for {} bytes", self.asked)
        }
    }
}

impl std::error::Error for CapacityError {}

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) name: Option<String>,
    /// The largest class.
    pub(super) top: usize,
    max_idle: usize,
    max_idle_bytes: usize,
    max_object_bytes: usize,
    budget: Option<Budget>,
    interval: Option<Option<Duration>>,
    #[cfg(feature = "zeroize")]
    pub(super) wipes: bool,
    /// What the classes may keep together; made by `build`.
    group: Option<Arc<Quota>>,
}

impl Settings {
    /// The most buffers and bytes that are kept idle.
    fn most(&self) -> (usize, usize) {
        (self.max_idle, self.max_idle_bytes)
    }

    /// Why no buffer of this class is ever kept, if so.
    pub(super) fn refuses(&self, class: usize) -> Option<Reason> {
        if class == class::OUTSIDE || class::size(class) > self.max_object_bytes {
            return Some(Reason::Oversize);
        }
        if self.max_idle == 0 || class::size(class) > self.max_idle_bytes {
            return Some(Reason::Full);
        }
        let budget = self.budget.clone().or_else(Budget::default_for_pools)?;
        (class::size(class) > budget.limit()).then_some(Reason::Budget)
    }
}

/// The default largest class.
const TOP: usize = 4 << 20;

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            top: class::holding(TOP),
            max_idle: usize::MAX,
            max_idle_bytes: usize::MAX,
            max_object_bytes: usize::MAX,
            budget: None,
            interval: None,
            #[cfg(feature = "zeroize")]
            wipes: true,
            group: None,
        }
    }
}

impl Settings {
    /// The pool of a class.
    pub(super) fn pool(&self, class: &Arc<Class>) -> Pool<Cell> {
        let (made, looked_at) = (Arc::clone(class), Arc::clone(class));
        let mut builder = Pool::builder(move || Cell::empty(&made))
            .heap_only()
            .on_pass(move || looked_at.look_at_all())
            .group(self.group.clone())
            .max_object_bytes(if class.index == class::OUTSIDE {
                0 // nothing is kept
            } else {
                self.max_object_bytes
            });
        if let Some(name) = &self.name {
            builder = builder.name(name.as_str());
        }
        if let Some(budget) = &self.budget {
            builder = builder.budget(budget.clone());
        }
        match self.interval {
            None => builder,
            Some(None) => builder.trim_manually(),
            Some(Some(interval)) => builder.trim_every(interval),
        }
        .build()
    }
}

/// Settings for a [`BufferPool`], from [`BufferPool::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct BufferPoolBuilder {
    settings: Settings,
}

impl BufferPoolBuilder {
    /// A name for logs and statistics.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into());
        self
    }

    /// The capacity of the largest buffers that are kept, rounded up to a class. Default: 4 MiB;
    /// at least 64 bytes, at most 1 GiB.
    pub fn max_class(mut self, bytes: usize) -> Self {
        self.settings.top = class::holding(bytes.clamp(class::SMALLEST, class::LARGEST));
        self
    }

    /// How many buffers the pool keeps idle at most, in all classes and threads together. Default:
    /// no limit.
    ///
    /// Never exceeded. Threads take their share of it in advance, for each class, so a small limit
    /// may keep fewer.
    pub fn max_idle(mut self, buffers: usize) -> Self {
        self.settings.max_idle = buffers;
        self
    }

    /// How many bytes the idle buffers may have together. Default: no limit. Never exceeded.
    pub fn max_idle_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_idle_bytes = bytes;
        self
    }

    /// How many bytes one buffer may have and still be kept, where that is to be less than
    /// [`max_class`](BufferPoolBuilder::max_class). Default: no limit.
    pub fn max_object_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_object_bytes = bytes;
        self
    }

    /// Counts what the pool keeps idle towards `budget`, which other pools may share. Default: the
    /// process-wide one, if there is one ([`Budget::set_default`]).
    pub fn budget(mut self, budget: Budget) -> Self {
        self.settings.budget = Some(budget);
        self
    }

    /// Lets the janitor run a pass every `interval`. Default: every 5 s.
    ///
    /// # Panics
    /// If `interval` is zero.
    pub fn trim_every(mut self, interval: Duration) -> Self {
        assert!(
            !interval.is_zero(),
            "the time between two trim passes must not be zero"
        );
        self.settings.interval = Some(Some(interval));
        self
    }

    /// Leaves passes to you: call [`BufferPool::trim`] from a timer, a frame loop, an idle hook.
    pub fn trim_manually(mut self) -> Self {
        self.settings.interval = Some(None);
        self
    }

    /// Whether buffers are overwritten with zeros, all of their capacity, when they come back.
    /// Default, with the feature `zeroize`: yes.
    ///
    /// Frozen ones are overwritten when the pool takes them back; where a buffer grew, what it
    /// grew out of is not, and neither is what the user split off or took out.
    #[cfg(feature = "zeroize")]
    pub fn zeroize(mut self, on: bool) -> Self {
        self.settings.wipes = on;
        self
    }

    /// Makes the pool.
    #[must_use]
    pub fn build(self) -> BufferPool {
        let mut settings = self.settings;
        let (objects, bytes) = (settings.max_idle, settings.max_idle_bytes);
        if objects != usize::MAX || bytes != usize::MAX {
            settings.group = Some(Arc::new(Quota::new(objects, bytes)));
        }
        BufferPool {
            inner: Lazy::made(Inner::new(settings)),
        }
    }
}
