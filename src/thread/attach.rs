//! Thread numbers, and a thread's place in every pool, worked out once.
//!
//! A thread that uses a pool for the first time gets the lowest free number. Number `n` has the
//! same place in every pool: bucket `k`, offset within it (buckets double: 1, 1, 2, 4, … caches).
//! The hit path reads that place from [`PLACE`], a `const` thread-local without a destructor.
//!
//! A thread that is not registered, is being torn down, or lives in a process without a
//! process-wide barrier, or where no janitor can run, holds the *sentinel*: a bucket whose pointer is always null. So one null
//! check on the hit path serves "unknown thread", "no cache yet" and "thread is dying", and the
//! slow path ([`number`]) tells them apart.
//!
//! The number goes back when [`EXIT`] is dropped, a second thread-local that the hit path never
//! touches. Before that, every pool that the thread has a cache in gets its objects. The hand-over
//! of a number is the registry's lock: what the last owner did to its caches happens before
//! anything that the next one does (I3). Nothing keyed by a number is borrowed beyond one
//! operation (I4), because numbers are used again.

#[cfg(not(repool_loom))]
pub(crate) use self::local::{Place, number, place, remember, unremember};

/// Buckets of 1, 1, 2, 4, … caches: 65,536 threads at once. More than that work without a cache.
pub(crate) const BUCKETS: usize = if cfg!(repool_loom) { 3 } else { 17 };
/// The bucket that is never there.
pub(crate) const NO_BUCKET: usize = BUCKETS;

/// The number of a living thread; dense and used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number(pub(crate) usize);

impl Number {
    /// Bucket and index within it.
    pub(crate) fn locate(self) -> (usize, usize) {
        match self.0.checked_ilog2() {
            None => (0, 0),
            Some(log) => (log as usize + 1, self.0 - (1 << log)),
        }
    }

    /// Caches in a bucket.
    pub(crate) fn bucket_len(bucket: usize) -> usize {
        if bucket == 0 { 1 } else { 1 << (bucket - 1) }
    }

    /// What `Home::owner` holds for this thread; never zero.
    pub(crate) fn owner(self) -> usize {
        self.0 + 1
    }
}

/// loom has no thread-local destructors worth the name: models call `Core::vacate` themselves, and
/// what a thread remembers is kept until the end of the model.
#[cfg(repool_loom)]
pub(crate) fn remember(core: &crate::raw::pool::Core) -> bool {
    crate::models::remember(core);
    true
}

#[cfg(repool_loom)]
pub(crate) fn unremember(_core: &crate::raw::pool::Core) {}

/// Everything that is thread-local.
#[cfg(not(repool_loom))]
mod local {
    use super::{BUCKETS, NO_BUCKET, Number};
    use crate::raw::pool::Core;
    use crate::raw::refs::WeakCore;
    use crate::sync::{Mutex, Patience};
    use crate::sys::fence;
    use crate::sys::panics::swallow;
    use crate::sys::process::janitor_is_possible;
    use std::cell::{Cell, RefCell};
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    /// Where this thread's cache is in every pool.
    #[derive(Debug)]
    pub(crate) struct Place {
        bucket: Cell<usize>,
        /// In bytes from the start of the bucket.
        offset: Cell<usize>,
        /// [`Number::owner`]; `usize::MAX`, which is no owner, for the sentinel.
        owner: Cell<usize>,
        state: Cell<State>,
    }

    #[derive(Clone, Copy, Debug)]
    enum State {
        Unknown,
        Registered(Number),
        /// Being torn down, or beyond the last number: every operation goes to the depot.
        Without,
    }

    impl Place {
        #[expect(
            clippy::declare_interior_mutable_const,
            reason = "only ever used to make a thread-local"
        )]
        const SENTINEL: Self = Self {
            bucket: Cell::new(NO_BUCKET),
            offset: Cell::new(0),
            owner: Cell::new(usize::MAX),
            state: Cell::new(State::Unknown),
        };

        #[inline(always)]
        pub(crate) fn bucket(&self) -> usize {
            self.bucket.get()
        }

        #[inline(always)]
        pub(crate) fn offset(&self) -> usize {
            self.offset.get()
        }

        #[inline(always)]
        pub(crate) fn owner(&self) -> usize {
            self.owner.get()
        }

        fn forget(&self) {
            self.bucket.set(NO_BUCKET);
            self.owner.set(usize::MAX);
            self.state.set(State::Without);
        }
    }

    thread_local! {
        static PLACE: Place = const { Place::SENTINEL };
        static EXIT: Exit = const { Exit { number: Cell::new(None), cores: RefCell::new(Vec::new()) } };
    }

    /// This thread's place. Never panics, also during teardown: there is no destructor.
    #[inline(always)]
    pub(crate) fn place<R>(f: impl FnOnce(&Place) -> R) -> R {
        PLACE.with(f)
    }

    /// This thread's number; registers the thread if need be. `None`: work without a cache.
    pub(crate) fn number() -> Option<Number> {
        match place(|place| place.state.get()) {
            State::Registered(number) => Some(number),
            State::Without => None,
            State::Unknown => register_slow(),
        }
    }

    /// Remembers that this thread has a cache in `core`, so that its objects are handed over when the
    /// thread ends. `false`: the thread is ending already.
    pub(crate) fn remember(core: &Core) -> bool {
        let mut gone = Vec::new();
        let remembered = EXIT.try_with(|exit| {
            // Borrowed already: an allocator that uses a pool, in the growth below.
            let Ok(mut cores) = exit.cores.try_borrow_mut() else {
                return false;
            };
            if cores.len() == cores.capacity() {
                // Amortised: forget pools that are gone before growing. They are dropped after the
                // borrow has ended, since freeing a core is somebody else's code.
                let (alive, dead) = cores.drain(..).partition(|core: &WeakCore| !core.is_gone());
                (*cores, gone) = (alive, dead);
                let room = cores.len() + 8;
                cores.reserve(room);
            }
            cores.push(WeakCore::new(core));
            true
        });
        drop(gone);
        remembered.unwrap_or(false)
    }

    /// Takes the last [`remember`] back.
    pub(crate) fn unremember(core: &Core) {
        let last = EXIT.try_with(|exit| {
            let mut cores = exit.cores.try_borrow_mut().ok()?;
            let last = cores
                .last()
                .is_some_and(|last| std::ptr::eq(&raw const **last, core));
            last.then(|| cores.pop()).flatten()
        });
        drop(last);
    }

    #[cold]
    fn register_slow() -> Option<Number> {
        let number = EXIT.try_with(|exit| {
            let number = NUMBERS.lock_bounded(Patience::Short)?.take()?;
            exit.number.set(Some(number));
            Some(number)
        });
        let number = match number {
            Ok(Some(number)) => number,
            // No number this time (all taken, or the registry is contended): ask again later.
            Ok(None) => return None,
            Err(_torn_down) => {
                place(Place::forget);
                return None;
            }
        };
        place(|place| {
            place.state.set(State::Registered(number));
            if fence::asymmetric() && janitor_is_possible() {
                let (bucket, index) = number.locate();
                place.bucket.set(bucket);
                place
                    .offset
                    .set(index * size_of::<crate::raw::cache::Cache>());
                place.owner.set(number.owner());
            }
        });
        Some(number)
    }

    /// Runs when the thread ends: hands its caches over, then its number.
    #[derive(Debug)]
    struct Exit {
        number: Cell<Option<Number>>,
        cores: RefCell<Vec<WeakCore>>,
    }

    impl Drop for Exit {
        fn drop(&mut self) {
            // From here on every operation of this thread goes to the depot.
            place(Place::forget);
            let Some(number) = self.number.take() else {
                return;
            };
            let mut vacated = true;
            for core in self.cores.take() {
                // A panic must not leave a thread-local destructor: it would end the process.
                let one = std::panic::AssertUnwindSafe(|| {
                    vacated &= core.vacate(number);
                    drop(core);
                });
                if let Err(panic) = std::panic::catch_unwind(one) {
                    swallow(panic);
                }
            }
            // A cache that could not be vacated (somebody died visiting it: fork) keeps its number.
            if !vacated {
                return;
            }
            if let Some(mut numbers) = NUMBERS.lock_bounded(Patience::Long) {
                numbers.give_back(number);
            }
        }
    }

    static NUMBERS: Mutex<Numbers> = Mutex::new(Numbers {
        next: 0,
        free: BinaryHeap::new(),
    });

    /// The lowest free number first, so that pools stay small.
    #[derive(Debug)]
    struct Numbers {
        next: usize,
        free: BinaryHeap<Reverse<usize>>,
    }

    impl Numbers {
        fn take(&mut self) -> Option<Number> {
            if let Some(Reverse(number)) = self.free.pop() {
                return Some(Number(number));
            }
            let number = Number(self.next);
            if number.locate().0 >= BUCKETS {
                return None;
            }
            self.next += 1;
            Some(number)
        }

        fn give_back(&mut self, number: Number) {
            self.free.push(Reverse(number.0));
        }
    }
}
