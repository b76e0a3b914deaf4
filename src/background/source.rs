//! The source of the pressure level for the janitor: one that the program has installed (`pressure.rs`), or the system.

#![cfg(not(repool_loom))]

use crate::sync::rare::Arc;
use crate::sync::{Instant, Mutex, Timeout};
use crate::sys::memory::{Level, Memory};
use std::time::Duration;

/// A function that returns the level.
pub(crate) type Source = Arc<dyn Fn() -> Level + Send + Sync>;

/// The installed source; `None` for the system.
static INSTALLED: Mutex<Option<Source>> = Mutex::new(None);

/// The least time between two reads of the system's files. A program that often creates pools may wake the janitor more
/// often than that.
const SYSTEM_POLL: Duration = Duration::from_millis(100);

/// The last read of the system's files.
static LAST_READ: Mutex<Option<(Instant, Level)>> = Mutex::new(None);

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
        None => system_level(),
    }
}

/// The level of the system, read at most once in [`SYSTEM_POLL`].
fn system_level() -> Level {
    let last = LAST_READ
        .lock_bounded(Timeout::Short)
        .and_then(|last| *last);
    if let Some((_, level)) = last.filter(|(at, _)| at.elapsed() < SYSTEM_POLL) {
        return level;
    }
    let level = Memory::system().level();
    if let Some(mut last) = LAST_READ.lock_bounded(Timeout::Short) {
        *last = Some((Instant::now(), level));
    }
    level
}
