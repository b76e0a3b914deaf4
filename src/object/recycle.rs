//! [`Recycle`], which makes an object ready for its next user, and its implementations for std's
//! types. Those for types of other crates are in `for_*.rs`.

use crate::object::tables::{self, table_bytes};
use std::any::{Any, TypeId};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Types that can be made ready for the next user without giving up their allocation.
///
/// [`Pool::new`](crate::Pool::new) uses this trait. The pool calls `recycle` on each object when
/// its guard is dropped, so no user sees what another one left behind, and whatever the object
/// owned is released at once. For a type of another crate, or for a different idea of "ready", use
/// [`Builder::reset`](crate::Builder::reset) or [`Pool::with_reset`](crate::Pool::with_reset).
///
/// It is implemented for
/// - std's collections, strings and paths, which are cleared and keep their capacity;
/// - `Option`, which becomes `None`;
/// - boxes, cells, tuples, arrays and slices of these;
/// - plain numbers, `bool`, `char` and `Duration`, which become zero, `false` and NUL;
/// - `BytesMut` and `Bump` behind the features `bytes` and `bumpalo`, and the vectors, maps and sets
///   of `hashbrown`, `indexmap` and `smallvec` behind features of these names.
///
/// With the feature `derive`, `#[derive(Recycle)]` implements it for structs.
///
/// # Collections of collections
/// Clearing a `Vec<Vec<T>>` drops the inner vectors: the outer one keeps its capacity, but the
/// inner allocations are lost. The same holds for `HashMap<K, String>`, `Vec<Box<T>>` and the like.
/// To keep the inner allocations, keep the rows, clear each one, and count how many are in use:
/// ```
/// use repool::{Pool, Recycle};
///
/// #[derive(Default)]
/// struct Rows { rows: Vec<Vec<u32>>, used: usize }
///
/// impl Rows {
///     /// The next empty row.
///     fn next(&mut self) -> &mut Vec<u32> {
///         if self.used == self.rows.len() {
///             self.rows.push(Vec::new());
///         }
///         self.used += 1;
///         &mut self.rows[self.used - 1]
///     }
/// }
///
/// impl Recycle for Rows {
///     fn recycle(&mut self) {
///         self.rows[..self.used].iter_mut().for_each(Vec::clear);
///         self.used = 0;
///     }
///     fn retained_bytes(&self) -> usize {
///         self.rows.retained_bytes() + self.rows.iter().map(Vec::retained_bytes).sum::<usize>()
///     }
/// }
///
/// static ROWS: Pool<Rows> = Pool::new(Rows::default);
///
/// ROWS.get().next().extend([1, 2, 3]);
/// let mut rows = ROWS.get();
/// let row = rows.next();
/// assert!(row.is_empty() && row.capacity() >= 3);
/// ```
/// A flat `Vec<T>` with a `Vec<usize>` of row ends needs no inner allocations at all.
///
/// # Cost
/// For `String` and for vectors of bytes and of the common number types, the reset is inlined into
/// the hit. For any other type the reset is one indirect call, because a pool's type does not say
/// which reset it has.
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
/// An implementation may panic. The pool then drops the object and remains usable.
#[diagnostic::on_unimplemented(
    message = "a pool does not know how to reset a `{Self}`",
    label = "`Recycle` is not implemented for `{Self}`",
    note = "for a type of another crate, say how: `Pool::builder(..).reset(|object| ..).build()`, or \
            `Pool::with_reset(create, reset)` in a `static`",
    note = "for a struct of your own: `#[derive(Recycle)]` (feature `derive`), or implement `repool::Recycle`"
)]
pub trait Recycle {
    /// Makes `self` ready for the next user and keeps its allocation.
    fn recycle(&mut self);

    /// Returns the heap bytes that `self` holds while it is idle, for limits and statistics.
    /// Default: 0.
    ///
    /// The pool calls it after [`recycle`](Recycle::recycle) and adds `size_of::<Self>()`, which is
    /// not part of the result. A type that keeps the default counts as `size_of::<Self>()` bytes.
    fn retained_bytes(&self) -> usize {
        0
    }

    /// Returns the heap bytes that the user's content takes. Default: `usize::MAX`, which means
    /// unknown.
    ///
    /// The pool calls it before [`recycle`](Recycle::recycle), and for large objects only. It drops
    /// an object of more than 64 KiB that comes back five times in a row with less than a quarter
    /// of its [`retained_bytes`](Recycle::retained_bytes) used, so that one large use does not keep
    /// its memory for ever; see [`Builder::drop_underused`](crate::Builder::drop_underused).
    fn used_bytes(&self) -> usize {
        usize::MAX
    }
}

/// The types whose reset is worth inlining.
///
/// A pool may have a custom reset, so `Pooled<T>` cannot require `T: Recycle`, and without
/// specialisation the compiler cannot be told to inline the trait's method where `T` has it.
/// Comparing type ids can do that for a closed list of types: after monomorphisation one arm is
/// left, or none.
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
            Vec<char>
        )
    };
}
#[allow(
    unused_imports,
    reason = "for pools with diagnostics, which are a feature"
)]
pub(crate) use for_inlined_types;

/// Returns the weight of a value of one of the inlined types; `None` for any other type.
#[inline(always)]
pub(crate) fn inlined_weight<T: 'static>(value: &T) -> Option<usize> {
    macro_rules! arms {
        ($($Type:ty),*) => {$(
            if let Some(value) = (value as &dyn Any).downcast_ref::<$Type>() {
                return Some(value.retained_bytes());
            }
        )*};
    }
    for_inlined_types!(arms);
    None
}

/// Resets a value of one of the inlined types: sets its length and nothing else.
#[inline(always)]
pub(crate) fn inlined_reset<T: 'static>(value: &mut T) {
    macro_rules! arms {
        ($($Type:ty),*) => {$(
            if let Some(value) = (value as &mut dyn Any).downcast_mut::<$Type>() {
                value.recycle();
                return;
            }
        )*};
    }
    for_inlined_types!(arms);
}

/// Whether `T` is one of the inlined types.
#[inline(always)]
pub(crate) fn is_inlined<T: 'static>() -> bool {
    macro_rules! arms {
        ($($Type:ty),*) => { false $(|| TypeId::of::<T>() == TypeId::of::<$Type>())* };
    }
    for_inlined_types!(arms)
}

/// Returns the weight of a value of one of the inlined types; 0 for any other type.
pub(crate) fn known_weight<T: 'static>(value: &T) -> usize {
    inlined_weight(value).unwrap_or(0)
}

/// Returns how many bytes of a value of one of the inlined types are used; `usize::MAX` for any
/// other type.
pub(crate) fn known_use<T: 'static>(value: &T) -> usize {
    macro_rules! arms {
        ($($Type:ty),*) => {$(
            if let Some(value) = (value as &dyn Any).downcast_ref::<$Type>() {
                return value.used_bytes();
            }
        )*};
    }
    for_inlined_types!(arms);
    usize::MAX
}

/// Collections with a length and a capacity, and the bytes that each of the two takes.
macro_rules! collections {
    ($([$($generics:tt)*] $Type:ty, $this:ident => $capacity:expr, $len:expr;)*) => {$(
        impl<$($generics)*> Recycle for $Type {
            #[inline]
            fn recycle(&mut self) {
                self.clear();
            }

            #[inline]
            fn retained_bytes(&self) -> usize {
                let $this = self;
                $capacity
            }

            #[inline]
            fn used_bytes(&self) -> usize {
                let $this = self;
                $len
            }
        }
    )*};
}

collections! {
    [T] Vec<T>, v => of::<T>(v.capacity()), of::<T>(v.len());
    [T] VecDeque<T>, v => of::<T>(v.capacity()), of::<T>(v.len());
    [T: Ord] BinaryHeap<T>, v => of::<T>(v.capacity()), of::<T>(v.len());
    [] String, s => s.capacity(), s.len();
    [] OsString, s => s.capacity(), s.len();
    [] PathBuf, p => p.capacity(), p.as_os_str().len();
    [K, V, S] HashMap<K, V, S>,
        m => table_bytes::<(K, V)>(m.capacity()), tables::used_bytes::<(K, V)>(m.len());
    [T, S] HashSet<T, S>, s => table_bytes::<T>(s.capacity()), tables::used_bytes::<T>(s.len());
}

/// The size of `count` values in an array.
#[inline]
fn of<T>(count: usize) -> usize {
    count.saturating_mul(size_of::<T>())
}

/// A cleared B-tree keeps nothing, so pooling one saves no allocation. It may be a field of a type
/// that does keep something.
impl<K, V> Recycle for BTreeMap<K, V> {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn used_bytes(&self) -> usize {
        0
    }
}

/// Like `BTreeMap`, keeps nothing.
impl<T> Recycle for BTreeSet<T> {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn used_bytes(&self) -> usize {
        0
    }
}

/// Like `BTreeMap`, keeps nothing.
impl<T> Recycle for LinkedList<T> {
    #[inline]
    fn recycle(&mut self) {
        self.clear();
    }

    #[inline]
    fn used_bytes(&self) -> usize {
        0
    }
}

/// Recycles the content and keeps the box.
impl<T: Recycle + ?Sized> Recycle for Box<T> {
    #[inline]
    fn recycle(&mut self) {
        (**self).recycle();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        size_of_val::<T>(self).saturating_add((**self).retained_bytes())
    }

    #[inline]
    fn used_bytes(&self) -> usize {
        size_of_val::<T>(self).saturating_add((**self).used_bytes())
    }
}

/// Becomes `None`, as in a new value. In a derived struct, `#[recycle(keep)]` keeps the value and
/// recycles it instead.
impl<T> Recycle for Option<T> {
    #[inline]
    fn recycle(&mut self) {
        *self = None;
    }

    #[inline]
    fn used_bytes(&self) -> usize {
        0
    }
}

/// Recycles each value: the cost depends on the length.
impl<T: Recycle> Recycle for [T] {
    #[inline]
    fn recycle(&mut self) {
        for value in self {
            value.recycle();
        }
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        sum(self.iter().map(T::retained_bytes))
    }

    #[inline]
    fn used_bytes(&self) -> usize {
        sum(self.iter().map(T::used_bytes))
    }
}

/// As a slice.
impl<T: Recycle, const N: usize> Recycle for [T; N] {
    #[inline]
    fn recycle(&mut self) {
        self.as_mut_slice().recycle();
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.as_slice().retained_bytes()
    }

    #[inline]
    fn used_bytes(&self) -> usize {
        self.as_slice().used_bytes()
    }
}

/// Becomes a cell with its default, because what is in a cell cannot be weighed.
impl<T: Default> Recycle for Cell<T> {
    #[inline]
    fn recycle(&mut self) {
        self.set(T::default());
    }

    #[inline]
    fn used_bytes(&self) -> usize {
        0
    }
}

/// Adds up bytes; saturates.
pub(crate) fn sum(bytes: impl Iterator<Item = usize>) -> usize {
    bytes.fold(0, usize::saturating_add)
}

/// Plain values become their `Default`, so that they may be fields of a derived struct.
macro_rules! plain {
    ([$($generics:tt)*] $Type:ty, $Default:expr) => {
        impl<$($generics)*> Recycle for $Type {
            #[inline]
            fn recycle(&mut self) {
                *self = $Default;
            }

            #[inline]
            fn used_bytes(&self) -> usize {
                0
            }
        }
    };
    ($($Type:ty)*) => {$(
        plain!([] $Type, Self::default());
    )*};
}

plain!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char Duration);
plain!([](), ());
plain!([T: ?Sized] std::marker::PhantomData<T>, std::marker::PhantomData);

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
                sum([$($Name.retained_bytes()),*].into_iter())
            }

            #[inline]
            fn used_bytes(&self) -> usize {
                #[expect(non_snake_case, reason = "as above")]
                let ($($Name,)*) = self;
                sum([$($Name.used_bytes()),*].into_iter())
            }
        }
    )*};
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
