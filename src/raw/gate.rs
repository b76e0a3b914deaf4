//! The gate of a cache: it keeps the owner and a visitor from using the lists at the same time.
//!
//! The *owner* is the thread that the cache belongs to. A *visitor* is any other thread that accesses the cache:
//! `clear`, a pass, the end of the pool. Visitors of one pool take turns (`Core::visits`), so there is at most one.
//!
//! # The protocol
//! ```text
//! owner:   busy = true; LIGHT; if gate > 0 { use the lists } else { slow path }; busy = false
//! visitor: shut the gate; HEAVY; if !busy { use the lists }; open the gate
//! ```
//! LIGHT and HEAVY together act as two `SeqCst` fences (`sys/fence.rs`), so at least one of the two threads sees the
//! other's flag, and they are never both at the lists (I2). On the hit path neither waits for the other: an owner that
//! finds the gate shut uses the depot or creates an object, and a visitor that finds the owner busy comes back later.
//!
//! # One comparison for two questions
//! The gate holds the *threshold*: a return of this weight or more takes the slow path. While the gate is shut, the
//! threshold is negative, so nothing passes. Why the gate is shut (`reasons`) does not matter on the hit path. The
//! threshold is zero in an empty cache without room, and in one that never had an owner: nothing passes, and there is
//! nothing to get.
//!
//! # Who may touch what
//! | field | written by | read by |
//! |---|---|---|
//! | `threshold` | opened and shut under `Core::visits`; set by the thread that may touch the lists | owner, visitors |
//! | `reasons` | under `Core::visits` | owner's slow path, visitors |
//! | `busy` | owner | visitors |
//! | `timed_out` | owner | owner |
//! | `changes` | the thread that may touch the lists | readers of statistics |
//!
//! # Orderings
//! - threshold: the visitor's Release (`&= !SHUT`) pairs with the owner's Acquire load: the owner sees what the visitor
//!   did to the lists.
//! - busy: the owner's Release (`= false`) pairs with the visitor's Acquire load: the visitor sees what the owner did
//!   to the lists.
//! - changes: a sequence lock. It is odd while a slow path or a visitor writes what readers of statistics load. These
//!   stores are Release, and the readers' loads Acquire.
//! - busy (`= true`) against threshold, and threshold against busy: the fence pair.
//!
//! `models/cache.rs` has a model for each. `ci/loom-mutants.sh` weakens each, and expects a model to fail.

use crate::sync::{AtomicBool, AtomicIsize, AtomicU8, Ordering, StatU32, Timeout, Wait};
use crate::sys::fence;

/// The cache has an owner. If no other reason that matters is set, the gate is open.
pub(super) const OCCUPIED: u8 = 1;
/// A visitor is at the cache, or waits for its owner to leave.
pub(super) const VISIT: u8 = 2;
/// The pool is closed or switched off.
pub(super) const INACTIVE: u8 = 4;
/// A visitor could not enter, and has asked the owner to drain the cache.
pub(super) const DRAIN: u8 = 8;
/// The cache is on its core's list. Does not shut the gate.
pub(super) const LISTED: u8 = 16;
/// The present visit has missed this cache, because its owner was inside. Does not shut the gate.
pub(super) const MISSED: u8 = 32;

/// The reasons that decide whether the gate is open.
const DECISIVE: u8 = OCCUPIED | VISIT | INACTIVE | DRAIN;

/// The sign bit, which is set in a gate that is shut.
const SHUT: isize = isize::MIN;

/// The gate stayed shut until the timeout: the owner has to do without its cache this time.
#[derive(Debug)]
pub(crate) struct Shut;

/// All zeros are a valid gate of a vacant cache (I9).
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Gate {
    threshold: AtomicIsize,
    busy: AtomicBool,
    reasons: AtomicU8,
    /// Whether the owner's last wait at the shut gate timed out: then it does not wait again.
    timed_out: AtomicU8,
    /// Incremented before and after each change of the lists on a slow path, so it is odd during the change.
    changes: StatU32,
}

impl Gate {
    /// The gate of a vacant cache.
    pub(super) fn vacant() -> Self {
        Self {
            threshold: AtomicIsize::new(0),
            busy: AtomicBool::new(false),
            reasons: AtomicU8::new(0),
            timed_out: AtomicU8::new(0),
            changes: StatU32::new(0),
        }
    }

    // ---------------------------------------------------------------- readers of statistics

    /// Call before and after a change that readers of statistics must not see half done. For the thread that may touch
    /// the lists.
    pub(super) fn change(&self) {
        let changes = self.changes.load(Ordering::Relaxed);
        // Release: pairs with the Acquire in `changes`. No mutant: loom leaves statistics to std; Miri runs the test in
        // `cache.rs` that needs it.
        self.changes
            .store(changes.wrapping_add(1), Ordering::Release);
    }

    /// How often [`Gate::change`] was called; odd during a change.
    pub(super) fn changes(&self) -> u32 {
        // Acquire: pairs with the Release in `change`. No mutant: as there.
        self.changes.load(Ordering::Acquire)
    }

    // ---------------------------------------------------------------- the owner

    /// Runs `work` as the owner if the threshold is above `bound`; returns `otherwise` if it is not.
    ///
    /// Cost: two flag stores and a test, no read-modify-write, no fence instruction.
    ///
    /// # Safety
    /// The caller is the owner, and `fence` is its half of the fence pair. `bound` is not negative.
    /// `work` moves pointers and nothing else: no user code, no allocation, no panic (I5).
    #[inline(always)]
    pub(super) unsafe fn critical_section<R>(
        &self,
        bound: isize,
        fence: impl FnOnce(),
        otherwise: R,
        work: impl FnOnce() -> R,
    ) -> R {
        // Relaxed: ordered against the threshold by the fence pair.
        self.busy.store(true, Ordering::Relaxed);
        fence();
        let mut done = otherwise;
        // Acquire: pairs with the Release in `set_reasons`.
        let threshold = self.threshold.load(Ordering::Acquire); // mutant: owner-gate
        if threshold > bound {
            done = work();
        }
        // Release: pairs with the visitor's Acquire in `owner_is_out`.
        self.busy.store(false, Ordering::Release); // mutant: owner-leaves
        done
    }

    /// Runs `work` as the owner on the slow path, whatever the threshold is. Waits some microseconds for a visitor to
    /// leave.
    ///
    /// # Safety
    /// The caller is the owner. `work` does what it may in [`Gate::critical_section`].
    pub(super) unsafe fn as_owner<R>(&self, work: impl FnOnce() -> R) -> Result<R, Shut> {
        if !self.try_enter() && !self.enter_slow() {
            return Err(Shut);
        }
        let done = work();
        // Release: pairs with the visitor's Acquire in `owner_is_out`.
        self.busy.store(false, Ordering::Release); // mutant: owner-leaves-slow
        // Even without a wait: the visitor that it once waited for has gone.
        if self.timed_out.load(Ordering::Relaxed) != 0 {
            self.timed_out.store(0, Ordering::Relaxed);
        }
        Ok(done)
    }

    /// Sets `busy`. Returns whether the gate is open, so that the owner is inside.
    #[inline(always)]
    fn try_enter(&self) -> bool {
        // Relaxed: ordered against the threshold by the fence pair.
        self.busy.store(true, Ordering::Relaxed);
        fence::slow();
        // Acquire: pairs with the Release in `set_reasons`.
        let threshold = self.threshold.load(Ordering::Acquire); // mutant: owner-gate-slow
        threshold >= 0
    }

    /// For an owner that has found the gate shut: waits for a visitor to leave, and enters. `false`, and `busy` is clear
    /// again, if that takes too long, or the gate is shut for another reason.
    #[cold]
    #[inline(never)]
    fn enter_slow(&self) -> bool {
        let mut wait = None;
        self.enter_after(|timeout| wait.get_or_insert_with(|| Wait::new(timeout)).again())
    }

    /// [`Gate::enter_slow`], with the wait between two tries. Tests open the gate there.
    #[inline(always)]
    fn enter_after(&self, mut again: impl FnMut(Timeout) -> bool) -> bool {
        loop {
            // Release, although this thread touched nothing: a visitor that reads this `false` must see what the owner
            // did earlier.
            self.busy.store(false, Ordering::Release); // mutant: owner-turns-back
            // Only a visitor is worth waiting for.
            let passing = self.reasons() & DECISIVE == OCCUPIED | VISIT;
            // Relaxed: only the owner uses it.
            let lost = self.timed_out.load(Ordering::Relaxed) != 0;
            let timeout = if lost { Timeout::None } else { Timeout::Short };
            if !passing || !again(timeout) {
                self.timed_out.store(u8::from(passing), Ordering::Relaxed);
                return false;
            }
            if self.try_enter() {
                return true;
            }
        }
    }

    // ---------------------------------------------------------------- the threshold

    /// The threshold, as it is while the gate is open.
    pub(super) fn threshold(&self) -> usize {
        // Relaxed: moved only by the thread that may touch the lists.
        (self.threshold.load(Ordering::Relaxed) & !SHUT) as usize
    }

    /// Sets the threshold of a gate that is open or shut. For the thread that may touch the lists.
    pub(super) fn set_threshold(&self, threshold: usize) {
        let change = threshold as isize - self.threshold() as isize;
        if change != 0 {
            // Relaxed: the opening of the gate, or `busy`, orders it.
            self.threshold.fetch_add(change, Ordering::Relaxed);
        }
    }

    // ---------------------------------------------------------------- the visitor
    // The caller of each function holds `Core::visits`.

    /// Shuts the gate for a visit. The visitor issues one heavy fence next, for all the gates that it has shut.
    pub(super) fn begin_visit(&self) {
        self.set_reasons(self.reasons() | VISIT);
    }

    /// Ends the visit: opens the gate, if nothing else keeps it shut.
    pub(super) fn end_visit(&self) {
        self.set_reasons(self.reasons() & !VISIT);
    }

    /// Whether the owner is outside. If it is after [`Gate::begin_visit`] and a heavy fence, the visitor may touch the
    /// lists.
    pub(super) fn owner_is_out(&self) -> bool {
        // Acquire: pairs with the owner's Release when it leaves.
        !self.busy.load(Ordering::Acquire) // mutant: visitor-busy
    }

    /// Sets or clears a reason, or several.
    pub(super) fn set(&self, reasons: u8, on: bool) {
        let others = self.reasons() & !reasons;
        self.set_reasons(if on { others | reasons } else { others });
    }

    pub(super) fn has(&self, reason: u8) -> bool {
        self.reasons() & reason != 0
    }

    /// Relaxed: written under `Core::visits`. What the owner reads is a hint, or its own store.
    fn reasons(&self) -> u8 {
        self.reasons.load(Ordering::Relaxed)
    }

    /// Opens the gate if the cache has an owner and no reason keeps it shut, and shuts it otherwise.
    fn set_reasons(&self, reasons: u8) {
        // Relaxed: as above.
        self.reasons.store(reasons, Ordering::Relaxed);
        if reasons & DECISIVE == OCCUPIED {
            // Release: pairs with the owner's Acquire: it sees what was done to the lists.
            self.threshold.fetch_and(!SHUT, Ordering::Release); // mutant: gate-opens
        } else {
            // Relaxed: ordered against `busy` by the fence pair.
            self.threshold.fetch_or(SHUT, Ordering::Relaxed);
        }
    }

    /// Makes the cache look as if its owner had been lost inside, in a fork (`true`), or undoes that.
    #[cfg(test)]
    pub(super) fn lose_owner_inside(&self, lost: bool) {
        self.busy.store(lost, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gate of a cache with an owner, and with this threshold.
    fn occupied(threshold: usize) -> Gate {
        let gate = Gate::vacant();
        gate.set(OCCUPIED, true);
        gate.set_threshold(threshold);
        gate
    }

    /// Whether a return of this weight passes.
    fn passes(gate: &Gate, weight: isize) -> bool {
        // SAFETY: this thread is the only one.
        let passes = unsafe { gate.critical_section(weight, || (), false, || true) };
        assert!(gate.owner_is_out());
        passes
    }

    #[test]
    fn objects_below_the_threshold_pass() {
        let gate = occupied(10);
        assert!(passes(&gate, 0) && passes(&gate, 9));
        assert!(!passes(&gate, 10) && !passes(&gate, isize::MAX));
        assert!(!passes(&occupied(0), 0));
    }

    #[test]
    fn a_gate_is_open_while_there_is_an_owner_and_no_reason_against_it() {
        let vacant = Gate::vacant();
        vacant.set_threshold(10);
        vacant.set(LISTED, true);
        assert!(!passes(&vacant, 1), "without an owner");
        let gate = occupied(10);
        for reason in [VISIT, INACTIVE, DRAIN, VISIT | DRAIN] {
            gate.set(reason, true);
            assert!(!passes(&gate, 1) && gate.has(reason) && gate.has(OCCUPIED));
            // SAFETY: this thread is the only one.
            assert!(unsafe { gate.as_owner(|| ()) }.is_err());
            gate.set(reason, false);
            assert!(passes(&gate, 1) && !gate.has(reason));
        }
        for harmless in [LISTED, MISSED] {
            gate.set(harmless, true);
            assert!(passes(&gate, 1) && gate.has(harmless));
            gate.set(harmless, false);
            assert!(passes(&gate, 1) && !gate.has(harmless) && gate.has(OCCUPIED));
        }
        gate.begin_visit();
        gate.begin_visit();
        assert!(
            !passes(&gate, 1),
            "a visit that was lost in a fork is begun again"
        );
        gate.set(INACTIVE, true);
        gate.end_visit();
        assert!(!passes(&gate, 1), "one of two reasons is left");
        gate.set(INACTIVE, false);
        assert!(passes(&gate, 1));
    }

    #[test]
    fn a_threshold_can_be_set_while_the_gate_is_shut() {
        let gate = occupied(10);
        assert_eq!(gate.threshold(), 10);
        gate.begin_visit();
        assert_eq!(gate.threshold(), 10);
        for threshold in [20, 20, 5, 0, 30] {
            gate.set_threshold(threshold);
            assert_eq!(gate.threshold(), threshold);
            assert!(!passes(&gate, 0));
        }
        gate.end_visit();
        assert!(passes(&gate, 29) && !passes(&gate, 30));
    }

    #[test]
    fn an_owner_is_inside_while_it_works() {
        let gate = occupied(1);
        let is_out = || gate.owner_is_out();
        assert!(is_out());
        // SAFETY: this thread is the only one.
        assert!(!unsafe { gate.critical_section(0, || (), true, is_out) });
        // SAFETY: as above.
        assert_eq!(unsafe { gate.as_owner(is_out) }.ok(), Some(false));
        assert!(is_out());
    }

    #[test]
    fn changes_are_counted() {
        let gate = Gate::vacant();
        for changes in 0..4 {
            assert_eq!(gate.changes(), changes);
            gate.change();
        }
        gate.changes.store(u32::MAX, Ordering::Relaxed);
        gate.change();
        assert_eq!(gate.changes(), 0);
    }

    /// Only a visitor is worth a wait. One slow visitor must not keep an owner from waiting at later visits.
    #[test]
    fn an_owner_whose_wait_ran_out_waits_again_once_the_gate_was_open() {
        let gate = occupied(0);
        let timed_out = || gate.timed_out.load(Ordering::Relaxed) != 0;
        // SAFETY: this thread is the only one. The same holds below.
        let enters = || unsafe { gate.as_owner(|| ()) }.is_ok();
        gate.set(INACTIVE, true);
        assert!(!enters() && !timed_out());
        gate.set(INACTIVE, false);
        gate.begin_visit();
        assert!(!enters() && timed_out());
        gate.end_visit();
        assert!(enters() && !timed_out());
    }

    /// It does not wait after a wait that timed out, or for anything but a visitor.
    #[test]
    fn an_owner_enters_as_soon_as_the_visitor_has_left() {
        let gate = occupied(0);
        // Opens the gate in this wait. Returns how the owner fares, and the number of its waits.
        let owner = |opens: usize| {
            let mut waits = 0;
            let entered = gate.enter_after(|timeout| {
                assert!(gate.owner_is_out(), "while it waits");
                waits += 1;
                if waits == opens {
                    gate.end_visit();
                }
                matches!(timeout, Timeout::Short) && waits < 5
            });
            assert_eq!(gate.owner_is_out(), !entered);
            gate.busy.store(false, Ordering::Relaxed);
            (entered, waits)
        };
        for opens in [1, 4] {
            gate.begin_visit();
            assert_eq!(owner(opens), (true, opens));
        }
        gate.begin_visit();
        assert_eq!(owner(9), (false, 5));
        assert_eq!(owner(9), (false, 1), "it does without a wait now");
        gate.end_visit();
        gate.timed_out.store(0, Ordering::Relaxed);
        gate.set(INACTIVE, true);
        assert_eq!(owner(9), (false, 0));
    }
}
