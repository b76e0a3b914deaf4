//! Returns of buffers: dropped or frozen by the user, or found in a ring after their views are
//! gone.
//!
//! ```text
//! dropped, unchanged -----------------------------------------------------> the class's pool
//! dropped, changed --> regain the allocation -> finish: wipe, judge ------> the same, or freed
//!                                | parts are alive
//! frozen ------------------------+--> a ring --> no views, unchanged --> handed out from there
//!                                                no views, changed --> regain, finish
//!                                                waited long enough --> left to its last part
//! ```
//!
//! Nothing here runs inside a critical section. See `pooled_bytes.rs` for the three files that import each
//! other.

use super::class::UNSIZED;
use super::lent::Lent;
use super::policy::Verdict;
use super::pooled_bytes::PooledBytes;
use super::wipe;
use crate::object::guard::Pooled;
use crate::raw::stats::Reason;
use bytes::Bytes;
use std::mem;
use std::thread::panicking;

/// Returns a buffer that has changed or has to be checked.
#[cold]
#[inline(never)]
pub(super) fn give_back_slow(mut object: Pooled<PooledBytes>) {
    let used = object.used_now();
    if object.class.is_bounded() && !panicking() {
        object.class.relieve_if_due();
    }
    if object.is_unchanged_slow() {
        drop(object);
    } else if object.regain() {
        finish(object, used);
    } else if !panicking() {
        object.wait(used);
        lend(object);
    }
}

/// Returns an unchanged buffer that the hot path could not take.
#[cold]
#[inline(never)]
pub(super) fn give_back_unchanged(object: Pooled<PooledBytes>) {
    drop(object);
}

/// Returns a lent buffer without views for a visitor: to the depot, where every thread can get it.
pub(super) fn return_lent_to_depot(object: Pooled<PooledBytes>) {
    if object.is_unchanged_after_views() {
        Pooled::give_to_all(object);
    } else {
        return_lent_slow(object);
    }
}

/// Returns a lent buffer that has no views left or has waited long enough.
pub(super) fn return_lent(object: Pooled<PooledBytes>) {
    if object.is_unchanged_after_views() {
        drop(object);
    } else {
        return_lent_slow(object);
    }
}

/// Like [`return_lent`], for a buffer that has to be checked.
#[cold]
#[inline(never)]
pub(super) fn return_lent_slow(mut object: Pooled<PooledBytes>) {
    let (enough, used) = (object.has_waited_enough(), object.used_before());
    object.has_waited();
    if !enough && object.regain() {
        finish(object, used);
    } else {
        object.wipe_part();
        // The last part frees the memory.
        drop(PooledBytes::into_bytes(object));
    }
}

/// Returns a buffer that has its whole allocation to its class, or frees it.
fn finish(mut object: Pooled<PooledBytes>, used: usize) {
    object.wipe();
    if panicking() {
        return; // dropped: the pool does not keep what was in use during a panic
    }
    if object.full() > object.class.most {
        return Pooled::discard_for(object, Reason::Oversize);
    }
    if object.full() == 0 && object.class.index != UNSIZED {
        // The user has taken the memory.
        return drop(PooledBytes::into_bytes(object));
    }
    object.note_use(used);
    let kept = match object.judge(used) {
        Verdict::Keep => true,
        Verdict::Cut => object.cut(),
        Verdict::TooSmall => false,
    };
    if kept {
        drop(object);
    } else {
        Pooled::discard_for(object, Reason::Reset);
    }
}

/// Hands out the content as `Bytes` and keeps a handle to the memory.
#[inline]
pub(super) fn freeze(mut object: Pooled<PooledBytes>) -> Bytes {
    if object.is_little_used() || !object.freezes_fast() || panicking() {
        return freeze_slow(object);
    }
    let view = object.bytes.split().freeze();
    lend(object);
    view
}

/// Like [`freeze`], for a buffer that has to be checked or is empty, or while the thread panics.
#[cold]
#[inline(never)]
fn freeze_slow(mut object: Pooled<PooledBytes>) -> Bytes {
    if object.bytes.is_empty() || panicking() {
        return freeze_at_once(object);
    }
    if let Some((view, reason)) = prepare(&mut object) {
        // Its memory is gone, so the object must not be kept, even if the pool has been switched on
        // meanwhile.
        Pooled::discard_for(object, reason);
        return view;
    }
    let view = object.bytes.split().freeze();
    lend(object);
    view
}

/// Prepares a buffer to wait for its views and to be checked afterwards. If nothing will wait for
/// it but its memory has to be overwritten, returns all of it as a view that wipes itself.
fn prepare(object: &mut Pooled<PooledBytes>) -> Option<(Bytes, Reason)> {
    if let Some(reason) = object.class.keeps_nothing().filter(|_| object.class.wipes) {
        return Some((wipe::freeze_wiped(mem::take(&mut object.bytes)), reason));
    }
    object.prepare_to_wait();
    if object.class.is_bounded() {
        object.class.relieve_if_due();
    }
    None
}

/// Freezes an empty buffer, or any buffer while the thread panics.
fn freeze_at_once(mut object: Pooled<PooledBytes>) -> Bytes {
    let view = if object.bytes.is_empty() {
        Bytes::new()
    } else {
        // The last view frees the memory.
        let bytes = mem::take(&mut object.bytes);
        match object.class.wipes {
            true => wipe::freeze_wiped(bytes),
            false => bytes.freeze(),
        }
    };
    give_back_slow(object);
    view
}

/// Puts a handle into a ring, where it waits until it is the only one.
#[inline(always)]
fn lend(object: Pooled<PooledBytes>) {
    if let Err(object) = Lent::push(object) {
        Lent::push_slow(object);
    }
}
