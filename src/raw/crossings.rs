//! Crossings: objects that come back on a thread other than the one that got them.
//!
//! In a bounded pool, a thread that drops what other threads get would soon hold everything that the limit allows. So
//! once a crossing was seen, and then a get has found nothing, crossings go to the depot. There all threads find them.
//!
//! A crossing counts until the second pass after it, since the get may come in the next interval. Crossings use the
//! depot until a pass has seen none for that long, or has seen a number of returns to the depot. After that, a get has
//! to find nothing again. So few gets find nothing, also of a load that gets only some objects in each interval.
//!
//! # Orderings
//! - `crossing_seen`, `crossings_use_depot`, `crossings_until`: Relaxed hints. Either way an object is kept.

use super::pool::Core;
use crate::sync::Ordering;

/// A crossing counts for this many passes.
const SEEN: u8 = 2;
/// Crossings use the depot for this many returns to it for each object of the pool, while there are crossings.
const RETURNS: usize = 64;
/// For at least this many.
const LEAST_RETURNS: usize = 1024;

impl Core {
    /// Whether an object that comes back on a thread other than the one that got it goes to the depot.
    #[inline]
    pub(crate) fn crossings_use_depot(&self) -> bool {
        self.header.crossings_use_depot.load(Ordering::Relaxed)
    }

    /// Notes that an object has come back on a thread other than the one that got it.
    #[inline]
    pub(crate) fn note_crossing(&self) {
        if self.header.bounded && self.header.crossing_seen.load(Ordering::Relaxed) != SEEN {
            self.header.crossing_seen.store(SEEN, Ordering::Relaxed);
        }
    }

    /// Notes that a get has found nothing idle. After a crossing, and with a limit that is half used, the reason may be
    /// that the threads that drop objects hold what the limit allows: from now on crossings go to the depot.
    pub(crate) fn note_miss(&self) {
        if self.header.crossing_seen.load(Ordering::Relaxed) != 0
            && !self.crossings_use_depot()
            && self.limits.is_tight()
        {
            let returns = RETURNS.saturating_mul(self.nodes()).max(LEAST_RETURNS);
            let returns = returns.min(i32::MAX as usize);
            let until = self.counters.returned_directly().wrapping_add(returns);
            self.crossings_until.store(until as u32, Ordering::Relaxed);
            self.header
                .crossings_use_depot
                .store(true, Ordering::Relaxed);
        }
    }

    /// Ages what is known of crossings. For passes.
    pub(crate) fn age_crossings(&self) {
        if !self.header.bounded {
            return;
        }
        // A crossing or a miss at the same moment may be forgotten. The next one counts.
        let seen = self.header.crossing_seen.load(Ordering::Relaxed);
        let seen = seen.saturating_sub(1);
        self.header.crossing_seen.store(seen, Ordering::Relaxed);
        let until = self.crossings_until.load(Ordering::Relaxed);
        let left = until.wrapping_sub(self.counters.returned_directly() as u32) as i32;
        if seen == 0 || left <= 0 {
            self.header
                .crossings_use_depot
                .store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
