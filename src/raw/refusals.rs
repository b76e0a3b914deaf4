//! [`Refusals`]: counts what the limits of a pool refuse, for `hoards.rs`.
//!
//! Any thread may touch all of it. Relaxed: hints, as described there.

use crate::sync::{Ordering, StatU32};

/// What limits have refused since a thread last looked for hoards. In words of 32 bits, which may wrap around: then a
/// look comes too early, or too late, once.
#[derive(Debug)]
pub(super) struct Refusals {
    /// The number of refusals; above it, how many looks in a row found no hoard; and [`THERE_WERE`] if there have been
    /// hoards before.
    count: StatU32,
    /// The pool's returns at the last look. While all objects go to the depot: the number of returns to the depot at
    /// which that ends.
    mark: StatU32,
}

const THERE_WERE: u32 = 1 << 31;
const ONE_FAILED: u32 = 1 << 28;
const MOST_FAILED: u32 = 4;
const NUMBER: u32 = ONE_FAILED - 1;

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            count: StatU32::new(0),
            mark: StatU32::new(0),
        }
    }

    /// Starts to count again.
    pub(super) fn start(&self, there_were: bool, returned: usize) {
        let count = if there_were { THERE_WERE } else { 0 };
        self.count.store(count, Ordering::Relaxed);
        self.set_mark(returned);
    }

    /// Starts to count again after a look. Until a look finds a hoard, the next one comes later.
    pub(super) fn start_later(&self, returned: usize) {
        let failed_looks = (self.failed_looks() + 1).min(MOST_FAILED);
        self.count
            .store(failed_looks * ONE_FAILED, Ordering::Relaxed);
        self.set_mark(returned);
    }

    /// How many looks in a row found no hoard, up to [`MOST_FAILED`].
    pub(super) fn failed_looks(&self) -> u32 {
        (self.count.load(Ordering::Relaxed) & !THERE_WERE) / ONE_FAILED
    }

    /// Counts one. Returns how many there are, and whether there have been hoards before.
    pub(super) fn count(&self) -> (usize, bool) {
        // Not a read-modify-write: if two threads count at once, a look comes later.
        let before = self.count.load(Ordering::Relaxed);
        let refused = ((before & NUMBER) + 1).min(NUMBER);
        self.count
            .store((before & !NUMBER) | refused, Ordering::Relaxed);
        (refused as usize, before & THERE_WERE != 0)
    }

    pub(super) fn set_mark(&self, returns: usize) {
        self.mark.store(returns as u32, Ordering::Relaxed);
    }

    pub(super) fn mark(&self) -> u32 {
        self.mark.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_up_to_the_most_that_fit() {
        for there_were in [false, true] {
            let refusals = Refusals::new();
            refusals.start(there_were, 7);
            assert_eq!(refusals.mark(), 7);
            for count in [1, 2, 3] {
                assert_eq!(refusals.count(), (count, there_were));
            }
            let (most, bit) = (
                u32::MAX >> 4,
                refusals.count.load(Ordering::Relaxed) & THERE_WERE,
            );
            refusals.count.store((most - 1) | bit, Ordering::Relaxed);
            for _ in 0..3 {
                assert_eq!(refusals.count(), (most as usize, there_were));
            }
            assert_eq!(refusals.failed_looks(), 0);
            refusals.start(!there_were, usize::MAX);
            assert_eq!(refusals.mark(), u32::MAX);
            assert_eq!(refusals.count(), (1, !there_were));
        }
    }
}
