//! [`Recycle`] for `hashbrown`'s maps and sets: cleared, with their capacity kept.

#![cfg(feature = "hashbrown")]

use crate::object::recycle::Recycle;
use crate::object::tables::{self, table_bytes};
use hashbrown::{HashMap, HashSet, HashTable};

macro_rules! tables {
    ($([$($generics:ident),*] $Type:ty, $Entry:ty;)*) => {$(
        impl<$($generics),*> Recycle for $Type {
            #[inline]
            fn recycle(&mut self) {
                self.clear();
            }

            #[inline]
            fn retained_bytes(&self) -> usize {
                table_bytes::<$Entry>(self.capacity())
            }

            #[inline]
            fn used_bytes(&self) -> usize {
                tables::used_bytes::<$Entry>(self.len())
            }
        }
    )*};
}

tables! {
    [K, V, S] HashMap<K, V, S>, (K, V);
    [T, S] HashSet<T, S>, T;
    [T] HashTable<T>, T;
}
