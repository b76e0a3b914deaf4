//! The get and the return of a pool with diagnostics.

use super::poison::poison;
use super::records;
use super::slot::CoreDiagnostics;
use crate::object::factory::DROP_IT;
use crate::object::typed_core::{Node, TypedCore};
use crate::object::unpooled::is_no_core;
use crate::raw::node::{Batch, End, Link};
use crate::raw::pool::Core;
use crate::raw::refs::{DiscardOnDrop, WeakCore};
use crate::raw::stats::Reason;
use crate::sync::Timeout;
use crate::thread::slow;
use std::panic::Location;
use std::ptr;

/// Returns whether the pool has no caches, because it has diagnostics.
#[inline]
pub(crate) fn has_diagnostics(core: &Core) -> bool {
    core.has_diagnostics()
}

/// # Safety
/// `core` is the head of a live `TypedCore<T>`.
unsafe fn diagnostics<'a, T: Send + 'static>(core: *const Core) -> Option<&'a CoreDiagnostics> {
    // SAFETY: guaranteed by the caller.
    unsafe { TypedCore::<T>::slot(core) }.diagnostics()
}

/// Returns an idle object of a pool with diagnostics, or null; `None` if the pool has none.
///
/// # Safety
/// `core` is the head of a live `TypedCore<T>` of which a strong reference is held.
pub(crate) unsafe fn take<T: Send + 'static>(core: &Core) -> Option<*mut Link> {
    // SAFETY: guaranteed by the caller.
    let diagnostics = unsafe { diagnostics::<T>(core.address()) }?;
    if core.is_inactive() || diagnostics.refuses() {
        return Some(ptr::null_mut());
    }
    let idle = core.depots().objects();
    let mut link = core.depots().own().take_where(diagnostics.chooser(idle));
    if link.is_null() {
        // The random choice was beyond the thread's own objects.
        link = core.depots().own().take_where(diagnostics.chooser(1));
    }
    if link.is_null() {
        core.note_miss();
    } else {
        slow::handed_out(core, link);
    }
    Some(link)
}

/// Called when an object goes out to the caller of a slow path.
///
/// # Safety
/// `link` is the head of a `Node<T>` that the caller holds.
#[track_caller]
pub(crate) unsafe fn goes_out<T: Send + 'static>(link: *mut Link) {
    // SAFETY: the caller holds the node.
    let core = unsafe { Core::of(link) };
    // SAFETY: the core of a `Node<T>` is the head of a `TypedCore<T>`, which the node keeps.
    let Some(diagnostics) = (unsafe { diagnostics::<T>(core) }) else {
        return;
    };
    diagnostics.goes_out(link, Location::caller());
    if diagnostics.is_chaotic() {
        // SAFETY: I1: the caller holds the node; the value is there.
        poison(unsafe { &mut (*link.cast::<Node<T>>()).value });
    }
}

/// Corrects where an object was got, for pools made of pools; returns whether its spare memory has
/// to be filled.
///
/// # Safety
/// As [`goes_out`].
#[track_caller]
pub(crate) unsafe fn went_out<T: Send + 'static>(link: *mut Link) -> bool {
    // SAFETY: the caller holds the node.
    let core = unsafe { Core::of(link) };
    if is_no_core(core) {
        return false; // no pool with diagnostics hands such objects out
    }
    // SAFETY: the core of a `Node<T>` is the head of a `TypedCore<T>`, which the node keeps.
    let Some(diagnostics) = (unsafe { diagnostics::<T>(core) }) else {
        return false;
    };
    records::moved(link.addr(), Location::caller());
    diagnostics.is_chaotic()
}

/// Returns an object if the pool has diagnostics; `false` means that nothing was done.
///
/// # Safety
/// `link` is the head of a `Node<T>` of this core. The caller holds it, and on `true` gives it up.
pub(crate) unsafe fn gives_back<T: Send + 'static>(core: *const Core, link: *mut Link) -> bool {
    // SAFETY: the core of a `Node<T>` is the head of a `TypedCore<T>`, which the node keeps.
    let Some(diagnostics) = (unsafe { diagnostics::<T>(core) }) else {
        return false;
    };
    // The reset is user code: if it panics, the node must go.
    let mut bomb = DiscardOnDrop {
        link,
        reason: Reason::Panic,
    };
    // SAFETY: I1: the caller holds the node; the value is there.
    let object = unsafe { &mut (*link.cast::<Node<T>>()).value };
    // SAFETY: the core of a `Node<T>` is the head of a `TypedCore<T>`.
    let weight = unsafe { TypedCore::<T>::reset(core, object) };
    if weight == DROP_IT {
        // SAFETY: as above, and the node keeps it.
        bomb.reason = unsafe { TypedCore::<T>::factory(core) }.why_dropped();
        return true;
    }
    if diagnostics.refuses() {
        bomb.reason = Reason::Reset;
        return true;
    }
    diagnostics.becomes_idle(link);
    std::mem::forget(bomb);
    // SAFETY: guaranteed by the caller.
    unsafe { keep(core, link, weight) };
    true
}

/// Puts an object that has been reset into the depot, if limits allow.
///
/// # Safety
/// The node is of this core; the caller holds it and gives it up.
unsafe fn keep(core: *const Core, link: *mut Link, weight: usize) {
    // SAFETY: the node keeps its core alive (I6).
    let this = unsafe { &*core };
    // Once the node is in the depot, another thread may free the core; and destructors may do
    // anything.
    let _keep = WeakCore::new(this);
    this.note_weight(weight);
    let bomb = DiscardOnDrop {
        link,
        reason: Reason::Oversize,
    };
    if !this.limits.accepts(weight) {
        return;
    }
    let give = |link| {
        // SAFETY: the caller holds the node and gives it up.
        let batch = unsafe { Batch::of_one(link) };
        this.depots().give(batch, End::Hot, Timeout::Long)
    };
    // SAFETY: guaranteed by the caller; the core's memory is kept, as above.
    unsafe { slow::charge_and_give(this, bomb, weight, give) };
}
