//! The gate of a thread's cache: how its owner and a visitor keep out of each other's way.
//!
//! The *owner* is the thread whose place the cache is (`sys/thread_id.rs`). A *visitor* is any other thread that
//! empties the cache: `clear`, a pass, the pool's end. Visitors of one pool take turns (`Core::visits`), so
//! there is at most one.
//!
//! # The protocol
//! ```text
//! owner:   busy = true; LIGHT; if gate > 0 { use the lists } else { slow path }; busy = false
//! visitor: shut the gate; HEAVY; if !busy { use the lists }; open the gate
//! ```
//! LIGHT and HEAVY together act as two `SeqCst` fences (`sys/fence.rs`), so at least one of the two
//! sees the other's flag: they are never both at the lists (I2). Neither waits for the other on
//! the hit path: an owner that finds the gate shut goes to the depot or creates, a visitor that
//! finds the owner busy comes back later.
//!
//! # One comparison for two questions
//! The gate holds the *threshold*: a return of this weight or more takes the slow path. It is negative while the gate
//! is shut. Shut, it lets nothing pass, whatever it weighs. Why it is shut (`reasons`) does not matter on the
//! hit path. Zero is an empty cache without room for a single object, or one that never had an owner:
//! nothing passes either, and there is nothing to get.
//!
//! # Who may touch what
//! | field | written by | read by |
//! |---|---|---|
//! | `threshold` | shut and opened under `Core::visits`; moved by the thread that may touch the lists (read-modify-write) | owner, visitors |
//! | `reasons` | under `Core::visits` | owner's slow path, visitors |
//! | `busy` | owner | visitors |
//! | `timed_out` | owner | owner |
//! | `changes` | the thread that may touch the lists | readers of figures |
//!
//! # Orderings
//! - threshold: the visitor's Release (`&= !SHUT`) pairs with the owner's Acquire load: the owner sees
//!   what the visitor did to the lists.
//! - busy: the owner's Release (`= false`) pairs with the visitor's Acquire load: the visitor sees what
//!   the owner did to them.
//! - changes: as in a sequence lock. Odd before, and even after, all that a slow path or a visitor writes for readers
//!   of figures, each of it with Release; the readers load with Acquire.
//! - busy (`= true`) against threshold, threshold against busy: the fence pair.
//!
//! `models/cache.rs` has the model of each, and `ci/loom-mutants.sh` weakens each and sees a
//! model fail.

use crate::sync::{AtomicBool, AtomicIsize, AtomicU8, StatU32, Ordering, Timeout, Wait};
use crate::sys::fence;

/// The cache has an owner. If no other reason that matters is set, the gate is open.
pub(super) const OCCUPIED: u8 = 1;
/// A visitor is at the cache, or wants to be.
pub(super) const VISIT: u8 = 2;
/// The pool is closed or switched off.
pub(super) const INACTIVE: u8 = 4;
/// A visitor could not get in, and leaves it to the owner to empty the cache.
pub(super) const DRAIN: u8 = 8;
/// The cache is on its core's list. Does not shut the gate.
pub(super) const LISTED: u8 = 16;
/// A visit has not been here yet. Does not shut the gate.
pub(super) const MISSED: u8 = 32;

/// The reasons that have a say in whether the gate is open.
const DECISIVE: u8 = OCCUPIED | VISIT | INACTIVE | DRAIN;

/// Set in a gate that is shut: it makes the threshold negative.
const SHUT: isize = isize::MIN;

/// The gate stays shut: the owner has to do without its cache this time.
#[derive(Debug)]
pub(crate) struct Shut;

/// All zero is a valid gate of a vacant cache (I9).
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Gate {
    threshold: AtomicIsize,
    busy: AtomicBool,
    reasons: AtomicU8,
    /// Whether the owner's last wait at the shut gate ran out: then it does not wait again.
    timed_out: AtomicU8,
    /// How often the lists were changed otherwise than by a hit; odd while they are.
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

    // ---------------------------------------------------------------- readers of figures

    /// Before what readers of figures must not see a part of, and after it. For the thread that may touch the lists.
    pub(super) fn change(&self) {
        let changes = self.changes.load(Ordering::Relaxed);
        // Release: pairs with the Acquire in `changes`.
        self.changes
            .store(changes.wrapping_add(1), Ordering::Release);
    }

    /// How often that was called; odd in between.
    pub(super) fn changes(&self) -> u32 {
        // Acquire: pairs with the Release in `change`.
        self.changes.load(Ordering::Acquire)
    }

    // ---------------------------------------------------------------- the owner

    /// Runs `work` as the owner, if what the gate holds is above `bound`; `otherwise` is the answer if not.
    ///
    /// Cost: two flag stores, a test; no read-modify-write, no fence instruction.
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

    /// Runs `work` as the owner on its slow path, whatever the threshold is. Waits for a visitor for some
    /// microseconds.
    ///
    /// # Safety
    /// The caller is the owner. `work` as in [`Gate::critical_section`].
    pub(super) unsafe fn as_owner<R>(&self, work: impl FnOnce() -> R) -> Result<R, Shut> {
        let mut wait = None;
        loop {
            // Relaxed: ordered against the threshold by the fence pair.
            self.busy.store(true, Ordering::Relaxed);
            fence::slow();
            // Acquire: pairs with the Release in `set_reasons`.
            let threshold = self.threshold.load(Ordering::Acquire); // mutant: owner-gate-slow
            if threshold >= 0 {
                let done = work();
                // Release: pairs with the visitor's Acquire in `owner_is_out`.
                self.busy.store(false, Ordering::Release); // mutant: owner-leaves-slow
                // Also if it did not have to wait: whichever visitor it waited for has gone.
                if self.timed_out.load(Ordering::Relaxed) != 0 {
                    self.timed_out.store(0, Ordering::Relaxed);
                }
                return Ok(done);
            }
            // Release, although nothing was touched: a visitor that reads this `false` must still
            // see what the owner did before.
            self.busy.store(false, Ordering::Release); // mutant: owner-turns-back
            // Only a visitor is worth waiting for.
            let passing = self.reasons() & DECISIVE == OCCUPIED | VISIT;
            // Relaxed: the owner's own.
            let wait = wait.get_or_insert_with(|| {
                let lost = self.timed_out.load(Ordering::Relaxed) != 0;
                Wait::new(if lost {
                    Timeout::None
                } else {
                    Timeout::Short
                })
            });
            if !passing || !wait.again() {
                self.timed_out.store(u8::from(passing), Ordering::Relaxed);
                return Err(Shut);
            }
        }
    }

    // ---------------------------------------------------------------- the threshold

    /// What the gate lets pass, or would if it were open: what weighs less.
    pub(super) fn threshold(&self) -> usize {
        // Relaxed: moved only by the thread that may touch the lists.
        (self.threshold.load(Ordering::Relaxed) & !SHUT) as usize
    }

    /// Moves the threshold, open or shut. For the thread that may touch the lists.
    pub(super) fn set_threshold(&self, threshold: usize) {
        let change = threshold as isize - self.threshold() as isize;
        if change != 0 {
            // Relaxed: the order that matters comes with the gate's opening and with `busy`.
            self.threshold.fetch_add(change, Ordering::Relaxed);
        }
    }

    // ---------------------------------------------------------------- the visitor
    // All under `Core::visits`.

    /// Asks the owner to stay out. The heavy fence comes next, once for all caches wanted.
    pub(super) fn begin_visit(&self) {
        self.set_reasons(self.reasons() | VISIT);
    }

    /// Lets the owner in again.
    pub(super) fn end_visit(&self) {
        self.set_reasons(self.reasons() & !VISIT);
    }

    /// Whether the owner is out. If so, after [`Gate::begin_visit`] and a heavy fence, the lists are the visitor's.
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

    /// Relaxed: written under `Core::visits`; what the owner reads of it is a hint, or what it
    /// wrote itself.
    fn reasons(&self) -> u8 {
        self.reasons.load(Ordering::Relaxed)
    }

    /// Opens the gate if there is an owner and no reason against it, and shuts it otherwise.
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

    /// As if the owner had been lost inside, in a fork (`true`); and not.
    #[cfg(test)]
    pub(super) fn lose_owner_inside(&self, lost: bool) {
        self.busy.store(lost, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::{Gate, OCCUPIED};
    use crate::sync::{AtomicBool, AtomicIsize, AtomicU8, StatU32, Ordering};

    /// One slow visitor must not make an owner go without its cache at each visit from then on.
    #[test]
    fn an_owner_whose_wait_ran_out_waits_again_once_the_gate_was_open() {
        let gate = Gate {
            threshold: AtomicIsize::new(0),
            busy: AtomicBool::new(false),
            reasons: AtomicU8::new(0),
            timed_out: AtomicU8::new(0),
            changes: StatU32::new(0),
        };
        gate.set(OCCUPIED, true);
        gate.begin_visit();
        // SAFETY: this thread is the only one.
        assert!(unsafe { gate.as_owner(|| ()) }.is_err());
        assert_ne!(gate.timed_out.load(Ordering::Relaxed), 0);
        gate.end_visit();
        // SAFETY: as above.
        assert!(unsafe { gate.as_owner(|| ()) }.is_ok());
        assert_eq!(gate.timed_out.load(Ordering::Relaxed), 0);
    }
}
