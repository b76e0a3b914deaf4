//! What the owner/visitor protocol guards: a cache's two lists, and what is done to them inside the
//! critical section. Pointers are moved and figures follow; no user code, no allocation, no panic
//! (I5).
//!
//! A return that finds the loaded list full makes it the spare one (`rotate`), and what was there
//! leaves for the depot; a get that finds it empty takes the spare one (`turn`). So a thread that
//! goes back and forth at the boundary meets the depot once per list at most.

use super::{Cache, LIST_BYTES, LIST_LEN, MAX_WEIGHT, SHUT, SIP};
use crate::depot::End;
use crate::limits::{Charge, Limits};
use crate::node::{Batch, Link};
use crate::stats::Reason;
use crate::sync::Ordering;
use std::ptr;

/// What the protocol guards. In this order: what a hit touches shares a line with the flags.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Lists {
    /// The list that get and drop work on.
    pub(super) loaded: *mut Link,
    /// How many more nodes `loaded` takes before the slow path has to look.
    pub(super) room: i32,
    /// `loaded`'s length plus `room`; so its length is `base - room`.
    pub(super) base: i32,
    /// Objects that came back to `loaded`.
    pub(super) returned: usize,
    /// The other list: full, or set aside by a pass.
    pub(super) spare: Batch,
    /// Objects that came and went by the batch, wrapping: in minus out.
    pub(super) moved: usize,
    /// Objects that this cache is charged for in a bounded pool, each at `bar - 1` bytes.
    pub(super) grant: u32,
    /// A pass has set `spare` aside, and what is still there at the next pass was not needed.
    pub(super) aside: bool,
    pub(super) seen: Seen,
}

/// What the last pass saw, to tell whether the owner was at work since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) returned: usize,
    pub(super) moved: u32,
    pub(super) idle: u32,
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
            returned: lists.returned,
            moved: lists.moved as u32,
            idle: lists.idle() as u32,
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
        if lists.aside {
            unneeded = lists.take_spare();
            let keep = Charge {
                objects: unneeded.len,
                bytes: unneeded.bytes,
            };
            let idle = lists.idle();
            self.shrink(lists, limits, keep, idle);
        }
        let loaded = lists.unload();
        lists.spare.append(loaded);
        lists.aside = !lists.spare.is_empty();
        lists.make_room(self.bar_of());
        lists.seen.idle = lists.idle() as u32;
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
        let end = if lists.aside { End::Cold } else { End::Hot };
        let leaving = lists.take_spare();
        let keep = Charge {
            objects: leaving.len,
            bytes: leaving.bytes,
        };
        let grant = (lists.grant as usize).saturating_sub(leaving.len);
        self.shrink(lists, limits, keep, grant);
        lists.spare = lists.unload();
        lists.make_room(self.bar_of());
        (leaving, end)
    }

    /// Accepts heavier objects from now on, and fewer of them.
    pub(super) fn raise_bar(
        &self,
        lists: &mut Lists,
        weight: usize,
        limits: &Limits,
    ) -> Result<(), Reason> {
        let bar = limits.bar_for(weight).max(self.bar_of());
        let grant = lists.grant as usize;
        let idle = lists.idle();
        self.regrant(lists, limits, Charge::NONE, grant, bar)
            // Give the unused part of the grant back, and try with what is really there.
            .or_else(|_| self.regrant(lists, limits, Charge::NONE, idle, bar))?;
        lists.make_room(bar);
        Ok(())
    }

    /// Asks for more to be charged for: slowly at first, so that many threads share a small
    /// limit, then a list at a time.
    pub(super) fn grow_grant(&self, lists: &mut Lists, limits: &Limits) -> Result<(), Reason> {
        let (grant, bar) = (lists.grant as usize, self.bar_of());
        let more = grant.clamp(1, full_len(bar));
        self.regrant(lists, limits, Charge::NONE, grant.saturating_add(more), bar)
            .or_else(|_| self.regrant(lists, limits, Charge::NONE, grant.saturating_add(1), bar))?;
        lists.make_room(bar);
        Ok(())
    }

    /// The bar, whether the gate is shut or not.
    pub(super) fn bar_of(&self) -> usize {
        // Relaxed: the bar is moved only by whoever may touch the lists.
        (self.gate.load(Ordering::Relaxed) & !SHUT) as usize
    }

    /// Moves the bar, and leaves the gate open or shut as it is.
    pub(super) fn set_bar(&self, bar: usize) {
        let change = bar.min(MAX_WEIGHT + 1) as isize - self.bar_of() as isize;
        if change != 0 {
            // Relaxed: the order that matters comes with the gate's opening and with `busy`.
            self.gate.fetch_add(change, Ordering::Relaxed);
        }
    }

    pub(super) fn charge(&self, lists: &Lists) -> Charge {
        Charge::of_objects(lists.grant as usize, self.bar_of())
    }

    /// Trades the present charge, and what came `with_it`, for one of `grant` objects below `bar`.
    /// `Err` and nothing changed when the limits do not allow it.
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
            limits.trade(self.charge(lists).plus(with_it), need)?;
            lists.grant = grant as u32;
        }
        self.set_bar(bar);
        Ok(())
    }

    /// Lowers the charge to `grant` objects, and gives the rest back but what is to `keep`.
    pub(super) fn shrink(&self, lists: &mut Lists, limits: &Limits, keep: Charge, grant: usize) {
        if limits.bounded() {
            let before = self.charge(lists);
            lists.grant = grant as u32;
            let traded = limits.trade(before, self.charge(lists).plus(keep));
            debug_assert!(
                traded.is_ok(),
                "I7: exact weights never exceed what was charged for them"
            );
        }
    }

    /// Empty lists, nothing charged for, and no room: the first return takes the slow path, which
    /// tells the janitor.
    pub(super) fn start(&self, lists: &mut Lists, limits: &Limits) {
        lists.grant = if limits.bounded() { 0 } else { u32::MAX };
        self.set_bar(limits.first_bar());
        (lists.base, lists.room) = (0, 0);
    }
}

/// The length of a full list below this bar. The heaviest that passes weighs one less than it.
pub(crate) fn full_len(bar: usize) -> usize {
    (LIST_BYTES / bar.saturating_sub(1).max(1)).clamp(1, LIST_LEN)
}

impl Lists {
    /// # Safety
    /// Inside the critical section (I2).
    #[inline(always)]
    pub(super) unsafe fn pop_loaded(&mut self) -> *mut Link {
        let link = self.loaded;
        if !link.is_null() {
            // SAFETY: I1: the list holds its nodes.
            self.loaded = unsafe { Link::next(link) };
            self.room += 1;
        }
        link
    }

    /// # Safety
    /// Inside the critical section (I2); the caller holds the node and gives it up on `true`.
    #[inline(always)]
    pub(super) unsafe fn push_loaded(&mut self, link: *mut Link, weight: usize) -> bool {
        self.room -= 1;
        if self.room < 0 {
            self.undo_slow();
            return false;
        }
        self.returned = self.returned.wrapping_add(1);
        // SAFETY: the caller holds the node.
        unsafe { Link::set_weight(link, weight) };
        // SAFETY: as above.
        unsafe { Link::set_next(link, self.loaded) };
        self.loaded = link;
        true
    }

    /// Out of line, so that the test above stays one decrement and one jump.
    #[cold]
    #[inline(never)]
    pub(super) fn undo_slow(&mut self) {
        self.room += 1;
    }

    pub(super) fn loaded_len(&self) -> usize {
        (self.base - self.room) as usize
    }

    /// Objects in both lists.
    pub(super) fn idle(&self) -> usize {
        self.loaded_len() + self.spare.len
    }

    pub(super) fn loaded_bytes(&self) -> usize {
        // SAFETY: I1, I2: whoever calls this may touch the lists.
        unsafe { Link::weights(self.loaded) }
    }

    /// Makes `head`, of `len` nodes, the loaded list.
    pub(super) fn load(&mut self, head: *mut Link, len: usize, bar: usize) {
        self.loaded = head;
        (self.base, self.room) = (len as i32, 0);
        self.make_room(bar);
    }

    /// Takes the loaded list out, with its figures. `make_room` is to follow.
    pub(super) fn unload(&mut self) -> Batch {
        let (len, bytes) = (self.loaded_len(), self.loaded_bytes());
        (self.base, self.room) = (0, 0);
        Batch {
            head: std::mem::replace(&mut self.loaded, ptr::null_mut()),
            len,
            bytes,
        }
    }

    /// Takes the spare list out of the cache.
    pub(super) fn take_spare(&mut self) -> Batch {
        let spare = self.spare.take();
        self.aside = false;
        self.moved = self.moved.wrapping_sub(spare.len);
        spare
    }

    /// `loaded` is empty: takes the spare list, or a sip of it when a pass has set it aside.
    pub(super) fn turn(&mut self, bar: usize) {
        // Of heavy objects a sip is one, so that an outlier below the one in use can go.
        let sip = SIP.min(full_len(bar));
        let count = if self.aside { sip } else { usize::MAX };
        let top = self.spare.split_top(count);
        self.aside &= !self.spare.is_empty();
        self.load(top.head, top.len, bar);
    }

    /// What still fits by length: a full list, and with what is set aside two of them.
    pub(super) fn space(&self, bar: usize) -> usize {
        let (full, len) = (full_len(bar), self.loaded_len());
        let space = full.saturating_sub(len);
        if self.aside {
            space.min((2 * full).saturating_sub(len + self.spare.len))
        } else {
            space
        }
    }

    /// Works `room` out again.
    pub(super) fn make_room(&mut self, bar: usize) {
        let len = self.loaded_len();
        let by_length = self.space(bar);
        let by_grant = (self.grant as usize).saturating_sub(len + self.spare.len);
        self.room = by_length.min(by_grant) as i32;
        self.base = len as i32 + self.room;
    }
}
