//! The two halves of the owner/visitor fence, per system.
//!
//! The owner of a cache runs [`light`] on every operation, a visitor [`heavy`] once per visit.
//! Together they are what two `fence(SeqCst)` would be: either the owner sees the visitor's flag,
//! or the visitor sees the owner's.
//!
//! | system | light | heavy |
//! |---|---|---|
//! | Linux with `membarrier` | compiler fence, no instruction | `membarrier(PRIVATE_EXPEDITED)`: every running thread of the process passes a full barrier (0.3 µs idle, a few µs with other threads running) |
//! | Miri | `fence(SeqCst)`, so that Miri sees the hit path as it ships | `fence(SeqCst)` |
//! | anything else | never on the hit path: there [`symmetric`] stands on the slow path | `fence(SeqCst)` |
//!
//! The choice is made once per process ([`asymmetric`]). Where there is no
//! process-wide barrier, threads are given the sentinel place (`place.rs`), so that every
//! operation takes the slow path and its real fence. `REPOOL_BARRIER=off` in the environment, or
//! `--cfg repool_no_barrier`, forces that.
//!
//! The models have `fence_loom.rs` in its place.
//!
//! The idea is folly's `AsymmetricThreadFence` and the kernel's membarrier(2).

use crate::sync::{AtomicU8, Ordering, fence};

const UNKNOWN: u8 = 0;
const SYMMETRIC: u8 = 1;
const ASYMMETRIC: u8 = 2;

static MODE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The owner's half on the hit path. Pairs with [`heavy`].
///
/// Only a thread that holds a real place may rely on it, and only processes with a process-wide
/// barrier hand those out.
#[inline(always)]
pub(crate) fn light() {
    if cfg!(miri) {
        symmetric();
    } else {
        crate::sync::compiler_fence(Ordering::SeqCst);
    }
}

/// The owner's half on the slow path: right in either mode. Pairs with [`heavy`].
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
    fence(Ordering::SeqCst);
}

/// The visitor's half. `false`: the barrier was refused, so no other thread's cache may be touched.
#[must_use]
pub(crate) fn heavy() -> bool {
    fence(Ordering::SeqCst);
    !asymmetric() || system::barrier()
}

/// Whether this process has a process-wide barrier; asks the system once.
#[inline]
pub(crate) fn asymmetric() -> bool {
    // Relaxed: every thread finds the same answer, and nothing else is published with it.
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
    // The first answer stands: two threads that ask at once must not disagree.
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
        // SAFETY: membarrier(2) takes three integers and touches no memory of ours.
        unsafe { libc::syscall(SYS_membarrier, command, flags, cpu) == 0 }
    }

    /// Tells the kernel that this process will use the barrier; `false` where there is none.
    pub(super) fn register() -> bool {
        membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) && barrier()
    }

    /// A full barrier on every running thread of this process.
    pub(super) fn barrier() -> bool {
        // A forked child may have lost the registration: register again, then once more.
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)
            || (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
                && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
    }
}

// macOS, wasm and others have no such call. Windows has FlushProcessWriteBuffers, which is not tested,
// so it takes the symmetric fences as well. Miri has none either: there the light half is a fence
// already, and nothing is left for the barrier to do.
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
    //! The protocol on real hardware, with plain flags instead of a cache, so that breaking it on
    //! purpose breaks nothing else.
    use super::{asymmetric, heavy, slow};
    use crate::sync::{AtomicBool, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    /// One owner's two flags, and who was inside.
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

        /// Between `want` and the fence nothing; then this.
        fn visit(&self) {
            if !self.busy.load(Ordering::Acquire) {
                self.visited.store(true, Ordering::Relaxed);
                // Long enough for an owner to come in that should not.
                for _ in 0..50 {
                    std::hint::spin_loop();
                }
                self.visited.store(false, Ordering::Relaxed);
            }
            self.wanted.store(false, Ordering::Release);
        }
    }

    /// Two owners hammer while a visitor visits; how often an owner was inside with the visitor, and
    /// how many operations there were.
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

    /// The negative twin: without the heavy half they meet, so the test above can fail. Needs two
    /// processors that run at once, and a process-wide barrier to leave out.
    #[test]
    #[cfg_attr(
        debug_assertions,
        ignore = "calls between the two instructions: ci/stress.sh"
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
