//! [`ArenaPoolBuilder`]: the settings of an arena pool.

use super::pool::ArenaPool;
use super::recipes;
use super::sizes::FIRST;
use crate::budget::Budget;
use crate::object::settings::Settings;
use std::time::Duration;

/// Settings for an [`ArenaPool`], from [`ArenaPool::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ArenaPoolBuilder {
    pub(super) settings: Settings,
    first_chunk: usize,
}

impl ArenaPool {
    /// A pool with settings: limits, a name, the time between passes.
    ///
    /// # Examples
    /// ```
    /// use repool::ArenaPool;
    /// let pool = ArenaPool::builder()
    ///     .name("requests")
    ///     .max_idle_bytes(64 << 20)
    ///     .max_object_bytes(4 << 20)
    ///     .build();
    /// assert_eq!(pool.get().alloc_str("hello"), "hello");
    /// ```
    pub fn builder() -> ArenaPoolBuilder {
        ArenaPoolBuilder {
            settings: Settings::default(),
            first_chunk: FIRST,
        }
    }
}

impl ArenaPoolBuilder {
    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self
    }

    /// A name for logs and statistics.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.set(|settings| settings.set_name(name))
    }

    /// How many bytes a new arena has in its first chunk, before bumpalo rounds that up. Default: 4032,
    /// which is a page with what bumpalo and the allocator add.
    ///
    /// What most requests use is a good value. One that is too small costs the first request in each new
    /// arena some calls of the allocator. One that is too large costs the memory: no arena is ever cut
    /// below it. 0 makes arenas without a chunk.
    ///
    /// # Examples
    /// ```
    /// use repool::ArenaPool;
    /// let pool = ArenaPool::builder().first_chunk(100_000).build();
    /// assert!(pool.get().chunk_capacity() >= 100_000);
    /// ```
    pub fn first_chunk(mut self, bytes: usize) -> Self {
        self.first_chunk = bytes;
        self
    }

    /// How many arenas the pool keeps idle at most, in all threads together. Default: no limit. See
    /// [`Builder::max_idle`](crate::Builder::max_idle).
    pub fn max_idle(self, arenas: usize) -> Self {
        self.set(|settings| settings.set_max_idle(arenas))
    }

    /// How many bytes the idle arenas may hold together. Default: no limit. See
    /// [`Builder::max_idle_bytes`](crate::Builder::max_idle_bytes).
    ///
    /// An arena that a request made larger than this is dropped when it comes back, and no arena is
    /// made larger to begin with.
    pub fn max_idle_bytes(self, bytes: usize) -> Self {
        self.set(|settings| settings.set_max_idle_bytes(bytes))
    }

    /// How many bytes one arena may hold and still be kept. Default: no limit.
    ///
    /// An arena that a request made larger is dropped when it comes back, and no arena is made
    /// larger than this to begin with.
    pub fn max_object_bytes(self, bytes: usize) -> Self {
        self.set(|settings| settings.set_max_object_bytes(bytes))
    }

    /// Counts what the pool keeps idle towards `budget`, which other pools may share. Default: the
    /// process-wide one, if there is one ([`Budget::set_default`]).
    pub fn budget(self, budget: Budget) -> Self {
        self.set(|settings| settings.set_budget(budget))
    }

    /// Lets the janitor run a pass every `interval`. Default: every 5 s. See
    /// [`Builder::trim_every`](crate::Builder::trim_every).
    ///
    /// # Panics
    /// If `interval` is zero.
    pub fn trim_every(self, interval: Duration) -> Self {
        self.set(|settings| settings.trim_every(interval))
    }

    /// Leaves passes to you: call [`ArenaPool::trim`] from a timer, a frame loop, an idle hook.
    pub fn trim_manually(self) -> Self {
        self.set(Settings::trim_manually)
    }

    /// Makes the pool.
    pub fn build(self) -> ArenaPool {
        ArenaPool::of(recipes::pool(self.settings, self.first_chunk).build())
    }
}
