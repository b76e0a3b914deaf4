//! Starts a background thread that does not inherit the attributes of the thread that starts it.
//!
//! A new thread inherits the signal mask, the scheduling and the affinity of its parent thread. A background thread
//! needs others:
//!
//! - *Signals*: a program may block a signal in all its threads, to wait for it in one of them. A thread with another
//!   mask would receive it. So the new thread blocks all signals, except those that its own instructions raise. The
//!   parent thread blocks them while it starts the new one: at the first line of the new thread it would be too late.
//! - *Scheduling*: users' destructors must not run under a real-time policy. The thread takes the policy of the process
//!   (that of its first thread) unless that is a real-time policy, and the default one otherwise. It takes the nice
//!   value of the process.
//! - *Affinity*: the thread takes that of the process, since its parent thread may be pinned to one processor.
//!
//! The thread sets the last two itself before it runs anything else, and only if they differ. What the system refuses
//! stays as inherited.

#![cfg(not(repool_loom))]

use crate::sync::Thread;
use crate::sync::rare::Builder;
use crate::sys::loaded::Loaded;

/// Starts a detached thread. `None` if the system has no threads, or refuses one.
pub(crate) fn background(name: &str, run: impl FnOnce() + Send + 'static) -> Option<Thread> {
    let _masked = system::block_signals();
    let library = Loaded::hold();
    let started = Builder::new().name(name.into()).spawn(|| {
        if let Some(library) = library {
            library.until_thread_ends();
        }
        system::schedule_as_process();
        run();
    });
    Some(started.ok()?.thread().clone())
}

#[cfg(all(unix, not(miri)))]
mod system {
    use std::mem::MaybeUninit;

    pub(super) use super::scheduling::schedule_as_process;

    /// The former signal mask of the calling thread, which is restored on drop.
    pub(super) struct Masked(libc::sigset_t);

    /// Blocks all signals in the calling thread, except those that an instruction can raise: a blocked one would end
    /// the process without calling its handler.
    pub(super) fn block_signals() -> Option<Masked> {
        let mut all = MaybeUninit::uninit();
        // SAFETY: the pointer is valid for writes, and sigfillset initializes the set.
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
            // SAFETY: the set is initialized, and the signal is a valid one.
            unsafe { libc::sigdelset(&raw mut all, raised) };
        }
        let mut before = MaybeUninit::uninit();
        // SAFETY: both pointers are valid, and the first set is initialized.
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
            // SAFETY: the set is initialized. A null pointer is allowed for the old mask.
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

    /// A set of 65,536 processors. The kernel would refuse one that is too small.
    type Processors = [u64; 1024];

    /// Gives the calling thread the scheduling and the affinity of its process.
    pub(super) fn schedule_as_process() {
        // The ID of a process is that of its first thread.
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
        // The system call returns 20 less the nice value. The function of the C library may return -1 both as a value
        // and for an error. Its type for the constant depends on the C library.
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
