//! Visitors: threads that look into other threads' caches.
//!
//! A visit shuts the gates of the caches that it wants, issues one heavy fence, enters those whose owners are
//! out, and opens each gate as soon as it is done there. An owner that stays inside has most likely lost the
//! processor. A visitor that must get in waits for such owners one at a time, with all other gates open and
//! `Core::visits` unlocked; so a slow owner holds up no other thread. A visitor whose timeout runs out leaves a mark,
//! and the owner empties its own cache at its next operation (`thread/register.rs`).
//!
//! # Fork
//! A child has no visitors, but may inherit `Core::visits` locked and gates shut by one that its parent had. The
//! first thread that comes for the lock in a new process finds `visit_generation` behind. It alone may then open what a
//! lost visitor has left shut; other threads do without the lock until it is done.

use super::cache::Cache;
use super::gate::{INACTIVE, DRAIN, LISTED, MISSED, OCCUPIED, VISIT};
use super::limits::Charge;
use super::lists::ListsMut;
use super::node::Batch;
use super::pool::Core;
use super::stats::{PartStats, Reason, Stats, Trimmed};
use crate::sync::{IN_MODELS, MutexGuard, Ordering, Timeout, Wait, spin};
use crate::sys::fence;
use crate::sys::generation::generation;

/// How many times a visitor that also wants what is in use looks for it.
const SWEEPS: usize = 8;
/// How often a visitor looks whether an owner leaves, before it lets the owner in again.
const LOOKS: usize = if IN_MODELS { 1 } else { 32 };
/// Set in `visit_generation` beside the generation while a thread of that process opens what lost visitors have left shut.
pub(super) const RECOVERING: usize = 1 << (usize::BITS - 1);

impl Core {
    // ---------------------------------------------------------------- whose turn it is

    /// Takes the visitors' lock.
    pub(crate) fn lock_visits(&self, timeout: Timeout) -> Option<MutexGuard<'_, ()>> {
        if self.visits_are_lost() && !self.recover_visits_slow() {
            return None;
        }
        self.visits.lock_bounded(timeout)
    }

    /// Whether no thread of this process has been a visitor yet, but one of its parent may have.
    pub(crate) fn visits_are_lost(&self) -> bool {
        // Relaxed: changes in a process that has one thread, or is about to be recovered by one.
        self.visit_generation.load(Ordering::Relaxed) != generation()
    }

    /// Opens what visitors of the parent process have left shut. `false`: another thread is doing it.
    #[cold]
    pub(crate) fn recover_visits_slow(&self) -> bool {
        let (now, before) = (generation(), self.visit_generation.load(Ordering::Relaxed));
        if before == now {
            return true; // another thread has done it since the caller looked, and the lock is in use
        }
        let claimed = before != now | RECOVERING
            && self
                .visit_generation
                // Relaxed: one thread wins, and what it does is published by the lock.
                .compare_exchange(
                    before,
                    now | RECOVERING,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok();
        if !claimed {
            return !self.visits_are_lost();
        }
        let held = self.visits.try_lock();
        let held = held.or_else(|| {
            // SAFETY: no thread of this process comes to the lock before `visit_generation` says that it may, so
            // the holder was lost in the fork.
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

    // ---------------------------------------------------------------- a visit

    /// Visits the occupied caches that `wanted` names. `false` when some owner was inside for longer than
    /// `timeout` (`None`: one look at each), or the barrier was refused.
    ///
    /// `work` moves pointers and nothing else (I5). Two visitors that wait at once may each do the other's work
    /// at a cache: those that have timeout take everything out.
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
        let passed = visit.gates == 0 || fence::heavy();
        let missed = visit.enter(passed, timeout.is_some(), &mut work);
        match timeout {
            _ if !missed => true,
            Some(timeout) if passed => self.visit_missed_slow(timeout, work),
            _ => false,
        }
    }

    /// The first half of a visit to the occupied caches that `wanted` names: shuts their gates. `None`: the
    /// visitors' lock could not be taken.
    fn begin_visit(
        &self,
        timeout: Timeout,
        wanted: impl Fn(&Cache) -> bool,
    ) -> Option<Visit<'_>> {
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

    /// The first half of [`Core::visit`]: for several visits at once, which share a fence.
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
        // Relaxed: a hint. In a forked child, an owner that was lost inside never leaves.
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
                        // SAFETY: I2: the visits are held, the cache is wanted, the fence is passed, the owner
                        // out.
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
        // Its owner empties it, when it comes back.
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

    /// Looks into each occupied cache once; `false` if one was missed.
    #[allow(dead_code, reason = "for forks, which not every system has")]
    pub(crate) fn visit(&self, work: impl FnMut(&Cache, &mut ListsMut<'_>)) -> bool {
        self.visit_those(None, |_| true, work)
    }

    // ---------------------------------------------------------------- everything out

    /// Takes everything idle, from every cache and the depot; and whether every cache was reached. What was not
    /// is emptied by its owner.
    pub(crate) fn empty(&self, close: bool) -> (Batch, bool) {
        if close {
            self.set_closed();
            if let Some(_visits) = self.lock_visits(Timeout::Long) {
                self.each_cache(|cache| cache.gate.set(INACTIVE, true));
            }
        }
        self.drain(Some(Timeout::Long), close)
    }

    fn drain(&self, timeout: Option<Timeout>, close: bool) -> (Batch, bool) {
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
        for batch in self.depot.drain(close) {
            all.append(batch);
        }
        (all, reached)
    }

    /// Hands everything idle out to the caller; and whether that was all there is. With timeout it
    /// looks again a few times for objects that are in use, since those come back within a moment.
    ///
    /// An object that was idle before is not missed unnoticed: the thread that took it left its cache,
    /// or the depot's lock, before this call got there.
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

    /// Drops everything idle.
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

    /// Empties a pool that is gone; `false` if some owner was inside its cache for too long. What is
    /// there then is reached by another call, or emptied by that owner.
    pub(crate) fn finish_closing(&self) -> bool {
        let (all, reached) = self.empty(true);
        self.counters.discarded(Reason::Closed, all.len);
        self.drop_batch(all);
        reached
    }

    /// Switches pooling off and on. Off, every gate is inactive, so that every operation takes the
    /// slow path and finds out there.
    pub(crate) fn set_enabled(&self, on: bool) {
        self.set_switched_on(on);
        if let Some(_visits) = self.lock_visits(Timeout::Long) {
            // As it is now: another thread may have switched since.
            let inactive = self.is_inactive();
            self.each_cache(|cache| cache.gate.set(INACTIVE, inactive));
        }
    }

    // ---------------------------------------------------------------- figures

    /// What the pool has done and holds.
    ///
    /// Counts are read where they stand. Bytes are exact where no hit has changed them since a visitor walked
    /// the lists; where one has, this looks once, and otherwise takes the weight of what was there.
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

    /// Objects that came back so far, about.
    pub(crate) fn returned(&self) -> usize {
        let caches = self.read_caches().0.returned;
        self.counters.returned_directly().wrapping_add(caches)
    }
}

/// A visit that has shut gates. Next comes a heavy fence, which any number of visits may share, then
/// [`Visit::enter`]. No user code runs in between (I5).
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    core: &'a Core,
    _visits: MutexGuard<'a, ()>,
    /// How many gates are shut.
    pub(crate) gates: usize,
}

impl Visit<'_> {
    /// The second half of a visit: looks into each cache once, and opens its gate. Whether one was missed; if
    /// `mark`, it is left marked.
    ///
    /// `passed`: a heavy fence was passed since the first half.
    pub(crate) fn enter(
        self,
        passed: bool,
        flag_missed: bool,
        mut work: impl FnMut(&Cache, &mut ListsMut<'_>),
    ) -> bool {
        if self.gates == 0 {
            return false;
        }
        // First those whose owners are out, so that their gates are shut for as short as possible.
        if passed {
            self.core.each_cache(|cache| {
                if cache.gate.has(VISIT) && cache.gate.owner_is_out() {
                    // SAFETY: I2: the visits are held, the cache is wanted, the fence is passed, the owner out.
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

/// Whether the owner of a wanted cache is out, or leaves within a moment.
fn leaves(cache: &Cache) -> bool {
    (0..LOOKS).any(|_| {
        let left = cache.gate.owner_is_out();
        if !left {
            spin();
        }
        left
    })
}

/// For a thread that is about to use a cache, or has used it for the last time. Under `Core::visits`.
impl Core {
    /// # Safety
    /// The caller holds the visits, and the cache is of this core, at the place of the calling thread.
    pub(crate) unsafe fn occupy(&self, cache: &Cache) {
        if !cache.is_listed() {
            // SAFETY: upheld by the caller.
            unsafe { self.list(cache) };
            cache.gate.set(LISTED, true);
        }
        debug_assert!(!cache.gate.has(OCCUPIED));
        // SAFETY: I3: the calling thread has the place, and holds the visits.
        unsafe { cache.occupy(&self.limits, self.is_inactive()) };
    }
}
