//! Copies small values one machine word at a time.
//!
//! If a value has just been written in single words, a wider load of it has to wait until the words
//! have left the store buffer, which takes longer than a get and a drop. The compiler uses such
//! loads to move a value.

use std::mem::MaybeUninit;
use std::ptr;

/// Values of up to this many words are copied word by word.
const FEW: usize = 8;

type Word = MaybeUninit<*mut ()>;

/// Returns whether values of this type are copied word by word.
pub(crate) const fn is_small<T>() -> bool {
    size_of::<T>() % size_of::<Word>() == 0
        && size_of::<T>() / size_of::<Word>() <= FEW
        && align_of::<T>() >= align_of::<Word>()
}

/// Like [`ptr::copy_nonoverlapping`] of one value: afterwards the value is at both places.
///
/// # Safety
/// As for that function.
#[inline(always)]
pub(crate) unsafe fn copy<T>(from: *const T, to: *mut T) {
    if !is_small::<T>() {
        // SAFETY: guaranteed by the caller.
        return unsafe { ptr::copy_nonoverlapping(from, to, 1) };
    }
    for at in 0..size_of::<T>() / size_of::<Word>() {
        // SAFETY: in bounds of what is read.
        let from = unsafe { from.cast::<Word>().add(at) };
        // SAFETY: in bounds of what is written.
        let to = unsafe { to.cast::<Word>().add(at) };
        // SAFETY: the caller guarantees it. Volatile, because the words would become one load
        // otherwise. Words keep their provenance and may be padding.
        let word = unsafe { from.read_volatile() };
        // SAFETY: guaranteed by the caller.
        unsafe { to.write(word) };
    }
}

/// Moves a value into a slot.
#[inline(always)]
pub(crate) fn write<T>(slot: &mut MaybeUninit<T>, value: T) {
    // SAFETY: two places of one value; the first is not dropped.
    unsafe { copy(&raw const value, slot.as_mut_ptr()) };
    // After the copy: a `MaybeUninit` or `ManuallyDrop` around the value would be one more place.
    std::mem::forget(value);
}

/// Moves a value out.
///
/// # Safety
/// As [`ptr::read`].
#[inline(always)]
pub(crate) unsafe fn read<T>(from: *const T) -> T {
    let mut value = MaybeUninit::uninit();
    // SAFETY: the caller guarantees that the value is there; the two places do not overlap.
    unsafe { copy(from, value.as_mut_ptr()) };
    // SAFETY: all of it is there.
    unsafe { value.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    fn moves<T: Clone + Debug + PartialEq>(value: T) {
        let mut slot = MaybeUninit::uninit();
        write(&mut slot, value.clone());
        // SAFETY: written above, and not used again.
        assert_eq!(unsafe { read(slot.as_ptr()) }, value);
    }

    #[test]
    fn values_of_every_shape_arrive() {
        moves(());
        moves(7_u8);
        moves([1_u8; 13]);
        moves((1_u64, 2_u8));
        moves(String::from("words"));
        moves((vec![1, 2, 3], Some(Box::new(4)), [5_u32; 3]));
        moves([String::new(), "two".into(), "three".into(), "four".into()]);
    }
}
