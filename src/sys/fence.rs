//! The asymmetric fence between owner and visitor, for each system.
//!
//! The owner of a cache runs [`light`] in every operation, and a visitor runs [`heavy`] once per visit. Together they
//! have the effect of two `fence(SeqCst)`: the owner sees the visitor's flag, or the visitor sees the owner's.
//!
//! | system | light | heavy |
//! |---|---|---|
//! | Linux with `membarrier` | compiler fence, no instruction | `membarrier(PRIVATE_EXPEDITED)`: every running thread of the process passes a full barrier (0.3 µs idle, a few µs with other threads running) |
//! | Miri | `fence(SeqCst)`, so that Miri sees the hit path as it ships | `fence(SeqCst)` |
//! | any other | not used; the slow path runs [`symmetric`] | `fence(SeqCst)` |
//!
//! The mode is decided once per process ([`asymmetric`]). Without a process-wide barrier, every thread keeps the
//! sentinel (`thread_id.rs`), so every operation takes the slow path with its real fence. `REPOOL_BARRIER=off` in the
//! environment, or `--cfg repool_no_barrier`, forces that mode.
//!
//! `fence_loom.rs` stands in for this file in the models.
//!
//! Prior art: folly's `AsymmetricThreadFence`, and membarrier(2) of the Linux kernel.

use crate::sync::{AtomicU8, Ordering, fence};

const UNKNOWN: u8 = 0;
const SYMMETRIC: u8 = 1;
const ASYMMETRIC: u8 = 2;

static MODE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The owner's half on the hit path. Pairs with [`heavy`].
///
/// Only a thread that does not have the sentinel may rely on it: such threads exist only in a process with a
/// process-wide barrier.
#[inline(always)]
pub(crate) fn light() {
    if cfg!(miri) {
        symmetric();
    } else {
        crate::sync::compiler_fence(Ordering::SeqCst);
    }
}

/// The owner's half on the slow path, in either mode. Pairs with [`heavy`].
#[inline]
pub(crate) fn slow() {
    if asymmetric() {
        light();
    } else {
        symmetric();
    }
}

/// A real fence, for systems without a process-wide barrier. Pairs with [`heavy`].
#[inline]
pub(crate) fn symmetric() {
    // No mutant: the models have `fence_loom.rs`, with a mutant of each half.
    fence(Ordering::SeqCst);
}

/// The visitor's half. `false`: the system refused the barrier, so the visitor must not touch any cache.
#[must_use]
pub(crate) fn heavy() -> bool {
    // No mutant: as in `symmetric`.
    fence(Ordering::SeqCst);
    !asymmetric() || system::barrier()
}

/// Whether this process has a process-wide barrier. Asks the system once.
#[inline]
pub(crate) fn asymmetric() -> bool {
    // Relaxed: every thread computes the same answer, and nothing else is published with it.
    match MODE.load(Ordering::Relaxed) {
        UNKNOWN => decide_slow(),
        mode => mode == ASYMMETRIC,
    }
}

#[cold]
fn decide_slow() -> bool {
    let forced_off = cfg!(repool_no_barrier)
        || std::env::var_os("REPOOL_BARRIER").is_some_and(|value| value == "off");
    let mode = if !forced_off && system::register() {
        ASYMMETRIC
    } else {
        SYMMETRIC
    };
    // The first answer is final, so that two threads that ask at once do not disagree.
    // Relaxed: as in `asymmetric`.
    match MODE.compare_exchange(UNKNOWN, mode, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => mode == ASYMMETRIC,
        Err(first) => first == ASYMMETRIC,
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    use libc::{
        MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
        SYS_membarrier, c_int, c_uint,
    };

    fn membarrier(command: c_int) -> bool {
        let (flags, cpu): (c_uint, c_int) = (0, 0);
        // SAFETY: membarrier(2) takes three integers, and accesses no memory of this process.
        unsafe { libc::syscall(SYS_membarrier, command, flags, cpu) == 0 }
    }

    /// Registers this process for the barrier. `false` if the kernel has none.
    pub(super) fn register() -> bool {
        membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && barrier()
    }

    /// Runs a full barrier on every running thread of this process.
    pub(super) fn barrier() -> bool {
        // A forked child may have lost the registration. If so, register and try once more.
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)
            || (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
                && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
    }
}

// macOS, wasm and others have no such call. Windows has FlushProcessWriteBuffers, which could not be tested, so Windows
// uses the symmetric fences as well. Miri has no such call either, but there the light half is a real fence, so the
// barrier has nothing to do.
#[cfg(not(all(target_os = "linux", not(miri))))]
mod system {
    pub(super) fn register() -> bool {
        cfg!(miri)
    }

    pub(super) fn barrier() -> bool {
        cfg!(miri)
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    //! The protocol on real hardware, with plain flags in place of a cache, so that a broken protocol breaks nothing
    //! else.
    use super::{asymmetric, heavy, slow};
    use crate::sync::{AtomicBool, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    /// The flags of one owner and its visitor, and how often both were inside.
    #[derive(Default)]
    #[repr(align(128))]
    struct Side {
        busy: AtomicBool,
        wanted: AtomicBool,
        visited: AtomicBool,
        met: AtomicUsize,
        operations: AtomicUsize,
    }

    impl Side {
        fn operate(&self) {
            self.busy.store(true, Ordering::Relaxed);
            slow();
            if !self.wanted.load(Ordering::Acquire) {
                let met = usize::from(self.visited.load(Ordering::Relaxed));
                self.met.fetch_add(met, Ordering::Relaxed);
            }
            self.busy.store(false, Ordering::Release);
            let done = self.operations.load(Ordering::Relaxed) + 1;
            self.operations.store(done, Ordering::Relaxed);
        }

        /// The visitor's part after the fence.
        fn visit(&self) {
            if !self.busy.load(Ordering::Acquire) {
                self.visited.store(true, Ordering::Relaxed);
                // Long enough for an owner to enter, if the fence does not keep it out.
                for _ in 0..50 {
                    std::hint::spin_loop();
                }
                self.visited.store(false, Ordering::Relaxed);
            }
            self.wanted.store(false, Ordering::Release);
        }
    }

    /// Two owners work while a visitor visits. Returns how often an owner was inside together with the visitor, and the
    /// number of operations.
    fn stress(seconds: u64, fence: impl Fn(), enough: impl Fn(usize) -> bool) -> (usize, usize) {
        let sides = [Side::default(), Side::default()];
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for side in &sides {
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        for _ in 0..1_000 {
                            side.operate();
                        }
                    }
                });
            }
            let start = Instant::now();
            let met = || {
                sides
                    .iter()
                    .map(|side| side.met.load(Ordering::Relaxed))
                    .sum::<usize>()
            };
            while start.elapsed() < Duration::from_secs(seconds) && !enough(met()) {
                for _ in 0..100 {
                    for side in &sides {
                        side.wanted.store(true, Ordering::Relaxed);
                    }
                    fence();
                    for side in &sides {
                        side.visit();
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        let sum = |of: fn(&Side) -> &AtomicUsize| {
            sides
                .iter()
                .map(|side| of(side).load(Ordering::Relaxed))
                .sum()
        };
        (sum(|side| &side.met), sum(|side| &side.operations))
    }

    /// The fence pair keeps owner and visitor apart.
    #[test]
    fn the_fence_pair_keeps_owner_and_visitor_apart() {
        let fence = || assert!(heavy());
        let (met, operations) = stress(2, fence, |_| false);
        println!("{operations} operations, {met} meetings");
        assert_eq!(met, 0, "in {operations} operations");
    }

    /// The negative control: without the heavy half they meet, so the test above is able to fail. Needs two processors
    /// that run at once, and a system with a process-wide barrier.
    #[test]
    #[cfg_attr(
        debug_assertions,
        ignore = "a debug build has calls between the two instructions: see ci/stress.sh"
    )]
    fn without_the_heavy_half_they_meet() {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        if processors < 2 || !asymmetric() {
            return;
        }
        let (met, operations) = stress(30, || (), |met| met > 0);
        println!("{operations} operations, {met} meetings");
        assert!(met > 0, "never met in {operations} operations");
    }
}
