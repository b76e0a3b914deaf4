//! The auto traits that each public type has, and those that it must not have. (`it/types.rs` tests
//! which types a pool's bounds reject.)
//!
//! - All types are `Send`, `Unpin` and `Debug`: nothing is pinned, and everything may be sent to
//!   another thread.
//! - A guard follows its object: `Pooled<T>` is `Sync`, `UnwindSafe` and `RefUnwindSafe` if `T` is.
//! - Pools are `UnwindSafe` and `RefUnwindSafe` whatever they hold: a panic leaves no pool half
//!   changed.
//! - An [`Arena`] is a `Bump`, which is neither `Sync` nor unwind safe.
//! - Builders hold users' closures, which may not be unwind safe.

use repool::{
    Advice, Budget, Builder, CustomReset, Discarded, JanitorStats, Level, OwnReset, Pool, PoolInfo,
    PoolKind, Pooled, Pressure, Stats, Trimmed, Unweighed,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Debug;
use std::marker::PhantomPinned;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::atomic::AtomicU8;

/// All five, and `Debug`.
macro_rules! all_five {
    ($($type:ty),+ $(,)?) => {
        $(assert_impl_all!($type: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug);)+
    };
}

all_five!(
    Advice,
    Budget,
    Discarded,
    JanitorStats,
    Level,
    OwnReset,
    PoolInfo,
    PoolKind,
    Pressure,
    Stats,
    Trimmed,
);

// A pool, whatever it holds.
all_five!(
    Pool<()>,
    Pool<Vec<u8>>,
    Pool<Cell<u8>>,
    Pool<RefCell<String>>,
    Pool<AtomicU8>,
    Pool<PhantomPinned>,
    Pool<Box<dyn FnMut() + Send>>,
    Pool<HashMap<String, Vec<u8>>>,
);

// A guard follows its object. It is `Unpin` in any case, because the object stays where it is.
all_five!(
    Pooled<Vec<u8>>,
    Pooled<AtomicU8>,
    Pooled<Pooled<String>>,
    Pooled<Pool<Cell<u8>>>
);
assert_impl_all!(Pooled<Cell<u8>>: Send, Unpin, UnwindSafe, Debug);
assert_not_impl_any!(Pooled<Cell<u8>>: Sync, RefUnwindSafe);
assert_impl_all!(Pooled<PhantomPinned>: Send, Sync, Unpin);
assert_impl_all!(Pooled<Box<dyn FnMut() + Send>>: Send, Unpin);
assert_not_impl_any!(Pooled<Box<dyn FnMut() + Send>>: Sync, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(Pooled<Vec<u8>>: Copy);

// Builders, and the marker of a custom reset.
assert_impl_all!(Builder<Cell<u8>>: Send, Sync, Unpin, Debug);
assert_impl_all!(Builder<Cell<u8>, CustomReset<Cell<u8>>>: Send, Sync, Unpin, Debug);
assert_impl_all!(Unweighed<Cell<u8>>: Send, Sync, Unpin, Debug);
assert_impl_all!(CustomReset<Cell<u8>>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug);
assert_not_impl_any!(Builder<Vec<u8>>: UnwindSafe, RefUnwindSafe, Clone);

#[cfg(feature = "bytes")]
mod buffers {
    use super::*;
    use repool::{Buffer, BufferPool, BufferPoolBuilder, CapacityError, ClassStats};

    all_five!(BufferPool, Buffer, ClassStats, CapacityError);
    assert_impl_all!(BufferPoolBuilder: Send, Sync, Unpin, Debug);
    assert_impl_all!(CapacityError: std::error::Error, Copy);
    assert_impl_all!(ClassStats: Copy);
    assert_not_impl_any!(Buffer: Copy);
    assert_not_impl_any!(BufferPool: Clone);
}

#[cfg(feature = "bumpalo")]
mod arenas {
    use super::*;
    use repool::{Arena, ArenaPool, ArenaPoolBuilder};

    all_five!(ArenaPool);
    assert_impl_all!(ArenaPoolBuilder: Send, Sync, Unpin, Debug);
    assert_impl_all!(Arena: Send, Unpin, Debug);
    assert_not_impl_any!(Arena: Sync, RefUnwindSafe, Clone);
    // An arena can be moved to another thread, but not while it is borrowed.
    assert_not_impl_any!(&'static Arena: Send);
}

#[cfg(feature = "diagnostics")]
mod diagnostics {
    use super::*;
    use repool::diagnostics::{Diagnostics, Leak};

    all_five!(Diagnostics, Leak);
}

/// Without the asserted traits, this would not compile.
#[test]
fn pools_guards_and_figures_go_where_their_traits_let_them() {
    fn to_a_thread<T: Send + 'static>(value: T) -> T {
        std::thread::spawn(move || value).join().expect("no panic")
    }
    let pool = to_a_thread(Pool::builder(|| Cell::new(1)).reset(|_| true).build());
    let guard = to_a_thread(pool.get());
    // The closure that panics owns a pool and a guard, without `AssertUnwindSafe`.
    let broken = std::panic::catch_unwind(move || {
        guard.set(2);
        let other = pool.get();
        std::panic::resume_unwind(Box::new(other.get()));
    });
    assert_eq!(broken.expect_err("it panicked").downcast_ref(), Some(&1));
    // It is pinned without `unsafe`, then moved.
    let pinned = Pool::builder(|| PhantomPinned).reset(|_| true).build();
    let mut guard = pinned.get();
    let _ = std::pin::Pin::new(&mut guard);
    drop(to_a_thread(guard));
    let stats = to_a_thread(pinned.stats());
    assert_eq!((stats.created, stats.in_use), (1, 0));
}
