//! A cache's two lists, and the operations on them inside the critical section. They move pointers and update counts.
//! They run no user code, allocate nothing, and do not panic (I5).
//!
//! A return that finds the loaded list full makes it the spare list, and the previous spare list leaves for the depot
//! ([`ListsMut::rotate`]). A get that finds the loaded list empty loads the spare list ([`ListsMut::load_spare`]). So a
//! thread that alternates at the boundary of a list uses the depot at most once per list.
//!
//! The top object of the loaded list is not linked into it. It has a slot, `top`, so a get followed by a drop touches
//! neither the node's link nor `room`. Each slow path and each visitor fills the slot after it has changed the lists
//! ([`ListsMut::make_room`]), and only a get empties it. So the drop after a get fills it without reading the length.
//!
//! `room` is the number of nodes that the loaded list still takes before a return has to take the slow path.
//!
//! # Old objects
//! A pass cannot tell whether an active owner needs all that its cache holds. So it *ages* the cache
//! ([`ListsMut::age`]): it moves everything into the spare list and remembers how many objects that are. They are *old*
//! now, at the bottom of the spare list. The owner takes back those that it needs, one at a time. The next pass takes
//! out the ones that are still old.
//!
//! # Who may touch what
//! [`Lists`]: the thread inside the critical section (I2). [`Shared`]: the same thread writes it with plain loads and
//! stores, and any thread may read it; `shared.rs` says how the orderings pair. No mutants: as there.

use super::gate::Gate;
use super::indexed::IndexedBatch;
use super::limits::Limits;
use super::node::{Batch, End, Link};
use super::shared::Shared;
use crate::sync::Ordering::{Relaxed, Release};
use crate::sync::StatUsize;
use std::ptr;

/// The charge of a cache in an unbounded pool.
const UNBOUNDED: u32 = u32::MAX;

/// The part of a cache that only the thread inside the critical section touches. The fields of the hit path come first,
/// on the cache line of the gate.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Lists {
    /// The loaded list without its top.
    loaded: *mut Link,
    /// Objects of this weight or more do not pass; each object is charged at one byte less. The gate holds the same
    /// threshold, unless there is no room at all, or the one of `use_check_log2` is lower.
    threshold: usize,
    /// The other list: a full one, or the one that a pass has aged.
    spare: *mut Link,
    spare_len: u16,
    /// The length of a full list of objects below `threshold`; 0: not computed yet.
    full: u8,
    /// [`Limits::use_check_log2`]: heavier objects are kept, but their returns take the slow path.
    use_check_log2: u8,
    /// How many objects this cache is charged for in a bounded pool, each at `threshold - 1` bytes.
    pub(super) charged: u32,
    last_pass: LastPass,
    /// `room` plus the length of `loaded`.
    base: i32,
}

/// What leaves a cache for the depot: a batch, which may be empty, and the end of the depot that it goes to.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) batch: IndexedBatch,
    pub(crate) end: End,
}

impl Leaving {
    pub(crate) const NOTHING: Self = Self {
        batch: IndexedBatch::EMPTY,
        end: End::Hot,
    };
}

/// What the last pass saw and did, to tell whether the owner has worked since. The counts are truncated: if one wraps
/// around to the same value, an active owner looks inactive once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastPass {
    returned: u32,
    moved: u16,
    idle: u16,
    /// How many objects at the bottom of the spare list are old.
    old: u16,
}

impl Lists {
    pub(super) fn threshold(&self) -> usize {
        self.threshold
    }

    pub(super) fn set_threshold(&mut self, threshold: usize, limits: &Limits) {
        if threshold != self.threshold {
            self.threshold = threshold;
            self.full = limits.full_len(threshold) as u8;
        }
        self.use_check_log2 = limits.use_check_log2();
    }

    /// The threshold of the gate while there is room.
    fn passes(&self) -> usize {
        let check = 1_usize.checked_shl(self.use_check_log2.into());
        match check.filter(|_| self.use_check_log2 != 0) {
            Some(heaviest) => self.threshold.min(heaviest + 1),
            None => self.threshold,
        }
    }

    pub(super) fn new() -> Self {
        Self {
            loaded: ptr::null_mut(),
            threshold: 0,
            spare: ptr::null_mut(),
            spare_len: 0,
            full: 0,
            use_check_log2: 0,
            charged: 0,
            last_pass: LastPass {
                returned: 0,
                moved: 0,
                idle: 0,
                old: 0,
            },
            base: 0,
        }
    }
}

#[cold]
#[inline]
fn cold() {}

/// The lists, borrowed by the thread inside the critical section (I2).
#[derive(Debug)]
pub(crate) struct ListsMut<'a> {
    pub(super) gate: &'a Gate,
    pub(super) shared: &'a Shared,
    pub(super) known_at: &'a StatUsize,
    pub(super) lists: &'a mut Lists,
}

impl ListsMut<'_> {
    // ---------------------------------------------------------------- the hit path

    /// Pops the top object; null if the loaded list is empty.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> *mut Link {
        let mut link = self.shared.top();
        if link.is_null() {
            cold();
            link = self.lists.loaded;
            if !link.is_null() {
                // SAFETY: I1: the list holds its nodes.
                self.lists.loaded = unsafe { Link::next(link) };
                self.shared.set_room(self.shared.room() + 1);
            }
        } else {
            self.shared.top.store(ptr::null_mut(), Relaxed);
        }
        link
    }

    /// The top object, if it is in the slot.
    #[inline(always)]
    pub(super) fn top(&self) -> Option<*mut Link> {
        let top = self.shared.top();
        (!top.is_null()).then_some(top)
    }

    /// Resets an object and pushes it on top. `false`, and no change, if there is no room.
    ///
    /// # Safety
    /// The gate's threshold is above `weight`. The caller holds the node, and gives it up if this returns `true`.
    /// `reset` may run inside the critical section (I5).
    #[inline(always)]
    pub(super) unsafe fn push(
        &mut self,
        link: *mut Link,
        weight: usize,
        reset: impl FnOnce(),
    ) -> bool {
        let below = self.shared.top();
        if !below.is_null() {
            cold();
            if self.shared.room() <= 0 {
                return false;
            }
            // Loaded again, so that the decrement is a single instruction.
            self.shared.set_room(self.shared.room() - 1);
            // SAFETY: I1: the slot holds its node.
            unsafe { Link::set_next(below, self.lists.loaded) };
            self.lists.loaded = below;
        }
        reset();
        self.shared.top.store(link, Relaxed);
        let returned = self.shared.returned.load(Relaxed).wrapping_add(1);
        // Release: see "Orderings" above.
        self.shared.returned.store(returned, Release);
        // Usually the weight has not changed. A comparison costs less than a store: a hit is bound by its stores.
        // SAFETY: the caller holds the node.
        if unsafe { Link::weight(link) } != weight {
            cold();
            // SAFETY: as above.
            unsafe { Link::set_weight(link, weight) };
        }
        true
    }

    // ---------------------------------------------------------------- counts

    /// The number of objects in the loaded list, with its top.
    pub(super) fn loaded_len(&self) -> usize {
        (self.lists.base - self.shared.room()) as usize + usize::from(!self.shared.top().is_null())
    }

    /// The number of objects in both lists.
    pub(crate) fn idle(&self) -> usize {
        self.loaded_len() + self.lists.spare_len as usize
    }

    /// The weight of both lists. Walks them.
    pub(super) fn idle_bytes(&self) -> usize {
        let mut bytes = 0_usize;
        self.each(|link| {
            // SAFETY: I1, I2: the lists hold their nodes, and this thread may touch them.
            bytes = bytes.wrapping_add(unsafe { Link::weight(link) });
        });
        bytes
    }

    /// Calls `look` with each node. `look` only reads.
    pub(crate) fn each(&self, mut look: impl FnMut(*mut Link)) {
        self.top().into_iter().for_each(&mut look);
        for mut link in [self.lists.loaded, self.lists.spare] {
            while !link.is_null() {
                look(link);
                // SAFETY: I1, I2: the lists hold their nodes, and this thread may touch them.
                link = unsafe { Link::next(link) };
            }
        }
    }

    pub(super) fn heaviest(&self) -> usize {
        let mut heaviest = 0;
        self.each(|link| {
            // SAFETY: I1, I2: the lists hold their nodes, and this thread may touch them.
            heaviest = heaviest.max(unsafe { Link::weight(link) });
        });
        heaviest
    }

    /// Whether the owner has worked since the last call.
    pub(crate) fn was_used(&mut self) -> bool {
        let now = LastPass {
            returned: self.shared.returned() as u32,
            moved: self.shared.moved() as u16,
            idle: self.idle() as u16,
            old: self.lists.last_pass.old,
        };
        std::mem::replace(&mut self.lists.last_pass, now) != now
    }

    /// Counts objects that enter in a batch.
    fn move_in(&self, objects: usize) {
        let moved = self.shared.moved().wrapping_add(objects);
        self.shared.moved.store(moved, Release);
        // The weight of the lists is no longer known.
        self.known_at.store(0, Relaxed);
    }

    /// Counts objects that leave in a batch.
    fn move_out(&self, objects: usize) {
        self.move_in(objects.wrapping_neg());
    }

    // ---------------------------------------------------------------- lists in and out
    // The caller has to call `make_room` afterwards, unless the function says that it does so.

    /// Makes a batch the loaded list, which must be empty.
    fn load(&mut self, batch: Batch) {
        self.lists.loaded = batch.head;
        self.lists.base = batch.len as i32;
        self.shared.room.store(0, Release);
    }

    /// Loads a batch from the depot into the empty lists, and makes room.
    pub(super) fn load_from_depot(&mut self, batch: &mut Batch) {
        let len = batch.len;
        self.load(batch.take());
        self.make_room();
        self.move_in(len);
    }

    /// Takes the loaded list as a batch, which has to be weighed before it leaves the cache.
    fn unload(&mut self) -> Batch {
        let len = self.loaded_len();
        self.lists.base = 0;
        self.shared.room.store(0, Release);
        let mut head = std::mem::replace(&mut self.lists.loaded, ptr::null_mut());
        if let Some(top) = self.top() {
            // The object is no longer counted by the slot but by `below`, until `make_room` computes that again.
            let below = self.shared.below.load(Relaxed);
            self.shared.below.store(below.wrapping_add(1), Release);
            // Release: a reader that finds the slot empty finds the object below.
            self.shared.top.store(ptr::null_mut(), Release);
            // SAFETY: I1: the slot held its node.
            unsafe { Link::set_next(top, head) };
            head = top;
        }
        Batch {
            head,
            len,
            bytes: 0,
            heaviest: self.lists.threshold.saturating_sub(1),
        }
    }

    /// Takes the spare list as a batch, to change it and put it back with [`ListsMut::put_spare`]. What leaves the cache
    /// has to be weighed.
    fn spare(&mut self) -> Batch {
        Batch {
            head: std::mem::replace(&mut self.lists.spare, ptr::null_mut()),
            len: std::mem::take(&mut self.lists.spare_len) as usize,
            bytes: 0,
            heaviest: self.lists.threshold.saturating_sub(1),
        }
    }

    fn put_spare(&mut self, batch: Batch) {
        self.lists.spare = batch.head;
        self.lists.spare_len = batch.len as u16;
    }

    /// Removes the spare list from the cache.
    fn take_spare(&mut self) -> Batch {
        let spare = self.spare();
        self.lists.last_pass.old = 0;
        self.move_out(spare.len);
        spare
    }

    /// Removes the objects that are still old.
    fn take_old(&mut self) -> Batch {
        let needed = self.needed();
        let mut old = self.spare();
        let top = old.split_top(needed);
        self.put_spare(top);
        old.sum_weights();
        self.lists.last_pass.old = 0;
        self.move_out(old.len);
        old
    }

    /// How many nodes of the spare list are not old. Those are at the top.
    fn needed(&self) -> usize {
        self.lists.spare_len as usize - self.lists.last_pass.old as usize
    }

    fn all_old(&self) -> bool {
        self.needed() == 0
    }

    /// Fills the empty loaded list from the spare list: with the objects that are not old, or else with a single old
    /// one, so that the others can still leave. Makes room.
    pub(super) fn load_spare(&mut self) {
        if self.lists.spare_len == 0 {
            return;
        }
        self.lists.last_pass.old -= u16::from(self.all_old());
        let needed = self.needed();
        let mut spare = self.spare();
        let top = spare.split_top(needed);
        self.put_spare(spare);
        self.load(top);
        self.make_room();
    }

    /// Makes the full loaded list the spare list. The previous spare list moves to `leaving`, which is empty. Makes
    /// room.
    pub(super) fn rotate(&mut self, limits: &Limits, leaving: &mut Leaving) {
        // If the whole spare list is old, it was not needed since the last pass.
        if self.lists.last_pass.old != 0 && self.all_old() {
            if self.idle() < 2 * usize::from(self.lists.full) {
                // There is space for both. The old objects stay until the next pass, below those that are needed.
                self.unload_onto_spare();
                self.make_room();
                return;
            }
            leaving.end = End::Cold;
        }
        let spare = self.take_spare();
        leaving.batch.fill(spare);
        self.shrink_for(limits, leaving.batch.batch());
        let loaded = self.unload();
        self.put_spare(loaded);
        self.make_room();
    }

    /// Moves the loaded list onto the spare list.
    pub(super) fn unload_onto_spare(&mut self) {
        let loaded = self.unload();
        let mut spare = self.spare();
        spare.append(loaded);
        self.put_spare(spare);
    }

    /// Removes everything: the loaded list, and the spare list, which is colder. Leaves no room. Walks both.
    pub(crate) fn drain(&mut self, limits: &Limits) -> [Batch; 2] {
        let (mut spare, mut loaded) = (self.take_spare(), self.unload());
        spare.sum_weights();
        loaded.sum_weights();
        self.move_out(loaded.len);
        self.lists.last_pass.moved = self.shared.moved() as u16;
        self.lists.last_pass.idle = 0;
        self.shrink_to(limits, &[&spare, &loaded], 0);
        self.start(limits);
        [loaded, spare]
    }

    /// Ages the cache of an active owner: the objects that are still old leave, and all others become old.
    pub(crate) fn age(&mut self, limits: &Limits) -> Batch {
        let mut unneeded = Batch::EMPTY;
        if self.lists.last_pass.old != 0 {
            unneeded = self.take_old();
            let idle = self.idle();
            self.shrink_to(limits, &[&unneeded], idle);
        }
        self.unload_onto_spare();
        self.lists.last_pass.old = self.lists.spare_len;
        self.make_room();
        self.lists.last_pass.idle = self.idle() as u16;
        self.lists.last_pass.moved = self.shared.moved() as u16;
        unneeded
    }

    /// Initializes empty lists: nothing is charged, and there is no room. So the first return takes the slow path,
    /// which tells the janitor.
    pub(super) fn start(&mut self, limits: &Limits) {
        self.lists.charged = 0;
        self.make_room();
        self.lists.charged = if limits.bounded() { 0 } else { UNBOUNDED };
        self.lists.set_threshold(limits.first_threshold(), limits);
    }

    // ---------------------------------------------------------------- room

    /// How many more objects fit: up to a full loaded list, and with old objects up to two full lists in all.
    pub(super) fn space(&self) -> usize {
        let (full, len) = (usize::from(self.lists.full), self.loaded_len());
        let space = full.saturating_sub(len);
        if self.lists.last_pass.old != 0 {
            space.min((2 * full).saturating_sub(len + self.lists.spare_len as usize))
        } else {
            space
        }
    }

    /// Whether one more object below the threshold fits.
    pub(super) fn has_room(&self) -> bool {
        if self.shared.top().is_null() {
            self.gate.threshold() != 0
        } else {
            self.shared.room() > 0
        }
    }

    /// Makes the owner's next return take the slow path, which restores the room. For a visitor.
    #[allow(dead_code, reason = "for forks, which not every system has")]
    pub(crate) fn revoke_room(&self) {
        self.gate.set_threshold(0);
    }

    /// Restores the room if a visitor has revoked it. For returns only: a get must leave that to the next return.
    pub(super) fn restore_room(&mut self) {
        if self.gate.threshold() == 0 {
            self.make_room();
        }
    }

    /// Takes over the pool's current weight from which on the use of objects is checked.
    pub(super) fn refresh_use_check(&mut self, limits: &Limits) {
        if self.lists.use_check_log2 != limits.use_check_log2() {
            self.lists.use_check_log2 = limits.use_check_log2();
            self.make_room();
        }
    }

    /// Fills the slot, computes the room, and sets the gate's threshold: to that of the lists, or to 0 if not even the
    /// slot may be filled.
    #[inline]
    pub(super) fn make_room(&mut self) {
        // Each read once, which the compiler cannot do: others read them too.
        let (mut top, mut room_before) = (self.shared.top(), self.shared.room());
        if top.is_null() && !self.lists.loaded.is_null() {
            top = self.lists.loaded;
            self.shared.top.store(top, Release);
            // SAFETY: I1, I2: the list holds its nodes, and this thread may touch them.
            self.lists.loaded = unsafe { Link::next(top) };
            room_before += 1;
            // Release: a reader that counts one less below the top finds the slot filled.
            self.shared.room.store(room_before, Release);
        }
        let filled = i32::from(!top.is_null());
        let below = self.lists.base - room_before;
        let (len, spare) = (below + filled, i32::from(self.lists.spare_len));
        let mut more = (i32::from(self.lists.full) - len).max(0);
        if self.lists.last_pass.old != 0 {
            more = self.space() as i32;
        }
        if self.lists.charged != UNBOUNDED {
            let more_charged = self.lists.charged as i32 - (len + spare);
            more = more.min(more_charged.max(0));
        }
        // An empty slot takes the first object. (The list is empty then.)
        let room = (more - (1 - filled)).max(0);
        self.lists.base = below + room;
        self.shared
            .set_room_and_below(room, below + room + spare, || ());
        let passes = if len + more == 0 {
            0
        } else {
            self.lists.passes()
        };
        self.gate.set_threshold(passes);
    }
}

#[cfg(test)]
pub(super) mod tests;
