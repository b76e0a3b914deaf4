//! The pass: decides what a pool gives back, from the state of its caches and its depot alone.
//!
//! There is no clock here. The caller of [`pass`] decides how long an *interval*, the time between two passes, is.
//!
//! 1. A cache whose owner has done nothing since the last pass is drained. Its objects were not needed in the interval
//!    that ends, and go to the cold end of the depot. The owner does not have to run for that.
//! 2. The cache of an active owner is aged: its objects become old. The owner takes back those that it needs, one at a
//!    time. Those that are still old at the next pass were not needed either, and go to the cold end of the depot.
//! 3. The depot tracks its low-water mark, the fewest objects that it has held since the last pass. The objects below
//!    the mark in this interval *and* in the previous one were not needed in either. The pass takes that many off the
//!    cold end, and drops them without a lock.
//!
//! Step 3 is the working-set rule of the depot of the Solaris slab allocator (`kmem_depot_ws_reap`; Bonwick and Adams,
//! 2001): `min(previous low, this low)`.
//!
//! One pass issues one heavy fence, however many caches there are. Passes over many small pools share fences
//! ([`visit_all`]).
//!
//! Under memory pressure (`sys/memory.rs`) a pass considers one interval only, or takes everything.

use crate::raw::depot::Depot;
use crate::raw::node::{Batch, End};
use crate::raw::pool::Core;
use crate::raw::stats::Trimmed;
use crate::raw::visit::{Visit, fence_once};
use crate::sync::{Ordering, Timeout};
use crate::sys::memory::Level;
use std::iter;

/// How many gates the passes that share a fence may shut. The last of these pools may exceed it.
pub(super) const GATES: usize = 64;

/// Runs one pass. Returns what it has dropped, and whether the pool is quiescent. Runs user code (destructors) at the
/// end, without a lock.
///
/// A pool is quiescent if the depot holds at most `min_idle` objects, and the pass has found every cache unused, and
/// has left it empty and without room. Its owner's next return takes the slow path then.
pub(super) fn pass(core: &Core, level: Level) -> (Trimmed, bool) {
    let mut pass = [Some(Pass::begin(core, level))];
    visit_all(&mut pass);
    let [pass] = pass;
    pass.map(Pass::finish).unwrap_or_default()
}

/// Visits the caches and the depots of many pools, and decides what each pass drops. Runs no user code. `None` stands
/// for a pass that has panicked.
///
/// Pools share a heavy fence until they have shut some dozens of gates. While other threads of the process run, a fence
/// costs microseconds, which is several times the rest of a pass over a small pool. Returns the number of fences.
pub(super) fn visit_all(passes: &mut [Option<Pass<'_>>]) -> usize {
    let mut rest = passes;
    let mut fences = 0;
    while !rest.is_empty() {
        let (mut pools, mut gates) = (0, 0);
        while pools < rest.len() && gates < GATES {
            gates += rest[pools].as_mut().map_or(0, Pass::shut_gates);
            pools += 1;
        }
        let (passed, issued) = fence_once(gates);
        fences += issued;
        let (now, later) = rest.split_at_mut(pools);
        now.iter_mut()
            .flatten()
            .for_each(|pass| pass.gather(passed));
        now.iter_mut().flatten().for_each(Pass::decide);
        rest = later;
    }
    fences
}

/// A pass in progress.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    core: &'a Core,
    level: Level,
    /// Whether the pool's own hook has to run at the next pass.
    more_to_come: bool,
    /// Whether the pass drops everything but `min_idle` objects.
    all: bool,
    visit: Option<Visit<'a>>,
    /// The objects that the caches did not need.
    unneeded: Batch,
    /// The number of objects that the caches keep.
    left: usize,
    /// Whether all caches were unused, and the depot could be locked.
    unused: bool,
    dropping: Batch,
    /// The objects and bytes of `dropping` that count as trimmed. The depot has refused the others.
    trimmed: (usize, usize),
}

impl<'a> Pass<'a> {
    /// Begins a pass. Runs user code.
    pub(super) fn begin(core: &'a Core, level: Level) -> Self {
        core.sample_peaks();
        let more_to_come = core.on_pass();
        let returned = returned_since_the_last_pass(core);
        core.age_crossings(returned);
        // If the pools that share a limit with this one had more returns refused than this one took back, the objects
        // that this pool keeps are colder than those that the others had to drop.
        let wanted = core.limits.wanted_by_others() > returned;
        Self {
            core,
            level,
            more_to_come,
            all: wanted || level == Level::Critical,
            visit: None,
            unneeded: Batch::EMPTY,
            left: 0,
            unused: false,
            dropping: Batch::EMPTY,
            trimmed: (0, 0),
        }
    }

    /// Begins the visit, and returns how many gates it has shut. The caller issues a heavy fence next.
    fn shut_gates(&mut self) -> usize {
        if !self.all {
            self.visit = self.core.begin_visit_to_all();
        }
        self.visit.as_ref().map_or(0, |visit| visit.gates)
    }

    /// Steps 1 and 2: the second half of the visit.
    fn gather(&mut self, passed: bool) {
        let Some(visit) = self.visit.take() else {
            return;
        };
        let mut unused = true;
        let missed = visit.enter(passed, false, |_, lists| {
            if lists.was_used() {
                unused = false;
                self.unneeded.append(lists.age(&self.core.limits));
                self.left += lists.idle();
            } else {
                let [loaded, spare] = lists.drain(&self.core.limits);
                self.unneeded.append(spare);
                self.unneeded.append(loaded);
            }
        });
        self.unused = unused && !missed;
    }

    /// Step 3: decides what to drop.
    fn decide(&mut self) {
        if self.all {
            self.all_but_min_idle();
        } else {
            self.by_need();
        }
        self.core.depots().all().for_each(Depot::shrink);
    }

    /// Takes everything but `min_idle` objects.
    fn all_but_min_idle(&mut self) {
        let core = self.core;
        let (mut all, emptied) = core.empty(false);
        let stays = all.split_top(core.limits.min_idle());
        self.trimmed = (all.len, all.bytes);
        let (_, refused) = give_to_depot(core, stays);
        all.append(refused);
        self.dropping = all;
        self.unused = emptied;
    }

    /// The working-set rule.
    fn by_need(&mut self) {
        let core = self.core;
        let depots = core.depots();
        let idle = self.left + self.unneeded.len + depots.objects();
        let mut spare = idle.saturating_sub(core.limits.min_idle());
        // The surplus first, since it is older than what comes in now.
        let intervals = if self.level == Level::Normal { 2 } else { 1 };
        let mut trimmed = Batch::EMPTY;
        for depot in depots.all() {
            let surplus = depot.surplus(intervals);
            self.unused &= surplus.is_some();
            let cold = take_cold(depot, surplus.unwrap_or(0).min(spare));
            spare -= cold.len;
            trimmed.append(cold);
        }
        let (came_in, refused) = give_to_depot(core, self.unneeded.take());
        // All that came in is in the own depot, which is the first of all.
        for (depot, came_in) in depots.all().zip(iter::once(came_in).chain(iter::repeat(0))) {
            self.unused &= depot.end_interval(came_in).is_some();
        }
        if intervals == 1 {
            // These were not needed for one interval either.
            if let Some(surplus) = depots.own().uncount_unneeded(came_in) {
                trimmed.append(take_cold(depots.own(), surplus.min(spare)));
            }
        }
        self.trimmed = (trimmed.len, trimmed.bytes);
        trimmed.append(refused);
        self.dropping = trimmed;
    }

    /// Drops the objects. Runs user code.
    pub(super) fn finish(mut self) -> (Trimmed, bool) {
        let core = self.core;
        let idle = core.depots().objects();
        let quiescent = self.unused && !self.more_to_come && idle <= core.limits.min_idle();
        let (objects, bytes) = self.trimmed;
        core.counters.trimmed(objects);
        core.drop_batch(self.dropping.take());
        (
            Trimmed {
                objects: objects as u64,
                bytes: core.limits.bytes_of(objects, bytes) as u64,
            },
            quiescent,
        )
    }
}

/// The number of returns since the last pass.
fn returned_since_the_last_pass(core: &Core) -> usize {
    let returned = core.returned() as u32;
    let before = core.returned_at_pass.swap(returned, Ordering::Relaxed);
    returned.wrapping_sub(before) as usize
}

/// Moves what came from the caches to the cold end of the own depot, list by list. Returns how many objects arrived,
/// and those that the depot has refused.
pub(crate) fn give_to_depot(core: &Core, mut unneeded: Batch) -> (usize, Batch) {
    let mut came_in = 0;
    let mut dropping = Batch::EMPTY;
    while !unneeded.is_empty() {
        // The hottest first, so that the coldest ends up at the very end.
        let batch = unneeded.split_list();
        let len = batch.len;
        match core.depots().give(batch, End::Cold, Timeout::Long) {
            Ok(()) => came_in += len,
            Err(refused) => dropping.append(core.count_refused(refused)),
        }
    }
    (came_in, dropping)
}

/// Takes this many of the coldest objects of a depot.
fn take_cold(depot: &Depot, mut count: usize) -> Batch {
    let mut cold = Batch::EMPTY;
    while let Some(batch) = depot.take_cold(count) {
        count -= batch.len;
        cold.append(batch);
    }
    cold
}

#[cfg(test)]
mod tests;
