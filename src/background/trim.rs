//! The pass: what a pool gives back, as a pure function of its state.
//!
//! There is no clock in here. The caller of [`pass`] decides how long an *interval*, the time
//! between two passes, is.
//!
//! 1. A cache whose owner did nothing since the last pass is emptied, without its owner running:
//!    its objects go to the depot's cold end. Nobody needed them in the interval that ends.
//! 2. A cache whose owner is at work is looked at as well: what it holds is set aside, and what of
//!    it is still there at the next pass was not needed either, and goes the same way. The
//!    owner takes back what it needs, one object at a time.
//! 3. The depot knows the fewest objects it held since the last pass, its low-water mark. What was
//!    below the mark in this interval *and* in the one before was not needed in either: it is
//!    taken off the cold end, and dropped outside every lock.
//!
//! The rule of step 3 is the working-set rule of the Solaris slab allocator's depot
//! (`kmem_depot_ws_reap`; Bonwick and Adams, 2001): `min(previous low, this low)`.
//!
//! One pass is one heavy fence, however many caches there are.
//!
//! Under pressure (`sys/memory.rs`) a pass looks at one interval only, or takes everything.

use crate::raw::node::{Batch, End};
use crate::raw::pool::Core;
use crate::raw::stats::Trimmed;
use crate::sync::{Ordering, Patience};
use crate::sys::memory::Level;

/// Runs one pass: what it dropped, and whether the pool is quiet. User code (destructors) runs at the
/// end, with nothing held.
///
/// A pool is quiet when the depot has no more than is to stay, and every cache was found unused and empty and was left
/// without room, so that its owner's next return takes the slow path.
pub(super) fn pass(core: &Core, level: Level) -> (Trimmed, bool) {
    core.sample_marks();
    let more_to_come = core.on_pass();
    core.forget_crossings();
    let wanted = others_want_the_room(core);
    let (mut dropping, trimmed, unused) = if wanted || level == Level::Critical {
        all_but_min_idle(core)
    } else {
        by_need(core, level)
    };
    core.depot.shrink();
    let quiet = unused && !more_to_come && core.depot.objects() <= core.limits.min_idle();
    let (objects, bytes) = trimmed;
    core.counters.trimmed(objects);
    core.drop_batch(dropping.take());
    (
        Trimmed {
            objects: objects as u64,
            bytes: core.limits.bytes_of(objects, bytes) as u64,
        },
        quiet,
    )
}

/// Whether pools that share a limit with this one were refused more often, since the last pass, than this one
/// took an object back: then what it keeps is colder than what they had to drop.
fn others_want_the_room(core: &Core) -> bool {
    let wanted = core.limits.wanted_by_others();
    let returned = core.returned();
    let before = core.returned_at_pass.swap(returned, Ordering::Relaxed);
    wanted > returned.wrapping_sub(before)
}

/// Everything but what is to stay: as [`by_need`].
fn all_but_min_idle(core: &Core) -> (Batch, (usize, usize), bool) {
    let (mut all, emptied) = core.empty(false);
    let stays = all.split_top(core.limits.min_idle());
    let counts = (all.len, all.bytes);
    let (_, refused) = settle(core, stays);
    all.append(refused);
    (all, counts, emptied)
}

/// The working-set rule: what is to be dropped, how much of it is trimmed (the rest is what the
/// depot refused), and whether every cache was unused and the depot could be looked at.
fn by_need(core: &Core, level: Level) -> (Batch, (usize, usize), bool) {
    let (unneeded, left, mut unused) = gather(core);
    let idle = left + unneeded.len + core.depot.objects();
    let mut spare = idle.saturating_sub(core.limits.min_idle());
    // The surplus first: it is older than what comes in now.
    let intervals = if level == Level::Normal { 2 } else { 1 };
    let surplus = core.depot.surplus(intervals);
    let mut trimmed = take_cold(core, surplus.unwrap_or(0).min(spare));
    spare -= trimmed.len;
    let (came_in, refused) = settle(core, unneeded);
    unused &= surplus.is_some() && core.depot.end_interval(came_in).is_some();
    if intervals == 1 {
        // One interval is known of these as well.
        if let Some(surplus) = core.depot.newcomers(came_in) {
            trimmed.append(take_cold(core, surplus.min(spare)));
        }
    }
    let counts = (trimmed.len, trimmed.bytes);
    trimmed.append(refused);
    (trimmed, counts, unused)
}

/// Steps 1 and 2: what the caches did not need, how many objects they keep, and whether all of them
/// were unused.
fn gather(core: &Core) -> (Batch, usize, bool) {
    let mut unneeded = Batch::EMPTY;
    let mut left = 0;
    let mut unused = true;
    let all = core.visit(|_, inside| {
        if inside.was_used() {
            unused = false;
            unneeded.append(inside.set_aside(&core.limits));
            left += inside.idle();
        } else {
            let [loaded, spare] = inside.strip(&core.limits);
            unneeded.append(spare);
            unneeded.append(loaded);
        }
    });
    (unneeded, left, unused && all)
}

/// Gives what came from the caches to the depot's cold end, list by list. How many arrived, and
/// what the depot refused, which is to be dropped.
fn settle(core: &Core, mut unneeded: Batch) -> (usize, Batch) {
    let mut came_in = 0;
    let mut dropping = Batch::EMPTY;
    while !unneeded.is_empty() {
        // The hottest first, so that the coldest ends up at the very end.
        let batch = unneeded.split_list();
        let len = batch.len;
        match core.depot.give(batch, End::Cold, Patience::Long) {
            Ok(()) => came_in += len,
            Err(refused) => dropping.append(core.count_refused(refused)),
        }
    }
    (came_in, dropping)
}

/// Step 3: takes so many of the coldest.
fn take_cold(core: &Core, mut count: usize) -> Batch {
    let mut cold = Batch::EMPTY;
    while let Some(batch) = core.depot.take_cold(count) {
        count -= batch.len;
        cold.append(batch);
    }
    cold
}
