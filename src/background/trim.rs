//! The pass: what a pool gives back, as a pure function of its state.
//!
//! There is no clock in here. The caller of [`pass`] decides how long an *interval*, the time
//! between two passes, is.
//!
//! 1. A cache whose owner did nothing since the last pass is emptied, without its owner running:
//!    its objects go to the depot's cold end. They were not needed in the interval that ends.
//! 2. A cache whose owner is at work is looked at as well: what it holds is set aside, and what is
//!    still there at the next pass was not needed either, and goes the same way. The
//!    owner takes back what it needs, one object at a time.
//! 3. The depot knows the fewest objects it held since the last pass, its low-water mark. What was
//!    below the mark in this interval *and* in the one before was not needed in either: it is
//!    taken off the cold end, and dropped outside every lock.
//!
//! The rule of step 3 is the working-set rule of the Solaris slab allocator's depot
//! (`kmem_depot_ws_reap`; Bonwick and Adams, 2001): `min(previous low, this low)`.
//!
//! One pass is one heavy fence, however many caches there are, and passes over many small pools share
//! theirs ([`visit_all`]).
//!
//! Under pressure (`sys/memory.rs`) a pass looks at one interval only, or takes everything.

use crate::raw::node::{Batch, End};
use crate::raw::pool::Core;
use crate::raw::stats::Trimmed;
use crate::raw::visit::Visit;
use crate::sync::{Ordering, Timeout};
use crate::sys::fence;
use crate::sys::memory::Level;

/// How many gates passes that go together may shut at once, but for those of the last pool.
pub(super) const GATES: usize = 64;

/// Runs one pass: what it dropped, and whether the pool is quiescent. User code (destructors) runs at the
/// end, with nothing held.
///
/// A pool is quiescent when the depot has no more than is to stay, and every cache was found unused and empty and
/// was left without room, so that its owner's next return takes the slow path.
pub(super) fn pass(core: &Core, level: Level) -> (Trimmed, bool) {
    let mut pass = [Some(Pass::begin(core, level))];
    visit_all(&mut pass);
    let [pass] = pass;
    pass.map(Pass::finish).unwrap_or_default()
}

/// Looks at the caches and the depots of many pools, and decides what goes. No user code. `None`: a pool
/// whose pass could not begin.
///
/// One heavy fence serves as many pools as have some dozens of caches together: while other threads of the
/// process run, it costs microseconds, several times the rest of a pass over a small pool. Returns how many
/// fences it took.
pub(super) fn visit_all(passes: &mut [Option<Pass<'_>>]) -> usize {
    let mut rest = passes;
    let mut fences = 0;
    while !rest.is_empty() {
        let (mut pools, mut gates) = (0, 0);
        while pools < rest.len() && gates < GATES {
            gates += rest[pools].as_mut().map_or(0, Pass::shut_gates);
            pools += 1;
        }
        let passed = gates == 0 || fence::heavy();
        fences += usize::from(gates > 0);
        let (now, later) = rest.split_at_mut(pools);
        now.iter_mut()
            .flatten()
            .for_each(|pass| pass.gather(passed));
        now.iter_mut().flatten().for_each(Pass::decide);
        rest = later;
    }
    fences
}

/// A pass, step by step.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    core: &'a Core,
    level: Level,
    more_to_come: bool,
    /// Whether everything goes but what is to stay, needed or not.
    all: bool,
    visit: Option<Visit<'a>>,
    /// What the caches did not need.
    unneeded: Batch,
    /// How many objects they keep.
    left: usize,
    /// Whether all of them were unused, and the depot could be looked at.
    unused: bool,
    dropping: Batch,
    /// Objects and bytes of it that are trimmed. The rest is what the depot refused.
    trimmed: (usize, usize),
}

impl<'a> Pass<'a> {
    /// User code runs.
    pub(super) fn begin(core: &'a Core, level: Level) -> Self {
        core.sample_peaks();
        let more_to_come = core.on_pass();
        core.forget_crossings();
        let wanted = others_want_the_room(core);
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

    /// Begins the visit; how many gates are shut. A heavy fence comes next.
    fn shut_gates(&mut self) -> usize {
        if !self.all {
            self.visit = self.core.begin_visit_to_all();
        }
        self.visit.as_ref().map_or(0, |visit| visit.gates)
    }

    /// Steps 1 and 2, and the end of the visit.
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

    /// Step 3: what is to be dropped.
    fn decide(&mut self) {
        if self.all {
            self.all_but_min_idle();
        } else {
            self.by_need();
        }
        self.core.depot.shrink();
    }

    /// Everything but what is to stay.
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
        let idle = self.left + self.unneeded.len + core.depot.objects();
        let mut spare = idle.saturating_sub(core.limits.min_idle());
        // The surplus first: it is older than what comes in now.
        let intervals = if self.level == Level::Normal { 2 } else { 1 };
        let surplus = core.depot.surplus(intervals);
        let mut trimmed = take_cold(core, surplus.unwrap_or(0).min(spare));
        spare -= trimmed.len;
        let (came_in, refused) = give_to_depot(core, self.unneeded.take());
        self.unused &= surplus.is_some() && core.depot.end_interval(came_in).is_some();
        if intervals == 1 {
            // One interval is known of these as well.
            if let Some(surplus) = core.depot.uncount_unneeded(came_in) {
                trimmed.append(take_cold(core, surplus.min(spare)));
            }
        }
        self.trimmed = (trimmed.len, trimmed.bytes);
        trimmed.append(refused);
        self.dropping = trimmed;
    }

    /// Drops what has to go. User code runs.
    pub(super) fn finish(mut self) -> (Trimmed, bool) {
        let core = self.core;
        let idle = core.depot.objects();
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

/// Whether pools that share a limit with this one were refused more often, since the last pass, than this one
/// took an object back: then what it keeps is colder than what they had to drop.
fn others_want_the_room(core: &Core) -> bool {
    let wanted = core.limits.wanted_by_others();
    let returned = core.returned();
    let before = core.returned_at_pass.swap(returned, Ordering::Relaxed);
    wanted > returned.wrapping_sub(before)
}

/// Gives what came from the caches to the depot's cold end, list by list. How many arrived, and
/// what the depot refused, which is to be dropped.
fn give_to_depot(core: &Core, mut unneeded: Batch) -> (usize, Batch) {
    let mut came_in = 0;
    let mut dropping = Batch::EMPTY;
    while !unneeded.is_empty() {
        // The hottest first, so that the coldest ends up at the very end.
        let batch = unneeded.split_list();
        let len = batch.len;
        match core.depot.give(batch, End::Cold, Timeout::Long) {
            Ok(()) => came_in += len,
            Err(refused) => dropping.append(core.count_refused(refused)),
        }
    }
    (came_in, dropping)
}

/// Step 3: takes this many of the coldest.
fn take_cold(core: &Core, mut count: usize) -> Batch {
    let mut cold = Batch::EMPTY;
    while let Some(batch) = core.depot.take_cold(count) {
        count -= batch.len;
        cold.append(batch);
    }
    cold
}
