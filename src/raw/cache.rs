//! A thread's cache of idle objects in one pool: the hit path, and what owners and visitors do there.
//!
//! When each thread may touch the lists is in `gate.rs`; the lists are in `lists.rs`.
//!
//! A hit counts nothing but returns, in a word of the owner's line. The other figures
//! follow from that: hits are what came in less what is still there. Any thread may read it
//! ([`Cache::stats`]) at any time. Bytes are not counted on a hit: they are known exactly when a visitor has
//! walked the lists, and until a hit changes them.
//!
//! # What was tried
//! An array of pointers instead of the intrusive list: 13–15 ns against 7–10 for the tight pair
//! (prototype, `design.md`). The list's top linked like the rest, without a slot of its own: 3.6 ns
//! against 3.3, 62 instructions against 59. A thread-local pointer to the cache that was used last,
//! so that a return need not wait for its node to say where it goes: no faster. The four stores
//! to `busy` cost 0.3 ns of a pair's 3.3. The weight written on each return, changed or not: one
//! instruction fewer, and 2 to 5 % slower. (`ratios`, AMD EPYC, rustc 1.95, 2026-11-22.)

use super::gate::{INACTIVE, DRAIN, Gate, LISTED, MISSED, OCCUPIED, Shut};
use super::limits::Limits;
use super::lists::{ListsMut, Lists, Shared};
use super::node::{Batch, End, Link, OpaqueCache};
use super::stats::PartStats;
use crate::sync::{AtomicPtr, IN_MODELS, StatUsize, Ordering, UnsafeCell};
use std::ptr;

/// A thread's cache in one pool. All zero is a valid vacant cache (I9).
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Cache {
    /// What the figures were when a visitor walked the lists last ([`stamp`]); 0: the lists have been exchanged
    /// since. (The gate is 8 bytes further on: at the very start of a cache it was 10 % slower.)
    known_at: StatUsize,
    pub(super) gate: Gate,
    shared: Shared,
    lists: UnsafeCell<Lists>,
    /// What the lists weighed then.
    known_bytes: StatUsize,
    /// The cache that came onto the core's list before this one. Written once, before this is on it.
    pub(super) next_listed: AtomicPtr<Cache>,
}

const _: () = assert!(
    IN_MODELS || size_of::<Cache>() <= 128,
    "two caches per 256 bytes"
);

// SAFETY: the lists are reached only under the protocol (I2); every other field is atomic. The
// objects that change threads with them are `Send` (a bound of `Pool<T>`).
unsafe impl Send for Cache {}
// SAFETY: as above.
unsafe impl Sync for Cache {}

/// What a return that took the slow path came to.
#[derive(Debug)]
pub(crate) enum Returned {
    /// Kept; a full list may have had to leave for the depot.
    Kept((Batch, End)),
    /// No room within the pool's limits; a full list may have had to leave all the same.
    Refused((Batch, End)),
}

impl Cache {
    /// A cache that no thread owns yet.
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

    /// This cache as nodes know it, with the provenance of all of it.
    pub(crate) fn as_opaque(&self) -> *const OpaqueCache {
        ptr::from_ref(self).cast()
    }

    /// The cache that a node knows as its home.
    ///
    /// # Safety
    /// Not null, and the node's core is alive.
    #[inline(always)]
    pub(crate) unsafe fn at<'a>(opaque: *const OpaqueCache) -> &'a Cache {
        // SAFETY: from `as_opaque`; caches live as long as their core.
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

    /// The same otherwise than by a hit.
    ///
    /// # Safety
    /// As [`Cache::touch`].
    unsafe fn touch_slow<R>(&self, work: impl FnOnce(&mut ListsMut<'_>) -> R) -> R {
        self.gate.change();
        // SAFETY: the caller's.
        let done = unsafe { self.touch(work) };
        self.gate.change();
        done
    }

    // ---------------------------------------------------------------- the hit path

    /// Takes the top object; null when there is none or the gate is shut.
    ///
    /// # Safety
    /// The caller is the owner, and `fence` is its half of the fence pair.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self, fence: impl FnOnce()) -> *mut Link {
        // SAFETY: I2: inside the critical section.
        let pop = || unsafe { self.touch(|lists| lists.pop()) };
        // SAFETY: the caller's.
        unsafe { self.gate.critical_section(0, fence, ptr::null_mut(), pop) }
    }

    /// Resets an object and puts it on top; `false`, and nothing done, when the slow path must look at it.
    ///
    /// # Safety
    /// The caller is the owner, `fence` is its half of the fence pair, the node is of this core,
    /// and the caller holds it and, if this succeeds, gives it up. `weight` is at most `isize::MAX`. `reset`
    /// runs inside the critical section: it changes the object and nothing else, and does not panic (I5).
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
            // SAFETY: the threshold is above the weight; the caller holds the node.
            let push = |lists: &mut ListsMut<'_>| unsafe { lists.push(link, weight, reset) };
            // SAFETY: I2: inside the critical section.
            unsafe { self.touch(push) }
        };
        // SAFETY: the caller's.
        unsafe { self.gate.critical_section(weight as isize, fence, false, push) }
    }

    /// Shows the top object to `work` where it is; `None` when there is none in its slot, or the gate
    /// is shut.
    ///
    /// # Safety
    /// The caller is the owner, and `fence` is its half of the fence pair. `work` leaves the node
    /// and its place in the list as they are, and does nothing else that is forbidden inside (I5).
    #[inline(always)]
    pub(crate) unsafe fn with_top<R>(
        &self,
        fence: impl FnOnce(),
        work: impl FnOnce(*mut Link) -> R,
    ) -> Option<R> {
        // SAFETY: I2: inside the critical section.
        let look = || unsafe { self.touch(|lists| lists.top().map(work)) };
        // SAFETY: the caller's.
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
        // SAFETY: the caller's.
        unsafe { self.gate.as_owner(work) }
    }

    /// Whether there is nothing to pop. For the owner: visitors take things out, but put nothing in.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.idle() == 0
    }

    /// [`Cache::pop`] with a look at the spare list.
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

    /// Loads a batch from the depot into the empty lists. Gives back what could not be taken. `keep_charge`: as
    /// in [`ListsMut::admit_batch`].
    ///
    /// # Safety
    /// The caller is the owner, and the batch is of this core.
    pub(crate) unsafe fn load(&self, batch: Batch, limits: &Limits, keep_charge: bool) -> Batch {
        let mut batch = batch;
        let work = |lists: &mut ListsMut<'_>| {
            if lists.idle() == 0 {
                batch = lists.admit_batch(batch.take(), limits, keep_charge);
            }
        };
        // SAFETY: the caller is the owner.
        let _ = unsafe { self.as_owner(work) };
        batch
    }

    /// [`Cache::push`] with rotation, weights and limits, of an object that has been reset.
    ///
    /// # Safety
    /// As [`Cache::push`], except that the node is given up only on `Ok(Kept)`.
    pub(crate) unsafe fn push_slow(
        &self,
        link: *mut Link,
        weight: usize,
        limits: &Limits,
    ) -> Result<Returned, Shut> {
        let work = |lists: &mut ListsMut<'_>| {
            lists.restore_room();
            let mut leaving = (Batch::EMPTY, End::Hot);
            if lists.admit(weight, limits, &mut leaving).is_err() {
                return Returned::Refused(leaving);
            }
            // SAFETY: I2: inside the critical section; the caller holds the node.
            let kept = unsafe { lists.push(link, weight, || ()) };
            debug_assert!(kept, "room was made");
            if kept {
                Returned::Kept(leaving)
            } else {
                Returned::Refused(leaving)
            }
        };
        // SAFETY: the caller is the owner.
        unsafe { self.as_owner(work) }
    }

    /// Takes everything out, for the depot, and gives the unused part of the grant back. The warmest is on top.
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

    // ---------------------------------------------------------------- coming and going
    // All under `Core::visits`.

    /// Makes a vacant cache ready for its new owner.
    ///
    /// # Safety
    /// The caller is about to be the owner, and holds `Core::visits`.
    pub(crate) unsafe fn occupy(&self, limits: &Limits, inactive: bool) {
        // SAFETY: I2: vacant, so there is no owner yet; no visitor, since the visits are held.
        unsafe { self.touch_slow(|lists| lists.start(limits)) };
        self.gate.set(INACTIVE, inactive);
        self.gate.set(OCCUPIED, true);
    }

    /// Takes everything out and makes the cache vacant: the owner is leaving.
    ///
    /// # Safety
    /// The caller is the owner, does not use the cache again, and holds `Core::visits`.
    pub(crate) unsafe fn vacate(&self, limits: &Limits) -> [Batch; 2] {
        // SAFETY: I2: the only owner is here and not busy, the only visitor would hold the visits.
        let all = unsafe { self.touch_slow(|lists| lists.drain(limits)) };
        self.gate.set(OCCUPIED | INACTIVE | DRAIN | MISSED, false);
        all
    }

    /// Takes out, as the owner, what a visitor could not reach.
    ///
    /// # Safety
    /// The caller is the owner, and holds `Core::visits`.
    pub(crate) unsafe fn drain(&self, limits: &Limits) -> [Batch; 2] {
        // SAFETY: I2: the only owner is here and not busy, the only visitor would hold the visits.
        let all = unsafe { self.touch_slow(|lists| lists.drain(limits)) };
        self.gate.set(DRAIN, false);
        all
    }

    /// Runs `work` as the visitor.
    ///
    /// # Safety
    /// The caller holds `Core::visits`, has called `Gate::begin_visit`, passed the heavy fence, and then seen
    /// `Gate::owner_is_out`. `work` moves pointers and nothing else (I5).
    pub(crate) unsafe fn enter<R>(&self, work: impl FnOnce(&mut ListsMut<'_>) -> R) -> R {
        // SAFETY: I2: the gate is shut, and the owner was seen to be out after a heavy fence.
        unsafe { self.touch_slow(work) }
    }

    /// As if the owner had been lost inside, in a fork (`true`); and not.
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

    /// Whether a visitor has left it to the owner to empty the cache.
    pub(crate) fn is_drain_requested(&self) -> bool {
        self.gate.has(DRAIN)
    }

    // ---------------------------------------------------------------- figures

    /// What the cache has done and holds; whether the bytes are exact.
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
            // The objects weigh about what those did that a visitor saw here last.
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

    /// What came and went by the batch, and objects in both lists. While a slow path is at work the one may be too low
    /// and the other too high, so that no more seems to have been handed out than has.
    fn moved_and_idle(&self) -> (usize, usize) {
        let (mut moved, mut idle) = (self.shared.moved(), 0);
        for _ in 0..LOOKS {
            let before = self.gate.changes();
            let now = (self.shared.moved(), self.shared.idle());
            if before % 2 == 0 && before == self.gate.changes() {
                return now;
            }
            // A batch that comes counts after it is there, and one that goes before it has gone (`lists.rs`).
            for moved_now in [now.0, self.shared.moved()] {
                if (moved.wrapping_sub(moved_now) as isize) > 0 {
                    moved = moved_now;
                }
            }
            idle = idle.max(now.1);
        }
        (moved, idle)
    }

    /// Takes note of what the lists weigh. For a visitor inside.
    pub(crate) fn note_bytes(&self, lists: &ListsMut<'_>) {
        let stamp = stamp(self.shared.returned(), lists.idle());
        self.known_bytes
            .store(lists.idle_bytes(), Ordering::Relaxed);
        self.known_at.store(stamp, Ordering::Relaxed);
    }
}

/// How often a reader of figures looks for a moment in which no slow path is at work.
const LOOKS: usize = 8;
/// More than a cache can hold.
const STAMP_IDLE: usize = 1 << 12;

/// Tells apart what hits have done to the lists; in its low digits, how many objects they hold. Never 0.
fn stamp(returned: usize, idle: usize) -> usize {
    let idle = idle.min(STAMP_IDLE - 1);
    returned
        .wrapping_add(1)
        .wrapping_mul(STAMP_IDLE)
        .wrapping_add(idle)
}

#[cfg(test)]
mod tests {
    use super::Cache;
    use crate::raw::limits::Limits;
    use crate::raw::node::{Batch, Link};
    use std::ptr;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    /// An object that only moves, between slot, lists and depot, is never taken for handed out: no figure goes back.
    /// Also on machines, and under Miri, that show another thread's stores in another order.
    #[test]
    fn no_hit_is_counted_before_it_happens() {
        const ROUNDS: usize = if cfg!(miri) { 100 } else { 300_000 };
        let (cache, done) = (Cache::vacant(), AtomicBool::new(false));
        let limits = Limits::new(usize::MAX, usize::MAX, usize::MAX);
        let mut batch = Batch::EMPTY;
        for _ in 0..3 {
            let link = Box::into_raw(Box::new(Link::new(ptr::null())));
            // SAFETY: held here.
            unsafe { batch.push(link) };
        }
        // SAFETY: this thread is the only one that touches the lists.
        unsafe { cache.occupy(&limits, false) };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    let reused = cache.stats().0.reused as isize;
                    assert!(reused <= 0, "{reused} are out");
                }
            });
            for _ in 0..ROUNDS {
                // SAFETY: as above.
                let back = unsafe { cache.load(batch.take(), &limits, true) };
                assert!(back.is_empty());
                // SAFETY: as above.
                unsafe {
                    cache.enter(|lists| {
                        lists.unload_onto_spare();
                        lists.make_room();
                        lists.load_spare();
                    });
                }
                // SAFETY: as above.
                batch = unsafe { cache.hand_over(&limits) }.expect("no visitor");
            }
            done.store(true, SeqCst);
        });
        assert_eq!((cache.stats().0.reused, batch.len), (0, 3));
        while !batch.is_empty() {
            // SAFETY: from `into_raw` above.
            drop(unsafe { Box::from_raw(batch.pop()) });
        }
    }
}
