//! Crossings: objects that come back on a thread other than the one that got them.
//!
//! In a bounded pool, a thread that drops what other threads get would soon hold everything that the limit allows. So
//! once a crossing was seen, and then a get has found nothing, crossings go to the depot. There all threads find them,
//! one at a time.
//!
//! In an unbounded pool, an object that crosses takes up to two intervals from the cache of the thread that drops it to
//! the depot. There a thread that needs one object takes a whole list, and keeps it for as long. If threads get only few
//! objects in an interval, a pool would need many times the objects that are in use, and passes would drop some of them
//! again and again. So the same is done in an unbounded pool that is *slow*: if its last interval had few returns. It
//! starts after a crossing at a get that finds nothing, as in a bounded pool, or at the next pass.
//!
//! It costs a lock for each get and each return of such an object. So it ends at the end of an interval with many
//! returns. It also ends at a pass that has seen no crossing for some intervals, and in an unbounded pool after many
//! returns to the depot. An unbounded pool also stops to look for crossings after many objects, before a pass comes.
//!
//! # Orderings
//! - `notes_crossings`, `crossing_seen`, `crossings_use_depot`, `crossings_until`: Relaxed hints. Either way an object is
//!   kept.

use super::pool::Core;
use crate::sync::Ordering;

/// A crossing counts until this many passes after it, since the get that finds nothing may come in a later interval.
const SEEN: u8 = 3;
/// So many returns in an interval are many.
const RETURNS: usize = 1024;
/// In a bounded pool, more are needed for each object of the pool: the end costs objects again, which caches keep then.
const BOUNDED_RETURNS: usize = 64;

impl Core {
    /// Whether an object that comes back on a thread other than the one that got it goes to the depot.
    #[inline]
    pub(crate) fn crossings_use_depot(&self) -> bool {
        self.header.crossings_use_depot.load(Ordering::Relaxed)
    }

    /// The same for a return that crosses. In an unbounded pool, the last one ends it.
    pub(crate) fn crossing_uses_depot(&self) -> bool {
        if !self.crossings_use_depot() {
            return false;
        }
        if !self.header.bounded && !self.has_returns_left() {
            self.use_caches(false);
        }
        self.crossings_use_depot()
    }

    /// Whether a refill of so many objects has to make the calling thread their last owner, so that a return on another
    /// thread counts as a crossing.
    pub(crate) fn notes_refill(&self, objects: usize) -> bool {
        if !self.notes_crossings() {
            return false;
        }
        if !self.header.bounded && !self.crossings_use_depot() {
            // Meanwhile, what counts is the objects that threads take.
            let until = self.crossings_until.load(Ordering::Relaxed);
            let until = until.wrapping_sub(objects as u32);
            self.crossings_until.store(until, Ordering::Relaxed);
            if !self.has_returns_left() {
                self.use_caches(false);
                return false;
            }
        }
        true
    }

    /// Whether the pool notes crossings.
    #[inline(always)]
    pub(crate) fn notes_crossings(&self) -> bool {
        self.header.notes_crossings.load(Ordering::Relaxed)
    }

    /// Notes that an object has come back on a thread other than the one that got it, if the pool notes crossings.
    pub(crate) fn note_crossing(&self) {
        if self.notes_crossings() {
            self.mark_crossing();
        }
    }

    /// The same for a caller that knows that the pool notes crossings.
    #[inline]
    pub(super) fn mark_crossing(&self) {
        if self.header.crossing_seen.load(Ordering::Relaxed) != SEEN {
            self.header.crossing_seen.store(SEEN, Ordering::Relaxed);
        }
    }

    /// Notes that a get has found nothing idle. After a crossing, the reason may be that the threads that drop objects
    /// hold what there is, or what a limit that is half used allows: from now on crossings go to the depot.
    pub(crate) fn note_miss(&self) {
        if self.header.crossing_seen.load(Ordering::Relaxed) != 0
            && !self.crossings_use_depot()
            && (!self.header.bounded || self.limits.is_tight())
        {
            self.start_returns();
            self.header
                .crossings_use_depot
                .store(true, Ordering::Relaxed);
        }
    }

    /// Ages what is known of crossings. For passes; `returned` is the number of returns since the last one.
    pub(crate) fn age_crossings(&self, returned: usize) {
        // A crossing or a miss at the same moment may be forgotten. The next one counts.
        let seen = self.header.crossing_seen.load(Ordering::Relaxed);
        let seen = seen.saturating_sub(1);
        self.header.crossing_seen.store(seen, Ordering::Relaxed);
        let is_slow = returned < self.many_returns();
        if seen == 0 || !is_slow {
            self.use_caches(is_slow);
        } else if !self.header.bounded {
            // Not only after a get that finds nothing: no get does while the caches hold whole lists.
            self.header
                .crossings_use_depot
                .store(true, Ordering::Relaxed);
        }
        self.start_returns();
    }

    /// Lets crossings use caches. `notes` says whether an unbounded pool still looks for crossings.
    fn use_caches(&self, notes: bool) {
        let notes = notes || self.header.bounded;
        self.header.notes_crossings.store(notes, Ordering::Relaxed);
        self.header
            .crossings_use_depot
            .store(false, Ordering::Relaxed);
        if !notes {
            self.header.crossing_seen.store(0, Ordering::Relaxed);
        }
    }

    /// Counts the returns to the depot from now on.
    fn start_returns(&self) {
        let returned = self.counters.returned_directly();
        let until = returned.wrapping_add(self.many_returns());
        self.crossings_until.store(until as u32, Ordering::Relaxed);
    }

    /// Whether there were fewer since then than are many.
    fn has_returns_left(&self) -> bool {
        let until = self.crossings_until.load(Ordering::Relaxed);
        let returned = self.counters.returned_directly() as u32;
        until.wrapping_sub(returned) as i32 > 0
    }

    /// How many returns in an interval are many.
    fn many_returns(&self) -> usize {
        if !self.header.bounded {
            return RETURNS;
        }
        let returns = BOUNDED_RETURNS.saturating_mul(self.nodes());
        returns.clamp(RETURNS, i32::MAX as usize)
    }
}

#[cfg(test)]
mod tests;
