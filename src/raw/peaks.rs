//! The peaks: the most objects that were idle, and in use, at once.
//!
//! Hits do not track them. A peak is the highest value seen whenever the statistics were read: by `stats()`, at the
//! start of each pass, and by a miss that finds 1/64 more objects than the last miss that looked. The number of
//! objects in use is highest right after a miss has created one.
//!
//! # Objects of an exiting thread
//! A `thread::scope` may end while the destructors of the thread's thread-locals still run. They move the thread's idle
//! objects from its cache to the depot. Those objects stay idle all the time, so the thread announces their number
//! before it moves them, and withdraws it afterwards (`Core::exiting`). A reader in between may count them twice, but
//! never as in use.
//!
//! # Orderings
//! No mutants: the atomics of statistics stay on std under loom.
//! - The Release fence of [`Core::announce_exit`] pairs with the Acquire fence of [`Core::outside_caches`]: a reader
//!   that has seen the emptied cache sees the announcement.
//! - The Release of [`Core::finish_exit`] pairs with the Acquire load there: a reader that sees the announcement
//!   withdrawn sees the objects in the depot.

use super::cache::Cache;
use super::pool::Core;
use super::stats::{PartStats, Stats};
use crate::sync::{Ordering, fence};

impl Core {
    /// Counts an object that was created because none was idle.
    pub(crate) fn count_created(&self) {
        self.counters.created();
        if self.counters.has_grown_to(self.nodes()) {
            self.sample_peaks();
        }
    }

    /// Reads the statistics, and raises the peaks.
    pub(crate) fn sample_peaks(&self) {
        // This raises them.
        let _ = Stats::of(&self.counters, self.read_caches().0, self.outside_caches());
    }

    /// Announces that the objects in the cache move to the depot; returns their number. For the cache's owner, which
    /// holds the visits.
    pub(crate) fn announce_exit(&self, cache: &Cache) -> u32 {
        let objects = cache.stats().0.idle as u32;
        self.exiting.fetch_add(objects, Ordering::Relaxed);
        fence(Ordering::Release);
        objects
    }

    /// Withdraws the announcement of this many objects: they are in the depot.
    pub(crate) fn finish_exit(&self, objects: u32) {
        self.exiting.fetch_sub(objects, Ordering::Release);
    }

    /// The objects in the depot, and those of exiting threads on the way to it. Call after the caches were read.
    pub(super) fn outside_caches(&self) -> PartStats {
        fence(Ordering::Acquire);
        let exiting = self.exiting.load(Ordering::Acquire) as usize;
        PartStats {
            idle: self.depots().objects() + exiting,
            idle_bytes: self.depots().bytes(),
            ..PartStats::default()
        }
    }
}

#[cfg(test)]
mod tests;
