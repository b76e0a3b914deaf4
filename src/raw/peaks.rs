//! High-water marks of idle objects and of those in use.
//!
//! They are not kept on hits. A mark is the highest figure that was seen when the figures were read: by
//! `stats()`, at the start of each pass, and by each miss that finds the number of objects one
//! sixty-fourth larger than when a miss last looked. Objects in use are at their most when a miss has just made one.
//!
//! # What an ending thread hands over
//! A thread that waits for another one by a scope goes on while that one's destructors of thread-locals still run. What
//! these take from a cache to the depot is idle all the time, so it is announced before and taken back after
//! (`Core::exiting`); a reader in between may count it twice, and never as in use.
//!
//! # Orderings
//! - the Release fence of [`Core::announce_exit`] pairs with the Acquire fence of [`Core::outside_caches`]: a reader that has found
//!   the cache emptied finds the announcement.
//! - the Release of [`Core::finish_exit`] pairs with the Acquire there: a reader that finds it taken back finds the
//!   objects in the depot. No models: loom leaves figures to std.

use super::cache::Cache;
use super::pool::Core;
use super::stats::{PartStats, Stats};
use crate::sync::{Ordering, fence};

impl Core {
    /// An object was made because none was idle.
    pub(crate) fn count_created(&self) {
        self.counters.created();
        if self.counters.has_grown_to(self.nodes()) {
            self.sample_peaks();
        }
    }

    /// Reads the figures where they stand, and raises the marks.
    pub(crate) fn sample_peaks(&self) {
        // Which notes them.
        let _ = Stats::of(&self.counters, self.read_caches().0, self.outside_caches());
    }

    /// Announces that what is in the cache goes to the depot; how many that is. For its owner, under the visits.
    pub(crate) fn announce_exit(&self, cache: &Cache) -> u32 {
        let objects = cache.stats().0.idle as u32;
        self.exiting.fetch_add(objects, Ordering::Relaxed);
        fence(Ordering::Release);
        objects
    }

    /// So many that were to leave have left.
    pub(crate) fn finish_exit(&self, objects: u32) {
        self.exiting.fetch_sub(objects, Ordering::Release);
    }

    /// What the depot holds, and what is on the way to it. To be asked after the caches.
    pub(super) fn outside_caches(&self) -> PartStats {
        fence(Ordering::Acquire);
        let exiting = self.exiting.load(Ordering::Acquire) as usize;
        PartStats {
            idle: self.depot.objects() + exiting,
            idle_bytes: self.depot.bytes(),
            ..PartStats::default()
        }
    }
}
