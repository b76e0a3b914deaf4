//! [`Builder`]: the settings of a pool.

use crate::budget::Budget;
use crate::object::diagnostics::settings::Choice;
use crate::object::factory::Factory;
use crate::object::pool::Pool;
use crate::object::recycle::Recycle;
use crate::object::settings::Settings;
use crate::sync::rare::Arc;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

/// Type parameter of a [`Builder`]: the pool resets objects with [`Recycle`].
#[derive(Debug, Clone, Copy)]
pub struct OwnReset;

/// Type parameter of a [`Builder`]: the pool resets objects with a closure, set by
/// [`Builder::reset`].
#[derive(Debug, Clone, Copy)]
pub struct CustomReset<T>(PhantomData<fn(&mut T)>);

/// Settings for a [`Pool`], from [`Pool::builder`].
///
/// `R` says which reset the pool uses, [`OwnReset`] or [`CustomReset`]. Only
/// [`build`](Builder::build) depends on it.
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<T: Send + 'static, R = OwnReset> {
    unweighed: Unweighed<T>,
    reset: PhantomData<fn() -> R>,
}

/// A [`Builder`] with a custom reset for a type that may not implement [`Recycle`], so that only
/// the user can say what an object weighs.
///
/// You need not name this type: a [`Builder`] dereferences to it. Where `T` implements [`Recycle`],
/// `builder.build()` is [`Builder::build`]; otherwise it is [`Unweighed::build`], the only method
/// here. So a pool of `HashMap`s with a custom reset still weighs them as [`Recycle`] does.
pub struct Unweighed<T: Send + 'static> {
    /// Shared with the pools that this builder has built.
    factory: Arc<Factory<T>>,
}

impl<T: Send + 'static> Pool<T> {
    /// Returns a builder, for limits, a custom reset, or a name.
    ///
    /// `create` makes a new object when no idle one is in reach.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// let pool = Pool::builder(|| Vec::<u8>::with_capacity(4096))
    ///     .name("frames")
    ///     .max_idle(1_000)
    ///     .max_object_bytes(1 << 20)
    ///     .build();
    /// assert!(pool.get().capacity() >= 4096);
    /// ```
    pub fn builder(create: impl Fn() -> T + Send + Sync + 'static) -> Builder<T> {
        Builder {
            unweighed: Unweighed {
                factory: Arc::new(Factory::new(create)),
            },
            reset: PhantomData,
        }
    }
}

impl<T: Send + 'static, R> fmt::Debug for Builder<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unweighed.fmt(f)
    }
}

impl<T: Send + 'static> fmt::Debug for Unweighed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("settings", &self.factory.settings)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static, R> Builder<T, R> {
    /// Names the pool, for [`pools`](crate::pools), metrics, logs, and `REPOOL=off:name`.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.set(|settings| settings.set_name(name))
    }

    /// Resets objects with `reset` instead of [`Recycle`]. Works for any `T: Send`.
    ///
    /// The pool calls `reset` when a guard is dropped; if it returns `false`, the pool drops the
    /// object.
    ///
    /// A custom reset costs two indirect calls per return. For the types whose own reset is inlined
    /// (see [`Recycle`]), every return takes the slow path as well.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// struct Parser { depth: u32, broken: bool }
    /// let pool = Pool::builder(|| Parser { depth: 0, broken: false })
    ///     .reset(|parser| {
    ///         parser.depth = 0;
    ///         !parser.broken
    ///     })
    ///     .build();
    /// pool.get().broken = true;
    /// assert_eq!(pool.stats().discarded_by.reset, 1);
    /// ```
    pub fn reset(
        self,
        reset: impl Fn(&mut T) -> bool + Send + Sync + 'static,
    ) -> Builder<T, CustomReset<T>> {
        let Builder { unweighed, .. } = self.change(|factory| factory.set_closure(reset));
        Builder {
            unweighed,
            reset: PhantomData,
        }
    }

    /// Sets how many bytes an object holds on the heap, for limits and statistics.
    ///
    /// Replaces [`Recycle::retained_bytes`], and provides it for types that do not implement
    /// [`Recycle`]. The pool calls `weigh` after each reset. It costs as much as a
    /// [`reset`](Builder::reset) does.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// struct Table { cells: Box<[u64]> }
    /// let pool = Pool::builder(|| Table { cells: vec![0; 1_000].into() })
    ///     .reset(|table| {
    ///         table.cells.fill(0);
    ///         true
    ///     })
    ///     .retained_bytes(|table| size_of_val(&*table.cells))
    ///     .max_idle_bytes(1 << 20)
    ///     .build();
    /// drop(pool.get());
    /// assert_eq!(pool.stats().idle_bytes as usize, size_of::<Table>() + 8_000);
    /// ```
    pub fn retained_bytes(self, weigh: impl Fn(&T) -> usize + Send + Sync + 'static) -> Self {
        self.change(|factory| factory.set_weigh(weigh))
    }

    fn change(mut self, change: impl FnOnce(&mut Factory<T>)) -> Self {
        let factory = Arc::get_mut(&mut self.unweighed.factory);
        change(factory.expect("a builder does not change after it has built a pool"));
        self
    }

    pub(in crate::object) fn set(self, set: impl FnOnce(&mut Settings)) -> Self {
        self.change(|factory| set(&mut factory.settings))
    }

    /// For pools made of pools; see [`OnPass`](crate::object::factory::OnPass).
    #[allow(dead_code, reason = "for buffers, which are a feature")]
    pub(crate) fn on_pass(self, on_pass: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.change(|factory| factory.set_on_pass(on_pass))
    }

    /// Excludes the pool from diagnostics, for parts of a pool that users never see.
    #[allow(dead_code, reason = "for buffers, which are a feature")]
    pub(crate) fn without_diagnostics(self) -> Self {
        self.set(|settings| settings.set_diagnostics(Choice::NEVER))
    }

    /// See [`Factory::set_heap_only`].
    #[allow(dead_code, reason = "for buffers and arenas, which are features")]
    pub(crate) fn heap_only(self) -> Self {
        self.change(Factory::set_heap_only)
    }

    /// Replaces all settings by another builder's.
    #[allow(dead_code, reason = "for buffers and arenas, which are features")]
    pub(crate) fn settings(self, settings: Settings) -> Self {
        self.set(|own| *own = settings)
    }

    /// Limits how many objects the pool keeps idle, in all threads together. Default: no limit.
    ///
    /// The limit is never exceeded. Each thread reserves its share in advance, first one object and
    /// at most two lists of 64, so with a small limit and many threads the pool may keep fewer
    /// objects than the limit. 0 disables pooling.
    pub fn max_idle(self, objects: usize) -> Self {
        self.set(|settings| settings.set_max_idle(objects))
    }

    /// Sets how many idle objects trim passes leave, at any level of memory pressure. Default: 0.
    ///
    /// Use it for objects that are expensive to create, so that the first request after a quiet
    /// period finds one. It creates none by itself; [`Pool::prefill`] does. [`Pool::clear`] and
    /// limits ignore it. Any thread can usually get the objects that passes leave, but objects in
    /// the cache of an active thread count as well.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// let pool = Pool::builder(|| vec![0u64; 1 << 16]).min_idle(2).trim_manually().build();
    /// drop([(); 10].map(|()| pool.get()));
    /// for _ in 0..10 {
    ///     let _ = pool.trim();
    /// }
    /// assert_eq!(pool.stats().idle, 2);
    /// ```
    pub fn min_idle(self, objects: usize) -> Self {
        self.set(|settings| settings.set_min_idle(objects))
    }

    /// Limits the bytes of all idle objects together. Default: no limit.
    ///
    /// An object counts `size_of::<T>()` plus what it holds on the heap
    /// ([`Recycle::retained_bytes`]).
    ///
    /// The limit is never exceeded. A thread's share counts each object at the weight of the
    /// heaviest object that the thread has recently returned, so with mixed sizes the pool may keep
    /// less than the limit. 0 keeps nothing, unless objects have size zero.
    pub fn max_idle_bytes(self, bytes: usize) -> Self {
        self.set(|settings| settings.set_max_idle_bytes(bytes))
    }

    /// Sets whether the pool drops large objects of which little is used. Default: yes.
    ///
    /// Without it, one large use would keep its memory for ever, and would slow down every reset
    /// whose cost depends on capacity, as a map's does.
    ///
    /// The pool drops an object that comes back the fifth time in a row with less than a quarter of
    /// its heap bytes used, if it holds more than 64 KiB and more than `create` gives a new object.
    /// [`Recycle::used_bytes`] says how much is used. Std's collections report it, and so do
    /// derived types made of them; other types are left alone. Dropped objects count in
    /// [`Discarded::underused`](crate::Discarded::underused).
    ///
    /// This costs nothing for objects up to 64 KiB. Larger ones return by the slow path if they
    /// hold more than a new one.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// let pool = Pool::builder(Vec::<u8>::new).trim_manually().build();
    /// pool.get().resize(10 << 20, 1);
    /// for _ in 0..5 {
    ///     pool.get().push(1);
    /// }
    /// assert_eq!((pool.stats().idle, pool.stats().discarded_by.underused), (0, 1));
    /// ```
    pub fn drop_underused(self, on: bool) -> Self {
        self.set(|settings| settings.set_drops_underused(on))
    }

    /// Counts what the pool keeps idle towards `budget`, which other pools may share. Default: the
    /// process-wide budget, if there is one ([`Budget::set_default`]).
    pub fn budget(self, budget: Budget) -> Self {
        self.set(|settings| settings.set_budget(budget))
    }

    /// Lets the janitor, a background thread, run a pass every `interval`. Default: 5 s.
    ///
    /// Idle objects are gone after three passes, so after 15 s by default. Intervals down to 10 ms
    /// are sensible. The janitor wakes up once per interval while anything is idle, and never while
    /// nothing is.
    ///
    /// # Panics
    /// If `interval` is zero.
    pub fn trim_every(self, interval: Duration) -> Self {
        self.set(|settings| settings.trim_every(interval))
    }

    /// Leaves trim passes to you: call [`Pool::trim`] from a timer, a frame loop, or an idle hook.
    pub fn trim_manually(self) -> Self {
        self.set(Settings::trim_manually)
    }

    /// Limits how many heap bytes one object may hold and still be kept. Default: no limit.
    ///
    /// This keeps one huge request from pinning its memory while small requests go on. The size of
    /// `T` itself does not count here, because no request can change it.
    pub fn max_object_bytes(self, bytes: usize) -> Self {
        self.set(|settings| settings.set_max_object_bytes(bytes))
    }
}

impl<T: Send + 'static> Builder<T, OwnReset> {
    /// Builds the pool.
    // The bound is on the method, not on the `impl`, so that the compiler reports what `Recycle`
    // asks for.
    pub fn build(self) -> Pool<T>
    where
        T: Recycle,
    {
        Pool::from_factory(self.factory())
    }

    pub(crate) fn factory(self) -> Arc<Factory<T>>
    where
        T: Recycle,
    {
        self.change(Factory::set_recycle).unweighed.factory
    }
}

impl<T: Recycle + Send + 'static> Builder<T, CustomReset<T>> {
    /// Builds the pool. Objects weigh what [`Recycle::retained_bytes`] says, unless
    /// [`retained_bytes`](Builder::retained_bytes) was called.
    ///
    /// For types that do not implement [`Recycle`] this is [`Unweighed::build`].
    pub fn build(self) -> Pool<T> {
        let factory = self.change(Factory::set_recycles_weights).unweighed.factory;
        Pool::from_factory(factory)
    }
}

/// Provides [`Unweighed::build`] where `T` does not implement [`Recycle`].
impl<T: Send + 'static> Deref for Builder<T, CustomReset<T>> {
    type Target = Unweighed<T>;

    fn deref(&self) -> &Unweighed<T> {
        &self.unweighed
    }
}

impl<T: Send + 'static> Unweighed<T> {
    /// Builds a pool. Each further call builds another pool with the same closures.
    ///
    /// Without [`retained_bytes`](Builder::retained_bytes), an object weighs `size_of::<T>()` plus
    /// what the pool knows of its type: it knows `String` and the vectors of numbers, also where
    /// `T` is generic.
    ///
    /// # Panics
    /// If a limit in bytes is set (`max_idle_bytes`, `max_object_bytes`, or `budget`) and the pool
    /// cannot tell what an object holds on the heap. That is the case if `T` is not `Recycle` as
    /// far as the calling code can tell, `T` has a destructor, and `retained_bytes` was not called.
    /// (The process-wide budget counts such objects by `size_of::<T>()` alone.)
    ///
    /// ```should_panic
    /// use repool::Pool;
    /// struct Table { cells: Box<[u64]> }
    /// let pool = Pool::builder(|| Table { cells: vec![0; 1_000].into() })
    ///     .reset(|_| true)
    ///     .max_idle_bytes(1 << 20)
    ///     .build();
    /// ```
    #[must_use]
    pub fn build(&self) -> Pool<T> {
        self.factory.check_weights();
        Pool::from_factory(Arc::clone(&self.factory))
    }
}
