//! [`Shared`]: what readers of statistics see of a cache's lists.
//!
//! # Who may touch what
//! The thread inside the critical section (I2) writes it with plain loads and stores. Any thread may read it at any time.
//!
//! # Orderings
//! Counters never go back, so a reader must not count an object as handed out that has only moved. The stores of slow
//! paths, and of `returned` on a hit, are Release. They pair with the readers' Acquire loads: a reader that sees one of
//! these stores sees the earlier ones. On x86-64 both are plain moves. The other stores of a hit, and the owner's own
//! loads, are Relaxed: a reader that misses one still counts an object that has just left, or counts a return late.
//!
//! No mutants: loom leaves statistics to std. Miri, where a reader may see Relaxed stores out of order, runs
//! `no_hit_is_counted_before_it_happens` (`cache/tests.rs`).

use super::node::Link;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{StatI32, StatPtr, StatUsize};
use std::ptr;

/// The part of a cache that any thread may read.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Shared {
    /// The slot: the top of the loaded list, which is the object that came back last. Null if a get has taken it.
    pub(super) top: StatPtr<Link>,
    /// Objects that came back.
    pub(super) returned: StatUsize,
    /// Objects that moved in batches: those that entered less those that left, wrapping.
    pub(super) moved: StatUsize,
    /// How many more nodes `loaded` takes before a return has to take the slow path.
    pub(super) room: StatI32,
    /// `room` plus the number of nodes in both lists below the top: readers compute that number as `below - room`.
    pub(super) below: StatI32,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            top: StatPtr::new(ptr::null_mut()),
            returned: StatUsize::new(0),
            moved: StatUsize::new(0),
            room: StatI32::new(0),
            below: StatI32::new(0),
        }
    }

    #[inline(always)]
    pub(super) fn top(&self) -> *mut Link {
        self.top.load(Relaxed)
    }

    #[inline(always)]
    pub(super) fn room(&self) -> i32 {
        self.room.load(Relaxed)
    }

    #[inline(always)]
    pub(super) fn set_room(&self, room: i32) {
        self.room.store(room, Relaxed);
    }

    #[inline(always)]
    pub(super) fn returned(&self) -> usize {
        // Acquire: pairs with the Release in `push`: a reader that counts a return also sees the object idle.
        self.returned.load(Acquire)
    }

    pub(super) fn moved(&self) -> usize {
        // Acquire: pairs with the Release in `move_in`.
        self.moved.load(Acquire)
    }

    /// The number of objects in both lists. A reader that races with changes may get a number that is too high, but not
    /// one that is too low. The objects handed out are those that came in less those idle, and that counter must not
    /// go back.
    ///
    /// So this reads the slot and the room both before and after the words that are counted with them. That is enough
    /// if at most one slow path runs meanwhile; see `Cache::stats`. Acquire: pairs with the Release in `load`,
    /// `unload`, `make_room`, `set_room_and_below`.
    pub(super) fn idle(&self) -> usize {
        self.idle_while(|| ())
    }

    /// [`Shared::idle`], with `meanwhile` between its loads. Tests change the lists there.
    #[inline(always)]
    fn idle_while(&self, mut meanwhile: impl FnMut()) -> usize {
        let filled_before = !self.top.load(Acquire).is_null();
        meanwhile();
        let room_before = self.room.load(Acquire);
        meanwhile();
        let below = self.below.load(Acquire);
        meanwhile();
        let room = self.room.load(Acquire).min(room_before);
        meanwhile();
        let filled = filled_before || !self.top.load(Acquire).is_null();
        usize::try_from(below.wrapping_sub(room)).unwrap_or(0) + usize::from(filled)
    }

    /// Stores both, in the order in which a reader in between counts too many ([`Shared::idle`]). `meanwhile` runs in
    /// between, for tests. Release: a reader sees that order.
    #[inline(always)]
    pub(super) fn set_room_and_below(&self, room: i32, below: i32, meanwhile: impl FnOnce()) {
        if room > self.room() {
            self.below.store(below, Release);
            meanwhile();
            self.room.store(room, Release);
        } else {
            self.room.store(room, Release);
            meanwhile();
            self.below.store(below, Release);
        }
    }
}

#[cfg(test)]
mod tests;
