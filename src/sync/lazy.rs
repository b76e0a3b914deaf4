//! [`Lazy`] and [`LazyStatic`]: values that are made at their first use, without a wait.
//!
//! With `std::sync::OnceLock` one thread makes the value, and the others wait for it without a bound. If the process
//! forks meanwhile, the child waits forever. Here, as in `once_cell::race`, threads that race make one value each, and
//! all but one are dropped.
//!
//! # Orderings
//! A value is published with Release, and its pointer is read with Acquire: a thread that sees the pointer sees the
//! value. Once set, a pointer does not change until `Drop`.

use crate::sync::publish::publish;
use crate::sync::rare::Arc;
use crate::sync::{AtomicBool, AtomicPtr, Ordering, UnsafeCell, const_fn};
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

/// An `Arc<T>` that is made at its first use.
pub(crate) struct Lazy<T> {
    /// Null, or from `Arc::into_raw`, with that reference.
    made: AtomicPtr<T>,
    /// `Send` and `Sync` as an `Arc<T>` is.
    owns: PhantomData<Arc<T>>,
}

impl<T> Lazy<T> {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                made: AtomicPtr::new(ptr::null_mut()),
                owns: PhantomData,
            }
        }
    }

    /// A `Lazy` that already has its value.
    pub(crate) fn made(value: Arc<T>) -> Self {
        Self {
            made: AtomicPtr::new(Arc::into_raw(value).cast_mut()),
            owns: PhantomData,
        }
    }

    /// The value, if it has been made. One load and a test.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire: pairs with the Release in `publish`.
        let made = self.made.load(Ordering::Acquire); // mutant: read-lazy
        // SAFETY: null, or from the `Arc` whose reference this holds until `Drop`.
        unsafe { made.as_ref() }
    }

    /// The value, which this makes if it has not been made. If several threads make one at the same time, all use the
    /// first that is ready, and the others are dropped.
    #[inline]
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> Arc<T>) -> &T {
        match self.get() {
            Some(made) => made,
            None => self.make_slow(make),
        }
    }

    #[cold]
    fn make_slow(&self, make: impl FnOnce() -> Arc<T>) -> &T {
        let fresh = Arc::into_raw(make()).cast_mut();
        let made = match publish(&self.made, fresh) {
            Ok(()) => fresh,
            Err(first) => {
                // SAFETY: from `into_raw` above, and no other thread has seen it.
                drop(unsafe { Arc::from_raw(fresh) });
                first
            }
        };
        // SAFETY: the value of `self.made` now, as in `get`.
        unsafe { &*made }
    }
}

impl<T> Lazy<T> {
    /// Takes the value out.
    pub(crate) fn take(&mut self) -> Option<Arc<T>> {
        // Relaxed: no other thread has a reference.
        let made = self.made.load(Ordering::Relaxed);
        self.made.store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: from `Arc::into_raw`. The reference is given up once, here.
        (!made.is_null()).then(|| unsafe { Arc::from_raw(made) })
    }
}

impl<T> Drop for Lazy<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T: fmt::Debug> fmt::Debug for Lazy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A value in a `static`, which is made at its first use and never dropped. All callers pass the same `make`. It
/// allocates only if two threads race for the first use.
pub(crate) struct LazyStatic<T> {
    /// Null, or the value: in `storage`, or from a box that is never freed.
    made: AtomicPtr<T>,
    /// Whether a thread has claimed `storage` for writing. That thread may have been lost in a fork.
    claimed: AtomicBool,
    storage: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: threads share `&T`, and the right to make the value. Only the thread that has set `claimed` writes `storage`,
// and no thread reads it before that thread has published it.
unsafe impl<T: Send + Sync> Sync for LazyStatic<T> {}

impl<T: Send + Sync> LazyStatic<T> {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                made: AtomicPtr::new(ptr::null_mut()),
                claimed: AtomicBool::new(false),
                storage: UnsafeCell::new(MaybeUninit::uninit()),
            }
        }
    }

    #[inline]
    pub(crate) fn get(&'static self, make: fn() -> T) -> &'static T {
        // Acquire: pairs with the Release in `publish`.
        let made = self.made.load(Ordering::Acquire); // mutant: read-lazy-static
        // SAFETY: null, or a value that stays where it is.
        match unsafe { made.as_ref() } {
            Some(made) => made,
            None => self.make_slow(make),
        }
    }

    #[cold]
    fn make_slow(&'static self, make: fn() -> T) -> &'static T {
        let value = make();
        // Relaxed: only one thread claims the storage, and nothing else is published with that.
        let boxed = self.claimed.swap(true, Ordering::Relaxed);
        let fresh = if boxed {
            Box::into_raw(Box::new(value))
        } else {
            self.storage.with_mut(|storage| {
                // SAFETY: this thread has claimed the storage, and no other thread has the pointer yet.
                unsafe { (*storage).write(value) };
            });
            self.storage.with_mut(|storage| storage.cast::<T>())
        };
        let made = match publish(&self.made, fresh) {
            Ok(()) => fresh,
            Err(first) => {
                if boxed {
                    // SAFETY: from `into_raw` above, and no other thread has seen it.
                    drop(unsafe { Box::from_raw(fresh) });
                } else {
                    // SAFETY: written above, and no other thread has seen it, nor does one after this.
                    unsafe { ptr::drop_in_place(fresh) };
                }
                first
            }
        };
        // SAFETY: the value of `self.made` now, as in `get`.
        unsafe { &*made }
    }
}

#[cfg(all(test, not(repool_loom)))]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    const TIMES: usize = if cfg!(miri) { 10 } else { 1_000 };

    /// Counts its live instances.
    struct Counted<'a>(&'a AtomicUsize, usize);

    impl<'a> Counted<'a> {
        fn new(alive: &'a AtomicUsize, name: usize) -> Arc<Self> {
            alive.fetch_add(1, Ordering::Relaxed);
            Arc::new(Self(alive, name))
        }
    }

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn made_once_and_dropped_once() {
        let alive = AtomicUsize::new(0);
        let lazy = Lazy::new();
        assert!(lazy.get().is_none());
        assert_eq!(lazy.get_or_make(|| Counted::new(&alive, 1)).1, 1);
        let again = lazy.get_or_make(|| panic!("there is one"));
        assert!(ptr::eq(again, lazy.get().expect("made")));
        assert_eq!(alive.load(Ordering::Relaxed), 1);
        drop(lazy);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
        drop(Lazy::made(Counted::new(&alive, 2)));
        assert_eq!(alive.load(Ordering::Relaxed), 0);
        drop(Lazy::<Counted<'_>>::new());
    }

    #[test]
    fn others_may_keep_it_longer() {
        let alive = AtomicUsize::new(0);
        let value = Counted::new(&alive, 1);
        let (weak, lazy) = (Arc::downgrade(&value), Lazy::made(value));
        let kept = weak.upgrade().expect("the lazy one has it");
        drop(lazy);
        assert_eq!((alive.load(Ordering::Relaxed), kept.1), (1, 1));
        drop(kept);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn two_threads_race_and_the_loser_is_dropped() {
        for _ in 0..TIMES {
            let alive = AtomicUsize::new(0);
            let lazy = Lazy::new();
            let start = Barrier::new(2);
            let race = |name| {
                start.wait();
                let made: *const Counted<'_> = lazy.get_or_make(|| Counted::new(&alive, name));
                made.addr()
            };
            let (one, other) = thread::scope(|scope| {
                let one = scope.spawn(|| race(1));
                (race(2), one.join().expect("no panic"))
            });
            assert_eq!(one, other);
            assert_eq!(alive.load(Ordering::Relaxed), 1);
            drop(lazy);
            assert_eq!(alive.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn one_that_is_slow_to_make_its_own_finds_the_others() {
        // The same race, but always lost: another value is ready before this one is.
        let alive = AtomicUsize::new(0);
        let lazy = Lazy::new();
        let made = lazy.get_or_make(|| {
            let mine = Counted::new(&alive, 1);
            assert_eq!(lazy.get_or_make(|| Counted::new(&alive, 2)).1, 2);
            mine
        });
        assert_eq!((made.1, alive.load(Ordering::Relaxed)), (2, 1));
    }

    #[test]
    fn a_panic_in_between_leaves_it_unmade() {
        let lazy: Lazy<usize> = Lazy::new();
        let broken = std::panic::AssertUnwindSafe(|| *lazy.get_or_make(|| panic!("expected")));
        assert!(std::panic::catch_unwind(broken).is_err());
        assert_eq!(*lazy.get_or_make(|| Arc::new(3)), 3);
    }

    #[test]
    fn shared_as_what_it_holds() {
        fn shared<S: Send + Sync>() {}
        shared::<Lazy<usize>>();
        static CONST: Lazy<usize> = Lazy::new();
        assert_eq!(format!("{CONST:?}"), "None");
    }

    #[test]
    fn a_lazy_static_is_one_value_for_all() {
        static VALUE: LazyStatic<AtomicUsize> = LazyStatic::new();
        let start = Barrier::new(2);
        let race = || {
            start.wait();
            VALUE.get(AtomicUsize::default)
        };
        let (one, other) = thread::scope(|scope| {
            let one = scope.spawn(race);
            (race(), one.join().expect("no panic"))
        });
        assert!(ptr::eq(one, other));
        assert!(ptr::eq(one, VALUE.get(|| panic!("there is one"))));
    }

    #[test]
    fn a_lazy_static_whose_thread_was_lost_is_still_made() {
        static VALUE: LazyStatic<usize> = LazyStatic::new();
        // As if a thread had claimed the storage, and had been lost in a fork.
        VALUE.claimed.store(true, Ordering::Relaxed);
        assert_eq!(*VALUE.get(|| 5), 5);
        assert_eq!(*VALUE.get(|| 6), 5);
    }
}
