//! What a fork by the C library needs: a registry that no thread is about to change, and in the child
//! owners that take the slow path once. See `mod.rs`, "Fork".
//!
//! The forking thread holds the registry's lock from [`prepare`] to [`in_parent`] or [`in_child`].
//! Nothing here allocates: a child of a process with threads must not.

#![cfg(all(unix, not(miri), not(repool_loom)))]

use super::registry::Registry;
use super::worker;
use crate::sync::{Figure, MutexGuard, Ordering, Patience};
use std::cell::Cell;
use std::mem::ManuallyDrop;

thread_local! {
    /// The registry, locked, while this thread forks. Two may fork at once.
    static HELD: Cell<Option<ManuallyDrop<MutexGuard<'static, Registry>>>> =
        const { Cell::new(None) };
}

/// Called under the registry's lock.
pub(super) fn install() {
    static INSTALLED: Figure = Figure::new(0);
    // Relaxed: under a lock.
    if INSTALLED.swap(1, Ordering::Relaxed) == 0 {
        // SAFETY: the handlers are plain functions that neither unwind nor allocate.
        unsafe { libc::pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
    }
}

extern "C" fn prepare() {
    let locked = worker::registry().lock_bounded(Patience::Long);
    HELD.set(locked.map(ManuallyDrop::new));
}

extern "C" fn in_parent() {
    drop(HELD.take().map(ManuallyDrop::into_inner));
}

extern "C" fn in_child() {
    if let Some(registry) = HELD.take() {
        let registry = ManuallyDrop::into_inner(registry);
        send_owners_slow(&registry);
    }
}

/// Makes the next return to each cache of the pools that were watched take the slow path, which finds
/// out that they are not watched in this process.
fn send_owners_slow(registry: &Registry) {
    for entry in registry.pools.values().filter(|entry| entry.due.is_some()) {
        entry.core.visit(|_, inside| inside.take_room());
    }
}
