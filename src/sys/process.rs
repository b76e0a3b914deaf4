//! What is true of the whole process: which fork it is, and whether it may have a janitor.

use crate::sync::rare::OnceLock;
use crate::sync::{Figure, Ordering};

/// Counts the forks that led to this process, from 1. Changes only in a fresh child, before that
/// has a second thread; so every access is Relaxed.
static EPOCH: Figure = Figure::new(1);

/// Differs between a process and its forked children. Never zero.
pub(crate) fn epoch() -> usize {
    EPOCH.load(Ordering::Relaxed)
}

/// Begins a new epoch. For the fork handler of a child.
pub(crate) fn begin_epoch() {
    EPOCH.fetch_add(1, Ordering::Relaxed);
}

/// Whether this process may have a janitor at all. `REPOOL_JANITOR=off` in the environment says no;
/// wasm has no threads, and Miri complains of one that is still there when `main` returns.
pub(crate) fn janitor_is_possible() -> bool {
    // Read first and then set: a child forked while a `OnceLock` initialises would wait for ever.
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    POSSIBLE.get().copied().unwrap_or_else(|| {
        let forbidden = std::env::var_os("REPOOL_JANITOR").is_some_and(|value| value == "off");
        let possible = !forbidden && !cfg!(any(miri, target_family = "wasm"));
        let _ = POSSIBLE.set(possible);
        possible
    })
}
