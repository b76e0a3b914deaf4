//! A forked child of one thread, and how it ended.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

/// Runs `f` in a forked child; returns its code, or 101 if it panicked. SIGALRM kills a child that
/// hangs.
pub(crate) fn run(seconds: u32, quiet: bool, f: impl FnOnce() -> i32) -> End {
    // SAFETY: the child uses pools, threads and the allocator, which the C library makes safe
    // across a fork, and leaves through `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no fork");
    if child == 0 {
        // SAFETY: takes an integer.
        unsafe { libc::alarm(seconds) };
        // SAFETY: takes integers. No core is dumped if an abort is expected.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
        if quiet {
            // An abort may print a backtrace, which takes longer than everything else.
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("RUST_BACKTRACE", "0") };
            // SAFETY: a C string; the result is used only if it is a descriptor.
            let nowhere = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY) };
            // SAFETY: takes integers.
            unsafe { libc::dup2(nowhere, 2) };
        }
        let code = catch_unwind(AssertUnwindSafe(f)).unwrap_or(101);
        // SAFETY: ends this process at once.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: our own child; `status` is valid.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    if libc::WIFEXITED(status) {
        End::Code(libc::WEXITSTATUS(status))
    } else {
        End::Signal(libc::WTERMSIG(status))
    }
}
