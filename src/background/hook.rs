//! The user's hook, which is called after passes that have dropped something.

#![cfg(not(repool_loom))]

use crate::raw::stats::Trimmed;
use crate::sync::rare::Arc;
use crate::sync::{Mutex, Timeout};
use crate::sys::panics::catch_panic;
use std::cell::Cell;

type Hook = Arc<dyn Fn(Trimmed) + Send + Sync>;

static HOOK: Mutex<Option<Hook>> = Mutex::new(None);

thread_local! {
    /// What the passes of this thread have dropped since the outermost [`once_for`] began; `None` outside of one.
    static DROPPED: Cell<Option<Trimmed>> = const { Cell::new(None) };
}

/// Installs a hook that is called after trim passes that have dropped something. A later call replaces the hook.
///
/// A pass returns memory to the allocator. Whether the allocator returns it to the system is up to the allocator (see
/// [`memory`](crate::memory)). The hook can ask the allocator to do so.
///
/// The janitor calls the hook once for each round of passes, with the sum of what they have dropped. A pass that the
/// program runs ([`Pool::trim`](crate::Pool::trim)) calls it on the calling thread. So does a pass that a returning
/// thread runs because there is no janitor. A pass that has dropped nothing does not call the hook, and neither does
/// `clear`.
///
/// The crate holds no lock during the call, so the hook may use pools. Passes that the hook runs do not call it again.
/// It should be quick, since the janitor's next pass waits for it. If the hook panics, the panic is swallowed.
///
/// # Examples
/// With glibc, which keeps freed memory below the top of its heaps. `malloc_trim` takes milliseconds, and holds a lock
/// that allocations wait for:
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
    drop(after); // runs user code, so after the lock is released
}

/// Adds what a pass of this thread has dropped, inside [`once_for`].
pub(crate) fn add(trimmed: Trimmed) {
    if let Some(before) = DROPPED.get() {
        DROPPED.set(Some(Trimmed {
            objects: before.objects + trimmed.objects,
            bytes: before.bytes + trimmed.bytes,
        }));
    }
}

/// Runs passes, and calls the hook once for all of them. Runs user code: the caller must not hold a lock.
pub(crate) fn once_for<R>(passes: impl FnOnce() -> R) -> R {
    if DROPPED.get().is_some() {
        return passes(); // the outermost call calls the hook
    }
    DROPPED.set(Some(Trimmed::default()));
    let _call = CallOnDrop;
    passes()
}

/// Calls the hook on drop, including during unwinding.
struct CallOnDrop;

impl Drop for CallOnDrop {
    fn drop(&mut self) {
        let dropped = DROPPED.get().unwrap_or_default();
        if dropped.objects > 0 {
            // Cloned, so that the hook runs without the lock.
            let hook = HOOK
                .lock_bounded(Timeout::Long)
                .and_then(|installed| installed.clone());
            if let Some(hook) = hook {
                let _ = catch_panic(move || hook(dropped));
            }
        }
        // Set last, so that what the hook itself drops is not reported.
        DROPPED.set(None);
    }
}
