//! What makes an object ready for its next user.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;

/// Types that can be made ready for the next user without giving their allocation up.
///
/// [`Pool::new`](crate::Pool::new) uses it: `recycle` runs on each object when its guard is
/// dropped, so that no user sees what another one left behind, and whatever the object referred to
/// is let go at once. For a type that is not yours, or for another idea of "ready", use
/// [`Builder::reset`](crate::Builder::reset).
///
/// It is implemented for std's collections, strings and paths; for boxes, options, tuples and arrays
/// of such; for plain numbers, `bool` and `char`, which become zero, `false` and NUL; and for
/// `BytesMut` and `Bump` behind the features `bytes` and `bumpalo`. With the feature `derive`,
/// `#[derive(Recycle)]` implements it for structs whose fields are all `Recycle`.
///
/// # Cost
/// For `String` and for vectors of bytes and of the common number types, a hit contains the reset
/// itself. For any other type it is one indirect call, since a pool's type does not say which
/// reset it has.
///
/// # Examples
/// ```
/// use repool::{Pool, Recycle};
///
/// #[derive(Default)]
/// struct Scratch { names: Vec<String>, depth: usize }
///
/// impl Recycle for Scratch {
///     fn recycle(&mut self) {
///         self.names.clear();
///         self.depth = 0;
///     }
///     fn retained_bytes(&self) -> usize {
///         self.names.retained_bytes()
///     }
/// }
///
/// static SCRATCH: Pool<Scratch> = Pool::new(Scratch::default);
///
/// SCRATCH.get().depth = 7;
/// assert_eq!(SCRATCH.get().depth, 0);
/// ```
///
/// # Panics
/// An implementation may panic: the object is then dropped, and the pool goes on.
pub trait Recycle {
    /// Makes `self` ready for the next user, and keeps its allocation.
    fn recycle(&mut self);

    /// Heap bytes that `self` holds while it is idle, for limits and statistics; called after
    /// [`recycle`](Recycle::recycle). Without it, byte limits do not see the type.
    ///
    /// `size_of::<Self>()` is not part of it unless an implementation adds it.
    fn retained_bytes(&self) -> usize {
        0
    }
}

/// What a `BufferPool` keeps; without it, any of the others.
#[cfg(feature = "bytes")]
use crate::buffer::{Cell as BufferCell, Ring as BufferRing};
#[cfg(not(feature = "bytes"))]
type BufferCell = Vec<u8>;
#[cfg(not(feature = "bytes"))]
type BufferRing = Vec<u8>;

/// What an `ArenaPool` keeps; without it, any of the others.
#[cfg(feature = "bumpalo")]
use crate::arena::Region;
#[cfg(not(feature = "bumpalo"))]
type Region = Vec<u8>;

/// The types whose reset is worth inlining.
///
/// A pool may have a reset of its own, so `Pooled<T>` asks for no `T: Recycle`, and without
/// specialisation the compiler cannot be told to inline the trait where it is there. Comparing
/// types can, for a closed list: after monomorphisation one arm is left, or none.
macro_rules! for_inlined_types {
    ($arm:ident) => {
        $arm!(
            Vec<u8>,
            String,
            Vec<u16>,
            Vec<u32>,
            Vec<u64>,
            Vec<usize>,
            Vec<i32>,
            Vec<i64>,
            Vec<f32>,
            Vec<f64>,
            Vec<char>,
            BufferCell,
            Region,
            BufferRing
        )
    };
}

/// Resets `value` in place when its type is one of the inlined ones; its weight then. `None` as well
/// when there is more to do than belongs on a hit; nothing has been done then.
#[inline(always)]
pub(crate) fn inlined<T: 'static>(value: &mut T) -> Option<usize> {
    #[cfg(feature = "bumpalo")]
    if let Some(region) = (value as &mut dyn Any).downcast_mut::<Region>() {
        return region.settled();
    }
    macro_rules! arms {
        ($($Type:ty),*) => {$(
            if let Some(value) = (value as &mut dyn Any).downcast_mut::<$Type>() {
                value.recycle();
                return Some(value.retained_bytes());
            }
        )*};
    }
    for_inlined_types!(arms);
    None
}

/// Whether `T` is one of the inlined types.
#[inline(always)]
pub(crate) fn is_inlined<T: 'static>() -> bool {
    macro_rules! arms {
        ($($Type:ty),*) => { false $(|| TypeId::of::<T>() == TypeId::of::<$Type>())* };
    }
    for_inlined_types!(arms)
}

/// The weight of a value of one of the inlined types; 0 for any other.
pub(crate) fn known_weight<T: 'static>(value: &T) -> usize {
    macro_rules! arms {
        ($($Type:ty),*) => {$(
            if let Some(value) = (value as &dyn Any).downcast_ref::<$Type>() {
                return value.retained_bytes();
            }
        )*};
    }
    for_inlined_types!(arms);
    0
}

impl<T> Recycle for Vec<T> {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.capacity().saturating_mul(size_of::<T>())
    }
}

impl<T> Recycle for VecDeque<T> {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.capacity().saturating_mul(size_of::<T>())
    }
}

impl<T: Ord> Recycle for BinaryHeap<T> {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.capacity().saturating_mul(size_of::<T>())
    }
}

impl Recycle for String {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Recycle for OsString {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Recycle for PathBuf {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.capacity()
    }
}

/// Bytes of a hash table that holds `capacity` entries of `entry` bytes: std's table fills to 7/8
/// and has a control byte for each bucket.
fn table_bytes(capacity: usize, entry: usize) -> usize {
    (capacity / 7)
        .saturating_mul(8)
        .saturating_add(capacity % 7)
        .saturating_mul(entry + 1)
}

impl<K, V, S> Recycle for HashMap<K, V, S> {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        table_bytes(self.capacity(), size_of::<(K, V)>())
    }
}

impl<T, S> Recycle for HashSet<T, S> {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        table_bytes(self.capacity(), size_of::<T>())
    }
}

/// A cleared B-tree keeps nothing: pooling one saves no allocation, but it may be a field of
/// something that does.
impl<K, V> Recycle for BTreeMap<K, V> {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }
}

/// As for `BTreeMap`: keeps nothing.
impl<T> Recycle for BTreeSet<T> {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }
}

/// Recycles what is in the box, and keeps the box.
impl<T: Recycle + ?Sized> Recycle for Box<T> {
    #[inline]
    fn recycle(&mut self) {
        (**self).recycle();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        size_of_val::<T>(self).saturating_add((**self).retained_bytes())
    }
}

/// Recycles the value, if there is one, and keeps it: `Some` stays `Some`.
impl<T: Recycle> Recycle for Option<T> {
    #[inline]
    fn recycle(&mut self) {
        if let Some(value) = self {
            value.recycle();
        }
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.as_ref().map_or(0, T::retained_bytes)
    }
}

impl<T: Recycle, const N: usize> Recycle for [T; N] {
    #[inline]
    fn recycle(&mut self) {
        for value in self {
            value.recycle();
        }
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.iter()
            .map(T::retained_bytes)
            .fold(0, usize::saturating_add)
    }
}

/// Plain values become what `Default` says, so that they may be fields of a derived struct.
macro_rules! plain {
    ($($Type:ty)*) => {$(
        impl Recycle for $Type {
            #[inline]
            fn recycle(&mut self) {
                *self = Self::default();
            }
        }
    )*};
}

plain!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char);

impl<T: ?Sized> Recycle for std::marker::PhantomData<T> {
    #[inline]
    fn recycle(&mut self) {}
}

/// Keeps its memory as `BytesMut::clear` does; for buffers by size class use `BufferPool`.
#[cfg(feature = "bytes")]
impl Recycle for bytes::BytesMut {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.capacity()
    }
}

macro_rules! tuples {
    ($($($Name:ident)*;)*) => {$(
        impl<$($Name: Recycle),*> Recycle for ($($Name,)*) {
            #[inline]
            fn recycle(&mut self) {
                #[expect(non_snake_case, reason = "type and value of a tuple's field share a name")]
                let ($($Name,)*) = self;
                $($Name.recycle();)*
            }

            #[inline]
            fn retained_bytes(&self) -> usize {
                #[expect(non_snake_case, reason = "as above")]
                let ($($Name,)*) = self;
                0usize$(.saturating_add($Name.retained_bytes()))*
            }
        }
    )*};
}

impl Recycle for () {
    #[inline]
    fn recycle(&mut self) {}
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}
