//! [`Recycle`] for `smallvec`: cleared; a heap allocation is kept.

#![cfg(feature = "smallvec")]

use crate::object::recycle::Recycle;
use smallvec::{Array, SmallVec};

impl<A: Array> Recycle for SmallVec<A> {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        if self.spilled() {
            self.capacity().saturating_mul(size_of::<A::Item>())
        } else {
            0
        }
    }

    #[inline]
    fn used_bytes(&self) -> usize {
        if self.spilled() {
            size_of_val(self.as_slice())
        } else {
            0
        }
    }
}
