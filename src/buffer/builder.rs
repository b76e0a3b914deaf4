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
    /// Returns a builder, for limits, a name, or a different largest class.
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
    /// Names the pool, for [`pools`](crate::pools), metrics, logs, and `REPOOL=off:name`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.common.set_name(name);
        self
    }

    /// Sets the largest capacity, in bytes, of buffers that are kept; it is rounded up to a size
    /// class. Default: 4 MiB. At least 64 bytes, at most 1 GiB.
    pub fn max_class(mut self, bytes: usize) -> Self {
        self.settings.top = class::holding(bytes.clamp(class::SMALLEST, class::LARGEST));
        self
    }

    /// Limits how many buffers the pool keeps idle, in all classes and threads together. Default:
    /// no limit.
    ///
    /// The limit is never exceeded. Each thread reserves its share in advance, per class, so with a
    /// small limit the pool may keep fewer buffers than the limit.
    pub fn max_idle(mut self, buffers: usize) -> Self {
        self.settings.common.set_max_idle(buffers);
        self
    }

    /// Limits the bytes of all idle buffers together. Default: no limit. The limit is never
    /// exceeded.
    ///
    /// Frozen buffers whose views are gone count only once the pool has found them. While there is
    /// traffic in their class, they and the idle buffers together hold at most twice the limit.
    pub fn max_idle_bytes(mut self, bytes: usize) -> Self {
        self.settings.common.set_max_idle_bytes(bytes);
        self
    }

    /// Limits how many bytes one buffer may have and still be kept, if that is to be less than
    /// [`max_class`](BufferPoolBuilder::max_class). Default: no limit.
    pub fn max_object_bytes(mut self, bytes: usize) -> Self {
        self.settings.common.set_max_object_bytes(bytes);
        self
    }

    /// Counts what the pool keeps idle towards `budget`, which other pools may share. Default: the
    /// process-wide budget, if there is one ([`Budget::set_default`]).
    pub fn budget(mut self, budget: Budget) -> Self {
        self.settings.common.set_budget(budget);
        self
    }

    /// Lets the janitor run a pass every `interval`. Default: 5 s. See
    /// [`Builder::trim_every`](crate::Builder::trim_every).
    ///
    /// # Panics
    /// If `interval` is zero.
    pub fn trim_every(mut self, interval: Duration) -> Self {
        self.settings.common.trim_every(interval);
        self
    }

    /// Leaves trim passes to you: call [`BufferPool::trim`] from a timer, a frame loop, or an idle
    /// hook.
    pub fn trim_manually(mut self) -> Self {
        self.settings.common.trim_manually();
        self
    }

    /// Sets whether the pool overwrites the whole capacity of a buffer with zeros before it keeps
    /// or frees the memory. Default with the feature `zeroize`: yes.
    ///
    /// The pool wipes all memory that it still controls: a buffer that is dropped, whether the pool
    /// keeps it, is switched off, or the thread panics; what is left of a buffer whose other parts
    /// are alive; what [`put`](BufferPool::put) refuses; and a frozen or split buffer if its last
    /// view is gone before the pool is. It cannot wipe
    ///
    /// - views and split-off parts that outlive the pool, or a [`clear`](BufferPool::clear) or
    ///   [`set_enabled(false)`](BufferPool::set_enabled), or, if the buffer had grown or was split,
    ///   three trim passes: the last one frees the memory;
    /// - the old block that a buffer leaves behind when it grows and the allocator moves it:
    ///   request enough capacity to avoid that;
    /// - memory that the user took out, by [`into_inner`](crate::Buffer::into_inner) and the like.
    #[cfg(feature = "zeroize")]
    pub fn zeroize(mut self, on: bool) -> Self {
        self.settings.wipes = on;
        self
    }

    /// Builds the pool.
    #[must_use]
    pub fn build(self) -> BufferPool {
        let mut settings = self.settings;
        settings.common.share_limits();
        BufferPool::of(Inner::new(settings))
    }
}
