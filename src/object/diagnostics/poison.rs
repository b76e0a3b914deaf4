//! Fills the spare memory of objects, so that code which reads what it has not written does not
//! find what the last user left there.

use crate::object::recycle::for_inlined_types;
use std::any::Any;
use std::mem::MaybeUninit;

/// No valid UTF-8 starts with this byte; as part of a length or a pointer it makes it out of range.
pub(crate) const POISON: u8 = 0xA5;

/// Fills uninitialised memory.
pub(crate) fn fill<T>(spare: &mut [MaybeUninit<T>]) {
    let (start, bytes) = (spare.as_mut_ptr().cast::<u8>(), size_of_val(spare));
    // SAFETY: exactly the slice, which is borrowed here; `MaybeUninit` may hold any bytes.
    unsafe { start.write_bytes(POISON, bytes) };
}

/// A type whose spare memory can be filled.
trait SpareMemory {
    fn poison(&mut self);
}

impl<T> SpareMemory for Vec<T> {
    fn poison(&mut self) {
        fill(self.spare_capacity_mut());
    }
}

impl SpareMemory for String {
    fn poison(&mut self) {
        // SAFETY: writes only behind the content, which stays as it is.
        unsafe { self.as_mut_vec() }.poison();
    }
}

/// Fills the spare memory of a string or a vector of numbers; leaves any other object alone.
pub(super) fn poison<T: 'static>(object: &mut T) {
    let object: &mut dyn Any = object;
    macro_rules! arms {
        ($($Type:ty),*) => {$(
            if let Some(object) = object.downcast_mut::<$Type>() {
                return object.poison();
            }
        )*};
    }
    for_inlined_types!(arms);
}

#[cfg(test)]
mod tests {
    use super::{POISON, poison};

    #[test]
    fn fills_what_is_spare_and_nothing_else() {
        let mut bytes = Vec::with_capacity(100);
        bytes.resize(100, 1_u8);
        bytes.truncate(60);
        poison(&mut bytes);
        // SAFETY: both parts were written: by `resize` and by `poison`.
        unsafe { bytes.set_len(100) };
        assert_eq!(bytes[..60], [1; 60]);
        assert_eq!(bytes[60..], [POISON; 40]);

        let mut text = String::with_capacity(8);
        text.push_str("hello");
        poison(&mut text);
        assert_eq!(text, "hello");
        let mut wide: Vec<u32> = Vec::with_capacity(2);
        poison(&mut wide);
        // SAFETY: written just now.
        unsafe { wide.set_len(2) };
        assert_eq!(wide, [u32::from_ne_bytes([POISON; 4]); 2]);
        poison(&mut 5); // has none
    }
}
