//! Crossings: objects that come back on a thread other than the one that got them.
//!
//! In a bounded pool, a thread that drops what other threads get would soon hold everything that the limit allows. So
//! once a crossing was seen, and then a get has found nothing, crossings go to the depot until the next pass. There all
//! threads find them.
//!
//! # Orderings
//! - `crossing_seen`, `crossings_use_depot`: Relaxed hints. Either way an object is kept.

use super::pool::Core;
use crate::sync::Ordering;

impl Core {
    /// Whether an object that comes back on a thread other than the one that got it goes to the depot.
    #[inline]
    pub(crate) fn crossings_use_depot(&self) -> bool {
        self.header.crossings_use_depot.load(Ordering::Relaxed)
    }

    /// Notes that an object has come back on a thread other than the one that got it.
    #[inline]
    pub(crate) fn note_crossing(&self) {
        if self.header.bounded && !self.header.crossing_seen.load(Ordering::Relaxed) {
            self.header.crossing_seen.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that a get has found nothing idle. After a crossing, and with a limit that is half used, the reason may be
    /// that the threads that drop objects hold what the limit allows: from now on crossings go to the depot.
    pub(crate) fn note_miss(&self) {
        if self.header.crossing_seen.load(Ordering::Relaxed)
            && !self.crossings_use_depot()
            && self.limits.is_tight()
        {
            self.header
                .crossings_use_depot
                .store(true, Ordering::Relaxed);
        }
    }

    /// Forgets the crossings and the hoards of the last interval. For passes.
    pub(crate) fn forget_crossings(&self) {
        if self.header.bounded {
            self.forget_hoards();
            self.header.crossing_seen.store(false, Ordering::Relaxed);
            self.header
                .crossings_use_depot
                .store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
