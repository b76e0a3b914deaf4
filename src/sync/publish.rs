//! [`publish`]: threads race to make a value, and all use the first that is ready.
//!
//! # Orderings
//! A pointer is published with Release, and read with Acquire: a thread that sees the pointer sees its target.

use super::{AtomicPtr, Ordering};
use std::ptr;

/// Stores `fresh` if `place` is null. `Err` has the pointer of the thread that was first.
pub(crate) fn publish<T>(place: &AtomicPtr<T>, fresh: *mut T) -> Result<(), *mut T> {
    let published = place.compare_exchange(
        ptr::null_mut(),
        fresh,
        // Release: pairs with the Acquire below, and with that of each reader.
        Ordering::Release, // mutant: publish
        // Acquire: for the value of another thread.
        Ordering::Acquire, // mutant: publish-lost
    );
    published.map(drop)
}

#[cfg(all(test, not(repool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_first_pointer_stays() {
        let place = AtomicPtr::new(ptr::null_mut());
        let (mut first, mut second) = (1, 2);
        assert_eq!(publish(&place, &raw mut first), Ok(()));
        assert_eq!(publish(&place, &raw mut second), Err(&raw mut first));
        assert_eq!(place.load(Ordering::Relaxed), &raw mut first);
    }
}
