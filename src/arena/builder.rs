//! [`ArenaPoolBuilder`]: the settings of an arena pool.

use super::factory;
use super::pool::ArenaPool;
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
    /// Returns a builder, for limits, a name, or a different first chunk.
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

    /// Names the pool, for [`pools`](crate::pools), metrics, logs, and `REPOOL=off:name`.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.set(|settings| settings.set_name(name))
    }

    /// Sets the bytes in the first chunk of a new arena, before bumpalo rounds them up. Default:
    /// 4032, which fills a 4 KiB page together with the overhead of bumpalo and the allocator.
    ///
    /// A good value is what most requests use. If it is too small, the first request in each new
    /// arena makes some extra allocator calls. If it is too large, it wastes memory, because the
    /// pool never cuts an arena below it. 0 creates arenas without a chunk.
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

    /// Limits how many arenas the pool keeps idle, in all threads together. Default: no limit. See
    /// [`Builder::max_idle`](crate::Builder::max_idle).
    pub fn max_idle(self, arenas: usize) -> Self {
        self.set(|settings| settings.set_max_idle(arenas))
    }

    /// Limits the bytes of all idle arenas together. Default: no limit. See
    /// [`Builder::max_idle_bytes`](crate::Builder::max_idle_bytes).
    ///
    /// An arena that a request made larger than this is dropped when it comes back, and no new
    /// arena is larger.
    pub fn max_idle_bytes(self, bytes: usize) -> Self {
        self.set(|settings| settings.set_max_idle_bytes(bytes))
    }

    /// Limits how many bytes one arena may hold and still be kept. Default: no limit.
    ///
    /// An arena that a request made larger is dropped when it comes back, and no new arena is
    /// larger.
    pub fn max_object_bytes(self, bytes: usize) -> Self {
        self.set(|settings| settings.set_max_object_bytes(bytes))
    }

    /// Counts what the pool keeps idle towards `budget`, which other pools may share. Default: the
    /// process-wide budget, if there is one ([`Budget::set_default`]).
    pub fn budget(self, budget: Budget) -> Self {
        self.set(|settings| settings.set_budget(budget))
    }

    /// Lets the janitor run a pass every `interval`. Default: 5 s. See
    /// [`Builder::trim_every`](crate::Builder::trim_every).
    ///
    /// # Panics
    /// If `interval` is zero.
    pub fn trim_every(self, interval: Duration) -> Self {
        self.set(|settings| settings.trim_every(interval))
    }

    /// Leaves trim passes to you: call [`ArenaPool::trim`] from a timer, a frame loop, or an idle
    /// hook.
    pub fn trim_manually(self) -> Self {
        self.set(Settings::trim_manually)
    }

    /// Builds the pool.
    pub fn build(self) -> ArenaPool {
        let limit = self.settings.largest_kept();
        let pool = factory::pool(self.settings, self.first_chunk).build();
        ArenaPool::of(pool, self.first_chunk, limit)
    }
}
