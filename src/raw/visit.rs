//! Visitors: everything that looks into other threads' caches.
//!
//! One at a time per core (`Core::visits`), one heavy fence per visit however many caches there
//! are, and nobody waits without a bound. The protocol itself is in `cache.rs`.

use super::pool::{CLOSED, Core};
use crate::raw::cache::Cache;
#[cfg(feature = "bytes")]
use crate::raw::limits::Charge;
use crate::raw::lists::{Figures, Lists};
use crate::raw::node::Batch;
use crate::raw::stats::{Reason, Trimmed};
use crate::sync::{Ordering, Patience, Wait};
use crate::sys::fence;

/// How often a visitor that wants what is in use as well looks for it.
#[cfg(feature = "bytes")]
const SWEEPS: usize = 8;

/// Which caches a visitor wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those that have an owner; the others are empty.
    Occupied,
    /// Those that ever had one: their figures count.
    Listed,
}

/// The caches that ever had an owner, newest first. They stay on it when they become vacant.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) newest: *const Cache,
    /// The last visit that waited did so in vain: some owner has died inside (fork), as like as not.
    pub(super) stuck: bool,
}

// SAFETY: the list is walked only under `Core::visits`, and caches live as long as their core.
unsafe impl Send for Listed {}

impl Listed {
    pub(super) fn each(&self, mut f: impl FnMut(&Cache)) {
        let mut next = self.newest;
        while !next.is_null() {
            // SAFETY: caches live as long as their core, and the list only grows.
            let cache = unsafe { &*next };
            // Relaxed: guarded by `Core::visits`.
            next = cache.next_listed.load(Ordering::Relaxed);
            f(cache);
        }
    }
}

impl Core {
    /// Visits the caches, behind one heavy fence; `false` when some owner was too busy for
    /// `patience`, or the barrier was refused.
    ///
    /// `work` moves pointers and nothing else (I5).
    pub(crate) fn visit(
        &self,
        patience: Option<Patience>,
        reach: Reach,
        mut work: impl FnMut(&Cache, &mut Lists),
    ) -> bool {
        let Some(mut listed) = self
            .visits
            .lock_bounded(patience.unwrap_or(Patience::Short))
        else {
            return false;
        };
        let mut wanted = false;
        listed.each(|cache| {
            if cache.is_occupied() {
                cache.want();
                wanted = true;
            }
        });
        // Without an owner there is nobody to keep off.
        let passed = !wanted || fence::heavy();
        let mut all = passed;
        // One for all of them: a child of a fork may have many owners that died inside.
        let mut wait = patience.map(|patience| {
            Wait::new(if listed.stuck {
                Patience::Short
            } else {
                patience
            })
        });
        listed.each(|cache| {
            if !cache.is_wanted() {
                if reach == Reach::Listed {
                    // SAFETY: I2: vacant, and stays so while the visits are held.
                    unsafe { cache.enter_vacant(|lists| work(cache, lists)) };
                }
                return;
            }
            if passed {
                // SAFETY: I2: the visits are held, the cache is wanted, the heavy fence is passed.
                all &= unsafe { cache.try_enter(&mut wait, |lists| work(cache, lists)) }.is_some();
            }
            cache.let_go();
        });
        if passed && (all || wait.is_some()) {
            listed.stuck = !all;
        }
        all
    }

    /// Takes everything idle, from every cache and the depot; and whether every cache was reached.
    pub(crate) fn empty(&self, close: bool) -> (Batch, bool) {
        if close {
            // Relaxed: what decides is the gates and the depot.
            self.state.fetch_or(CLOSED, Ordering::Relaxed);
            if let Some(listed) = self.visits.lock_bounded(Patience::Long) {
                listed.each(|cache| cache.set_barred(true));
            }
        }
        // Where a fork has left a flag set, this gives up after a second, and what that cache
        // holds leaks: rather that than hang.
        self.strip(Some(Patience::Long), close)
    }

    fn strip(&self, patience: Option<Patience>, close: bool) -> (Batch, bool) {
        let mut all = Batch::EMPTY;
        let reached = self.visit(patience, Reach::Occupied, |cache, lists| {
            for batch in cache.strip(lists, &self.limits) {
                all.append(batch);
            }
        });
        for batch in self.depot.drain(close) {
            all.append(batch);
        }
        (all, reached)
    }

    /// Hands everything idle out to the caller; and whether that was all there is. With patience it
    /// looks again some times for what is in use, as it comes back in a moment where this is wanted.
    ///
    /// An object that was idle before is not missed without notice: whoever took it left its cache,
    /// or the depot's lock, before this came there.
    #[cfg(feature = "bytes")]
    pub(crate) fn take_all(&self, patience: Option<Patience>) -> (Batch, bool) {
        let mut all = Batch::EMPTY;
        let mut wait = Wait::new(Patience::Short);
        for _ in 0..SWEEPS {
            all.append(self.strip(patience, false).0);
            if patience.is_none() || self.nodes() <= all.len || !wait.again() {
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

    /// The pool is gone: no more idle objects, now or later.
    pub(crate) fn close(&self) {
        // Relaxed: before the entry goes, under the registry's lock, so that whoever looks at one that
        // a late return has made since finds it closed.
        self.state.fetch_or(CLOSED, Ordering::Relaxed); // mutant: drop-closed-first
        crate::background::worker::forget(self);
        let (all, reached) = self.empty(true);
        if !reached {
            crate::background::worker::finish_later(self); // mutant: drop-finish-later
        }
        self.counters.discarded(Reason::Closed, all.len);
        self.drop_batch(all);
    }

    /// Empties a pool that is gone; `false` if some owner was inside its cache for too long. What is
    /// there then may only be reached by another call.
    pub(crate) fn finish_closing(&self) -> bool {
        let (all, reached) = self.empty(true);
        self.counters.discarded(Reason::Closed, all.len);
        self.drop_batch(all);
        reached
    }

    /// The figures of all caches together.
    pub(crate) fn figures(&self) -> Figures {
        let mut sum = Figures::default();
        self.visit(Some(Patience::Long), Reach::Listed, |cache, lists| {
            let one = cache.figures(lists);
            sum.reused = sum.reused.wrapping_add(one.reused);
            sum.returned = sum.returned.wrapping_add(one.returned);
            sum.idle += one.idle;
            sum.idle_bytes = sum.idle_bytes.wrapping_add(one.idle_bytes);
        });
        sum
    }
}

#[cfg(all(test, not(repool_loom)))]
mod tests {
    use crate::object::pool::Pool;
    use crate::thread::attach as thread;
    use std::time::{Duration, Instant};

    #[test]
    fn an_owner_that_died_inside_is_waited_for_once() {
        let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
        drop(pool.get());
        let number = thread::number().expect("a thread like any other");
        let cache = pool.core().cache_of(number).expect("used above");
        let time = || {
            let start = Instant::now();
            let idle = pool.stats().idle;
            (start.elapsed(), idle)
        };
        cache.die_inside(true);
        let (first, idle) = time();
        assert_eq!(idle, 0, "it cannot be looked at");
        let second = (0..3).map(|_| time().0).min().unwrap_or(Duration::MAX);
        cache.die_inside(false);
        assert!(second < first / 2, "{first:?}, then {second:?}");
        assert_eq!(time().1, 1, "and seen again once it is back");
    }
}
