//! A thread's cache of idle objects in one pool: the hit path and the owner/visitor protocol.
//!
//! # The cast
//! The *owner* is the thread whose place the cache is (`thread.rs`). A *visitor* is any other
//! thread that empties it: `clear`, a trim pass, the pool's end. Visitors of one pool take turns
//! (`Core::visits`), so there is at most one.
//!
//! # The protocol
//! ```text
//! owner:   busy = true; LIGHT; if gate > 0 { use the lists } else { slow path }; busy = false
//! visitor: shut the gate; HEAVY; if !busy { use the lists }; open the gate
//! ```
//! LIGHT and HEAVY together act as two `SeqCst` fences (`fence.rs`), so at least one of the two
//! sees the other's flag: they are never both at the lists (I2). Neither waits for the other on
//! the hit path: an owner that finds the gate shut goes to the depot or creates, a visitor that
//! finds the owner busy comes back later, or looks again if it must get in.
//!
//! # The gate
//! Two tests that are one: the gate holds the *bar*, the weight from which on a return has to take
//! the slow path, and is negative while it is shut. Shut, it lets nothing pass, whatever it
//! weighs. Why it is shut (`reasons`: vacant, a visitor, pool closed or switched off) is nobody's
//! business on the hit path. Zero is an empty cache without room for a single object, or one that
//! never had an owner: nothing passes either, and there is nothing to get.
//!
//! # Who may touch what
//! | field | written by | read by |
//! |---|---|---|
//! | `gate` | shut and opened under `Core::visits`; bar moved by whoever may touch `lists` (read-modify-write) | owner, visitors |
//! | `reasons` | under `Core::visits` | owner's slow path |
//! | `busy` | owner | visitors |
//! | `home` | registration | any thread that holds a node |
//! | `lists` | owner inside `busy` with the gate seen open; a visitor that saw `busy` clear | the same |
//! | `next_listed` | under `Core::visits` | the same |
//!
//! Nothing is counted on a hit but returns, and those in a plain cell of the owner's line. What
//! else users want to know is worked out from it when a visitor comes for the figures: hits are
//! what came in less what is still there.
//!
//! # Orderings
//! - gate: visitor's Release (`&= !SHUT`) pairs with the owner's Acquire load: the owner sees
//!   what the visitor did to the lists.
//! - busy: owner's Release (`= false`) pairs with the visitor's Acquire load: the visitor sees what
//!   the owner did to them.
//! - busy (`= true`) against gate, gate against busy: the fence pair.
//!
//! `models/cache.rs` has the model of each, and `ci/loom-mutants.sh` weakens each and sees a
//! model fail.
//!
//! # What was tried
//! An array of pointers instead of the intrusive list: 13–15 ns against 7–10 for the tight pair
//! (prototype, `design.md`). The list's top linked like the rest, without a slot of its own: 3.6 ns
//! against 3.3, 62 instructions against 59. A thread-local pointer to the cache that was used last,
//! so that a return need not wait for its node to say where it goes: no faster. What the four stores
//! to `busy` cost of a pair's 3.3 ns is 0.3. The weight written on each return, changed or not: an
//! instruction less, and 2 to 5 % slower. (`ratios`, AMD EPYC, rustc 1.95, 2026-11-22.)

use super::lists::{Lists, full_len};
use crate::raw::depot::End;
use crate::raw::limits::{Charge, Limits};
use crate::raw::node::{Batch, Link};
use crate::raw::pool::Core;
use crate::raw::stats::Reason;
use crate::sync::{
    AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicUsize, Ordering, Patience, UnsafeCell, Wait,
};
use crate::sys::fence;
use std::ptr;

/// A reason: the cache has an owner. Alone, the gate is open.
const OCCUPIED: u8 = 1;
/// A reason: a visitor is at the cache, or wants to be.
const WANTED: u8 = 2;
/// A reason: the pool is closed or switched off.
const BARRED: u8 = 4;

/// Set in a gate that is shut: it makes the bar negative.
pub(super) const SHUT: isize = isize::MIN;
/// Heavier objects are not kept: the gate needs the sign, and a grant of full lists must not
/// overflow (2^56 bytes; 16 MiB where pointers have 32 bits).
pub(crate) const MAX_WEIGHT: usize = isize::MAX as usize / 128;

/// Objects in a full list, where their weight allows. A cache holds two lists.
pub(crate) const LIST_LEN: usize = if cfg!(repool_loom) { 2 } else { 32 };
/// Bytes in a full list of more than one object. A cache holds two lists.
pub(crate) const LIST_BYTES: usize = 128 << 10;
/// The bar of an unbounded pool's fresh cache: objects below need no look at the list's length.
pub(crate) const FIRST_BAR: usize = LIST_BYTES / LIST_LEN + 1;

/// Where a node was last idle: which thread's cache it was, and in which core.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Home {
    /// The owner's number plus one; zero for a core's `orphan`, which is nobody's.
    pub(crate) owner: AtomicUsize,
    core: AtomicPtr<Core>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            owner: AtomicUsize::new(0),
            core: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Relaxed: written before any node had this home, and nodes travel with their own order.
    #[inline(always)]
    pub(crate) fn core(&self) -> *const Core {
        self.core.load(Ordering::Relaxed)
    }

    /// Relaxed: as [`Home::core`].
    pub(crate) fn set_core(&self, core: *const Core) {
        self.core.store(core.cast_mut(), Ordering::Relaxed);
    }
}

/// A thread's cache in one pool. All zero is a valid vacant cache (I9).
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Cache {
    pub(crate) home: Home,
    pub(super) gate: AtomicIsize,
    busy: AtomicBool,
    reasons: AtomicU8,
    lists: UnsafeCell<Lists>,
    pub(crate) next_listed: AtomicPtr<Cache>,
}

const _: () = assert!(
    cfg!(repool_loom) || size_of::<Cache>() == 128,
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
    Refused((Batch, End), Reason),
}

/// The gate stays shut: the owner has to do without its cache this time.
#[derive(Debug)]
pub(crate) struct Shut;

impl Cache {
    /// Only for loom, where a page cannot be allocated as zeros.
    #[cfg(repool_loom)]
    pub(crate) fn vacant() -> Self {
        Self {
            home: Home::new(),
            gate: AtomicIsize::new(0),
            busy: AtomicBool::new(false),
            reasons: AtomicU8::new(0),
            lists: UnsafeCell::new(Lists {
                hot: ptr::null_mut(),
                returned: 0,
                loaded: ptr::null_mut(),
                room: 0,
                base: 0,
                bar: 0,
                spare: Batch::EMPTY,
                moved: 0,
                grant: 0,
                seen: super::lists::Seen {
                    returned: 0,
                    moved: 0,
                    idle: 0,
                    aside: 0,
                },
            }),
            next_listed: AtomicPtr::new(ptr::null_mut()),
        }
    }

    // ---------------------------------------------------------------- the hit path

    /// Runs `work` on the lists as the owner, if what the gate holds is above `bound`; `otherwise` is
    /// the answer if not.
    ///
    /// Cost: two flag stores, a test; no read-modify-write, no fence instruction.
    ///
    /// # Safety
    /// The caller is the owner, and `fence` is its half of the fence pair. `bound` is not negative.
    /// `work` moves pointers and nothing else: no user code, no allocation, no panic (I5).
    #[inline(always)]
    unsafe fn inside<R>(
        &self,
        bound: isize,
        fence: impl FnOnce(),
        otherwise: R,
        work: impl FnOnce(&mut Lists) -> R,
    ) -> R {
        // Relaxed: ordered against the gate by the fence pair.
        self.busy.store(true, Ordering::Relaxed);
        fence();
        let mut done = otherwise;
        // Acquire: pairs with the Release of whoever opened the gate.
        let gate = self.gate.load(Ordering::Acquire); // mutant: owner-gate
        if gate > bound {
            // SAFETY: I2: the owner, busy, with the gate seen open.
            done = self.lists.with_mut(|lists| work(unsafe { &mut *lists }));
        }
        // Release: pairs with the visitor's Acquire in `try_enter`.
        self.busy.store(false, Ordering::Release); // mutant: owner-leaves
        done
    }

    /// Takes the top object; null when there is none or the gate is shut.
    ///
    /// # Safety
    /// The caller is the owner, and `fence` is its half of the fence pair.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self, fence: impl FnOnce()) -> *mut Link {
        // SAFETY: I2: inside the critical section.
        let pop = |lists: &mut Lists| unsafe { lists.pop() };
        // SAFETY: the caller's.
        unsafe { self.inside(0, fence, ptr::null_mut(), pop) }
    }

    /// Puts an object on top; `false` when the slow path must look at it.
    ///
    /// # Safety
    /// The caller is the owner, `fence` is its half of the fence pair, the node is of this core,
    /// and the caller holds it and, if this succeeds, gives it up. Its home is this cache, or the
    /// orphan for pools that want the slow path. `weight` is at most `isize::MAX`.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, link: *mut Link, weight: usize, fence: impl FnOnce()) -> bool {
        debug_assert!(isize::try_from(weight).is_ok());
        // SAFETY: I2: inside the critical section; the caller holds the node.
        let push = |lists: &mut Lists| unsafe { lists.push(link, weight) };
        // SAFETY: the caller's.
        unsafe { self.inside(weight as isize, fence, false, push) }
    }

    /// Shows the top object to `work` where it is; `None` when there is none in its slot, or the gate
    /// is shut.
    ///
    /// # Safety
    /// The caller is the owner, and `fence` is its half of the fence pair. `work` leaves the node
    /// and its place in the list as they are, and does nothing else that is forbidden inside (I5).
    #[cfg(any(feature = "bytes", repool_loom))]
    #[inline(always)]
    pub(crate) unsafe fn with_top<R>(
        &self,
        fence: impl FnOnce(),
        work: impl FnOnce(*mut Link) -> R,
    ) -> Option<R> {
        let look = |lists: &mut Lists| lists.top().map(work);
        // SAFETY: the caller's.
        unsafe { self.inside(0, fence, None, look) }
    }

    // ---------------------------------------------------------------- the owner's slow path

    /// Runs `work` as the owner.
    ///
    /// `work` moves pointers and nothing else: no user code, no allocation, no panic (I5).
    ///
    /// # Safety
    /// The caller is the owner.
    unsafe fn as_owner<R>(&self, work: impl FnOnce(&mut Lists) -> R) -> Result<R, Shut> {
        let mut wait = Wait::new(Patience::Short);
        loop {
            // Relaxed: ordered against the gate by the fence pair.
            self.busy.store(true, Ordering::Relaxed);
            fence::slow();
            // Acquire: pairs with the Release of whoever opened the gate.
            let gate = self.gate.load(Ordering::Acquire); // mutant: owner-gate-slow
            if gate >= 0 {
                // SAFETY: I2: the owner, busy, with the gate seen open.
                let done = self.lists.with_mut(|lists| work(unsafe { &mut *lists }));
                // Release: pairs with the visitor's Acquire in `try_enter`.
                self.busy.store(false, Ordering::Release); // mutant: owner-leaves-slow
                return Ok(done);
            }
            // Release, although nothing was touched: a visitor that reads this `false` must still
            // see what the owner did before.
            self.busy.store(false, Ordering::Release);
            // Whether waiting is any use.
            let passing = self.reasons() & !WANTED == OCCUPIED;
            if !passing || !wait.again() {
                return Err(Shut);
            }
        }
    }

    /// [`Cache::pop`] with a look at the spare list.
    ///
    /// # Safety
    /// The caller is the owner.
    pub(crate) unsafe fn pop_slow(&self) -> Result<*mut Link, Shut> {
        let work = |lists: &mut Lists| {
            if lists.loaded_len() == 0 && !lists.spare.is_empty() {
                lists.turn();
                self.make_room(lists);
            }
            // SAFETY: I2: inside the critical section.
            unsafe { lists.pop() }
        };
        // SAFETY: the caller is the owner.
        unsafe { self.as_owner(work) }
    }

    /// Loads a batch from the depot into the empty lists. Gives back what could not be taken.
    ///
    /// # Safety
    /// The caller is the owner, and the batch is settled here: its nodes have this cache's home
    /// (or the orphan) and weigh at most `heaviest`.
    pub(crate) unsafe fn load(&self, batch: Batch, heaviest: usize, limits: &Limits) -> Batch {
        let mut batch = batch;
        let work = |lists: &mut Lists| {
            if lists.idle() != 0 {
                return;
            }
            let with_it = Charge {
                objects: batch.len,
                bytes: batch.bytes,
            };
            let bar = limits.bar_for(heaviest);
            // What is left of the grant serves the objects that this thread has out; but a thread
            // that only ever gets must not collect it all.
            let grant = (lists.grant as usize)
                .saturating_add(batch.len)
                .min(2 * full_len(bar));
            let grant = grant.max(batch.len);
            let granted = self
                .regrant(lists, limits, with_it, grant, bar)
                .or_else(|_| self.regrant(lists, limits, with_it, batch.len, bar));
            if granted.is_err() {
                return;
            }
            lists.moved = lists.moved.wrapping_add(batch.len);
            let batch = batch.take();
            lists.load(batch.head, batch.len);
            self.make_room(lists);
        };
        // SAFETY: the caller is the owner.
        let _ = unsafe { self.as_owner(work) };
        batch
    }

    /// [`Cache::push`] with rotation, weights and limits.
    ///
    /// # Safety
    /// As [`Cache::push`], except that the node is given up only on `Ok(Kept)`.
    pub(crate) unsafe fn push_slow(
        &self,
        link: *mut Link,
        weight: usize,
        limits: &Limits,
    ) -> Result<Returned, Shut> {
        let work = |lists: &mut Lists| {
            let mut leaving = (Batch::EMPTY, End::Hot);
            if let Err(reason) = self.admit(lists, weight, limits, &mut leaving) {
                if !self.admit_alone(lists, weight, limits, &mut leaving) {
                    return Returned::Refused(leaving, reason);
                }
            }
            // SAFETY: I2: inside the critical section; the caller holds the node.
            let kept = unsafe { lists.push(link, weight) };
            debug_assert!(kept, "room was made");
            if kept {
                Returned::Kept(leaving)
            } else {
                Returned::Refused(leaving, Reason::Full)
            }
        };
        // SAFETY: the caller is the owner.
        unsafe { self.as_owner(work) }
    }

    // ---------------------------------------------------------------- coming and going

    /// Makes a vacant cache ready for its new owner.
    ///
    /// # Safety
    /// The caller is about to be the owner, and holds `Core::visits`.
    pub(crate) unsafe fn occupy(&self, limits: &Limits, barred: bool) {
        // SAFETY: I2: vacant, so there is no owner yet; no visitor, since the visits are held.
        self.lists
            .with_mut(|lists| self.start(unsafe { &mut *lists }, limits));
        self.set_reasons(if barred { OCCUPIED | BARRED } else { OCCUPIED });
    }

    /// Takes everything out and makes the cache vacant: the owner is leaving.
    ///
    /// # Safety
    /// The caller is the owner, does not use the cache again, and holds `Core::visits`.
    pub(crate) unsafe fn vacate(&self, limits: &Limits) -> [Batch; 2] {
        // SAFETY: I2: the only owner is here and not busy, the only visitor would hold the visits.
        let all = self
            .lists
            .with_mut(|lists| self.strip(unsafe { &mut *lists }, limits));
        self.set_reasons(0);
        all
    }

    // ---------------------------------------------------------------- the visitor
    // All under `Core::visits`.

    /// Asks the owner to keep off. The heavy fence comes next, once for all caches wanted.
    pub(crate) fn want(&self) {
        self.set_reasons(self.reasons() | WANTED);
    }

    /// Runs `work` as the visitor, unless the owner is inside for longer than `wait` has patience.
    ///
    /// # Safety
    /// The caller holds `Core::visits`, has called [`Cache::want`], and then passed the heavy
    /// fence. `work` moves pointers and nothing else (I5).
    pub(crate) unsafe fn try_enter<R>(
        &self,
        wait: &mut Option<Wait>,
        work: impl FnOnce(&mut Lists) -> R,
    ) -> Option<R> {
        // Acquire: pairs with the owner's Release when it leaves.
        loop {
            let busy = self.busy.load(Ordering::Acquire); // mutant: visitor-busy
            if !busy {
                break;
            }
            if !wait.as_mut().is_some_and(Wait::again) {
                return None;
            }
        }
        // SAFETY: I2: the gate is shut, and `busy` was clear after a heavy fence.
        Some(self.lists.with_mut(|lists| work(unsafe { &mut *lists })))
    }

    /// Runs `work` on the lists of a cache without an owner.
    ///
    /// # Safety
    /// The caller holds `Core::visits`, and the cache is not occupied. `work` is as above.
    pub(crate) unsafe fn enter_vacant<R>(&self, work: impl FnOnce(&mut Lists) -> R) -> R {
        // SAFETY: I2: no owner, and the only visitor.
        self.lists.with_mut(|lists| work(unsafe { &mut *lists }))
    }

    /// Makes the owner's next return take the slow path, which finds the room again. As the visitor.
    #[cfg(all(unix, not(miri), not(repool_loom)))]
    pub(crate) fn take_room(&self) {
        // Relaxed: as in `make_room`.
        self.gate.fetch_and(SHUT, Ordering::Relaxed);
    }

    /// As if the owner had died inside (`true`), in a fork; and not.
    #[cfg(test)]
    pub(crate) fn die_inside(&self, dead: bool) {
        self.busy.store(dead, Ordering::SeqCst);
    }

    /// Lets the owner in again.
    pub(crate) fn let_go(&self) {
        self.set_reasons(self.reasons() & !WANTED);
    }

    /// Shuts the gate for as long as the pool is switched off, or for good.
    pub(crate) fn set_barred(&self, barred: bool) {
        let others = self.reasons() & !BARRED;
        self.set_reasons(if barred { others | BARRED } else { others });
    }

    pub(crate) fn is_occupied(&self) -> bool {
        self.reasons() & OCCUPIED != 0
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.reasons() & WANTED != 0
    }

    /// Relaxed: written under `Core::visits`; what the owner reads of it is a hint, or what it
    /// wrote itself.
    fn reasons(&self) -> u8 {
        self.reasons.load(Ordering::Relaxed)
    }

    /// Opens the gate for one reason, and shuts it for any other. Under `Core::visits`.
    fn set_reasons(&self, reasons: u8) {
        // Relaxed: as above.
        self.reasons.store(reasons, Ordering::Relaxed);
        if reasons == OCCUPIED {
            // Release: pairs with the owner's Acquire: it sees what was done to the lists.
            self.gate.fetch_and(!SHUT, Ordering::Release); // mutant: gate-opens
        } else {
            // Relaxed: ordered against `busy` by the fence pair.
            self.gate.fetch_or(SHUT, Ordering::Relaxed);
        }
    }
}
