//! What a fork needs: a registry that nobody is about to change, and a new epoch in the child. See
//! `janitor.rs`, "Fork".

use super::worker::REGISTRY;
use crate::sync::Patience;
use crate::sync::rare::Once;
use crate::sys::process;
use std::cell::Cell;

thread_local! {
    /// Whether this thread, which forks, took the registry's lock. Two may fork at once.
    static HELD: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handlers are plain functions; the one for the child touches an atomic,
        // a cell and a lock that its own thread holds, which is all that a child of a process with
        // threads may do.
        unsafe { libc::pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
    });
}

/// The child must not inherit a registry that the janitor was about to change.
extern "C" fn prepare() {
    let held = REGISTRY
        .lock_bounded(Patience::Long)
        .map(std::mem::forget)
        .is_some();
    HELD.set(held);
}

extern "C" fn in_parent() {
    if HELD.replace(false) {
        // SAFETY: taken in `prepare` by this thread, and its guard forgotten.
        unsafe { REGISTRY.unlock_forgotten() };
    }
}

extern "C" fn in_child() {
    process::begin_epoch();
    in_parent();
}
