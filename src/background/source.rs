//! The source of the pressure level for the janitor: one that the program has installed (`pressure.rs`), or the system.

#![cfg(not(repool_loom))]

use crate::sync::rare::Arc;
use crate::sync::{Mutex, Timeout};
use crate::sys::memory::{Level, Memory};

/// A function that returns the level.
pub(crate) type Source = Arc<dyn Fn() -> Level + Send + Sync>;

/// The installed source; `None` for the system.
static INSTALLED: Mutex<Option<Source>> = Mutex::new(None);

/// Installs a source, or the system with `None`.
pub(crate) fn install(source: Option<Source>) {
    if let Some(mut installed) = INSTALLED.lock_bounded(Timeout::Long) {
        let before = std::mem::replace(&mut *installed, source);
        drop(installed);
        drop(before); // runs user code, so after the lock is released
    }
}

/// The present level. Runs user code: the caller must not hold a lock.
pub(super) fn level() -> Level {
    // Cloned, so that the source runs without the lock.
    let installed = INSTALLED
        .lock_bounded(Timeout::Long)
        .and_then(|installed| installed.clone());
    match installed {
        Some(source) => source(),
        None => Memory::system().level(),
    }
}
