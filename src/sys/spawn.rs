//! Starting a thread that belongs to the process and not to the thread that starts it.
//!
//! A new thread inherits its starter's signal mask, scheduling and affinity. For a background thread
//! each of these is wrong:
//!
//! - *Signals*: one that the program blocks everywhere, to wait for it, would be delivered to the new
//!   thread. So it starts with all signals blocked but those that its own instructions raise. They are
//!   blocked in the starter, around the start: at the thread's first line it would be too late.
//! - *Scheduling*: users' destructors must not run under a real-time policy. The thread gets the
//!   policy of the process (of its first thread) where that is not a real-time one, else the default
//!   one, and the nice value of the process.
//! - *Affinity*: that of the process, and not one processor that the starter is pinned to.
//!
//! The thread sets the last two itself, before anything else, and only where they differ. What the
//! system refuses stays as inherited.

#![cfg(not(repool_loom))]

use crate::sync::Thread;
use crate::sync::rare::Builder;

/// Starts a detached thread; `None` where none can be had.
pub(crate) fn background(name: &str, run: impl FnOnce() + Send + 'static) -> Option<Thread> {
    let _masked = system::block_signals();
    let started = Builder::new().name(name.into()).spawn(|| {
        system::schedule_as_process();
        run();
    });
    Some(started.ok()?.thread().clone())
}

#[cfg(all(unix, not(miri)))]
mod system {
    use std::mem::MaybeUninit;

    pub(super) use super::scheduling::schedule_as_process;

    /// The calling thread's signal mask from before, set again when dropped.
    pub(super) struct Masked(libc::sigset_t);

    /// Blocks all signals in the calling thread, but those that an instruction can raise: blocked,
    /// they would end the process without its handler.
    pub(super) fn block_signals() -> Option<Masked> {
        let mut all = MaybeUninit::uninit();
        // SAFETY: the pointer is valid for writes; sigfillset initialises the set.
        if unsafe { libc::sigfillset(all.as_mut_ptr()) } != 0 {
            return None;
        }
        // SAFETY: initialised above.
        let mut all: libc::sigset_t = unsafe { all.assume_init() };
        for raised in [
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGSEGV,
            libc::SIGSYS,
            libc::SIGTRAP,
        ] {
            // SAFETY: the set is initialised, and the signal a valid one.
            unsafe { libc::sigdelset(&raw mut all, raised) };
        }
        let mut before = MaybeUninit::uninit();
        // SAFETY: both pointers are valid, and the first set is initialised.
        let failed = unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, before.as_mut_ptr())
        };
        if failed != 0 {
            return None;
        }
        // SAFETY: written by pthread_sigmask, which succeeded.
        Some(Masked(unsafe { before.assume_init() }))
    }

    impl Drop for Masked {
        fn drop(&mut self) {
            let nowhere = std::ptr::null_mut();
            // SAFETY: the set is initialised; the old mask is not asked for.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, nowhere) };
        }
    }
}

#[cfg(not(all(unix, not(miri))))]
mod system {
    pub(super) fn block_signals() -> Option<()> {
        None
    }

    pub(super) fn schedule_as_process() {}
}

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
mod scheduling {
    use libc::{c_long, pid_t};

    /// 65,536 processors; a set that is too small would be refused.
    type Processors = [u64; 1024];

    /// Gives the calling thread the scheduling and the affinity of its process.
    pub(super) fn schedule_as_process() {
        // The id of a process is that of its first thread.
        // SAFETY: no arguments, cannot fail.
        let process = unsafe { libc::getpid() };
        policy(process);
        nice(process);
        affinity(process);
    }

    fn policy(process: pid_t) {
        // SAFETY: takes an integer.
        let of = |task| unsafe { libc::sched_getscheduler(task) };
        let wanted = match of(process) {
            usual @ (libc::SCHED_BATCH | libc::SCHED_IDLE) => usual,
            _ => libc::SCHED_OTHER,
        };
        if of(0) != wanted {
            // SAFETY: all zero is a valid value of this plain struct: priority 0.
            let priority: libc::sched_param = unsafe { std::mem::zeroed() };
            // SAFETY: the pointer is valid for reads.
            unsafe { libc::sched_setscheduler(0, wanted, &raw const priority) };
        }
    }

    fn nice(process: pid_t) {
        // The system call and not the function, whose -1 means two things: 20 less the nice value.
        // Each C library has a type of its own for the constant.
        let which = libc::PRIO_PROCESS as c_long;
        let of = |task: pid_t| {
            let who = c_long::from(task);
            // SAFETY: takes two integers.
            unsafe { libc::syscall(libc::SYS_getpriority, which, who) }
        };
        let (wanted, own) = (of(process), of(0));
        if wanted > 0 && wanted != own {
            let nice: c_long = 20 - wanted;
            // SAFETY: takes three integers; 0 is the calling thread.
            unsafe { libc::syscall(libc::SYS_setpriority, which, 0 as c_long, nice) };
        }
    }

    fn affinity(process: pid_t) {
        let of = |task| {
            let mut processors: Processors = [0; 1024];
            let set = processors.as_mut_ptr().cast();
            // SAFETY: the pointer is valid for writes of this many bytes.
            let known = unsafe { libc::sched_getaffinity(task, size_of::<Processors>(), set) };
            (known == 0).then_some(processors)
        };
        let (Some(wanted), Some(own)) = (of(process), of(0)) else {
            return;
        };
        if wanted != own {
            let set = wanted.as_ptr().cast();
            // SAFETY: the pointer is valid for reads of this many bytes.
            unsafe { libc::sched_setaffinity(0, size_of::<Processors>(), set) };
        }
    }
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android")), not(miri)))]
mod scheduling {
    pub(super) fn schedule_as_process() {}
}
