//! [`Builder`]: a pool's settings.

use crate::budget::Budget;
use crate::object::diagnosed::settings::Choice;
use crate::object::pool::Pool;
use crate::object::recipe::{Fill, Recipe};
use crate::object::recycle::Recycle;
use crate::object::settings::Settings;
use crate::sync::rare::Arc;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

/// The reset is `T`'s own, by [`Recycle`].
#[derive(Debug, Clone, Copy)]
pub struct OwnReset;

/// The reset is a closure, set by [`Builder::reset`].
#[derive(Debug, Clone, Copy)]
pub struct CustomReset<T>(PhantomData<fn(&mut T)>);

/// Settings for a [`Pool`], from [`Pool::builder`].
///
/// `R` says whose reset the pool uses; only [`build`](Builder::build) looks at it.
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<T: Send + 'static, R = OwnReset> {
    unweighed: Unweighed<T>,
    reset: PhantomData<fn() -> R>,
}

/// A [`Builder`] with a reset of its own, for objects that are not [`Recycle`]: only the user can
/// say what they weigh.
///
/// `build` is the only thing to do with it, and a builder leads here by itself: where `T` is
/// `Recycle`, `builder.build()` is [`Builder::build`], and this one otherwise. So a pool of
/// `HashMap`s with a reset of its own still weighs them as [`Recycle`] does.
pub struct Unweighed<T: Send + 'static> {
    /// Shared with the pools that are built from it.
    recipe: Arc<Recipe<T>>,
}

impl<T: Send + 'static> Pool<T> {
    /// A pool with settings: limits, a reset of its own, a name.
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
                recipe: Arc::new(Recipe::new(create)),
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
            .field("settings", &self.recipe.settings)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static, R> Builder<T, R> {
    /// A name for logs and statistics.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.set(|settings| settings.set_name(name))
    }

    /// Resets objects with `reset` instead of [`Recycle`], for any `T: Send`. It runs when a guard
    /// is dropped; `false` drops the object.
    ///
    /// Costs two indirect calls on each return; for the types whose own reset is inlined (see
    /// [`Recycle`]), the slow path on each return as well.
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
        let Builder { unweighed, .. } = self.change(|recipe| recipe.set_closure(reset));
        Builder {
            unweighed,
            reset: PhantomData,
        }
    }

    /// What an object holds on the heap, in bytes, for limits and statistics: instead of
    /// [`Recycle::retained_bytes`], and for types that are not [`Recycle`]. Called after each reset.
    ///
    /// Costs as much as a [`reset`](Builder::reset) does.
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
        self.change(|recipe| recipe.set_weigh(weigh))
    }

    fn change(mut self, change: impl FnOnce(&mut Recipe<T>)) -> Self {
        let recipe = Arc::get_mut(&mut self.unweighed.recipe);
        change(recipe.expect("a builder is set up before it builds"));
        self
    }

    pub(in crate::object) fn set(self, set: impl FnOnce(&mut Settings)) -> Self {
        self.change(|recipe| set(&mut recipe.settings))
    }

    /// For pools made of pools: see [`OnPass`](crate::object::recipe::OnPass).
    #[allow(dead_code, reason = "for buffers, which are a feature")]
    pub(crate) fn on_pass(self, on_pass: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.change(|recipe| recipe.set_on_pass(on_pass))
    }

    /// For parts of a pool that users never see.
    #[allow(dead_code, reason = "for buffers, which are a feature")]
    pub(crate) fn undiagnosed(self) -> Self {
        self.set(|settings| settings.set_diagnostics(Choice::NEVER))
    }

    /// How objects are made while the pool is switched off.
    #[allow(dead_code, reason = "for arenas, which are a feature")]
    pub(crate) fn create_off(self, create: Fill<T>) -> Self {
        self.change(|recipe| recipe.set_create_off(create))
    }

    /// See [`Recipe::set_heap_only`].
    #[allow(dead_code, reason = "for buffers and arenas, which are features")]
    pub(crate) fn heap_only(self) -> Self {
        self.change(Recipe::set_heap_only)
    }

    /// Another builder's settings.
    #[allow(dead_code, reason = "for buffers and arenas, which are features")]
    pub(crate) fn settings(self, settings: Settings) -> Self {
        self.set(|own| *own = settings)
    }

    /// How many objects the pool keeps idle at most, in all threads together. Default: no limit.
    ///
    /// Never exceeded. Threads take their share of it in advance, one object at first and at most
    /// two lists of 64, so a small limit and many threads may keep fewer than the limit. 0 means
    /// no pooling.
    pub fn max_idle(self, objects: usize) -> Self {
        self.set(|settings| settings.set_max_idle(objects))
    }

    /// How many idle objects passes leave, at any level of memory pressure. Default: 0.
    ///
    /// For objects that are expensive to make, so that the first request after a quiet time finds one.
    /// It makes none by itself: see [`Pool::prefill`]. [`Pool::clear`] and limits ignore it.
    /// Objects that passes leave are in reach of every thread, as a rule; those in the cache of a
    /// thread that is at work count as well.
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

    /// How many bytes the idle objects may take together: `size_of::<T>()` for each, and what it holds
    /// on the heap ([`Recycle::retained_bytes`]). Default: no limit.
    ///
    /// Never exceeded. A thread's share counts each object at the weight of the heaviest that it
    /// has lately returned, so mixed sizes may keep less than the limit. 0 keeps nothing,
    /// unless objects have no size.
    pub fn max_idle_bytes(self, bytes: usize) -> Self {
        self.set(|settings| settings.set_max_idle_bytes(bytes))
    }

    /// Whether large objects of which little is used are dropped, so that one large use does not keep
    /// its memory for ever, and does not slow down each reset that goes by capacity, as a map's.
    /// Default: yes.
    ///
    /// An object is dropped when it comes back the fifth time in a row with less than a quarter of
    /// its heap bytes used, if these are more than 64 KiB and more than `create` gives a new object.
    /// [`Recycle::used_bytes`] says how much is used: std's collections know, derived types of such
    /// as well, others are left alone. The statistics count the object in
    /// [`Discarded::underused`](crate::Discarded::underused).
    ///
    /// Costs nothing for smaller objects. Larger ones return by the slow path if they are larger than
    /// a new one.
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
    /// process-wide one, if there is one ([`Budget::set_default`]).
    pub fn budget(self, budget: Budget) -> Self {
        self.set(|settings| settings.set_budget(budget))
    }

    /// Lets the janitor, a background thread, run a pass every `interval`. Default: every 5 s.
    ///
    /// Idle objects are gone after three passes: 15 s by default. Down to 10 ms is sensible; the
    /// thread wakes up that often while anything is idle, and not at all while nothing is.
    ///
    /// # Panics
    /// If `interval` is zero.
    pub fn trim_every(self, interval: Duration) -> Self {
        self.set(|settings| settings.trim_every(interval))
    }

    /// Leaves passes to you: call [`Pool::trim`] from a timer, a frame loop, an idle hook.
    pub fn trim_manually(self) -> Self {
        self.set(Settings::trim_manually)
    }

    /// How many heap bytes one object may hold and still be kept. Default: no limit.
    ///
    /// This is what keeps one huge request from pinning its memory while small ones go on. The
    /// object's own size, which no request can change, does not count here.
    pub fn max_object_bytes(self, bytes: usize) -> Self {
        self.set(|settings| settings.set_max_object_bytes(bytes))
    }
}

impl<T: Send + 'static> Builder<T, OwnReset> {
    /// Makes the pool.
    // The bound is here and not at the `impl`: the compiler then says what `Recycle` asks for.
    pub fn build(self) -> Pool<T>
    where
        T: Recycle,
    {
        Pool::from_recipe(self.recipe())
    }

    pub(crate) fn recipe(self) -> Arc<Recipe<T>>
    where
        T: Recycle,
    {
        self.change(Recipe::set_recycle).unweighed.recipe
    }
}

impl<T: Recycle + Send + 'static> Builder<T, CustomReset<T>> {
    /// Makes the pool. Objects weigh what [`Recycle::retained_bytes`] says, unless
    /// [`retained_bytes`](Builder::retained_bytes) was called.
    ///
    /// For other types this is [`Unweighed::build`].
    pub fn build(self) -> Pool<T> {
        let recipe = self.change(Recipe::set_recycles_weights).unweighed.recipe;
        Pool::from_recipe(recipe)
    }
}

/// Leads to [`Unweighed::build`] where `T` is not [`Recycle`].
impl<T: Send + 'static> Deref for Builder<T, CustomReset<T>> {
    type Target = Unweighed<T>;

    fn deref(&self) -> &Unweighed<T> {
        &self.unweighed
    }
}

impl<T: Send + 'static> Unweighed<T> {
    /// Makes a pool; a further call makes another one, with the same closures.
    ///
    /// Without [`retained_bytes`](Builder::retained_bytes), an object weighs `size_of::<T>()` and
    /// what is known of its type: `String` and the vectors of numbers, also where `T` is generic.
    ///
    /// # Panics
    /// If there is a limit in bytes (`max_idle_bytes`, `max_object_bytes`, `budget`) and it is not known
    /// what an object holds on the heap: `T` is not `Recycle` as far as the caller's code can tell,
    /// it has a destructor, and `retained_bytes` was not called. (The process-wide budget counts
    /// such objects by their size alone.)
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
        self.recipe.check_weights();
        Pool::from_recipe(Arc::clone(&self.recipe))
    }
}
