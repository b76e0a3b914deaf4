//! [`Pool`]: the typed pool that users call.

use crate::background::manual;
use crate::object::diagnostics::steps;
use crate::object::entry::Entry;
use crate::object::factory::{ConstReset, Factory, Source};
use crate::object::guard::Pooled;
use crate::object::recycle::Recycle;
use crate::object::registry::{self, PoolKind};
use crate::object::typed_core::TypedCore;
use crate::object::unpooled;
use crate::raw::off_counter::OffCounter;
use crate::raw::pool::Core;
use crate::raw::refs::{Strong, WeakCore};
use crate::raw::stats::{Reason, Stats, Trimmed};
use crate::sync::rare::Arc;
use crate::sys::memory::Level;
use crate::thread::{local, slow};
use std::fmt;
use std::mem::MaybeUninit;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;

/// Reusable objects of one type, with a cache per thread.
///
/// [`get`](Pool::get) hands out an idle object or creates one. Dropping the [`Pooled`] guard resets
/// the object and returns it. A hit touches only the calling thread's cache: no lock, no atomic
/// read-modify-write, no fence instruction, no allocation.
///
/// A pool can live in a `static`, in a struct, or in an `Arc`. It is not `Clone`, because a clone
/// could mean either a new pool or the same one; to share a pool that is not a `static`, put it in
/// an `Arc`. A pool that has not been used yet owns no heap memory.
///
/// Dropping a pool drops its idle objects. Guards that are still out drop their objects when they
/// are dropped, and a janitor pass that is under way drops what it has already taken.
///
/// # When not to pool
/// Leave alone an object that is cheap to create (a small `Vec`, which a modern allocator hands out
/// in a few nanoseconds) or one that can stay in a local variable. Measure before you decide:
/// [`set_enabled`](Pool::set_enabled) switches pooling off at run time.
///
/// # Examples
/// ```
/// use repool::Pool;
///
/// static BUFS: Pool<Vec<u8>> = Pool::new(Vec::new);
///
/// let mut buf = BUFS.get();
/// buf.extend_from_slice(b"hello");
/// assert_eq!(buf.len(), 5);
/// drop(buf); // cleared, and kept with its capacity
/// assert!(BUFS.get().is_empty());
/// ```
///
/// `T` must be `Send`, because any thread may be the next to use an object. It need not be `Sync`:
/// ```
/// use repool::Pool;
/// use std::cell::Cell;
/// fn shared<S: Send + Sync>(_: &S) {}
/// shared(&Pool::<Cell<u8>>::builder(|| Cell::new(0)).reset(|_| true).build());
/// ```
/// ```compile_fail
/// use repool::Pool;
/// use std::rc::Rc;
/// let pool = Pool::<Rc<u8>>::builder(|| Rc::new(0)).reset(|_| true).build();
/// ```
pub struct Pool<T: Send + 'static> {
    /// The root of the hot path: points to the core, and from there to the caches.
    pub(super) entry: Entry<T>,
    /// How to create the core.
    pub(super) source: Source<T>,
}

impl<T: Send> UnwindSafe for Pool<T> {}
impl<T: Send> RefUnwindSafe for Pool<T> {}

impl<T: Recycle + Send + 'static> Pool<T> {
    /// Creates a pool that makes objects with `create` and resets them with [`Recycle`].
    ///
    /// This is a `const fn`, so it works in a `static`. It allocates nothing; the first use does.
    /// For limits, or for a `create` that captures its environment, use [`Pool::builder`].
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// static LINES: Pool<String> = Pool::new(|| String::with_capacity(256));
    /// assert!(LINES.get().capacity() >= 256);
    /// ```
    pub const fn new(create: fn() -> T) -> Self {
        Self::of_functions(None, create, ConstReset::Own(Factory::set_recycle))
    }

    /// Like [`Pool::new`], with a name.
    ///
    /// The name identifies the pool in [`pools`](crate::pools), in metrics, and in
    /// `REPOOL=off:name` in the environment.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// static LINES: Pool<String> = Pool::named("lines", String::new);
    /// drop(LINES.get());
    /// assert!(repool::pools().iter().any(|pool| pool.name == "lines"));
    /// ```
    pub const fn named(name: &'static str, create: fn() -> T) -> Self {
        let reset = ConstReset::Own(Factory::set_recycle);
        Self::of_functions(Some(name), create, reset)
    }
}

impl<T: Send + 'static> Pool<T> {
    /// Creates a pool that makes objects with `create` and resets them with `reset`, for types that
    /// do not implement [`Recycle`].
    ///
    /// The pool calls `reset` when a guard is dropped; if it returns `false`, the pool drops the
    /// object.
    ///
    /// This is a `const fn`, so it works in a `static`. It allocates nothing; the first use does.
    /// For limits, or for closures that capture their environment, use
    /// [`Builder::reset`](crate::Builder::reset).
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    ///
    /// /// A type of another crate.
    /// struct Encoder { level: u8, broken: bool }
    ///
    /// static ENCODERS: Pool<Encoder> = Pool::with_reset(
    ///     || Encoder { level: 0, broken: false },
    ///     |encoder| {
    ///         encoder.level = 0;
    ///         !encoder.broken
    ///     },
    /// );
    ///
    /// ENCODERS.get().level = 9;
    /// assert_eq!(ENCODERS.get().level, 0);
    /// assert_eq!(ENCODERS.stats().created, 1);
    /// ```
    pub const fn with_reset(create: fn() -> T, reset: fn(&mut T) -> bool) -> Self {
        Self::of_functions(None, create, ConstReset::Custom(reset))
    }

    /// Like [`Pool::with_reset`], with a name; see [`Pool::named`].
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// struct Encoder { level: u8 }
    /// static ENCODERS: Pool<Encoder> = Pool::named_with_reset(
    ///     "encoders",
    ///     || Encoder { level: 0 },
    ///     |encoder| {
    ///         encoder.level = 0;
    ///         true
    ///     },
    /// );
    /// assert_eq!(ENCODERS.name(), Some("encoders"));
    /// ```
    pub const fn named_with_reset(
        name: &'static str,
        create: fn() -> T,
        reset: fn(&mut T) -> bool,
    ) -> Self {
        Self::of_functions(Some(name), create, ConstReset::Custom(reset))
    }

    const fn of_functions(
        name: Option<&'static str>,
        create: fn() -> T,
        reset: ConstReset<T>,
    ) -> Self {
        Self {
            entry: Entry::new(),
            source: Source::Functions {
                name,
                create,
                reset,
            },
        }
    }

    /// Returns an idle object, or a new one.
    ///
    /// A hit costs a few nanoseconds and touches no shared memory. A miss looks in the depot, which
    /// takes one lock per batch of objects, and then calls `create`.
    ///
    /// # Panics
    /// If `create` panics. The pool remains usable.
    #[inline]
    #[track_caller]
    pub fn get(&self) -> Pooled<T> {
        match self.entry.hit() {
            Some(object) => object,
            None => self.get_slow(),
        }
    }

    /// Returns an idle object from this thread's cache or from the depot, or `None`. Never creates
    /// one.
    ///
    /// To create an object and report why that failed, use [`try_get_with`](Pool::try_get_with).
    ///
    /// # Examples
    /// ```
    /// # use repool::Pool;
    /// let pool: Pool<String> = Pool::new(String::new);
    /// assert!(pool.try_get().is_none());
    /// pool.put(String::from("from elsewhere"));
    /// assert_eq!(*pool.try_get().unwrap(), "");
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_get(&self) -> Option<Pooled<T>> {
        match self.entry.hit() {
            Some(object) => Some(object),
            None => self.take_slow(),
        }
    }

    /// Returns an idle object, or one made by this `create` instead of the pool's own.
    ///
    /// The pool keeps the new object like any other, and it may serve any later request. So it must
    /// be as good as what the pool's own `create` makes.
    ///
    /// # Panics
    /// If `create` panics. The pool remains usable.
    ///
    /// # Examples
    /// ```
    /// # use repool::Pool;
    /// let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
    /// let header = [7; 100];
    /// let buf = pool.get_or_else(|| Vec::with_capacity(header.len()));
    /// assert!(buf.capacity() >= 100);
    /// ```
    #[inline]
    #[track_caller]
    pub fn get_or_else(&self, create: impl FnOnce() -> T) -> Pooled<T> {
        match self.try_get() {
            Some(object) => object,
            None => self.created_by(create),
        }
    }

    /// Returns an idle object, or one made by a `create` that may fail.
    ///
    /// Otherwise like [`get_or_else`](Pool::get_or_else).
    ///
    /// # Errors
    /// Returns the error of `create`. The pool and its figures are unchanged.
    ///
    /// # Panics
    /// If `create` panics. The pool remains usable.
    ///
    /// # Examples
    /// ```
    /// # use repool::Pool;
    /// # use std::collections::TryReserveError;
    /// let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
    /// let result = pool.try_get_with(|| {
    ///     let mut buf = Vec::new();
    ///     buf.try_reserve(usize::MAX)?;
    ///     Ok::<_, TryReserveError>(buf)
    /// });
    /// assert!(result.is_err());
    /// assert_eq!(pool.stats().created, 0);
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_get_with<E>(&self, create: impl FnOnce() -> Result<T, E>) -> Result<Pooled<T>, E> {
        match self.try_get() {
            Some(object) => Ok(object),
            None => {
                let value = create()?;
                Ok(self.created_by(|| value))
            }
        }
    }

    /// Wraps a value that was made elsewhere in a guard; dropping the guard gives it to the pool.
    ///
    /// The value counts as [`adopted`](crate::Stats::adopted), not as created.
    ///
    /// # Examples
    /// ```
    /// # use repool::{Pool, Pooled};
    /// let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
    /// let read: Pooled<Vec<u8>> = pool.attach(vec![1, 2, 3]);
    /// assert_eq!(read, [1, 2, 3]);
    /// drop(read);
    /// assert_eq!((pool.stats().adopted, pool.stats().idle), (1, 1));
    /// ```
    #[track_caller]
    pub fn attach(&self, value: T) -> Pooled<T> {
        let core = self.core();
        if off(core).is_some() {
            core.counters.adopted();
            core.counters.discarded(Reason::SwitchedOff, 1);
            // SAFETY: a value is written.
            return unsafe { Pooled::unpooled(|slot| _ = slot.write(value)) };
        }
        core.counters.adopted();
        // SAFETY: the core of this pool is the head of a `TypedCore<T>`.
        let guard = unsafe { Pooled::hold(core, || value) };
        guard.note_out();
        guard
    }

    /// Gives the pool a value that was made elsewhere. The pool resets it first, as it does when a
    /// guard is dropped.
    #[track_caller]
    pub fn put(&self, value: T) {
        drop(self.attach(value));
    }

    /// Runs one trim pass and returns what it dropped.
    ///
    /// A pass moves the objects of threads that have not used the pool since the last pass to the
    /// depot, where other threads can get them. It drops objects that were not needed during the
    /// last two intervals, coldest first. So the first pass after a burst drops nothing, a steady
    /// load never has to create an object again, and an idle pool is empty after three passes.
    ///
    /// Destructors run on the calling thread with no lock held. If one panics, the pass drops the
    /// remaining objects and then resumes the panic.
    ///
    /// # Examples
    /// ```
    /// # use repool::Pool;
    /// let pool: Pool<String> = Pool::new(String::new);
    /// drop(pool.get());
    /// assert_eq!(pool.trim().objects, 0);
    /// assert_eq!(pool.trim().objects, 0);
    /// assert_eq!(pool.trim().objects, 1);
    /// ```
    pub fn trim(&self) -> Trimmed {
        self.trim_under(Level::Normal)
    }

    /// Runs one trim pass under the rule for this level of memory pressure.
    ///
    /// At [`Level::Elevated`] the pass drops what was not needed for one interval; at
    /// [`Level::Critical`] it drops everything idle.
    pub fn trim_under(&self, level: Level) -> Trimmed {
        self.core_if_used()
            .map(|core| manual::pass(core, level))
            .unwrap_or_default()
    }

    /// Drops every idle object, in every thread's cache and in the depot, and returns what it
    /// dropped.
    ///
    /// Objects in use are not affected. Destructors run on the calling thread. If one panics, the
    /// call drops the remaining objects and then resumes the panic.
    pub fn clear(&self) -> Trimmed {
        let Some(core) = self.core_if_used() else {
            return Trimmed::default();
        };
        if !core.is_enabled() {
            unpooled::free_shared();
        }
        core.clear()
    }

    /// Returns what the pool has done and what it holds.
    ///
    /// The call adds up the figures of each thread's cache. That is cheap enough for once a second.
    pub fn stats(&self) -> Stats {
        self.core_if_used().map(registry::stats).unwrap_or_default()
    }

    /// Switches pooling off or on, to compare runs with and without it.
    ///
    /// While the pool is off, the same calls work, but every get creates an object and every drop
    /// drops it. What was idle stays until [`clear`](Pool::clear).
    ///
    /// An object handed out while the pool is off belongs to no pool. It counts as created and
    /// discarded at once, is never `in_use`, and is dropped with its guard even if the pool is on
    /// again by then. The allocator is called exactly as often as by code without a pool, also
    /// where one thread gets and another drops. A get and drop takes about 5 ns longer than such
    /// code.
    ///
    /// `REPOOL=off` in the environment does the same without changing the program: it switches
    /// every pool off at its first use, and `REPOOL=off:frames,lines` switches off the pools with
    /// these names. A later call of this function overrides it.
    ///
    /// # Examples
    /// ```
    /// # use repool::Pool;
    /// let pool: Pool<String> = Pool::new(String::new);
    /// pool.set_enabled(false);
    /// drop(pool.get());
    /// drop(pool.get());
    /// assert_eq!(pool.stats().created, 2);
    /// ```
    pub fn set_enabled(&self, on: bool) {
        self.core().set_enabled(on);
        if on {
            unpooled::free_shared();
        }
    }

    /// Returns whether the pool keeps objects: `false` if [`set_enabled`](Pool::set_enabled) or
    /// `REPOOL` in the environment has switched it off.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// let pool: Pool<String> = Pool::new(String::new);
    /// pool.set_enabled(false);
    /// assert!(!pool.is_enabled());
    /// ```
    pub fn is_enabled(&self) -> bool {
        match self.core_if_used() {
            Some(core) => core.is_enabled(),
            None => !self.source.is_off(),
        }
    }

    /// Returns the name given to the builder or to [`named`](Pool::named).
    pub fn name(&self) -> Option<&str> {
        self.source.name()
    }

    // ---------------------------------------------------------------- inside

    /// Creates a pool whose core is created by its first use.
    pub(crate) fn from_factory(factory: Arc<Factory<T>>) -> Self {
        Self {
            entry: Entry::new(),
            source: Source::Built(factory),
        }
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    pub(crate) fn get_slow(&self) -> Pooled<T> {
        let core = self.core();
        if let Some(off) = off(core) {
            // SAFETY: the core of this pool is the head of a `TypedCore<T>`.
            let factory = || unsafe { TypedCore::<T>::factory(core.address()) };
            // SAFETY: a value is written.
            return unsafe { get_off(off, |slot| self.source.create(factory, slot)) };
        }
        self.get_from(core)
    }

    #[track_caller]
    pub(super) fn get_from(&self, core: &Core) -> Pooled<T> {
        let object = match self.take(core) {
            Some(object) => object,
            // SAFETY: the core of this pool is the head of a `TypedCore<T>`.
            None => unsafe { Pooled::create(core) },
        };
        object.note_out();
        object
    }

    /// Returns an idle object by the slow path.
    fn take(&self, core: &Core) -> Option<Pooled<T>> {
        // SAFETY: the core of this pool is the head of a `TypedCore<T>`, and the pool keeps it.
        let link = match unsafe { steps::take::<T>(core) } {
            Some(link) => link,
            None => slow::take(core, local::thread_id()),
        };
        // SAFETY: a node of this pool, just taken.
        NonNull::new(link).map(|link| unsafe { Pooled::from_link(link) })
    }

    /// A guard for what `create` makes, which counts as a miss.
    #[cold]
    #[track_caller]
    fn created_by(&self, create: impl FnOnce() -> T) -> Pooled<T> {
        let core = self.core();
        if let Some(off) = off(core) {
            // SAFETY: a value is written.
            return unsafe { get_off(off, |slot| _ = slot.write(create())) };
        }
        // SAFETY: the core of this pool is the head of a `TypedCore<T>`.
        let guard = unsafe { Pooled::hold(core, create) };
        core.count_created();
        guard.note_out();
        guard
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn take_slow(&self) -> Option<Pooled<T>> {
        let object = self.take(self.core_if_used()?)?;
        object.note_out();
        Some(object)
    }

    pub(super) fn core_if_used(&self) -> Option<&Core> {
        self.entry.core()
    }

    pub(crate) fn core(&self) -> &Core {
        self.entry.core_or(|| self.core_slow())
    }

    #[cold]
    fn core_slow(&self) -> &Core {
        let factory = self.source.factory();
        let fresh = TypedCore::allocate(Arc::clone(&factory));
        if factory.settings.is_off() {
            // SAFETY: a core, by the only reference to it.
            unsafe { &*fresh }.set_enabled(false);
        }
        // SAFETY: the pool's reference, which `Drop` gives up.
        let core = match unsafe { self.entry.init(fresh) } {
            Ok(core) => core,
            Err(first) => return first,
        };
        if let Some(name) = factory.settings.listed_name() {
            let member = Box::new(WeakCore::new(core));
            registry::add(fresh.addr(), PoolKind::Objects, name, member);
        }
        core
    }
}

/// Returns the counter for objects handed out while the pool is off; `None` if the pool is on.
#[inline]
pub(super) fn off(core: &Core) -> Option<&OffCounter> {
    let off = core
        .off_counter()
        .filter(|_| !steps::has_diagnostics(core))?;
    if core.has_drain_requests() {
        slow::drain_slow(core, local::thread_id());
    }
    Some(off)
}

/// Returns an object of no pool, and counts it.
///
/// # Safety
/// `fill` writes a value, or panics.
#[inline(always)]
pub(super) unsafe fn get_off<T: Send + 'static>(
    off: &OffCounter,
    fill: impl FnOnce(&mut MaybeUninit<T>),
) -> Pooled<T> {
    // SAFETY: guaranteed by the caller.
    let object = unsafe { Pooled::unpooled(fill) };
    unpooled::count_off(off);
    object
}

impl<T: Send + 'static> Drop for Pool<T> {
    fn drop(&mut self) {
        let Some(core) = self.entry.core() else {
            return;
        };
        // A destructor of an idle object may panic: the reference goes all the same.
        let handle = Strong(core.address());
        if self.source.is_listed() {
            // SAFETY: the pool's reference keeps the core.
            let last = || unsafe { &*handle.0 }.stats();
            registry::remove(handle.0.addr(), last);
        }
        // SAFETY: the pool's reference keeps the core.
        slow::close(unsafe { &*handle.0 });
    }
}

/// Makes objects with `T::default`.
impl<T: Recycle + Default + Send + 'static> Default for Pool<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

/// Shows the name and whether pooling is on. For figures, call [`Pool::stats`].
impl<T: Send> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name())
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}
