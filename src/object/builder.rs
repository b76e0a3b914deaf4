//! [`Builder`]: a pool's settings.

use crate::background::worker;
use crate::budget::Budget;
use crate::object::pool::Pool;
use crate::object::recycle::{Recycle, known_weight};
use crate::object::shell::{Create, Custom, OnPass, Payload, Weigh, custom_reset, own_reset};
use crate::raw::limits::{Group, Limits};
use crate::sync::rare::Arc;
use std::fmt;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) name: Option<Box<str>>,
    max_idle: usize,
    max_idle_bytes: usize,
    max_object_bytes: usize,
    group: Option<Arc<Group>>,
    budget: Option<Budget>,
    pub(crate) interval: Option<Duration>,
}

/// Longer intervals are as good as this one, and clocks can add it up.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            max_idle: usize::MAX,
            max_idle_bytes: usize::MAX,
            max_object_bytes: usize::MAX,
            group: None,
            budget: None,
            interval: Some(worker::INTERVAL),
        }
    }
}

impl Settings {
    pub(crate) fn limits(&self) -> Limits {
        let budget = self.budget.clone().or_else(Budget::default_for_pools);
        Limits::new(self.max_idle, self.max_idle_bytes, self.max_object_bytes)
            .with_group(self.group.clone())
            .with_budget(budget)
    }
}

/// The reset is `T`'s own, by [`Recycle`].
#[derive(Debug, Clone, Copy)]
pub struct OwnReset;

/// The reset is a closure, set by [`Builder::reset`].
pub struct CustomReset<T>(Box<dyn Fn(&mut T) -> bool + Send + Sync>);

impl<T> fmt::Debug for CustomReset<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomReset(..)")
    }
}

/// Settings for a [`Pool`], from [`Pool::builder`].
///
/// `R` says whose reset the pool uses; only [`build`](Builder::build) looks at it.
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<T: Send + 'static, R = OwnReset> {
    create: Box<dyn Fn() -> T + Send + Sync>,
    reset: R,
    weigh: Option<Weigh<T>>,
    on_pass: Option<OnPass>,
    settings: Settings,
}

impl<T: Send + 'static> Builder<T> {
    pub(crate) fn new(create: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self {
            create: Box::new(create),
            reset: OwnReset,
            weigh: None,
            on_pass: None,
            settings: Settings::default(),
        }
    }
}

impl<T: Send, R: fmt::Debug> fmt::Debug for Builder<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("reset", &self.reset)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static, R> Builder<T, R> {
    /// A name for logs and statistics.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into().into_boxed_str());
        self
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
        Builder {
            create: self.create,
            reset: CustomReset(Box::new(reset)),
            weigh: self.weigh,
            on_pass: self.on_pass,
            settings: self.settings,
        }
    }

    /// For pools made of pools: see [`OnPass`].
    #[cfg_attr(not(feature = "bytes"), expect(dead_code, reason = "for buffers"))]
    pub(crate) fn on_pass(mut self, on_pass: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.on_pass = Some(Box::new(on_pass));
        self
    }

    /// What the pool may keep together with others.
    #[cfg(feature = "bytes")]
    pub(crate) fn group(mut self, group: Option<Arc<Group>>) -> Self {
        self.settings.group = group;
        self
    }

    /// How many objects the pool keeps idle at most, in all threads together. Default: no limit.
    ///
    /// Never exceeded. Threads take their share of it in advance, one object at first and at most
    /// two lists of 32, so a small limit and many threads may keep fewer than the limit. 0 means
    /// no pooling.
    pub fn max_idle(mut self, objects: usize) -> Self {
        self.settings.max_idle = objects;
        self
    }

    /// How many heap bytes the idle objects may hold together. Default: no limit.
    ///
    /// Never exceeded. A thread's share counts each object at the weight of the heaviest that it
    /// has lately returned, so mixed sizes may keep less than the limit. 0 keeps only objects
    /// without heap bytes.
    pub fn max_idle_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_idle_bytes = bytes;
        self
    }

    /// Counts what the pool keeps idle towards `budget`, which other pools may share. Default: the
    /// process-wide one, if there is one ([`Budget::set_default`]).
    pub fn budget(mut self, budget: Budget) -> Self {
        self.settings.budget = Some(budget);
        self
    }

    /// Lets the janitor, a background thread, run a pass every `interval`. Default: every 5 s.
    ///
    /// Idle objects are gone after three passes: 15 s by default. Down to 10 ms is sensible; the
    /// thread wakes up that often while anything is idle, and not at all while nothing is.
    ///
    /// # Panics
    /// If `interval` is zero.
    pub fn trim_every(mut self, interval: Duration) -> Self {
        assert!(
            !interval.is_zero(),
            "the time between two trim passes must not be zero"
        );
        self.settings.interval = Some(interval.min(NEVER));
        self
    }

    /// Leaves passes to you: call [`Pool::trim`] from a timer, a frame loop, an idle hook.
    pub fn trim_manually(mut self) -> Self {
        self.settings.interval = None;
        self
    }

    /// How many heap bytes one object may hold and still be kept. Default: no limit.
    ///
    /// This is what keeps one huge request from pinning its memory while small ones go on.
    pub fn max_object_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_object_bytes = bytes;
        self
    }
}

impl<T: Recycle + Send + 'static> Builder<T, OwnReset> {
    /// Makes the pool.
    pub fn build(self) -> Pool<T> {
        Pool::planned(self.payload())
    }

    pub(crate) fn payload(self) -> Payload<T> {
        Payload {
            reset: own_reset::<T>,
            custom: None,
            create: Create::Boxed(self.create),
            on_pass: self.on_pass,
            settings: self.settings,
        }
    }
}

impl<T: Send + 'static> Builder<T, CustomReset<T>> {
    /// What an object holds on the heap, for limits and statistics, as
    /// [`Recycle::retained_bytes`] does for pools without a reset of their own. Default: 0, except
    /// for the types whose reset is inlined (`Vec<u8>`, `String`), which are known.
    pub fn retained_bytes(mut self, weigh: impl Fn(&T) -> usize + Send + Sync + 'static) -> Self {
        self.weigh = Some(Box::new(weigh));
        self
    }

    /// Makes the pool.
    pub fn build(self) -> Pool<T> {
        let weigh = self.weigh.unwrap_or_else(|| Box::new(known_weight::<T>));
        Pool::planned(Payload {
            reset: custom_reset::<T>,
            custom: Some(Custom {
                reset: self.reset.0,
                weigh,
            }),
            create: Create::Boxed(self.create),
            on_pass: self.on_pass,
            settings: self.settings,
        })
    }
}
