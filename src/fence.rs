//! The two halves of the owner/visitor fence, per system.
//!
//! The owner of a cache runs [`light`] on every operation, a visitor [`heavy`] once per visit.
//! Together they are what two `fence(SeqCst)` would be: either the owner sees the visitor's flag,
//! or the visitor sees the owner's.
//!
//! | system | light | heavy |
//! |---|---|---|
//! | Linux with `membarrier` | compiler fence, no instruction | `membarrier(PRIVATE_EXPEDITED)`: every running thread of the process passes a full barrier (0.3 µs idle, a few µs with other threads running) |
//! | anything else | never on the hit path: there [`symmetric`] stands on the slow path | `fence(SeqCst)` |
//!
//! Which of the two it is is decided once per process ([`asymmetric`]). Where there is no
//! process-wide barrier, threads are given the sentinel place (`thread.rs`), so that every
//! operation takes the slow path and its real fence. `REPOOL_BARRIER=off` in the environment, or
//! `--cfg repool_no_barrier`, forces that.
//!
//! The idea is folly's `AsymmetricThreadFence` and the kernel's membarrier(2).

use crate::sync::{AtomicU8, Ordering, fence};

const UNKNOWN: u8 = 0;
const SYMMETRIC: u8 = 1;
const ASYMMETRIC: u8 = 2;

#[cfg(not(repool_loom))]
static MODE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The owner's half on the hit path. Pairs with [`heavy`].
///
/// Only a thread that holds a real place may rely on it, and only processes with a process-wide
/// barrier hand those out.
#[cfg(not(repool_loom))]
#[inline(always)]
pub(crate) fn light() {
    crate::sync::compiler_fence(Ordering::SeqCst);
}

/// loom has no asymmetric fence; the model of both halves is a `SeqCst` fence.
#[cfg(repool_loom)]
pub(crate) fn light() {
    fence(Ordering::SeqCst); // mutant: light-fence
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

/// The visitor's half. `false`: the barrier was refused, so nobody's cache may be touched.
#[must_use]
pub(crate) fn heavy() -> bool {
    fence(Ordering::SeqCst); // mutant: heavy-fence
    !asymmetric() || system::barrier()
}

/// Whether this process has a process-wide barrier; asks the system once.
#[cfg(not(repool_loom))]
#[inline]
pub(crate) fn asymmetric() -> bool {
    // Relaxed: the answer is the same whoever finds it, and nothing else is published with it.
    match MODE.load(Ordering::Relaxed) {
        UNKNOWN => decide_slow(),
        mode => mode == ASYMMETRIC,
    }
}

#[cfg(repool_loom)]
pub(crate) fn asymmetric() -> bool {
    let _ = (UNKNOWN, SYMMETRIC, ASYMMETRIC, AtomicU8::new(0));
    true
}

#[cfg(not(repool_loom))]
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

#[cfg(all(target_os = "linux", not(miri), not(repool_loom)))]
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

// Miri knows no such call; macOS, wasm and others have none. Windows has FlushProcessWriteBuffers,
// which nobody here can test, so it takes the always-sound way as well.
#[cfg(not(all(target_os = "linux", not(miri), not(repool_loom))))]
mod system {
    #[cfg(not(repool_loom))]
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn barrier() -> bool {
        cfg!(repool_loom)
    }
}
