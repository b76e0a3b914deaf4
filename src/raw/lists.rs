//! A cache's two lists, and what is done to them inside the critical section: pointers are moved and
//! figures follow. No user code, no allocation, no panic (I5).
//!
//! A return that finds the loaded list full makes it the spare one ([`ListsMut::rotate`]), and what was there
//! leaves for the depot; a get that finds it empty takes the spare one ([`ListsMut::load_spare`]). So a thread that
//! goes back and forth at the boundary meets the depot once per list at most.
//!
//! The loaded list's top is in a slot of its own, `hot`, unlinked: a get and a drop in turn then
//! touch neither the node's link nor `room`. The slot is filled ([`ListsMut::make_room`]) whenever a slow path
//! or a visitor has changed the lists, and emptied by a get alone; so the drop after a get fills it again
//! without reading the length.
//!
//! # Who may touch what
//! [`Lists`]: the thread that is inside (I2). [`Shared`]: the same thread writes it; any thread reads it at any
//! time, for figures. Its words are atomics that one thread at a time writes, with plain loads and stores.
//!
//! # Orderings
//! - `Shared`: a reader must not take for gone what has only moved, because no figure goes back. So what slow paths
//!   store, and a hit's `returned`, is Release, and pairs with the readers' Acquire loads: who sees a word sees those
//!   that were written before it. On x86-64 both are plain moves. A hit's other stores, and what the owner itself reads,
//!   are Relaxed: a reader that misses them counts an object that has just gone, or a return later.

use super::gate::Gate;
use super::limits::Limits;
use super::node::{Batch, End, Link};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{StatUsize, StatI32, StatPtr};
use std::ptr;

/// The grant of a cache in an unbounded pool.
const UNBOUNDED: u32 = u32::MAX;

/// What any thread may read of a cache.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Shared {
    /// The object that came back last, the top of the loaded list; null while it is out.
    hot: StatPtr<Link>,
    /// Objects that came back.
    returned: StatUsize,
    /// Objects that came and went by the batch, wrapping: in minus out.
    moved: StatUsize,
    /// How many more nodes `loaded` takes before the slow path has to look.
    room: StatI32,
    /// What `room` is taken from: the nodes below the top in both lists are `below - room`.
    below: StatI32,
}

/// What the protocol guards. What a hit touches comes first: it shares a line with the flags.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Lists {
    /// The loaded list below its top.
    loaded: *mut Link,
    /// Heavier objects do not pass; what is charged for each is one less. The gate holds it, too, unless
    /// there is no room even for one, or `watched` is lower.
    threshold: usize,
    /// The other list: full, or set aside by a pass.
    spare: *mut Link,
    spare_bytes: usize,
    spare_len: u16,
    /// The length of a full list below `threshold`; 0: not worked out.
    full: u8,
    /// [`Limits::watched`]: heavier objects are kept, but do not pass.
    use_check_log2: u8,
    /// Objects that this cache is charged for in a bounded pool, each at `threshold - 1` bytes.
    pub(super) charged: u32,
    last_pass: LastPass,
    /// `loaded`'s length below its top plus `room`.
    base: i32,
}

/// What the last pass saw, to tell whether the owner was at work since, and did. Narrow figures:
/// equal ones after this many operations would only make an active owner look idle once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastPass {
    returned: u32,
    moved: u16,
    idle: u16,
    /// It has set this many aside, at the bottom of the spare list; what is still there at the next pass
    /// was not needed.
    old: u16,
}

impl Shared {
    #[allow(dead_code, reason = "for page_loom.rs")]
    pub(super) fn new() -> Self {
        Self {
            hot: StatPtr::new(ptr::null_mut()),
            returned: StatUsize::new(0),
            moved: StatUsize::new(0),
            room: StatI32::new(0),
            below: StatI32::new(0),
        }
    }

    #[inline(always)]
    fn hot(&self) -> *mut Link {
        self.hot.load(Relaxed)
    }

    #[inline(always)]
    fn room(&self) -> i32 {
        self.room.load(Relaxed)
    }

    #[inline(always)]
    fn set_room(&self, room: i32) {
        self.room.store(room, Relaxed);
    }

    #[inline(always)]
    pub(super) fn returned(&self) -> usize {
        // Acquire: pairs with the Release in `push`: what has returned is among what a reader then finds idle.
        self.returned.load(Acquire)
    }

    pub(super) fn moved(&self) -> usize {
        // Acquire: pairs with the Release in `move_in`.
        self.moved.load(Acquire)
    }

    /// Objects in both lists. Read from outside, while they change, it may be too high but not too low: what went out
    /// is what came in less this, and must not seem to be more than it is, because no figure goes back.
    ///
    /// So the slot and the room are each read before and after what is counted with them. That is enough where a slow
    /// path is at work once at most meanwhile: see `Cache::stats`. Acquire: pairs with the Release in `load`,
    /// `unload`, `make_room`.
    pub(super) fn idle(&self) -> usize {
        let filled_before = !self.hot.load(Acquire).is_null();
        let room_before = self.room.load(Acquire);
        let below = self.below.load(Acquire);
        let room = self.room.load(Acquire).min(room_before);
        let filled = filled_before || !self.hot.load(Acquire).is_null();
        usize::try_from(below.wrapping_sub(room)).unwrap_or(0) + usize::from(filled)
    }
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

    /// What the gate holds while there is room.
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
            spare_bytes: 0,
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

/// The lists, for the thread that may touch them (I2).
#[derive(Debug)]
pub(crate) struct ListsMut<'a> {
    pub(super) gate: &'a Gate,
    pub(super) shared: &'a Shared,
    pub(super) known_at: &'a StatUsize,
    pub(super) lists: &'a mut Lists,
}

impl ListsMut<'_> {
    // ---------------------------------------------------------------- the hit path

    /// The top object; null when the loaded list is empty.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> *mut Link {
        let mut link = self.shared.hot();
        if link.is_null() {
            cold();
            link = self.lists.loaded;
            if !link.is_null() {
                // SAFETY: I1: the list holds its nodes.
                self.lists.loaded = unsafe { Link::next(link) };
                self.shared.set_room(self.shared.room() + 1);
            }
        } else {
            self.shared.hot.store(ptr::null_mut(), Relaxed);
        }
        link
    }

    /// The top object, if it is in its slot.
    #[inline(always)]
    pub(super) fn top(&self) -> Option<*mut Link> {
        let hot = self.shared.hot();
        (!hot.is_null()).then_some(hot)
    }

    /// Resets an object and puts it on top; `false`, and nothing done, when there is no room.
    ///
    /// # Safety
    /// The threshold at the gate is above `weight`; the caller holds the node and gives it up on `true`.
    /// `reset` does what may be done inside (I5).
    #[inline(always)]
    pub(super) unsafe fn push(
        &mut self,
        link: *mut Link,
        weight: usize,
        reset: impl FnOnce(),
    ) -> bool {
        let below = self.shared.hot();
        if !below.is_null() {
            cold();
            if self.shared.room() <= 0 {
                return false;
            }
            // Read again: the decrement is a single instruction then.
            self.shared.set_room(self.shared.room() - 1);
            // SAFETY: I1: the slot holds its node.
            unsafe { Link::set_next(below, self.lists.loaded) };
            self.lists.loaded = below;
        }
        reset();
        self.shared.hot.store(link, Relaxed);
        let returned = self.shared.returned.load(Relaxed).wrapping_add(1);
        // Release: see "Orderings" above.
        self.shared.returned.store(returned, Release);
        // As a rule it weighs what it weighed. A look costs less than a store: stores are what a hit has
        // most of.
        // SAFETY: the caller holds the node.
        if unsafe { Link::weight(link) } != weight {
            cold();
            // SAFETY: as above.
            unsafe { Link::set_weight(link, weight) };
        }
        true
    }

    // ---------------------------------------------------------------- figures

    /// Objects in the loaded list, with its top.
    pub(super) fn loaded_len(&self) -> usize {
        (self.lists.base - self.shared.room()) as usize + usize::from(!self.shared.hot().is_null())
    }

    /// Objects in both lists.
    pub(crate) fn idle(&self) -> usize {
        self.loaded_len() + self.lists.spare_len as usize
    }

    /// Bytes in both lists. Walks the loaded one.
    pub(super) fn idle_bytes(&self) -> usize {
        self.lists.spare_bytes.wrapping_add(self.loaded_bytes())
    }

    fn loaded_bytes(&self) -> usize {
        let below = (self.lists.base - self.shared.room()) as usize;
        // SAFETY: I1, I2: the lists hold their nodes, and this thread may touch them.
        let mut bytes = unsafe { Link::weights(self.lists.loaded, below) };
        if let Some(hot) = self.top() {
            // SAFETY: as above.
            bytes = bytes.wrapping_add(unsafe { Link::weight(hot) });
        }
        bytes
    }

    /// Shows every node to `look`, which reads and nothing else.
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

    /// Whether the owner was at work since the last call.
    pub(crate) fn was_used(&mut self) -> bool {
        let now = LastPass {
            returned: self.shared.returned() as u32,
            moved: self.shared.moved() as u16,
            idle: self.idle() as u16,
            old: self.lists.last_pass.old,
        };
        std::mem::replace(&mut self.lists.last_pass, now) != now
    }

    /// This many objects arrive in a batch.
    fn move_in(&self, objects: usize) {
        let moved = self.shared.moved().wrapping_add(objects);
        self.shared.moved.store(moved, Release);
        // What the lists weigh is not known any more.
        self.known_at.store(0, Relaxed);
    }

    /// This many objects go by the batch.
    fn move_out(&self, objects: usize) {
        self.move_in(objects.wrapping_neg());
    }

    // ---------------------------------------------------------------- lists in and out
    // `make_room` is to follow, unless it says otherwise.

    /// Makes a batch the loaded list, which is empty.
    fn load(&mut self, batch: Batch) {
        self.lists.loaded = batch.head;
        self.lists.base = batch.len as i32;
        self.shared.room.store(0, Release);
    }

    /// Loads a batch from the depot into the empty lists.
    pub(super) fn load_from_depot(&mut self, batch: Batch) {
        let len = batch.len;
        self.load(batch);
        self.make_room();
        self.move_in(len);
    }

    /// Takes the loaded list out, with its figures. Walks it.
    fn unload(&mut self) -> Batch {
        let (len, bytes) = (self.loaded_len(), self.loaded_bytes());
        self.lists.base = 0;
        self.shared.room.store(0, Release);
        let mut head = std::mem::replace(&mut self.lists.loaded, ptr::null_mut());
        if let Some(hot) = self.top() {
            // It is below its place now; `make_room` works the figure out again.
            let below = self.shared.below.load(Relaxed);
            self.shared.below.store(below.wrapping_add(1), Release);
            // Release: a reader that finds the slot empty finds the object below.
            self.shared.hot.store(ptr::null_mut(), Release);
            // SAFETY: I1: the slot held its node.
            unsafe { Link::set_next(hot, head) };
            head = hot;
        }
        Batch {
            head,
            len,
            bytes,
            heaviest: self.lists.threshold.saturating_sub(1),
        }
    }

    /// The spare list as a batch, for [`ListsMut::put_spare`].
    fn spare(&mut self) -> Batch {
        Batch {
            head: std::mem::replace(&mut self.lists.spare, ptr::null_mut()),
            len: std::mem::take(&mut self.lists.spare_len) as usize,
            bytes: std::mem::take(&mut self.lists.spare_bytes),
            heaviest: self.lists.threshold.saturating_sub(1),
        }
    }

    fn put_spare(&mut self, batch: Batch) {
        self.lists.spare = batch.head;
        self.lists.spare_len = batch.len as u16;
        self.lists.spare_bytes = batch.bytes;
    }

    /// Takes the spare list out of the cache.
    fn take_spare(&mut self) -> Batch {
        let spare = self.spare();
        self.lists.last_pass.old = 0;
        self.move_out(spare.len);
        spare
    }

    /// Takes out what is still there of what the last pass has set aside.
    fn take_old(&mut self) -> Batch {
        let needed = self.needed();
        let mut old = self.spare();
        let top = old.split_top(needed);
        self.put_spare(top);
        self.lists.last_pass.old = 0;
        self.move_out(old.len);
        old
    }

    /// How many nodes of the spare list are not set aside; those are at the top.
    fn needed(&self) -> usize {
        self.lists.spare_len as usize - self.lists.last_pass.old as usize
    }

    fn all_old(&self) -> bool {
        self.needed() == 0
    }

    /// The loaded list is empty: takes what is needed of the spare list, or one node of what a pass has set
    /// aside, so that the rest can go. Makes room.
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

    /// The loaded list is full: it becomes the spare one, whose place it takes; what was there leaves. Makes
    /// room.
    pub(super) fn rotate(&mut self, limits: &Limits) -> (Batch, End) {
        // What a pass has set aside was not needed since.
        let mut end = End::Hot;
        if self.lists.last_pass.old != 0 && self.all_old() {
            if self.idle() < 2 * usize::from(self.lists.full) {
                // It may stay until the next pass, which can tell then; what is needed goes on top.
                self.unload_onto_spare();
                self.make_room();
                return (Batch::EMPTY, end);
            }
            end = End::Cold;
        }
        let leaving = self.take_spare();
        self.shrink_for(limits, &leaving);
        let loaded = self.unload();
        self.put_spare(loaded);
        self.make_room();
        (leaving, end)
    }

    pub(super) fn unload_onto_spare(&mut self) {
        let loaded = self.unload();
        let mut spare = self.spare();
        spare.append(loaded);
        self.put_spare(spare);
    }

    /// Takes everything out: the loaded list, and the spare one, which is colder.
    pub(crate) fn drain(&mut self, limits: &Limits) -> [Batch; 2] {
        let spare = self.take_spare();
        let loaded = self.unload();
        self.move_out(loaded.len);
        self.lists.last_pass.moved = self.shared.moved() as u16;
        self.lists.last_pass.idle = 0;
        self.shrink_to(limits, &[&spare, &loaded], 0);
        self.start(limits);
        [loaded, spare]
    }

    /// What a pass does to the cache of an active owner: what was set aside a pass ago and not
    /// needed since leaves; what is idle now is set aside.
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

    /// Empty lists, nothing charged for, and no room: the first return takes the slow path, which
    /// tells the janitor.
    pub(super) fn start(&mut self, limits: &Limits) {
        self.lists.charged = 0;
        self.make_room();
        self.lists.charged = if limits.bounded() { 0 } else { UNBOUNDED };
        self.lists.set_threshold(limits.first_threshold(), limits);
    }

    // ---------------------------------------------------------------- room

    /// What still fits by length: a full list, and with what is set aside two of them.
    pub(super) fn space(&self) -> usize {
        let (full, len) = (usize::from(self.lists.full), self.loaded_len());
        let space = full.saturating_sub(len);
        if self.lists.last_pass.old != 0 {
            space.min((2 * full).saturating_sub(len + self.lists.spare_len as usize))
        } else {
            space
        }
    }

    /// Whether an object below the threshold fits.
    pub(super) fn has_room(&self) -> bool {
        if self.shared.hot().is_null() {
            self.gate.threshold() != 0
        } else {
            self.shared.room() > 0
        }
    }

    /// Makes the owner's next return take the slow path, which finds the room again. For a visitor.
    #[allow(dead_code, reason = "for forks, which not every system has")]
    pub(crate) fn revoke_room(&self) {
        self.gate.set_threshold(0);
    }

    /// Finds the room again, if a visitor has taken it. For a return: a get must leave it to the next one.
    pub(super) fn restore_room(&mut self) {
        if self.gate.threshold() == 0 {
            self.make_room();
        }
    }

    /// A new object of the pool is heavier than any before: such pass from now on.
    pub(super) fn refresh_use_check(&mut self, limits: &Limits) {
        if self.lists.use_check_log2 != limits.use_check_log2() {
            self.lists.use_check_log2 = limits.use_check_log2();
            self.make_room();
        }
    }

    /// Fills the slot, works the room out again, and moves the gate's threshold: to the lists' threshold, or to nothing
    /// where not even the slot may be filled.
    #[inline]
    pub(super) fn make_room(&mut self) {
        if self.shared.hot().is_null() && !self.lists.loaded.is_null() {
            let top = self.lists.loaded;
            self.shared.hot.store(top, Release);
            // SAFETY: I1, I2: the list holds its nodes, and this thread may touch them.
            self.lists.loaded = unsafe { Link::next(top) };
            // Release: a reader that finds one less below finds the slot filled.
            self.shared.room.store(self.shared.room() + 1, Release);
        }
        let filled = i32::from(!self.shared.hot().is_null());
        let below = self.lists.base - self.shared.room();
        let (len, spare) = (below + filled, i32::from(self.lists.spare_len));
        let mut more = (i32::from(self.lists.full) - len).max(0);
        if self.lists.last_pass.old != 0 {
            more = self.space() as i32;
        }
        if self.lists.charged != UNBOUNDED {
            let more_charged = self.lists.charged as i32 - (len + spare);
            more = more.min(more_charged.max(0));
        }
        // An empty slot (of an empty list, then) takes the first.
        let room = (more - (1 - filled)).max(0);
        self.lists.base = below + room;
        // In the order in which a reader in between finds too many (`Shared::idle`). Release: it sees them in that order.
        let all = below + room + spare;
        if room > self.shared.room() {
            self.shared.below.store(all, Release);
            self.shared.room.store(room, Release);
        } else {
            self.shared.room.store(room, Release);
            self.shared.below.store(all, Release);
        }
        let passes = if len + more == 0 {
            0
        } else {
            self.lists.passes()
        };
        self.gate.set_threshold(passes);
    }
}
