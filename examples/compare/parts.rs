//! Where the parts of a document live for one request, and guards for plain objects. Shared with the
//! example `server`.

use crate::document::{Heap, Place};
use bumpalo::Bump;
use std::ops::{Deref, DerefMut};

/// Holds the parts of a document for one request.
pub(crate) trait Parts {
    type Place<'p>: Place<'p>
    where
        Self: 'p;

    fn place(&self) -> Self::Place<'_>;
    /// Keeps the root of a tree next to its parts.
    fn root<'p, T: 'p>(&'p self, root: T) -> impl Deref<Target = T> + 'p;
}

impl Parts for Heap {
    type Place<'p> = Self;

    fn place(&self) -> Self {
        Self
    }

    fn root<'p, T: 'p>(&'p self, root: T) -> impl Deref<Target = T> + 'p {
        Owned(root)
    }
}

/// Arenas of pools, and others.
impl<B: Deref<Target = Bump>> Parts for B {
    type Place<'p>
        = &'p Bump
    where
        B: 'p;

    fn place(&self) -> &Bump {
        self
    }

    /// Does not drop the root: that would walk the whole tree and free nothing.
    fn root<'p, T: 'p>(&'p self, root: T) -> impl Deref<Target = T> + 'p {
        (**self).alloc(root)
    }
}

/// A guard that only drops.
pub(crate) struct Owned<T>(pub(crate) T);

impl<T> Deref for Owned<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Owned<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
