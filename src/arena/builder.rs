//! [`ArenaBuilder`]: the settings of an arena pool.

use super::ArenaPool;
use super::learned::Learned;
use super::region::Region;
use crate::budget::Budget;
use crate::object::builder::Builder;
use crate::object::pool::Pool;
use crate::object::recipe::Recipe;
use crate::sync::rare::Arc;
use std::time::Duration;

/// Settings for an [`ArenaPool`], from [`ArenaPool::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ArenaBuilder {
    pool: Builder<Region>,
    learned: Arc<Learned>,
    max_object_bytes: usize,
    max_idle_bytes: usize,
}

impl ArenaBuilder {
    pub(super) fn new() -> Self {
        let learned = Arc::new(Learned::new());
        let of_all = Arc::clone(&learned);
        Self {
            pool: Pool::builder(move || Region::new(Arc::clone(&of_all))).heap_only(),
            learned,
            max_object_bytes: usize::MAX,
            max_idle_bytes: usize::MAX,
        }
    }

    fn map(mut self, change: impl FnOnce(Builder<Region>) -> Builder<Region>) -> Self {
        self.pool = change(self.pool);
        self
    }

    /// No arena that is larger than either limit is kept, nor made. The pool is told as well: what
    /// it refuses for its weight alone leaves no trace in a thread's share.
    fn limited(self) -> Self {
        let limit = self.max_object_bytes.min(self.max_idle_bytes);
        self.learned.set_limit(limit);
        self.map(|pool| pool.max_object_bytes(limit))
    }

    /// A name for logs and statistics.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.map(|pool| pool.name(name))
    }

    /// How many arenas the pool keeps idle at most, in all threads together. Default: no limit. See
    /// [`Builder::max_idle`].
    pub fn max_idle(self, arenas: usize) -> Self {
        self.map(|pool| pool.max_idle(arenas))
    }

    /// How many bytes the idle arenas may hold together. Default: no limit. See
    /// [`Builder::max_idle_bytes`].
    ///
    /// An arena that a request made larger than this is dropped when it comes back, and no arena is
    /// made larger to begin with.
    pub fn max_idle_bytes(mut self, bytes: usize) -> Self {
        self.max_idle_bytes = bytes;
        self.map(|pool| pool.max_idle_bytes(bytes)).limited()
    }

    /// How many bytes one arena may hold and still be kept. Default: no limit.
    ///
    /// An arena that a request made larger is dropped when it comes back, and no arena is made
    /// larger than this to begin with.
    pub fn max_object_bytes(mut self, bytes: usize) -> Self {
        self.max_object_bytes = bytes;
        self.limited()
    }

    /// Counts what the pool keeps idle towards `budget`, which other pools may share. Default: the
    /// process-wide one, if there is one ([`Budget::set_default`]).
    pub fn budget(self, budget: Budget) -> Self {
        self.map(|pool| pool.budget(budget))
    }

    /// Lets the janitor run a pass every `interval`. Default: every 5 s. See
    /// [`Builder::trim_every`].
    ///
    /// # Panics
    /// If `interval` is zero.
    pub fn trim_every(self, interval: Duration) -> Self {
        self.map(|pool| pool.trim_every(interval))
    }

    /// Leaves passes to you: call [`ArenaPool::trim`] from a timer, a frame loop, an idle hook.
    pub fn trim_manually(self) -> Self {
        self.map(Builder::trim_manually)
    }

    /// Makes the pool.
    pub fn build(self) -> ArenaPool {
        ArenaPool {
            pool: self.pool.build(),
        }
    }

    /// What the first use of a `const` pool makes its inside from.
    pub(super) fn plan() -> Arc<Recipe<Region>> {
        Self::new().pool.recipe()
    }
}
