//! [`BufferPoolBuilder`]: the settings of a buffer pool.

use super::class;
use super::inner::Inner;
use super::pool::BufferPool;
use super::settings::Settings;
use crate::budget::Budget;
use std::time::Duration;

/// Settings for a [`BufferPool`], from [`BufferPool::builder`].
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct BufferPoolBuilder {
    pub(super) settings: Settings,
}

impl BufferPool {
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
        BufferPoolBuilder::default()
    }
}

impl BufferPoolBuilder {
    /// A name for logs and statistics.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.common.set_name(name);
        self
    }

    /// The capacity of the largest buffers that are kept, in bytes, rounded up to a class. Default:
    /// 4 MiB; at least 64 bytes, at most 1 GiB.
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
        self.settings.common.set_max_idle(buffers);
        self
    }

    /// How many bytes the idle buffers may have together. Default: no limit. Never exceeded.
    ///
    /// Frozen buffers whose views are gone are found by and by; while there is traffic in their class,
    /// they and the idle ones together hold at most twice the limit.
    pub fn max_idle_bytes(mut self, bytes: usize) -> Self {
        self.settings.common.set_max_idle_bytes(bytes);
        self
    }

    /// How many bytes one buffer may have and still be kept, where that is to be less than
    /// [`max_class`](BufferPoolBuilder::max_class). Default: no limit.
    pub fn max_object_bytes(mut self, bytes: usize) -> Self {
        self.settings.common.set_max_object_bytes(bytes);
        self
    }

    /// Counts what the pool keeps idle towards `budget`, which other pools may share. Default: the
    /// process-wide one, if there is one ([`Budget::set_default`]).
    pub fn budget(mut self, budget: Budget) -> Self {
        self.settings.common.set_budget(budget);
        self
    }

    /// Lets the janitor run a pass every `interval`. Default: every 5 s.
    ///
    /// # Panics
    /// If `interval` is zero.
    pub fn trim_every(mut self, interval: Duration) -> Self {
        self.settings.common.trim_every(interval);
        self
    }

    /// Leaves passes to you: call [`BufferPool::trim`] from a timer, a frame loop, an idle hook.
    pub fn trim_manually(mut self) -> Self {
        self.settings.common.trim_manually();
        self
    }

    /// Whether buffers are overwritten with zeros, all of their capacity, before they are kept or
    /// freed. Default, with the feature `zeroize`: yes.
    ///
    /// That holds for each memory that the pool has in its hands: a buffer that is dropped, whether the
    /// pool keeps it or not, is switched off, or the thread panics; and a frozen or split one when its
    /// last view is gone before the pool is. It cannot hold for
    /// - frozen ones with views that outlive the pool that waits for them, or a
    ///   [`clear`](BufferPool::clear) or [`set_enabled(false)`](BufferPool::set_enabled): the memory goes with
    ///   the last view;
    /// - what a buffer leaves behind when it grows and its allocator moves it: ask for enough;
    /// - what its user took out, by [`into_inner`](crate::Buffer::into_inner) and the like.
    #[cfg(feature = "zeroize")]
    pub fn zeroize(mut self, on: bool) -> Self {
        self.settings.wipes = on;
        self
    }

    /// Makes the pool.
    #[must_use]
    pub fn build(self) -> BufferPool {
        let mut settings = self.settings;
        settings.common.share_limits();
        BufferPool::of(Inner::new(settings))
    }
}
