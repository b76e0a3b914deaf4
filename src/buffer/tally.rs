//! [`Tally`]: the counters of one ring of lent buffers, which any thread may read at any time.
//!
//! A tally has one writer, the holder of its ring, so it is updated by plain stores instead of
//! read-modify-writes. It outlives its ring: the next ring to be created takes it over and counts
//! on. So the sum over a class never goes back.
//!
//! # Orderings
//! Counters are Relaxed: they publish nothing. `taken`: Release when a ring gives its tally up,
//! Acquire when the next ring takes it, so the new writer continues from the last values.

use crate::sync::lazy::Lazy;
use crate::sync::rare::Arc;
use crate::sync::{AtomicBool, Ordering, StatUsize};

/// The counters of all rings that have had this tally, one after the other.
#[derive(Debug)]
pub(super) struct Tally {
    /// Handles pushed onto the ring.
    came: StatUsize,
    /// Handles that left the ring and were handed out again at once; the class's pool has not
    /// counted them.
    again: StatUsize,
    /// Handles that left the ring in any other way.
    left: StatUsize,
    taken: AtomicBool,
}

impl Tally {
    fn new() -> Self {
        Self {
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

    /// Counts the last handles of a ring that is gone, and releases the tally.
    pub(super) fn give_up(&self, handles: usize) {
        add(&self.left, handles);
        // Release: pairs with the Acquire in `Tallies::take`.
        self.taken.store(false, Ordering::Release);
    }
}

#[inline(always)]
fn add(figure: &StatUsize, more: usize) {
    // Relaxed: there is one writer.
    let sum = figure.load(Ordering::Relaxed).wrapping_add(more);
    figure.store(sum, Ordering::Relaxed);
}

/// The tallies of a class: as many as it had rings at the same time.
#[derive(Debug)]
pub(super) struct Tallies {
    first: Lazy<Entry>,
}

#[derive(Debug)]
struct Entry {
    tally: Arc<Tally>,
    next: Lazy<Entry>,
}

impl Tallies {
    pub(super) fn new() -> Self {
        Self { first: Lazy::new() }
    }

    /// Returns a tally for a new ring.
    pub(super) fn take(&self) -> Arc<Tally> {
        let mut place = &self.first;
        loop {
            let Entry { tally, next } = place.get_or_make(|| {
                Arc::new(Entry {
                    tally: Arc::new(Tally::new()),
                    next: Lazy::new(),
                })
            });
            // Acquire: pairs with the Release in `give_up`.
            if !tally.taken.swap(true, Ordering::Acquire) {
                return Arc::clone(tally);
            }
            place = next;
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let [mut came, mut again, mut left] = [0_u64; 3];
        let mut place = &self.first;
        while let Some(Entry { tally, next }) = place.get() {
            let read = |figure: &StatUsize| figure.load(Ordering::Relaxed) as u64;
            // Reads what has left first, so that no handle is seen to leave before it is seen to
            // come.
            left += read(&tally.left);
            again += read(&tally.again);
            came += read(&tally.came);
            place = next;
        }
        Figures {
            handles: came.saturating_sub(again + left),
            again,
        }
    }
}

impl Drop for Tallies {
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
pub(super) struct Figures {
    /// Handles in the rings.
    pub(super) handles: u64,
    /// Buffers handed out again straight from a ring; the class's pool has not counted them.
    pub(super) again: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_outlives_its_ring_and_serves_the_next_one() {
        let tallies = Tallies::new();
        assert_eq!(tallies.figures(), Figures::default());
        let figures = |handles, again| {
            let expected = Figures { handles, again };
            assert_eq!(tallies.figures(), expected);
        };
        let (one, two) = (tallies.take(), tallies.take());
        (0..3).for_each(|_| one.came());
        two.came();
        one.left(true);
        figures(3, 1);
        one.left(false);
        figures(2, 1);
        one.give_up(1);
        figures(1, 1);
        let three = tallies.take();
        assert!(Arc::ptr_eq(&one, &three), "taken over");
        three.came();
        three.left(true);
        figures(1, 2);
        assert!(!Arc::ptr_eq(&tallies.take(), &two));
    }

    #[test]
    fn many_are_dropped_one_after_the_other() {
        let tallies = Tallies::new();
        let many = if cfg!(miri) { 10 } else { 2000 };
        let taken: Vec<_> = (0..many).map(|_| tallies.take()).collect();
        drop((taken, tallies));
    }
}
