//! High-water marks of idle objects and of those in use.
//!
//! They are not kept on hits. A mark is the highest figure that was seen when the figures were read: by
//! `stats()`, at the start of each pass, and by each miss that finds the number of objects one
//! sixty-fourth larger than when a miss last looked. Objects in use are at their most when a miss has just made one.

use super::pool::Core;
use super::stats::{Figures, Stats};

impl Core {
    /// An object was made because none was idle.
    pub(crate) fn count_created(&self) {
        self.counters.created();
        if self.counters.has_grown_to(self.nodes()) {
            self.sample_marks();
        }
    }

    /// Reads the figures where they stand, and raises the marks.
    pub(crate) fn sample_marks(&self) {
        // Which notes them.
        let _ = Stats::of(&self.counters, self.read_caches().0, self.in_depot());
    }

    /// What the depot holds.
    pub(super) fn in_depot(&self) -> Figures {
        Figures {
            idle: self.depot.objects(),
            idle_bytes: self.depot.bytes(),
            ..Figures::default()
        }
    }
}
