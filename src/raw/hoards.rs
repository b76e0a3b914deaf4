//! Hoards: idle objects in the caches of some threads, while a limit refuses what other threads return.
//!
//! A cache in a bounded pool holds at most a quarter of a limit. So the caches of a few threads can hold all that the
//! limit allows, and what other threads return is dropped, although no more objects are in use at once than the limit
//! allows. If that happens repeatedly, the thread that returns an object empties all caches into the depot. For some
//! time, all objects go there, where every thread finds them.
//!
//! That costs a lock for each get and each return. So it is done only if a good part of the returns was refused and a
//! good part of the pool's objects is idle in caches, and it ends after a number of returns. If there are hoards again,
//! some more returns are refused until a thread sees that: a few in a hundred. A look reads every cache, so after each
//! one that finds no hoard the next one comes later. Passes do not end it: of a load that returns only some objects in
//! each interval, most would be refused.
//!
//! # Orderings
//! - `returns_use_depot`, and the counts in `refusals.rs`: Relaxed hints. Either way an object is kept, or dropped and
//!   counted.

use super::node::Batch;
use super::pool::Core;
use crate::sync::Ordering;

/// A thread looks for hoards after this many refusals for each object of the pool, so not while the threads of a pool
/// reserve their shares of a limit.
const REFUSALS: usize = 2;
/// After at least this many.
const LEAST_REFUSALS: usize = 16;
/// Both numbers are divided by this if there have been hoards before.
const SOON: usize = 4;
/// All objects go to the depot for this many times as many returns as limits have refused.
const RETURNS: usize = 64;
/// Refusals are many if they are one in this many of the returns since the last look.
const OF_RETURNS: usize = 16;
/// Idle objects in caches are a hoard if they are one in this many of the pool's objects.
const OF_OBJECTS: usize = 16;

impl Core {
    /// Whether all objects go to the depot.
    #[inline]
    pub(crate) fn returns_use_depot(&self) -> bool {
        self.header.bounded
            && self.header.returns_use_depot.load(Ordering::Relaxed)
            && self.still_use_depot()
    }

    #[cold]
    fn still_use_depot(&self) -> bool {
        let left = self
            .refusals
            .mark()
            .wrapping_sub(self.counters.returned_directly() as u32);
        let ends = left as i32 <= 0;
        if ends {
            self.header
                .returns_use_depot
                .store(false, Ordering::Relaxed);
            self.refusals.start(true, self.returned());
        }
        !ends
    }

    /// Notes that a limit has refused a return. If caches hold a hoard, returns what they held, for the depot; from then
    /// on all objects go there.
    pub(crate) fn recall_hoards(&self) -> Batch {
        let (refused, there_were) = self.refusals.count();
        let objects = self.nodes();
        let look_at = REFUSALS.saturating_mul(objects).max(LEAST_REFUSALS);
        let sooner = if there_were { SOON } else { 1 };
        let later = 1 << self.refusals.failed_looks();
        if refused < (look_at / sooner).saturating_mul(later) || self.returns_use_depot() {
            return Batch::EMPTY;
        }
        let (caches, returned) = (self.read_caches().0, self.returned());
        let since = (returned as u32).wrapping_sub(self.refusals.mark()) as usize;
        self.refusals.start_later(returned);
        let are_few = since > OF_RETURNS.saturating_mul(refused);
        if are_few || caches.idle == 0 || caches.idle < objects / OF_OBJECTS {
            return Batch::EMPTY;
        }
        let returns = RETURNS.saturating_mul(refused).min(i32::MAX as usize);
        let until = self.counters.returned_directly().wrapping_add(returns);
        self.refusals.set_mark(until);
        self.header.returns_use_depot.store(true, Ordering::Relaxed);
        self.drain_caches()
    }
}

#[cfg(test)]
mod tests;
