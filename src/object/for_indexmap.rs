//! [`Recycle`] for `indexmap`'s map and set: cleared, with their capacity kept.

#![cfg(feature = "indexmap")]

use crate::object::recycle::Recycle;
use crate::object::tables::{self, table_bytes};
use indexmap::{IndexMap, IndexSet};

/// A vector holds the entries with their hashes; a table holds their indices.
macro_rules! indexed {
    ($([$($generics:ident),*] $Type:ty, $Entry:ty;)*) => {$(
        impl<$($generics),*> Recycle for $Type {
            #[inline]
            fn recycle(&mut self) {
                self.clear();
            }

            #[inline]
            fn retained_bytes(&self) -> usize {
                let capacity = self.capacity();
                let entries = capacity.saturating_mul(size_of::<$Entry>());
                entries.saturating_add(table_bytes::<usize>(capacity))
            }

            #[inline]
            fn used_bytes(&self) -> usize {
                let len = self.len();
                len * size_of::<$Entry>() + tables::used_bytes::<usize>(len)
            }
        }
    )*};
}

indexed! {
    [K, V, S] IndexMap<K, V, S>, (usize, K, V);
    [T, S] IndexSet<T, S>, (usize, T);
}
