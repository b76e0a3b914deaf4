//! What the owner/visitor protocol guards: a cache's two lists, and what is done to them inside the
//! critical section. Pointers are moved and figures follow; no user code, no allocation, no panic
//! (I5).
//!
//! A return that finds the loaded list full makes it the spare one (`rotate`), and what was there
//! leaves for the depot; a get that finds it empty takes the spare one (`turn`). So a thread that
//! goes back and forth at the boundary meets the depot once per list at most.
//!
//! The loaded list's top is in a slot of its own, `hot`, unlinked: a get and a drop in turn then
//! touch neither the node's link nor `room`.
//! The slot is filled (`make_room`) whenever a slow path or a visitor has been at the lists, and
//! emptied by a get alone; so it takes back what that get has taken, without a look at the length.

use super::cache::{Cache, LIST_BYTES, LIST_LEN, MAX_WEIGHT, SHUT};
use crate::raw::depot::End;
use crate::raw::limits::{Charge, Limits};
use crate::raw::node::{Batch, Link};
use crate::raw::stats::Reason;
use crate::sync::Ordering;
use std::ptr;

/// What the protocol guards. In this order: what a hit touches shares a line with the flags.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Lists {
    /// The object that came back last, the top of the loaded list; null while it is out.
    pub(super) hot: *mut Link,
    /// Objects that came back.
    pub(super) returned: usize,
    /// The loaded list below its top.
    pub(super) loaded: *mut Link,
    /// How many more nodes `loaded` takes before the slow path has to look.
    pub(super) room: i32,
    /// `loaded`'s length plus `room`; so its length is `base - room`.
    pub(super) base: i32,
    /// Heavier objects do not pass; what is charged for each is one less. The gate holds it, too,
    /// unless there is no room even for one.
    pub(super) bar: usize,
    /// The other list: full, or set aside by a pass.
    pub(super) spare: Batch,
    /// Objects that came and went by the batch, wrapping: in minus out.
    pub(super) moved: usize,
    /// Objects that this cache is charged for in a bounded pool, each at `bar - 1` bytes.
    pub(super) grant: u32,
    pub(super) seen: Seen,
}

/// What the last pass saw, to tell whether the owner was at work since, and did. Narrow figures:
/// equal ones after so many operations would only make an active owner look idle once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) returned: u32,
    pub(super) moved: u32,
    pub(super) idle: u16,
    /// It has set so many aside, at the bottom of `spare`; what is still there at the next pass
    /// was not needed.
    pub(super) aside: u16,
}

/// A cache's figures, for the statistics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) reused: usize,
    pub(crate) returned: usize,
    pub(crate) idle: usize,
    pub(crate) idle_bytes: usize,
}

/// All of these inside the critical section (I2): the caller may touch the lists.
impl Cache {
    /// Whether the owner was at work since the last call.
    pub(crate) fn was_used(&self, lists: &mut Lists) -> bool {
        let now = Seen {
            returned: lists.returned as u32,
            moved: lists.moved as u32,
            idle: lists.idle() as u16,
            aside: lists.seen.aside,
        };
        std::mem::replace(&mut lists.seen, now) != now
    }

    /// Takes everything out: the loaded list, and the spare one, which is colder.
    pub(crate) fn strip(&self, lists: &mut Lists, limits: &Limits) -> [Batch; 2] {
        let spare = lists.take_spare();
        let loaded = lists.unload();
        lists.moved = lists.moved.wrapping_sub(loaded.len);
        lists.seen.moved = lists.moved as u32;
        lists.seen.idle = 0;
        let keep = Charge {
            objects: spare.len + loaded.len,
            bytes: spare.bytes.wrapping_add(loaded.bytes),
        };
        self.shrink(lists, limits, keep, 0);
        self.start(lists, limits);
        [loaded, spare]
    }

    /// What a pass does to the cache of an active owner: what was set aside a pass ago and not
    /// needed since leaves; what is idle now is set aside.
    pub(crate) fn set_aside(&self, lists: &mut Lists, limits: &Limits) -> Batch {
        let mut unneeded = Batch::EMPTY;
        if lists.seen.aside != 0 {
            unneeded = lists.take_aside();
            let keep = Charge {
                objects: unneeded.len,
                bytes: unneeded.bytes,
            };
            let idle = lists.idle();
            self.shrink(lists, limits, keep, idle);
        }
        let loaded = lists.unload();
        lists.spare.append(loaded);
        lists.seen.aside = lists.spare.len as u16;
        self.make_room(lists);
        lists.seen.idle = lists.idle() as u16;
        lists.seen.moved = lists.moved as u32;
        unneeded
    }

    /// For the statistics.
    pub(crate) fn figures(&self, lists: &Lists) -> Figures {
        let idle = lists.idle();
        Figures {
            reused: lists.returned.wrapping_add(lists.moved).wrapping_sub(idle),
            returned: lists.returned,
            idle,
            idle_bytes: lists.spare.bytes.wrapping_add(lists.loaded_bytes()),
        }
    }

    /// `loaded` is full: it becomes the spare list, whose place it takes; what was there leaves.
    pub(super) fn rotate(&self, lists: &mut Lists, limits: &Limits) -> (Batch, End) {
        // What a pass has set aside was not needed since.
        let mut end = End::Hot;
        if lists.seen.aside != 0 && lists.all_aside() {
            if lists.idle() < 2 * full_len(lists.bar) {
                // It may stay until the next pass, which can tell then; what is needed goes on top.
                let loaded = lists.unload();
                lists.spare.append(loaded);
                self.make_room(lists);
                return (Batch::EMPTY, end);
            }
            end = End::Cold;
        }
        let leaving = lists.take_spare();
        let keep = Charge {
            objects: leaving.len,
            bytes: leaving.bytes,
        };
        let grant = (lists.grant as usize).saturating_sub(leaving.len);
        self.shrink(lists, limits, keep, grant);
        lists.spare = lists.unload();
        self.make_room(lists);
        (leaving, end)
    }

    /// Makes room for one object; a full list may have to leave.
    pub(super) fn admit(
        &self,
        lists: &mut Lists,
        weight: usize,
        limits: &Limits,
        leaving: &mut (Batch, End),
    ) -> Result<(), Reason> {
        if weight >= lists.bar {
            self.raise_bar(lists, weight, limits)?;
        }
        if !self.has_room(lists) {
            if lists.space() == 0 {
                *leaving = self.rotate(lists, limits);
            }
            self.make_room(lists);
        }
        if self.has_room(lists) {
            return Ok(());
        }
        self.grow_grant(lists, limits).or_else(|reason| {
            self.lower_bar(lists, weight, limits)
                .ok()
                .filter(|()| self.has_room(lists))
                .ok_or(reason)
        })
    }

    /// Makes room for one object that a limit has refused, if what is idle here is charged at more
    /// than it weighs: all of it leaves for the depot, where it is charged for exactly.
    pub(super) fn admit_alone(
        &self,
        lists: &mut Lists,
        weight: usize,
        limits: &Limits,
        leaving: &mut (Batch, End),
    ) -> bool {
        let idle = lists.idle();
        let exact = lists.spare.bytes.wrapping_add(lists.loaded_bytes());
        let bar = lists.bar.max(limits.bar_for(weight));
        if idle == 0 || Charge::of_objects(idle, bar).bytes <= exact {
            return false;
        }
        let [loaded, mut all] = self.strip(lists, limits);
        all.append(loaded);
        leaving.0.append(all);
        leaving.1 = End::Hot;
        self.admit(lists, weight, limits, leaving).is_ok()
    }

    /// Accepts heavier objects from now on, and fewer of them.
    pub(super) fn raise_bar(
        &self,
        lists: &mut Lists,
        weight: usize,
        limits: &Limits,
    ) -> Result<(), Reason> {
        let bar = limits.bar_for(weight).max(lists.bar);
        // With the object itself: one that does not fit must not raise what lighter ones are charged.
        let need = lists.idle() + 1;
        let grant = need.max(lists.grant as usize);
        self.regrant(lists, limits, Charge::NONE, grant, bar)
            // Give the unused part of the grant back, and try with what is really there.
            .or_else(|_| self.regrant(lists, limits, Charge::NONE, need, bar))?;
        self.make_room(lists);
        Ok(())
    }

    /// Asks for more to be charged for: slowly at first, so that many threads share a small
    /// limit, then a list at a time.
    pub(super) fn grow_grant(&self, lists: &mut Lists, limits: &Limits) -> Result<(), Reason> {
        let (grant, bar) = (lists.grant as usize, lists.bar);
        let more = grant.clamp(1, full_len(bar));
        self.regrant(lists, limits, Charge::NONE, grant.saturating_add(more), bar)
            .or_else(|_| self.regrant(lists, limits, Charge::NONE, grant.saturating_add(1), bar))?;
        self.make_room(lists);
        Ok(())
    }

    /// The limits allow no more objects of the most that the bar lets pass: asks for room for one
    /// that weighs `weight`, with all charged by what is really there. Walks both lists.
    pub(super) fn lower_bar(
        &self,
        lists: &mut Lists,
        weight: usize,
        limits: &Limits,
    ) -> Result<(), Reason> {
        if lists.bar <= weight.saturating_add(1) {
            return Ok(());
        }
        let bar = limits.bar_for(lists.heaviest().max(weight));
        if bar < lists.bar {
            let need = lists.idle() + 1;
            self.regrant(lists, limits, Charge::NONE, need, bar)?;
            self.make_room(lists);
        }
        Ok(())
    }

    /// Works the room out again, and lets pass what then fits.
    pub(super) fn make_room(&self, lists: &mut Lists) {
        // Relaxed: the bar is moved only by whoever may touch the lists.
        let before = self.gate.load(Ordering::Relaxed) & !SHUT;
        let change = lists.make_room() as isize - before;
        if change != 0 {
            // Relaxed: the order that matters comes with the gate's opening and with `busy`.
            self.gate.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Whether an object below the bar fits.
    pub(super) fn has_room(&self, lists: &Lists) -> bool {
        if lists.hot.is_null() {
            // Relaxed: as above.
            self.gate.load(Ordering::Relaxed) & !SHUT != 0
        } else {
            lists.room > 0
        }
    }

    /// What `regrant` and `shrink` trade.
    fn charge(lists: &Lists) -> Charge {
        Charge::of_objects(lists.grant as usize, lists.bar)
    }

    /// Trades the present charge, and what came `with_it`, for one of `grant` objects below `bar`.
    /// `Err` and nothing changed when the limits do not allow it. `make_room` is to follow.
    pub(super) fn regrant(
        &self,
        lists: &mut Lists,
        limits: &Limits,
        with_it: Charge,
        grant: usize,
        bar: usize,
    ) -> Result<(), Reason> {
        if limits.bounded() {
            let need = Charge::of_objects(grant, bar);
            limits.trade(Self::charge(lists).plus(with_it), need)?;
            lists.grant = grant as u32;
        }
        lists.bar = bar.min(MAX_WEIGHT + 1);
        Ok(())
    }

    /// Lowers the charge to `grant` objects, and gives the rest back but what is to `keep`.
    pub(super) fn shrink(&self, lists: &mut Lists, limits: &Limits, keep: Charge, grant: usize) {
        if limits.bounded() {
            let before = Self::charge(lists);
            lists.grant = grant as u32;
            let traded = limits.trade(before, Self::charge(lists).plus(keep));
            debug_assert!(
                traded.is_ok(),
                "I7: exact weights never exceed what was charged for them"
            );
        }
    }

    /// Empty lists, nothing charged for, and no room: the first return takes the slow path, which
    /// tells the janitor.
    pub(super) fn start(&self, lists: &mut Lists, limits: &Limits) {
        lists.grant = 0;
        self.make_room(lists);
        lists.grant = if limits.bounded() { 0 } else { u32::MAX };
        lists.bar = limits.first_bar().min(MAX_WEIGHT + 1);
    }
}

/// The length of a full list below this bar. The heaviest that passes weighs one less than it.
pub(crate) fn full_len(bar: usize) -> usize {
    (LIST_BYTES / bar.saturating_sub(1).max(1)).clamp(1, LIST_LEN)
}

#[cold]
#[inline]
fn cold() {}

impl Lists {
    /// # Safety
    /// Inside the critical section (I2).
    #[inline(always)]
    pub(super) unsafe fn pop(&mut self) -> *mut Link {
        let mut link = self.hot;
        if link.is_null() {
            cold();
            link = self.loaded;
            if !link.is_null() {
                // SAFETY: I1: the list holds its nodes.
                self.loaded = unsafe { Link::next(link) };
                self.room += 1;
            }
        } else {
            self.hot = ptr::null_mut();
        }
        link
    }

    /// The top object, if it is in its slot.
    #[cfg(any(feature = "bytes", repool_loom))]
    #[inline(always)]
    pub(super) fn top(&self) -> Option<*mut Link> {
        (!self.hot.is_null()).then_some(self.hot)
    }

    /// `false` when there is no room.
    ///
    /// # Safety
    /// Inside the critical section (I2), and the bar at the gate is above `weight`; the caller holds
    /// the node and gives it up on `true`.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, link: *mut Link, weight: usize) -> bool {
        let below = self.hot;
        if !below.is_null() {
            cold();
            if self.room <= 0 {
                return false;
            }
            self.room -= 1;
            // SAFETY: I1: the slot holds its node.
            unsafe { Link::set_next(below, self.loaded) };
            self.loaded = below;
        }
        self.hot = link;
        self.returned = self.returned.wrapping_add(1);
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

    /// Objects in the loaded list, with its top.
    pub(super) fn loaded_len(&self) -> usize {
        (self.base - self.room) as usize + usize::from(!self.hot.is_null())
    }

    /// Objects in both lists.
    pub(crate) fn idle(&self) -> usize {
        self.loaded_len() + self.spare.len
    }

    pub(super) fn loaded_bytes(&self) -> usize {
        // SAFETY: I1, I2: whoever calls this may touch the lists.
        let mut bytes = unsafe { Link::weights(self.loaded) };
        if !self.hot.is_null() {
            // SAFETY: as above.
            bytes = bytes.wrapping_add(unsafe { Link::weight(self.hot) });
        }
        bytes
    }

    /// Shows every node to `look`, which reads and nothing else.
    pub(crate) fn each(&self, mut look: impl FnMut(*mut Link)) {
        if !self.hot.is_null() {
            look(self.hot);
        }
        for mut link in [self.loaded, self.spare.head] {
            while !link.is_null() {
                look(link);
                // SAFETY: I1, I2: whoever calls this may touch the lists.
                link = unsafe { Link::next(link) };
            }
        }
    }

    fn heaviest(&self) -> usize {
        let mut heaviest = 0;
        self.each(|link| {
            // SAFETY: I1, I2: whoever calls this may touch the lists.
            heaviest = heaviest.max(unsafe { Link::weight(link) });
        });
        heaviest
    }

    /// Makes `head`, of `len` nodes, the loaded list. `make_room` is to follow.
    pub(super) fn load(&mut self, head: *mut Link, len: usize) {
        self.loaded = head;
        (self.base, self.room) = (len as i32, 0);
    }

    /// Takes the loaded list out, with its figures. `make_room` is to follow.
    pub(super) fn unload(&mut self) -> Batch {
        let (len, bytes) = (self.loaded_len(), self.loaded_bytes());
        (self.base, self.room) = (0, 0);
        let mut head = std::mem::replace(&mut self.loaded, ptr::null_mut());
        let hot = std::mem::replace(&mut self.hot, ptr::null_mut());
        if !hot.is_null() {
            // SAFETY: I1: the slot held its node.
            unsafe { Link::set_next(hot, head) };
            head = hot;
        }
        Batch { head, len, bytes }
    }

    /// Takes the spare list out of the cache.
    pub(super) fn take_spare(&mut self) -> Batch {
        let spare = self.spare.take();
        self.seen.aside = 0;
        self.moved = self.moved.wrapping_sub(spare.len);
        spare
    }

    /// Takes out what is still there of what the last pass has set aside.
    fn take_aside(&mut self) -> Batch {
        let needed = self.spare.split_top(self.needed());
        let aside = std::mem::replace(&mut self.spare, needed);
        self.seen.aside = 0;
        self.moved = self.moved.wrapping_sub(aside.len);
        aside
    }

    /// How many nodes of `spare` are not set aside; those are at the top.
    fn needed(&self) -> usize {
        self.spare.len - self.seen.aside as usize
    }

    fn all_aside(&self) -> bool {
        self.needed() == 0
    }

    /// `loaded` is empty: takes what is needed of the spare list, or one of what a pass has set
    /// aside, so that the rest can go. `make_room` is to follow.
    pub(super) fn turn(&mut self) {
        let sip = self.all_aside();
        self.seen.aside -= u16::from(sip);
        let top = self.spare.split_top(self.needed());
        self.load(top.head, top.len);
    }

    /// What still fits by length: a full list, and with what is set aside two of them.
    pub(super) fn space(&self) -> usize {
        let (full, len) = (full_len(self.bar), self.loaded_len());
        let space = full.saturating_sub(len);
        if self.seen.aside != 0 {
            space.min((2 * full).saturating_sub(len + self.spare.len))
        } else {
            space
        }
    }

    /// Fills the slot, and works `room` out again. What the gate may let pass from now on: the bar,
    /// or nothing where not even the slot may be filled.
    fn make_room(&mut self) -> usize {
        if self.hot.is_null() && !self.loaded.is_null() {
            self.hot = self.loaded;
            // SAFETY: I1, I2: whoever calls this may touch the lists.
            self.loaded = unsafe { Link::next(self.hot) };
            self.room += 1;
        }
        let len = self.loaded_len();
        let by_grant = (self.grant as usize).saturating_sub(len + self.spare.len);
        let more = self.space().min(by_grant);
        // An empty slot (of an empty list, then) takes the first.
        let below = more.saturating_sub(usize::from(len == 0));
        self.room = below as i32;
        self.base = (len.saturating_sub(1) + below) as i32;
        if len + more == 0 { 0 } else { self.bar }
    }
}
