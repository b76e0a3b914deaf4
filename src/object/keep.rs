//! [`Keep`]: what `#[recycle(keep)]` does to a field.

use crate::object::recycle::{Recycle, sum};
use std::collections::VecDeque;

/// For `#[derive(Recycle)]` only: recycles what is inside a field and keeps it there.
#[diagnostic::on_unimplemented(
    message = "`#[recycle(keep)]` cannot keep what is in a `{Self}`",
    label = "only an `Option`, `Vec`, `VecDeque`, array or `Box` of a `Recycle` type has values to keep"
)]
pub trait Keep {
    /// As [`Recycle::recycle`].
    fn keep(&mut self);
    /// As [`Recycle::retained_bytes`].
    fn kept_bytes(&self) -> usize;
    /// As [`Recycle::used_bytes`].
    fn used_bytes(&self) -> usize;
}

/// Forwards to the values inside, and counts what holds them.
macro_rules! keep {
    ($([$($generics:tt)*] $Type:ty, $this:ident => $holds:expr;)*) => {$(
        impl<T: Recycle, $($generics)*> Keep for $Type {
            fn keep(&mut self) {
                self.iter_mut().for_each(T::recycle);
            }

            fn kept_bytes(&self) -> usize {
                let $this = self;
                usize::saturating_add($holds, sum(self.iter().map(T::retained_bytes)))
            }

            fn used_bytes(&self) -> usize {
                let $this = self;
                usize::saturating_add($holds, sum(self.iter().map(T::used_bytes)))
            }
        }
    )*};
}

keep! {
    [] Option<T>, _this => 0;
    [] Vec<T>, v => v.capacity().saturating_mul(size_of::<T>());
    [] VecDeque<T>, v => v.capacity().saturating_mul(size_of::<T>());
    [const N: usize] [T; N], _this => 0;
}

impl<T: Keep> Keep for Box<T> {
    fn keep(&mut self) {
        (**self).keep();
    }

    fn kept_bytes(&self) -> usize {
        size_of::<T>().saturating_add((**self).kept_bytes())
    }

    fn used_bytes(&self) -> usize {
        size_of::<T>().saturating_add((**self).used_bytes())
    }
}
