//! [`ByValue`]: a destructor that gets its value by value instead of by reference.
//!
//! `Drop::drop` must leave a value behind for the fields' own destructors. Where a drop is the hot
//! path of a return, writing that value and reading it back is a fifth of the cost.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

/// What is done with a value instead of dropping it.
pub(crate) trait Leave {
    fn leave(self);
}

/// A value that [leaves](Leave) when this is dropped.
pub(crate) struct ByValue<T: Leave>(ManuallyDrop<T>);

impl<T: Leave> ByValue<T> {
    #[inline(always)]
    pub(crate) fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }

    /// Returns the value, which then does not leave.
    #[inline(always)]
    pub(crate) fn into_inner(self) -> T {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once: `this` is owned here, and neither dropped nor read again.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T: Leave> Drop for ByValue<T> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: taken once: nothing reads a field of a value that is being dropped, and the field
        // has no destructor.
        let value = unsafe { ManuallyDrop::take(&mut self.0) };
        value.leave();
    }
}

impl<T: Leave> Deref for ByValue<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Leave> DerefMut for ByValue<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Counts how often it has left and has been dropped.
    struct Guest<'a>(&'a Cell<(usize, usize)>);

    impl Leave for Guest<'_> {
        fn leave(self) {
            let (left, dropped) = self.0.get();
            self.0.set((left + 1, dropped));
        }
    }

    impl Drop for Guest<'_> {
        fn drop(&mut self) {
            let (left, dropped) = self.0.get();
            self.0.set((left, dropped + 1));
        }
    }

    #[test]
    fn leaves_once_and_is_dropped_once() {
        let seen = Cell::new((0, 0));
        drop(ByValue::new(Guest(&seen)));
        assert_eq!(seen.get(), (1, 1));
        let guest = ByValue::new(Guest(&seen)).into_inner();
        assert_eq!(seen.get(), (1, 1));
        drop(guest);
        assert_eq!(seen.get(), (1, 2));
    }

    #[test]
    fn replaced_in_place() {
        let (seen, other) = (Cell::new((0, 0)), Cell::new((0, 0)));
        let mut guest = ByValue::new(Guest(&seen));
        *guest = Guest(&other);
        assert_eq!((seen.get(), other.get()), ((0, 1), (0, 0)));
        assert_eq!(guest.0.0.get(), (0, 0));
        drop(guest);
        assert_eq!(other.get(), (1, 1));
    }
}
