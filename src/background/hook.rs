//! The user's hook: called after passes that dropped something.

#![cfg(not(repool_loom))]

use crate::raw::stats::Trimmed;
use crate::sync::rare::Arc;
use crate::sync::{Mutex, Timeout};
use crate::sys::panics::catch_panic;
use std::cell::Cell;

type Hook = Arc<dyn Fn(Trimmed) + Send + Sync>;

static HOOK: Mutex<Option<Hook>> = Mutex::new(None);

thread_local! {
    /// What the passes of this thread have dropped since the outermost [`together`] began; `None`
    /// outside of one.
    static DROPPED: Cell<Option<Trimmed>> = const { Cell::new(None) };
}

/// Calls `hook` after passes that dropped something, in this process; a later call replaces it.
///
/// What a pass drops goes to the allocator, and whether the process shrinks is the allocator's business
/// (see [`memory`](crate::memory)). This is the place to ask it to.
///
/// The janitor calls the hook once for each round of passes, with the sum of what they dropped; a
/// pass that the program runs itself ([`Pool::trim`](crate::Pool::trim)) calls it on the calling
/// thread, and so does one that a returning thread runs because there is no janitor. A pass that dropped
/// nothing does not call it, and neither does `clear`.
///
/// Nothing of this crate is locked meanwhile, so the hook may use pools; passes that it runs itself do
/// not call it again. It should be quick all the same: the janitor's next pass waits for it. If it
/// panics, the panic is dropped.
///
/// # Examples
/// With glibc, which keeps what is freed below the top of its heaps. `malloc_trim` takes milliseconds,
/// and a lock that allocations wait for:
/// ```
/// # #[cfg(all(target_os = "linux", target_env = "gnu"))]
/// repool::on_trimmed(|trimmed| {
///     if trimmed.bytes >= 1 << 20 {
///         // SAFETY: takes no pointer; may be called at any time.
///         unsafe { libc::malloc_trim(0) };
///     }
/// });
/// ```
pub fn on_trimmed(hook: impl Fn(Trimmed) + Send + Sync + 'static) {
    let mut after: Option<Hook> = Some(Arc::new(hook));
    if let Some(mut installed) = HOOK.lock_bounded(Timeout::Long) {
        std::mem::swap(&mut *installed, &mut after);
    }
    drop(after); // user code, so after the lock
}

/// A pass of this thread, inside [`together`], has dropped this.
pub(crate) fn add(trimmed: Trimmed) {
    if let Some(before) = DROPPED.get() {
        DROPPED.set(Some(Trimmed {
            objects: before.objects + trimmed.objects,
            bytes: before.bytes + trimmed.bytes,
        }));
    }
}

/// Runs passes, and calls the hook once for all of them. User code may run: nothing may be held.
pub(crate) fn once_for<R>(passes: impl FnOnce() -> R) -> R {
    if DROPPED.get().is_some() {
        return passes(); // the outermost one tells
    }
    DROPPED.set(Some(Trimmed::default()));
    let _tell = Tell;
    passes()
}

/// Calls the hook when dropped, also if a destructor has panicked in a pass.
struct Tell;

impl Drop for Tell {
    fn drop(&mut self) {
        let dropped = DROPPED.get().unwrap_or_default();
        if dropped.objects > 0 {
            // A clone, so that the hook runs after the lock.
            let hook = HOOK
                .lock_bounded(Timeout::Long)
                .and_then(|installed| installed.clone());
            if let Some(hook) = hook {
                let _ = catch_panic(move || hook(dropped));
            }
        }
        // Only now: what the hook itself has dropped is not told.
        DROPPED.set(None);
    }
}
