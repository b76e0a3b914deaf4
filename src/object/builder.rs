//! [`Builder`]: a pool's settings.

use crate::budget::Budget;
use crate::object::pool::Pool;
use crate::object::recipe::{Recipe, by_recycle};
use crate::object::recycle::Recycle;
use crate::object::settings::Settings;
#[cfg(feature = "bytes")]
use crate::raw::limits::Group;
#[cfg(feature = "bytes")]
use crate::sync::rare::Arc;
use std::fmt;
use std::marker::PhantomData;
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
    recipe: Recipe<T>,
    reset: PhantomData<fn() -> R>,
}

impl<T: Send + 'static> Builder<T> {
    pub(crate) fn new(create: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self::of(Recipe::new(create))
    }
}

impl<T: Send + 'static, R> fmt::Debug for Builder<T, R> {
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
        let mut recipe = self.recipe;
        recipe.set_closure(reset);
        Builder::of(recipe)
    }

    fn of(recipe: Recipe<T>) -> Self {
        Self {
            recipe,
            reset: PhantomData,
        }
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.recipe.settings);
        self
    }

    /// For pools made of pools: see [`OnPass`](crate::object::recipe::OnPass).
    #[allow(dead_code, reason = "for buffers, which are a feature")]
    pub(crate) fn on_pass(mut self, on_pass: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.recipe.set_on_pass(on_pass);
        self
    }

    /// What users see of an object is what it holds on the heap: its own size is not theirs.
    #[allow(dead_code, reason = "for buffers and arenas, which are features")]
    pub(crate) fn heap_only(mut self) -> Self {
        self.recipe.set_heap_only();
        self
    }

    /// Another builder's settings.
    #[allow(dead_code, reason = "for buffers and arenas, which are features")]
    pub(crate) fn settings(self, settings: Settings) -> Self {
        self.set(|own| *own = settings)
    }

    /// What the pool may keep together with others.
    #[cfg(feature = "bytes")]
    pub(crate) fn group(self, group: Option<Arc<Group>>) -> Self {
        self.set(|settings| settings.set_group(group))
    }

    /// How many objects the pool keeps idle at most, in all threads together. Default: no limit.
    ///
    /// Never exceeded. Threads take their share of it in advance, one object at first and at most
    /// two lists of 32, so a small limit and many threads may keep fewer than the limit. 0 means
    /// no pooling.
    pub fn max_idle(self, objects: usize) -> Self {
        self.set(|settings| settings.set_max_idle(objects))
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

    pub(crate) fn recipe(self) -> Recipe<T>
    where
        T: Recycle,
    {
        let mut recipe = self.recipe;
        recipe.set_reset(by_recycle);
        recipe
    }
}

impl<T: Send + 'static> Builder<T, CustomReset<T>> {
    /// What an object holds on the heap, for limits and statistics, as
    /// [`Recycle::retained_bytes`] does for pools without a reset of their own. Default: 0, except
    /// for the types whose reset is inlined (`Vec<u8>`, `String`), which are known.
    pub fn retained_bytes(mut self, weigh: impl Fn(&T) -> usize + Send + Sync + 'static) -> Self {
        self.recipe.set_weigh(weigh);
        self
    }

    /// Makes the pool.
    pub fn build(self) -> Pool<T> {
        Pool::from_recipe(self.recipe)
    }
}
