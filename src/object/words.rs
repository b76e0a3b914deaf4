//! Moving small values word by word.
//!
//! What has just been written in single words is slow to read by a wider load: it waits until the words have left the
//! store buffer, which takes longer than a get and a drop. The compiler makes such loads where it moves a value.

use std::mem::MaybeUninit;
use std::ptr;

/// Values of up to this many words are moved word by word.
const FEW: usize = 8;

type Word = MaybeUninit<*mut ()>;

/// As [`ptr::copy_nonoverlapping`] of one value: afterwards it is at both places.
///
/// # Safety
/// As that function's.
#[inline(always)]
pub(crate) unsafe fn copy<T>(from: *const T, to: *mut T) {
    let words = size_of::<T>() / size_of::<Word>();
    let fits = size_of::<T>() % size_of::<Word>() == 0 && align_of::<T>() >= align_of::<Word>();
    if !fits || words > FEW {
        // SAFETY: the caller's.
        return unsafe { ptr::copy_nonoverlapping(from, to, 1) };
    }
    for at in 0..words {
        // SAFETY: in bounds of what is read.
        let from = unsafe { from.cast::<Word>().add(at) };
        // SAFETY: in bounds of what is written.
        let to = unsafe { to.cast::<Word>().add(at) };
        // SAFETY: the caller's. Volatile, or the words become one load. They keep their provenance, and may be padding.
        let word = unsafe { from.read_volatile() };
        // SAFETY: the caller's.
        unsafe { to.write(word) };
    }
}

/// Moves a value to its place.
#[inline(always)]
pub(crate) fn write<T>(slot: &mut MaybeUninit<T>, value: T) {
    let value = MaybeUninit::new(value);
    // SAFETY: two places of one value; the first is not dropped.
    unsafe { copy(value.as_ptr(), slot.as_mut_ptr()) };
}

/// Moves a value out.
///
/// # Safety
/// As [`ptr::read`].
#[inline(always)]
pub(crate) unsafe fn read<T>(from: *const T) -> T {
    let mut value = MaybeUninit::uninit();
    // SAFETY: the caller's; the two do not overlap.
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
