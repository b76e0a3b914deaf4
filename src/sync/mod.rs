//! Chooses between `std` with `parking_lot` and `loom`, in this folder only.
//!
//! Everything else in `src/` imports its atomics, cells, locks and waits from here. So the loom models (`src/models/`,
//! built with `--cfg repool_loom`) run the shipped code and not a copy. `ci/tidy.sh` checks that. The cfg is not called
//! `loom`, because that would also reach every dependency.
//!
//! Locks are only ever *tried*: [`Mutex::lock_bounded`] gives up after a bounded number of tries. A thread that holds a
//! lock when it is descheduled, or lost in a fork, cannot hang another thread. `parking_lot` never parks a thread here.

#[cfg(feature = "bytes")]
pub(crate) mod lazy;
pub(crate) mod publish;
pub(crate) mod switch;

#[cfg(not(repool_loom))]
pub(crate) use self::real::*;

#[cfg(repool_loom)]
pub(crate) use self::model::*;

pub(crate) use crossbeam_utils::CachePadded;

/// Items that stay on std under loom, because they are rare, blocking or process-wide.
#[cfg_attr(
    repool_loom,
    allow(unused_imports, reason = "models use the protocol, not the API")
)]
pub(crate) mod rare {
    #[cfg(feature = "bytes")]
    pub(crate) use std::sync::Weak;
    pub(crate) use std::sync::{Arc, OnceLock};
    pub(crate) use std::thread::Builder;
}

/// Whether this is a build of the loom models. Their sizes are smaller, to keep the number of states low.
pub(crate) const IN_MODELS: bool = cfg!(repool_loom);

/// An atomic for statistics. It stays on std under loom, so that it does not multiply the states.
pub(crate) type StatUsize = std::sync::atomic::AtomicUsize;
/// An atomic for statistics, of 32 bits.
pub(crate) type StatU32 = std::sync::atomic::AtomicU32;
/// An atomic for statistics, signed.
pub(crate) type StatI32 = std::sync::atomic::AtomicI32;
/// A pointer for statistics, which only test whether it is null.
pub(crate) type StatPtr<T> = std::sync::atomic::AtomicPtr<T>;

/// A small atomic for hints of the mutex. It stays on std under loom as well.
type Hint = std::sync::atomic::AtomicU8;

/// How long an operation waits before it gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// Some microseconds: for an owner on its slow path, which creates or drops an object instead.
    Short,
    /// A fifth of a second or more: for a visitor that has to reach every cache (`clear`, closing, thread exit).
    Long,
    /// No wait: a recent waiter timed out.
    None,
}

/// A bounded wait.
#[derive(Debug)]
pub(crate) struct Wait {
    left: u32,
    backoff: Backoff,
}

impl Wait {
    pub(crate) fn new(timeout: Timeout) -> Self {
        let left = match timeout {
            Timeout::Short => SHORT_TRIES,
            Timeout::Long => LONG_TRIES,
            Timeout::None => 0,
        };
        Self {
            left,
            backoff: Backoff::new(),
        }
    }

    /// Waits for a moment. `false` after the timeout.
    pub(crate) fn again(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        pause(&self.backoff, self.left);
        true
    }
}

/// In `timeouts`: a long wait has timed out, so the holder was probably lost in a fork.
const DEAD: u8 = u8::MAX;

/// A lock that gives up after a bounded number of tries.
#[derive(Debug)]
pub(crate) struct Mutex<T> {
    raw: RawMutex<T>,
    /// How many waits in a row have timed out, up to [`STUCK`]; or [`DEAD`]. Relaxed: a hint.
    timeouts: Hint,
}

impl<T> Mutex<T> {
    const_fn! {
        pub(crate) fn new(value: T) -> Self {
            Self {
                raw: RawMutex::new(value),
                timeouts: Hint::new(0),
            }
        }
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.raw.try_lock()
    }

    /// Takes the lock, or gives up after the timeout. After several timeouts in a row, later calls wait less, until one
    /// gets the lock. So a lock whose holder was lost in a fork costs a try and not a wait.
    pub(crate) fn lock_bounded(&self, timeout: Timeout) -> Option<MutexGuard<'_, T>> {
        let mut wait = None;
        loop {
            if let Some(guard) = self.try_lock() {
                self.acquired(); // mutant: drop-acquired
                return Some(guard);
            }
            let wait = wait.get_or_insert_with(|| Wait::new(self.cut(timeout)));
            if !wait.again() {
                self.timed_out(timeout);
                return None;
            }
        }
    }

    /// The timeout of a new wait, which is shorter after earlier timeouts. Short timeouts do not affect long waits.
    fn cut(&self, timeout: Timeout) -> Timeout {
        let timeouts = self.timeouts.load(Ordering::Relaxed);
        match timeout {
            Timeout::Long if timeouts == DEAD => Timeout::Short,
            Timeout::Short if timeouts >= STUCK => Timeout::None,
            other => other,
        }
    }

    fn timed_out(&self, timeout: Timeout) {
        let before = self.timeouts.load(Ordering::Relaxed);
        let now = if timeout == Timeout::Long {
            DEAD
        } else {
            before.saturating_add(1).min(STUCK)
        };
        self.timeouts.store(now.max(before), Ordering::Relaxed);
    }

    fn acquired(&self) {
        if self.timeouts.load(Ordering::Relaxed) != 0 {
            self.timeouts.store(0, Ordering::Relaxed);
        }
    }

    /// Whether a wait has timed out since a thread got the lock.
    #[cfg(test)]
    pub(crate) fn has_timed_out(&self) -> bool {
        self.timeouts.load(Ordering::Relaxed) != 0
    }

    /// Releases a lock whose holder was lost in a fork.
    ///
    /// # Safety
    /// The lock is held, its holder does not exist in this process, and no other thread tries to release it. The
    /// next holder can use the data as it is.
    pub(crate) unsafe fn unlock_lost(&self) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.raw.force_unlock() };
    }
}

#[cfg(not(repool_loom))]
mod real {
    pub(crate) use crossbeam_utils::Backoff;
    pub(super) use parking_lot::Mutex as RawMutex;
    pub(crate) use parking_lot::MutexGuard;
    pub(crate) use std::sync::atomic::{
        AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicUsize, Ordering, compiler_fence, fence,
    };
    pub(crate) use std::thread::{Thread, park, park_timeout};
    pub(crate) use std::time::Instant;

    /// The tries of a short wait. The first seven spin, the others yield.
    pub(super) const SHORT_TRIES: u32 = 64;
    /// The tries of a long wait. The first ones yield, the others sleep for 100 µs.
    pub(super) const LONG_TRIES: u32 = 3_000;
    /// After this many short timeouts in a row, short waits become none.
    pub(super) const STUCK: u8 = 16;
    /// A long wait sleeps once it has fewer tries left than this.
    const SLEEP_BELOW: u32 = LONG_TRIES - 1_000;

    pub(super) fn pause(backoff: &Backoff, left: u32) {
        if (SHORT_TRIES..SLEEP_BELOW).contains(&left) {
            std::thread::sleep(std::time::Duration::from_micros(100));
        } else {
            backoff.snooze();
        }
    }

    /// One turn of a spin loop.
    pub(crate) fn spin() {
        std::hint::spin_loop();
    }

    /// Makes a function `const`. The primitives of std have constant values, but those of loom do not.
    macro_rules! const_fn {
        ($(#[$about:meta])* $visible:vis fn $($rest:tt)*) => {
            $(#[$about])*
            $visible const fn $($rest)*
        };
    }
    pub(crate) use const_fn;

    /// `std::cell::UnsafeCell` with loom's closure interface.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(repool_loom)]
mod model {
    pub(crate) use crate::models::time::{Instant, Thread, park, park_timeout};
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::lazy_static;
    pub(crate) use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic::{
        AtomicBool, AtomicIsize, AtomicPtr, AtomicU8, AtomicUsize, Ordering, fence,
    };

    #[cfg(not(debug_assertions))]
    compile_error!("the loom models need debug assertions: RUSTFLAGS='-C debug-assertions=on'");

    // Small bounds keep the number of states low. The logic does not depend on them.
    pub(super) const SHORT_TRIES: u32 = 1;
    pub(super) const LONG_TRIES: u32 = 4;
    pub(super) const STUCK: u8 = 2;

    /// loom needs no back-off: every wait is a yield.
    #[derive(Debug)]
    pub(crate) struct Backoff;

    impl Backoff {
        pub(crate) fn new() -> Self {
            Self
        }
    }

    pub(super) fn pause(_: &Backoff, _left: u32) {
        loom::thread::yield_now();
    }

    pub(crate) fn spin() {
        loom::thread::yield_now();
    }

    /// Stands in for `parking_lot`'s mutex.
    #[derive(Debug)]
    pub(super) struct RawMutex<T>(loom::sync::Mutex<T>);

    impl<T> RawMutex<T> {
        pub(super) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }

        /// Never called, since no model forks.
        ///
        /// # Safety
        /// As that of `parking_lot`'s mutex.
        pub(super) unsafe fn force_unlock(&self) {
            unreachable!("no model forks");
        }
    }

    /// Leaves a function as it is, since the primitives of loom have no constant values.
    macro_rules! const_fn {
        ($(#[$about:meta])* $visible:vis fn $($rest:tt)*) => {
            $(#[$about])*
            $visible fn $($rest)*
        };
    }
    pub(crate) use const_fn;
}

#[cfg(all(test, not(repool_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_given_up_costs_a_try_until_a_thread_gets_it() {
        let mutex = Mutex::new(0);
        assert!(!mutex.has_timed_out());
        let held = mutex.try_lock();
        assert!(mutex.lock_bounded(Timeout::Long).is_none());
        assert!(mutex.has_timed_out());
        for _ in 0..300 {
            assert!(mutex.lock_bounded(Timeout::Short).is_none());
        }
        assert!(mutex.has_timed_out());
        drop(held);
        for _ in 0..2 {
            let guard = mutex.lock_bounded(Timeout::Short);
            assert!(guard.is_some_and(|value| *value == 0));
            assert!(!mutex.has_timed_out());
        }
    }

    #[test]
    fn timeouts_count_until_a_thread_gets_the_lock() {
        use Timeout::{Long, None, Short};
        let mutex = Mutex::new(());
        let cut = || [Short, Long, None].map(|timeout| mutex.cut(timeout));
        assert_eq!(cut(), [Short, Long, None]);
        mutex.acquired();
        assert!(!mutex.has_timed_out());
        for _ in 1..STUCK {
            mutex.timed_out(Short);
            assert!(mutex.has_timed_out());
            assert_eq!(cut(), [Short, Long, None]);
        }
        for _ in 0..300 {
            mutex.timed_out(Short);
            assert_eq!(
                cut(),
                [None, Long, None],
                "short timeouts do not affect long waits"
            );
        }
        mutex.timed_out(Long);
        assert_eq!(cut(), [None, Short, None]);
        mutex.timed_out(Short);
        assert_eq!(cut(), [None, Short, None], "the holder is still lost");
        mutex.acquired();
        assert!(!mutex.has_timed_out());
        assert_eq!(cut(), [Short, Long, None]);
    }

    #[test]
    fn waits_end_after_their_tries() {
        let tries = |timeout| {
            let mut wait = Wait::new(timeout);
            (0..2 * LONG_TRIES).take_while(|_| wait.again()).count()
        };
        assert_eq!(tries(Timeout::None), 0);
        assert_eq!(tries(Timeout::Short), SHORT_TRIES as usize);
        let started = Instant::now();
        assert_eq!(tries(Timeout::Long), LONG_TRIES as usize);
        let least = std::time::Duration::from_millis(180);
        assert!(
            cfg!(miri) || started.elapsed() >= least,
            "a fifth of a second or more"
        );
    }

    #[test]
    fn short_waits_are_cut_after_some_in_a_row() {
        let mutex = Mutex::new(());
        let held = mutex.try_lock();
        for _ in 0..STUCK {
            assert_eq!(mutex.cut(Timeout::Short), Timeout::Short);
            assert!(mutex.lock_bounded(Timeout::Short).is_none());
        }
        assert_eq!(mutex.cut(Timeout::Short), Timeout::None);
        assert_eq!(mutex.cut(Timeout::Long), Timeout::Long);
        drop(held);
    }
}
