//! Handlers for a fork by the C library; see `mod.rs`, "Fork". They keep the watch list consistent across the fork, and
//! make each owner in the child take the slow path once.
//!
//! The forking thread holds the lock of the watch list from [`prepare`] to [`in_parent`] or [`in_child`]. Nothing here
//! allocates: a child of a process with threads must not.

#![cfg(all(unix, not(miri), not(repool_loom)))]

use super::watch_list::WatchList;
use super::worker;
use crate::sync::{MutexGuard, Ordering, StatUsize, Timeout};
use std::cell::Cell;
use std::mem::ManuallyDrop;

thread_local! {
    /// The lock of the watch list, while this thread forks. Two threads may fork at once.
    static HELD: Cell<Option<ManuallyDrop<MutexGuard<'static, WatchList>>>> =
        const { Cell::new(None) };
}

/// Installs the handlers, once. The caller holds the lock of the watch list.
pub(super) fn install() {
    static INSTALLED: StatUsize = StatUsize::new(0);
    // Relaxed: under a lock.
    if INSTALLED.swap(1, Ordering::Relaxed) == 0 {
        // SAFETY: the handlers are plain functions that neither unwind nor allocate.
        unsafe { libc::pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
    }
}

extern "C" fn prepare() {
    let locked = worker::watch_list().lock_bounded(Timeout::Long);
    HELD.set(locked.map(ManuallyDrop::new));
}

extern "C" fn in_parent() {
    drop(HELD.take().map(ManuallyDrop::into_inner));
}

extern "C" fn in_child() {
    if let Some(watch_list) = HELD.take() {
        let watch_list = ManuallyDrop::into_inner(watch_list);
        send_owners_slow(&watch_list);
    }
}

/// Makes the next return to each cache of the watched pools take the slow path, which finds that the pool is not
/// watched in this process.
fn send_owners_slow(watch_list: &WatchList) {
    for entry in watch_list
        .pools
        .values()
        .filter(|entry| entry.due.is_some())
    {
        entry.core.visit(|_, lists| lists.revoke_room());
    }
}
