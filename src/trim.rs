//! The pass: what a pool gives back, as a pure function of its state.
//!
//! There is no clock in here. Whoever calls [`pass`] decides how long an *interval*, the time
//! between two passes, is.
//!
//! 1. A cache whose owner did nothing since the last pass is emptied, without its owner running:
//!    its objects go to the depot's cold end. Nobody needed them in the interval that ends.
//! 2. A cache whose owner is at work is looked at as well: what it holds is set aside, and what of
//!    it is still there at the next pass was not needed either, and goes the same way. The
//!    owner takes back what it needs, four objects at a time.
//! 3. The depot knows the fewest objects it held since the last pass, its low-water mark. What was
//!    below the mark in this interval *and* in the one before was not needed in either: it is
//!    taken off the cold end, and dropped outside every lock.
//!
//! The rule of step 3 is the working-set rule of the Solaris slab allocator's depot
//! (`kmem_depot_ws_reap`; Bonwick and Adams, 2001): `min(previous low, this low)`.
//!
//! One pass is one heavy fence, however many caches there are.

use crate::cache::LIST_LEN;
use crate::core::Core;
use crate::depot::{End, Refused};
use crate::node::Batch;
use crate::stats::{Reason, Trimmed};
use crate::sync::Patience;

/// Runs one pass. User code (destructors) runs at the end, with nothing held.
pub(crate) fn pass(core: &Core) -> Trimmed {
    let unneeded = gather(core);
    let came_in = settle(core, unneeded);
    let surplus = take_surplus(core, came_in);
    let trimmed = Trimmed {
        objects: surplus.len as u64,
        bytes: surplus.bytes as u64,
    };
    core.counters.trimmed(surplus.len);
    core.drop_batch(surplus);
    trimmed
}

/// Steps 1 and 2: what the caches did not need.
fn gather(core: &Core) -> Batch {
    let mut unneeded = Batch::EMPTY;
    core.visit(
        None,
        |_| true,
        |cache, lists| {
            if cache.was_used(lists) {
                unneeded.append(cache.set_aside(lists, &core.limits));
            } else {
                let [loaded, spare] = cache.strip(lists, &core.limits);
                unneeded.append(spare);
                unneeded.append(loaded);
            }
        },
    );
    unneeded
}

/// Gives what came from the caches to the depot's cold end, in lists of the usual length. How
/// many arrived.
fn settle(core: &Core, mut unneeded: Batch) -> usize {
    let mut came_in = 0;
    while !unneeded.is_empty() {
        // The hottest first, so that the coldest ends up at the very end.
        let batch = unneeded.split_top(LIST_LEN);
        let len = batch.len;
        match core.depot.give(batch, End::Cold, Patience::Long) {
            Ok(()) => came_in += len,
            Err(Refused::Contended(batch)) => {
                core.counters.discarded(Reason::Full, batch.len);
                core.drop_batch(batch);
            }
            Err(Refused::Closed(batch)) => {
                core.counters.discarded(Reason::Closed, batch.len);
                core.drop_batch(batch);
            }
        }
    }
    came_in
}

/// Step 3: what nobody needed for two intervals, coldest first.
fn take_surplus(core: &Core, came_in: usize) -> Batch {
    let mut left = core.depot.end_interval(came_in);
    let mut surplus = Batch::EMPTY;
    while let Some(batch) = core.depot.take_cold(left) {
        left -= batch.len;
        surplus.append(batch);
    }
    surplus
}
