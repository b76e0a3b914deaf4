//! Where the janitor asks how short memory is: a source that the program has installed
//! (`pressure.rs`), else the system.

#![cfg(not(repool_loom))]

use crate::sync::rare::Arc;
use crate::sync::{Mutex, Timeout};
use crate::sys::memory::{Level, Memory};

/// Something that knows the level.
pub(crate) type Source = Arc<dyn Fn() -> Level + Send + Sync>;

/// `None`: the system.
static INSTALLED: Mutex<Option<Source>> = Mutex::new(None);

/// Replaces the source.
pub(crate) fn install(source: Option<Source>) {
    if let Some(mut installed) = INSTALLED.lock_bounded(Timeout::Long) {
        let before = std::mem::replace(&mut *installed, source);
        drop(installed);
        drop(before); // user code, so after the lock
    }
}

/// What the source says now. User code may run: nothing may be held.
pub(super) fn level() -> Level {
    // A clone, so that the source runs after the lock.
    let installed = INSTALLED
        .lock_bounded(Timeout::Long)
        .and_then(|installed| installed.clone());
    match installed {
        Some(source) => source(),
        None => Memory::system().level(),
    }
}
