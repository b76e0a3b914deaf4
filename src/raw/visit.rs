//! Visits: a thread accesses the caches of other threads.
//!
//! A visitor shuts the gates of the caches that it wants, issues one heavy fence, enters those caches whose owners are
//! outside, and opens each gate as soon as it is done with the cache. An owner that stays inside has most likely been
//! descheduled. A visitor that has to reach every cache waits for such owners one at a time, with all other gates open
//! and `Core::visits` unlocked. So a slow owner holds up no other thread. After a timeout, the visitor asks the owner
//! to drain its cache, which the owner does in its next operation (`thread/register.rs`).
//!
//! # Fork
//! A forked child has no visitors, but it may inherit a visitor's lock on `Core::visits` and the gates that the visitor
//! had shut. The first thread of the child that wants the lock finds that `visit_generation` is out of date. That
//! thread alone releases the lock and opens the gates. Other threads do without the lock until it is done.

use super::cache::Cache;
use super::gate::{DRAIN, INACTIVE, LISTED, MISSED, OCCUPIED, VISIT};
use super::limits::Charge;
use super::lists::ListsMut;
use super::node::Batch;
use super::pool::Core;
use super::stats::{PartStats, Reason, Stats, Trimmed};
use crate::sync::{IN_MODELS, MutexGuard, Ordering, Timeout, Wait, spin};
use crate::sys::fence;
use crate::sys::generation::generation;

/// How often [`Core::take_all`] looks for objects that are in use.
const SWEEPS: usize = 8;
/// How often a visitor looks whether the owner has left, before it gives up and opens the gate.
const LOOKS: usize = if IN_MODELS { 1 } else { 32 };
/// Set in `visit_generation`, beside the generation, while a thread of that process recovers the visits.
pub(crate) const RECOVERING: usize = 1 << (usize::BITS - 1);

impl Core {
    // ---------------------------------------------------------------- the visitors' lock

    /// Takes the visitors' lock. `None` after the timeout, or while another thread recovers the lock after a fork.
    pub(crate) fn lock_visits(&self, timeout: Timeout) -> Option<MutexGuard<'_, ()>> {
        if self.visits_are_lost() && !self.recover_visits_slow() {
            return None;
        }
        self.visits.lock_bounded(timeout)
    }

    /// Whether this is a forked child in which no thread has recovered the visits yet.
    pub(crate) fn visits_are_lost(&self) -> bool {
        // Relaxed: it changes when a process forks, and when the one thread that recovers the visits is done.
        self.visit_generation.load(Ordering::Relaxed) != generation()
    }

    /// Releases the lock and opens the gates that a visitor of the parent process has left. `false` if another thread
    /// is doing that.
    #[cold]
    pub(crate) fn recover_visits_slow(&self) -> bool {
        let (now, before) = (generation(), self.visit_generation.load(Ordering::Relaxed));
        if before == now {
            return true; // another thread has recovered the visits since the caller looked
        }
        if !self.claim_recovery(before, now) {
            return !self.visits_are_lost();
        }
        let held = self.visits.try_lock();
        let held = held.or_else(|| {
            // SAFETY: no thread of this process takes the lock before `visit_generation` is up to date. So the holder
            // was lost in the fork, and what the lock guards is repaired below.
            unsafe { self.visits.unlock_lost() };
            self.visits.try_lock()
        });
        if let Some(visits) = held {
            self.each_cache(|cache| cache.gate.set(VISIT | MISSED, false));
            drop(visits);
        }
        self.visit_generation.store(now, Ordering::Relaxed);
        true
    }

    /// Whether the calling thread is the one that recovers the visits of generation `before`.
    fn claim_recovery(&self, before: usize, now: usize) -> bool {
        let claimed = now | RECOVERING;
        // Relaxed: one thread wins, and the lock publishes what it does.
        before != claimed
            && self
                .visit_generation
                .compare_exchange(before, claimed, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    // ---------------------------------------------------------------- a visit

    /// Visits the occupied caches for which `wanted` returns `true`. `false` if an owner was inside for longer than the
    /// timeout (`None`: at each look), or the system refused the barrier.
    ///
    /// `work` moves pointers and nothing else (I5). If two visitors wait at once, one may do its work at a cache in
    /// place of the other. That is harmless: all visitors with a timeout take everything out.
    fn visit_those(
        &self,
        timeout: Option<Timeout>,
        wanted: impl Fn(&Cache) -> bool,
        mut work: impl FnMut(&Cache, &mut ListsMut<'_>),
    ) -> bool {
        let visit = self.begin_visit(timeout.unwrap_or(Timeout::Short), wanted);
        let Some(visit) = visit else {
            return false;
        };
        let (passed, _) = fence_once(visit.gates);
        let missed = visit.enter(passed, timeout.is_some(), &mut work);
        match timeout {
            _ if !missed => true,
            None => false,
            Some(timeout) => {
                // After a refusal the next fences are most likely refused too. The owners get their requests early.
                let timeout = if passed { timeout } else { Timeout::Short };
                self.visit_missed_slow(timeout, work)
            }
        }
    }

    /// The first half of a visit: shuts the gates of the occupied caches for which `wanted` returns `true`. `None` if
    /// the visitors' lock could not be taken.
    fn begin_visit(&self, timeout: Timeout, wanted: impl Fn(&Cache) -> bool) -> Option<Visit<'_>> {
        let visits = self.lock_visits(timeout)?;
        let mut gates = 0;
        self.each_cache(|cache| {
            if cache.is_occupied() && wanted(cache) {
                cache.gate.begin_visit();
                gates += 1;
            }
        });
        Some(Visit {
            core: self,
            _visits: visits,
            gates,
        })
    }

    /// The first half of [`Core::visit`], for several visits that share a fence.
    pub(crate) fn begin_visit_to_all(&self) -> Option<Visit<'_>> {
        self.begin_visit(Timeout::Short, |_| true)
    }

    /// Waits for the owners that a visit has missed, one at a time.
    #[cold]
    fn visit_missed_slow(
        &self,
        timeout: Timeout,
        mut work: impl FnMut(&Cache, &mut ListsMut<'_>),
    ) -> bool {
        // Relaxed: a hint. In a forked child, an owner that was lost inside never leaves: do not wait long again.
        let timed_out = self.visit_timed_out.load(Ordering::Relaxed);
        let mut wait = Wait::new(if timed_out { Timeout::Short } else { timeout });
        loop {
            let mut left = false;
            if let Some(visits) = self.lock_visits(Timeout::Short) {
                self.each_cache(|cache| {
                    if !cache.gate.has(MISSED) {
                        return;
                    }
                    cache.gate.begin_visit();
                    if fence::heavy() && leaves(cache) {
                        // SAFETY: I2: the caller holds the visits and has shut the gate, and after a heavy fence the
                        // owner was outside.
                        unsafe { cache.enter(|lists| work(cache, lists)) };
                        cache.gate.set(MISSED, false);
                    } else {
                        left = true;
                    }
                    cache.gate.end_visit(); // mutant: drop-let-go-later
                });
                drop(visits);
                if !left {
                    self.visit_timed_out.store(false, Ordering::Relaxed);
                    return true;
                }
            }
            if !wait.again() {
                break;
            }
        }
        self.visit_timed_out.store(true, Ordering::Relaxed);
        // The owners drain these caches when they come back.
        self.note_drain_request();
        if let Some(_visits) = self.lock_visits(timeout) {
            self.each_cache(|cache| {
                if cache.gate.has(MISSED) {
                    cache.gate.set(MISSED, false);
                    cache.gate.set(DRAIN, true);
                }
            });
        }
        false
    }

    /// Visits each occupied cache once, without waiting for owners. `false` if it has missed one.
    #[allow(dead_code, reason = "for forks, which not every system has")]
    pub(crate) fn visit(&self, work: impl FnMut(&Cache, &mut ListsMut<'_>)) -> bool {
        self.visit_those(None, |_| true, work)
    }

    // ---------------------------------------------------------------- everything out

    /// Takes everything idle from every cache and the depot. The flag is `false` if a cache could not be entered: its
    /// owner will drain it. With `close`, the pool keeps nothing from then on.
    pub(crate) fn empty(&self, close: bool) -> (Batch, bool) {
        if close {
            self.set_closed();
            if let Some(_visits) = self.lock_visits(Timeout::Long) {
                self.each_cache(|cache| cache.gate.set(INACTIVE, true));
            }
        }
        self.drain(Some(Timeout::Long), close)
    }

    /// Takes everything out of those caches whose owners are outside. The charge of what they held stays.
    pub(super) fn drain_caches(&self) -> Batch {
        self.drain_those(None).0
    }

    fn drain_those(&self, timeout: Option<Timeout>) -> (Batch, bool) {
        let mut all = Batch::EMPTY;
        let reached = self.visit_those(
            timeout,
            |_| true,
            |_, lists| {
                for batch in lists.drain(&self.limits) {
                    all.append(batch);
                }
            },
        );
        (all, reached)
    }

    fn drain(&self, timeout: Option<Timeout>, close: bool) -> (Batch, bool) {
        let (mut all, reached) = self.drain_those(timeout);
        for batch in self.depots().all().flat_map(|depot| depot.drain(close)) {
            all.append(batch);
        }
        (all, reached)
    }

    /// Hands everything idle out to the caller. The flag says whether those are all the objects of the pool. With a
    /// timeout, it looks a few times for objects that are in use, which often come back within a moment.
    ///
    /// The flag takes note of an object that a get takes meanwhile: the getting thread has left its cache, or the
    /// depot's lock, before this call looks there.
    pub(crate) fn take_all(&self, timeout: Option<Timeout>) -> (Batch, bool) {
        let mut all = Batch::EMPTY;
        let mut wait = Wait::new(Timeout::Short);
        for _ in 0..SWEEPS {
            all.append(self.drain(timeout, false).0);
            if timeout.is_none() || self.nodes() <= all.len || !wait.again() {
                break;
            }
        }
        self.limits.release(Charge {
            objects: all.len,
            bytes: all.bytes,
        });
        self.counters.reused(all.len);
        let complete = self.nodes() <= all.len;
        (all, complete)
    }

    /// Drops everything idle. Runs user code.
    pub(crate) fn clear(&self) -> Trimmed {
        let (all, _) = self.empty(false);
        let cleared = Trimmed {
            objects: all.len as u64,
            bytes: self.limits.bytes_of(all.len, all.bytes) as u64,
        };
        self.counters.trimmed(all.len);
        self.drop_batch(all);
        cleared
    }

    /// Empties a pool that is gone. `false` if an owner was inside its cache for too long: another call, or that owner,
    /// has to empty that cache. Runs user code.
    pub(crate) fn finish_closing(&self) -> bool {
        let (all, reached) = self.empty(true);
        self.counters.discarded(Reason::Closed, all.len);
        self.drop_batch(all);
        reached
    }

    /// Switches the pool on or off. Off, every gate is shut, so every operation takes the slow path, which finds that
    /// the pool is off.
    pub(crate) fn set_enabled(&self, on: bool) {
        self.set_switched_on(on);
        if let Some(_visits) = self.lock_visits(Timeout::Long) {
            // Read again: another thread may have switched the pool since.
            let inactive = self.is_inactive();
            self.each_cache(|cache| cache.gate.set(INACTIVE, inactive)); // mutant: drop-inactive
        }
    }

    // ---------------------------------------------------------------- statistics

    /// What the pool has done and holds.
    ///
    /// Counters are read in place. The bytes of a cache are exact if no hit has changed its lists since a visitor
    /// walked them. If one has, this visits the cache once, and estimates the bytes if the owner is inside.
    pub(crate) fn stats(&self) -> Stats {
        let (mut caches, exact) = self.read_caches();
        if !exact {
            let changed = |cache: &Cache| !cache.stats().1;
            self.visit_those(None, changed, |cache, lists| cache.note_bytes(lists));
            caches = self.read_caches().0;
        }
        let mut stats = Stats::of(&self.counters, caches, self.outside_caches());
        let weights = stats.idle_bytes as usize;
        stats.idle_bytes = self.limits.bytes_of(stats.idle as usize, weights) as u64;
        stats.unweighed = self.limits.unweighed();
        stats.add_off(self.handed_out_off());
        stats
    }

    pub(super) fn read_caches(&self) -> (PartStats, bool) {
        let (mut sum, mut exact) = (PartStats::default(), true);
        self.each_cache(|cache| {
            let (stats, is_exact) = cache.stats();
            sum = sum.plus(stats);
            exact &= is_exact;
        });
        (sum, exact)
    }

    /// The number of returns so far, which may be slightly out of date.
    pub(crate) fn returned(&self) -> usize {
        let caches = self.read_caches().0.returned;
        self.counters.returned_directly().wrapping_add(caches)
    }
}

/// A visit that has shut its gates. The visitor issues a heavy fence next, which any number of visits may share, and
/// then calls [`Visit::enter`]. No user code may run in between (I5).
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    core: &'a Core,
    _visits: MutexGuard<'a, ()>,
    /// How many gates are shut.
    pub(crate) gates: usize,
}

impl Visit<'_> {
    /// The second half of a visit: enters each cache whose owner is outside, and opens its gate. `true` if it has
    /// missed a cache; with `flag_missed`, the gate of such a cache has [`MISSED`] set.
    ///
    /// `passed`: whether a heavy fence was issued since the first half.
    pub(crate) fn enter(
        self,
        passed: bool,
        flag_missed: bool,
        mut work: impl FnMut(&Cache, &mut ListsMut<'_>),
    ) -> bool {
        if self.gates == 0 {
            return false;
        }
        // First the caches whose owners are outside, so that their gates open as soon as possible.
        if passed {
            self.core.each_cache(|cache| {
                if cache.gate.has(VISIT) && cache.gate.owner_is_out() {
                    // SAFETY: I2: this holds the visits and has shut the gate, and after a heavy fence the owner was
                    // outside.
                    unsafe { cache.enter(|lists| work(cache, lists)) };
                    cache.gate.end_visit(); // mutant: drop-let-go-at-once
                }
            });
        }
        let mut missed = false;
        self.core.each_cache(|cache| {
            if !cache.gate.has(VISIT) {
                return;
            }
            if passed && leaves(cache) {
                // SAFETY: I2: as above.
                unsafe { cache.enter(|lists| work(cache, lists)) };
            } else {
                missed = true;
                if flag_missed {
                    cache.gate.set(MISSED, true);
                }
            }
            cache.gate.end_visit(); // mutant: drop-let-go
        });
        missed
    }
}

/// Issues the heavy fence of visits that have shut this many gates together; none for no gate. Returns whether the
/// visitors may enter, and the number of fences.
pub(crate) fn fence_once(gates: usize) -> (bool, usize) {
    if gates == 0 {
        return (true, 0);
    }
    (fence::heavy(), 1)
}

/// Whether the owner of a cache whose gate is shut is outside, or leaves within a moment.
fn leaves(cache: &Cache) -> bool {
    (0..LOOKS).any(|_| {
        let left = cache.gate.owner_is_out();
        if !left {
            spin();
        }
        left
    })
}

impl Core {
    /// Makes the calling thread the owner of a cache.
    ///
    /// # Safety
    /// The caller holds the visits. The cache belongs to this core, and to the ID of the calling thread.
    pub(crate) unsafe fn occupy(&self, cache: &Cache) {
        if !cache.is_listed() {
            // SAFETY: guaranteed by the caller.
            unsafe { self.list(cache) };
            cache.gate.set(LISTED, true);
        }
        debug_assert!(!cache.gate.has(OCCUPIED));
        // SAFETY: I3: the calling thread has the ID of this cache, and holds the visits.
        unsafe { cache.occupy(&self.limits, self.is_inactive()) };
    }
}

#[cfg(test)]
mod tests;
