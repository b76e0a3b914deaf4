//! [`RingStats`]: the counters of one ring of lent buffers, which any thread may read at any time.
//!
//! They have one writer, the holder of the ring, so they are updated by plain stores instead of
//! read-modify-writes. They outlive the ring: the next ring to be created takes them over and counts
//! on. So the sum over a class never goes back.
//!
//! # Orderings
//! Counters are Relaxed: they publish nothing. `taken`: Release when a ring gives its counters up,
//! Acquire when the next ring takes them, so the new writer continues from the last values.
//! No mutants: loom leaves statistics to std.

use crate::sync::lazy::Lazy;
use crate::sync::rare::{Arc, Weak};
use crate::sync::{AtomicBool, Mutex, Ordering, StatUsize};

/// The counters of all rings that have had these, one after the other.
#[derive(Debug)]
pub(super) struct RingStats {
    /// Handles pushed onto the ring.
    came: StatUsize,
    /// Handles that left the ring and were handed out again at once; the class's pool has not
    /// counted them.
    again: StatUsize,
    /// Handles that left the ring in any other way.
    left: StatUsize,
    taken: AtomicBool,
    given_up: Weak<GivenUp>,
}

/// The counters of a class that were given up last, which the next ring takes without a search. Another ring may have
/// found them meanwhile: `taken` decides. The lock is only ever tried.
type GivenUp = Mutex<Option<Arc<RingStats>>>;

impl RingStats {
    fn new(given_up: Weak<GivenUp>) -> Self {
        Self {
            given_up,
            came: StatUsize::new(0),
            again: StatUsize::new(0),
            left: StatUsize::new(0),
            taken: AtomicBool::new(false),
        }
    }

    /// Counts a handle pushed onto the ring.
    #[inline(always)]
    pub(super) fn came(&self) {
        add(&self.came, 1);
    }

    /// Returns the number of handles pushed so far.
    pub(super) fn has_come(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }

    /// Counts a handle that left the ring; `again` says whether it is handed out again.
    #[inline(always)]
    pub(super) fn left(&self, again: bool) {
        add(if again { &self.again } else { &self.left }, 1);
    }

    /// Counts the last handles of a ring that is gone, and releases the counters.
    pub(super) fn give_up(this: &Arc<Self>, handles: usize) {
        add(&this.left, handles);
        // Release: pairs with the Acquire in `try_take`.
        this.taken.store(false, Ordering::Release);
        if let Some(given_up) = this.given_up.upgrade() {
            // Dropped after the lock.
            let _before = given_up
                .try_lock()
                .and_then(|mut last| last.replace(Arc::clone(this)));
        }
    }

    fn try_take(&self) -> bool {
        // Read first: others' rings write to the same cache line.
        // Acquire: pairs with the Release in `give_up`.
        !self.taken.load(Ordering::Relaxed) && !self.taken.swap(true, Ordering::Acquire)
    }
}

#[inline(always)]
fn add(figure: &StatUsize, more: usize) {
    // Relaxed: there is one writer.
    let sum = figure.load(Ordering::Relaxed).wrapping_add(more);
    figure.store(sum, Ordering::Relaxed);
}

/// The counters of a class: as many as it had rings at the same time.
#[derive(Debug)]
pub(super) struct ClassRingStats {
    first: Lazy<Entry>,
    given_up: Arc<GivenUp>,
}

#[derive(Debug)]
struct Entry {
    stats: Arc<RingStats>,
    next: Lazy<Entry>,
}

impl ClassRingStats {
    pub(super) fn new() -> Self {
        Self {
            first: Lazy::new(),
            given_up: Arc::new(Mutex::new(None)),
        }
    }

    /// Returns counters for a new ring: those that were given up last, or else the first free ones of all.
    pub(super) fn take(&self) -> Arc<RingStats> {
        let last = self.given_up.try_lock().and_then(|mut last| last.take());
        if let Some(stats) = last.filter(|stats| stats.try_take()) {
            return stats;
        }
        let mut place = &self.first;
        loop {
            let Entry { stats, next } = place.get_or_make(|| {
                Arc::new(Entry {
                    stats: Arc::new(RingStats::new(Arc::downgrade(&self.given_up))),
                    next: Lazy::new(),
                })
            });
            if stats.try_take() {
                return Arc::clone(stats);
            }
            place = next;
        }
    }

    pub(super) fn totals(&self) -> RingTotals {
        let [mut came, mut again, mut left] = [0_u64; 3];
        let mut place = &self.first;
        while let Some(Entry { stats, next }) = place.get() {
            let read = |figure: &StatUsize| figure.load(Ordering::Relaxed) as u64;
            // Reads what has left first, so that no handle is seen to leave before it is seen to
            // come.
            left += read(&stats.left);
            again += read(&stats.again);
            came += read(&stats.came);
            place = next;
        }
        RingTotals {
            handles: came.saturating_sub(again + left),
            again,
        }
    }
}

impl Drop for ClassRingStats {
    /// Drops the entries in a loop instead of recursively: there may be as many as there were
    /// threads.
    fn drop(&mut self) {
        let mut next = self.first.take();
        while let Some(mut entry) = next.and_then(Arc::into_inner) {
            next = entry.next.take();
        }
    }
}

/// The sums over all rings of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RingTotals {
    /// Handles in the rings.
    pub(super) handles: u64,
    /// Buffers handed out again straight from a ring; the class's pool has not counted them.
    pub(super) again: u64,
}

#[cfg(all(test, not(repool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn counters_outlive_their_ring_and_serve_the_next_one() {
        let ring_stats = ClassRingStats::new();
        assert_eq!(ring_stats.totals(), RingTotals::default());
        let totals = |handles, again| {
            let expected = RingTotals { handles, again };
            assert_eq!(ring_stats.totals(), expected);
        };
        let (one, two) = (ring_stats.take(), ring_stats.take());
        (0..3).for_each(|_| one.came());
        two.came();
        one.left(true);
        totals(3, 1);
        one.left(false);
        totals(2, 1);
        RingStats::give_up(&one, 1);
        totals(1, 1);
        let three = ring_stats.take();
        assert!(Arc::ptr_eq(&one, &three), "taken over");
        three.came();
        three.left(true);
        totals(1, 2);
        assert!(!Arc::ptr_eq(&ring_stats.take(), &two));
    }

    /// Short-lived threads beside many others do not walk past the counters of all.
    #[test]
    fn what_was_given_up_last_is_taken_without_a_search() {
        let ring_stats = ClassRingStats::new();
        let taken: Vec<_> = (0..4).map(|_| ring_stats.take()).collect();
        RingStats::give_up(&taken[1], 0);
        RingStats::give_up(&taken[3], 0);
        assert!(Arc::ptr_eq(&ring_stats.take(), &taken[3]));
        assert!(Arc::ptr_eq(&ring_stats.take(), &taken[1]), "by a search");
        assert!(
            taken
                .iter()
                .all(|taken| !Arc::ptr_eq(&ring_stats.take(), taken))
        );
        // Found by a search, and given up last at the same time.
        RingStats::give_up(&taken[0], 0);
        assert!(taken[0].try_take());
        assert!(!Arc::ptr_eq(&ring_stats.take(), &taken[0]), "taken twice");
        // Rings may outlive their class.
        drop(ring_stats);
        RingStats::give_up(&taken[2], 0);
    }

    #[test]
    fn many_are_dropped_one_after_the_other() {
        let ring_stats = ClassRingStats::new();
        let many = if cfg!(miri) { 10 } else { 2000 };
        let taken: Vec<_> = (0..many).map(|_| ring_stats.take()).collect();
        drop((taken, ring_stats));
    }
}
