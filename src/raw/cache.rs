//! A thread's cache of idle objects in one pool: the hit path, and what owners and visitors do there.
//!
//! `gate.rs` decides which thread may touch the lists, and `lists.rs` has the lists.
//!
//! A hit counts only returns, in a word on the owner's cache line. The number of hits follows: the objects that came in
//! less those still idle. Any thread may read the counters at any time ([`Cache::stats`]). A hit does not count bytes.
//! They are known exactly after a visitor has walked the lists, until a hit changes the lists.
//!
//! # What was tried
//! Times are for a tight pair of get and drop (`ratios`, AMD EPYC, rustc 1.95, 2026-11-22).
//! - An array of pointers instead of the intrusive list (a prototype): 13 to 15 ns against 7 to 10.
//! - The top object linked like the others, without a slot: 3.6 ns against 3.3, 62 instructions against 59.
//! - A thread-local pointer to the cache that was used last, so that a return does not wait for its node: no faster.
//! - The four stores to `busy` cost 0.3 of the 3.3 ns.
//! - The weight stored on every return, changed or not: one instruction fewer, and 2 to 5 % slower.

use super::gate::{DRAIN, Gate, INACTIVE, LISTED, MISSED, OCCUPIED, Shut};
use super::limits::Limits;
use super::lists::{Leaving, Lists, ListsMut};
use super::node::{Batch, Link, OpaqueCache};
use super::shared::Shared;
use super::stats::PartStats;
use crate::sync::{AtomicPtr, IN_MODELS, Ordering, StatUsize, UnsafeCell};
use std::ptr;

/// A thread's cache in one pool. All zeros are a valid vacant cache (I9).
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Cache {
    /// The [`stamp`] of the lists when a visitor last walked them; 0 if a batch has moved since. (The gate starts
    /// 8 bytes into the cache: at its very start it was 10 % slower.)
    known_at: StatUsize,
    pub(super) gate: Gate,
    pub(super) shared: Shared,
    lists: UnsafeCell<Lists>,
    /// The weight of the lists at that time.
    known_bytes: StatUsize,
    /// The cache that was put on the core's list before this one. Written once, before this one is on the list.
    pub(super) next_listed: AtomicPtr<Cache>,
}

const _: () = assert!(
    IN_MODELS || size_of::<Cache>() <= 128,
    "two caches per 256 bytes"
);

// SAFETY: the lists are accessed only under the protocol (I2), and every other field is atomic. The objects that move
// between threads with them are `Send` (a bound of `Pool<T>`).
unsafe impl Send for Cache {}
// SAFETY: as above.
unsafe impl Sync for Cache {}

/// The outcome of a return on the slow path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Returned {
    /// The cache has the object.
    Kept,
    /// The pool's limits left no room for the object.
    Refused,
}

impl Cache {
    /// A cache without an owner.
    pub(crate) fn vacant() -> Self {
        Self {
            known_at: StatUsize::new(0),
            gate: Gate::vacant(),
            shared: Shared::new(),
            lists: UnsafeCell::new(Lists::new()),
            known_bytes: StatUsize::new(0),
            next_listed: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The pointer to this cache that nodes hold, with the provenance of the whole cache.
    pub(crate) fn as_opaque(&self) -> *const OpaqueCache {
        ptr::from_ref(self).cast()
    }

    /// The cache that a node points to.
    ///
    /// # Safety
    /// The pointer is not null, and the node's core is alive.
    #[inline(always)]
    pub(crate) unsafe fn at<'a>(opaque: *const OpaqueCache) -> &'a Cache {
        // SAFETY: from `as_opaque`. Caches live as long as their core.
        unsafe { &*opaque.cast::<Cache>() }
    }

    /// # Safety
    /// The caller may touch the lists (I2) while `work` runs. `work` moves pointers and nothing else (I5).
    #[inline(always)]
    unsafe fn touch<R>(&self, work: impl FnOnce(&mut ListsMut<'_>) -> R) -> R {
        self.lists.with_mut(|lists| {
            work(&mut ListsMut {
                gate: &self.gate,
                shared: &self.shared,
                known_at: &self.known_at,
                // SAFETY: I2: no other thread is at the lists.
                lists: unsafe { &mut *lists },
            })
        })
    }

    /// [`Cache::touch`] for slow paths and visitors: marks the change for readers of statistics.
    ///
    /// # Safety
    /// As [`Cache::touch`].
    unsafe fn touch_slow<R>(&self, work: impl FnOnce(&mut ListsMut<'_>) -> R) -> R {
        self.gate.change();
        // SAFETY: guaranteed by the caller.
        let done = unsafe { self.touch(work) };
        self.gate.change();
        done
    }

    // ---------------------------------------------------------------- the hit path

    /// Pops the top object; null if there is none, or the gate is shut.
    ///
    /// # Safety
    /// The caller is the owner, and `fence` is its half of the fence pair.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self, fence: impl FnOnce()) -> *mut Link {
        // SAFETY: I2: inside the critical section.
        let pop = || unsafe { self.touch(|lists| lists.pop()) };
        // SAFETY: guaranteed by the caller.
        unsafe { self.gate.critical_section(0, fence, ptr::null_mut(), pop) }
    }

    /// Resets an object and pushes it on top. `false`, and no change, if the return has to take the slow path.
    ///
    /// # Safety
    /// The caller is the owner, and `fence` is its half of the fence pair. The node belongs to this core. The caller
    /// holds it, and gives it up if this returns `true`. `weight` is at most `isize::MAX`. `reset` runs inside the
    /// critical section: it changes the object and nothing else, and does not panic (I5).
    #[inline(always)]
    pub(crate) unsafe fn push(
        &self,
        link: *mut Link,
        weight: usize,
        fence: impl FnOnce(),
        reset: impl FnOnce(),
    ) -> bool {
        debug_assert!(isize::try_from(weight).is_ok());
        let push = || {
            // SAFETY: the threshold is above the weight, and the caller holds the node.
            let push = |lists: &mut ListsMut<'_>| unsafe { lists.push(link, weight, reset) };
            // SAFETY: I2: inside the critical section.
            unsafe { self.touch(push) }
        };
        // SAFETY: guaranteed by the caller.
        unsafe {
            self.gate
                .critical_section(weight as isize, fence, false, push)
        }
    }

    /// Calls `work` with the top object, which stays in its slot. `None` if the slot is empty, or the gate is shut.
    ///
    /// # Safety
    /// The caller is the owner, and `fence` is its half of the fence pair. `work` changes neither the node's link nor
    /// the list, and may run inside the critical section (I5).
    #[inline(always)]
    pub(crate) unsafe fn with_top<R>(
        &self,
        fence: impl FnOnce(),
        work: impl FnOnce(*mut Link) -> R,
    ) -> Option<R> {
        // SAFETY: I2: inside the critical section.
        let look = || unsafe { self.touch(|lists| lists.top().map(work)) };
        // SAFETY: guaranteed by the caller.
        unsafe { self.gate.critical_section(0, fence, None, look) }
    }

    // ---------------------------------------------------------------- the owner's slow path

    /// Runs `work` as the owner.
    ///
    /// # Safety
    /// The caller is the owner. `work` moves pointers and nothing else (I5).
    unsafe fn as_owner<R>(&self, work: impl FnOnce(&mut ListsMut<'_>) -> R) -> Result<R, Shut> {
        // SAFETY: I2: inside the critical section.
        let work = || unsafe { self.touch_slow(work) };
        // SAFETY: guaranteed by the caller.
        unsafe { self.gate.as_owner(work) }
    }

    /// Whether there is nothing to pop. For the owner: visitors remove objects, but add none.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.idle() == 0
    }

    /// [`Cache::pop`] that also uses the spare list.
    ///
    /// # Safety
    /// The caller is the owner.
    pub(crate) unsafe fn pop_slow(&self) -> Result<*mut Link, Shut> {
        let work = |lists: &mut ListsMut<'_>| {
            if lists.loaded_len() == 0 {
                lists.load_spare();
            }
            lists.pop()
        };
        // SAFETY: the caller is the owner.
        unsafe { self.as_owner(work) }
    }

    /// Loads a batch from the depot into the empty lists, or leaves it as it is. `keep_charge` is that of
    /// [`ListsMut::admit_batch`].
    ///
    /// # Safety
    /// The caller is the owner, and the batch belongs to this core.
    pub(crate) unsafe fn load(&self, batch: &mut Batch, limits: &Limits, keep_charge: bool) {
        let work = |lists: &mut ListsMut<'_>| {
            if lists.idle() == 0 {
                lists.admit_batch(batch, limits, keep_charge);
            }
        };
        // SAFETY: the caller is the owner.
        let _ = unsafe { self.as_owner(work) };
    }

    /// [`Cache::push`] of an object that has been reset, with rotation, weights and limits. `leaving` is empty, and gets
    /// the full list that has to go to the depot, if there is one.
    ///
    /// # Safety
    /// As [`Cache::push`], but the caller gives the node up only if this returns `Ok(Kept)`.
    pub(crate) unsafe fn push_slow(
        &self,
        link: *mut Link,
        weight: usize,
        limits: &Limits,
        leaving: &mut Leaving,
    ) -> Result<Returned, Shut> {
        let work = |lists: &mut ListsMut<'_>| {
            lists.restore_room();
            if lists.admit(weight, limits, leaving).is_err() {
                return Returned::Refused;
            }
            // SAFETY: I2: inside the critical section. The caller holds the node.
            let kept = unsafe { lists.push(link, weight, || ()) };
            debug_assert!(kept, "room was made");
            if kept {
                Returned::Kept
            } else {
                Returned::Refused
            }
        };
        // SAFETY: the caller is the owner.
        unsafe { self.as_owner(work) }
    }

    /// Removes everything, for the depot, and releases the unused part of the charge. The hottest object is on top.
    ///
    /// # Safety
    /// The caller is the owner.
    pub(crate) unsafe fn hand_over(&self, limits: &Limits) -> Result<Batch, Shut> {
        let work = |lists: &mut ListsMut<'_>| {
            let [loaded, mut all] = lists.drain(limits);
            all.append(loaded);
            all
        };
        // SAFETY: the caller is the owner.
        unsafe { self.as_owner(work) }
    }

    // ---------------------------------------------------------------- owners come and go
    // The caller of each function holds `Core::visits`.

    /// Makes a vacant cache ready for its new owner.
    ///
    /// # Safety
    /// The caller is about to become the owner, and holds `Core::visits`.
    pub(crate) unsafe fn occupy(&self, limits: &Limits, inactive: bool) {
        // SAFETY: I2: the cache is vacant, so it has no owner; the caller holds the visits, so there is no visitor.
        unsafe { self.touch_slow(|lists| lists.start(limits)) };
        self.gate.set(INACTIVE, inactive);
        self.gate.set(OCCUPIED, true);
    }

    /// Removes everything and makes the cache vacant, because the owner's thread ends.
    ///
    /// # Safety
    /// The caller is the owner, does not use the cache again, and holds `Core::visits`.
    pub(crate) unsafe fn vacate(&self, limits: &Limits) -> [Batch; 2] {
        // SAFETY: I2: the caller is the owner and outside; it holds the visits, so there is no visitor.
        let all = unsafe { self.touch_slow(|lists| lists.drain(limits)) };
        self.gate.set(OCCUPIED | INACTIVE | DRAIN | MISSED, false);
        all
    }

    /// Removes everything, at the request of a visitor that could not enter.
    ///
    /// # Safety
    /// The caller is the owner, and holds `Core::visits`.
    pub(crate) unsafe fn drain(&self, limits: &Limits) -> [Batch; 2] {
        // SAFETY: I2: as in `vacate`.
        let all = unsafe { self.touch_slow(|lists| lists.drain(limits)) };
        self.gate.set(DRAIN, false);
        all
    }

    /// Runs `work` as the visitor.
    ///
    /// # Safety
    /// The caller holds `Core::visits`, has called `Gate::begin_visit`, then issued the heavy fence, and then seen
    /// `Gate::owner_is_out`. `work` moves pointers and nothing else (I5).
    pub(crate) unsafe fn enter<R>(&self, work: impl FnOnce(&mut ListsMut<'_>) -> R) -> R {
        // SAFETY: I2: the gate is shut, and after a heavy fence the owner was outside.
        unsafe { self.touch_slow(work) }
    }

    /// Makes the cache look as if its owner had been lost inside, in a fork (`true`), or undoes that.
    #[cfg(test)]
    pub(crate) fn lose_owner_inside(&self, lost: bool) {
        self.gate.lose_owner_inside(lost);
    }

    pub(crate) fn is_occupied(&self) -> bool {
        self.gate.has(OCCUPIED)
    }

    pub(crate) fn is_listed(&self) -> bool {
        self.gate.has(LISTED)
    }

    /// Whether a visitor has asked the owner to drain the cache.
    pub(crate) fn is_drain_requested(&self) -> bool {
        self.gate.has(DRAIN)
    }

    // ---------------------------------------------------------------- statistics

    /// What the cache has done and holds, and whether the bytes are exact.
    pub(crate) fn stats(&self) -> (PartStats, bool) {
        let returned = self.shared.returned();
        let (moved, idle) = self.moved_and_idle();
        let (bytes, known_at) = (
            self.known_bytes.load(Ordering::Relaxed),
            self.known_at.load(Ordering::Relaxed),
        );
        let exact = idle == 0 || known_at == stamp(returned, idle);
        let known_idle = known_at % STAMP_IDLE;
        let idle_bytes = if exact || known_idle == 0 {
            bytes
        } else {
            // Estimated by the average weight that a visitor last saw here.
            (bytes / known_idle).saturating_mul(idle)
        };
        let stats = PartStats {
            reused: returned.wrapping_add(moved).wrapping_sub(idle),
            returned,
            idle,
            idle_bytes: if idle == 0 { 0 } else { idle_bytes },
        };
        (stats, exact)
    }

    /// The balance of batches, and the number of objects in both lists. While a slow path runs, the first may be too
    /// low and the second too high, but never the other way: the number of objects handed out is never overstated.
    fn moved_and_idle(&self) -> (usize, usize) {
        self.moved_and_idle_while(|| ())
    }

    /// [`Cache::moved_and_idle`], with `meanwhile` between its loads. Tests change the lists there.
    fn moved_and_idle_while(&self, mut meanwhile: impl FnMut()) -> (usize, usize) {
        let (mut moved, mut idle) = (self.shared.moved(), 0);
        for _ in 0..LOOKS {
            meanwhile();
            let before = self.gate.changes();
            meanwhile();
            let moved_now = self.shared.moved();
            meanwhile();
            let now = (moved_now, self.shared.idle());
            meanwhile();
            if before % 2 == 0 && before == self.gate.changes() {
                return now;
            }
            // A batch that enters is counted after it is in, and one that leaves before it is out (`lists.rs`).
            for moved_now in [now.0, self.shared.moved()] {
                if (moved.wrapping_sub(moved_now) as isize) > 0 {
                    moved = moved_now;
                }
            }
            idle = idle.max(now.1);
        }
        (moved, idle)
    }

    /// Records the weight of the lists. For a visitor inside.
    pub(crate) fn note_bytes(&self, lists: &ListsMut<'_>) {
        let stamp = stamp(self.shared.returned(), lists.idle());
        self.known_bytes
            .store(lists.idle_bytes(), Ordering::Relaxed);
        self.known_at.store(stamp, Ordering::Relaxed);
    }
}

/// How often a reader of statistics looks for a moment without a slow path at work.
const LOOKS: usize = 8;
/// More objects than a cache can hold.
const STAMP_IDLE: usize = 1 << 12;

/// Identifies a state of the lists between batches: hits change it. The low digits are the number of objects. Never 0.
fn stamp(returned: usize, idle: usize) -> usize {
    let idle = idle.min(STAMP_IDLE - 1);
    returned
        .wrapping_add(1)
        .wrapping_mul(STAMP_IDLE)
        .wrapping_add(idle)
}

#[cfg(test)]
mod tests;
