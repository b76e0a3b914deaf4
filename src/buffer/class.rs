//! Size classes: powers of two with three steps in between, so a new buffer is at most a quarter
//! larger than its request.
//!
//! 64, 80, 96, 112, 128, 160, 192, 224, 256, … Conversion in either direction is a leading-zero
//! count and a shift.

/// The number of classes from 64 B to [`LARGEST`].
pub(super) const COUNT: usize = holding(LARGEST) + 1;
/// The class of requests above the largest class: served, not kept.
pub(super) const OUTSIDE: usize = COUNT;
/// The class of requests for 0 bytes: a new buffer has no memory; one that grew comes back here.
pub(super) const UNSIZED: usize = COUNT + 1;
/// The number of all classes.
pub(super) const ALL: usize = COUNT + 2;
/// The capacity of the first class, in bytes.
pub(super) const SMALLEST: usize = 64;
/// The largest capacity that the last class can have, in bytes.
pub(super) const LARGEST: usize = 1 << 30;

/// The number of slots before that of class 0, for requests below the first class.
pub(super) const SMALLER: usize = 15;
/// The number of slots for requests that a class serves.
pub(super) const SLOTS: usize = COUNT + SMALLER;

/// Returns the slot of a request of `capacity` bytes: an index into the entry tables.
///
/// Slots follow the steps of the classes and continue below the first class, so a get computes its
/// slot without a branch. Returns [`SLOTS`] or more for 0 and for anything larger than [`LARGEST`].
#[inline(always)]
pub(super) const fn slot(capacity: usize) -> usize {
    // 0 wraps around to a number above all slots. The smallest slots have no steps in between.
    let last = capacity.wrapping_sub(1) | 4;
    let zeros = last.leading_zeros();
    // The three highest bits, from 4 to 7: the steps between two powers of two.
    let step = (last << zeros) >> (usize::BITS - 3);
    step + 4 * (usize::BITS as usize - 4) - 4 * zeros as usize
}

/// Returns the smallest class whose buffers hold `capacity` bytes; [`COUNT`] or more for 0 and for
/// anything larger than [`LARGEST`].
#[inline(always)]
pub(super) const fn holding(capacity: usize) -> usize {
    slot(capacity).saturating_sub(SMALLER)
}

/// Returns the class that a buffer of `capacity` bytes can serve; `None` if it is too small for
/// any. `capacity` is at most [`LARGEST`].
pub(super) const fn filing(capacity: usize) -> Option<usize> {
    if capacity < SMALLEST {
        return None;
    }
    let log = capacity.ilog2() as usize;
    Some(4 * (log - 6) + ((capacity >> (log - 2)) & 3))
}

/// Returns the capacity that a class promises and creates buffers with, in bytes; 0 for the two
/// classes that promise nothing.
pub(super) const fn size(class: usize) -> usize {
    if class >= COUNT {
        return 0;
    }
    (4 + class % 4) << (class / 4 + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_at_every_boundary() {
        let mut before = 0;
        for class in 0..COUNT {
            let size = size(class);
            assert!(size > before);
            // From one above the previous class to exactly this one.
            assert_eq!(holding(before + 1), class);
            assert_eq!(holding(size), class);
            assert_eq!(holding(size + 1), class + 1);
            // A buffer created for a class belongs to it; a smaller one belongs to the previous
            // class.
            assert_eq!(filing(size), Some(class));
            assert_eq!(filing(size - 1), class.checked_sub(1));
            before = size;
        }
        assert_eq!(before, LARGEST);
    }

    #[test]
    fn a_request_costs_a_quarter_more_at_most() {
        for capacity in (SMALLEST..1 << 20).step_by(61) {
            assert!(size(holding(capacity)) <= capacity + capacity / 4 + 1);
        }
        assert_eq!(size(holding((32 << 10) + 1)), 40 << 10);
    }

    #[test]
    fn small_requests_have_slots_before_the_first_class() {
        for capacity in 1..=SMALLEST {
            assert!(slot(capacity) <= SMALLER, "{capacity}");
        }
        assert_eq!((slot(SMALLEST), slot(SMALLEST + 1)), (SMALLER, SMALLER + 1));
        assert_eq!(slot(LARGEST), SLOTS - 1);
        assert!(slot(0) >= SLOTS && slot(LARGEST + 1) >= SLOTS);
    }

    #[test]
    fn the_two_classes_without_a_size_come_last() {
        assert_eq!((size(OUTSIDE), size(UNSIZED)), (0, 0));
        assert_eq!((OUTSIDE, UNSIZED + 1), (UNSIZED - 1, ALL));
        assert_ne!(size(OUTSIDE - 1), 0);
    }

    #[test]
    fn what_is_no_class() {
        assert_eq!(filing(0), None);
        assert_eq!(filing(SMALLEST - 1), None);
        for capacity in [0, LARGEST + 1, isize::MAX as usize, usize::MAX] {
            assert!(holding(capacity) >= COUNT, "{capacity}");
        }
    }
}
