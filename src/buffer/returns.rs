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
//! Nothing here runs inside a critical section. See `cell.rs` for the three files that import each
//! other.

use super::cell::Cell;
use super::class::UNSIZED;
use super::lent::Lent;
use super::policy::Verdict;
use super::wipe;
use crate::object::guard::Pooled;
use crate::raw::stats::Reason;
use bytes::Bytes;
use std::mem;
use std::thread::panicking;

/// Returns a buffer that has changed or has to be checked.
#[cold]
#[inline(never)]
pub(super) fn give_back_slow(mut cell: Pooled<Cell>) {
    let used = cell.used_now();
    if cell.class.is_bounded() && !panicking() {
        cell.class.relieve_if_due();
    }
    if cell.is_unchanged_slow() {
        drop(cell);
    } else if cell.regain() {
        finish(cell, used);
    } else if !panicking() {
        cell.wait(used);
        lend(cell);
    }
}

/// Returns an unchanged buffer that the hot path could not take.
#[cold]
#[inline(never)]
pub(super) fn give_back_unchanged(cell: Pooled<Cell>) {
    drop(cell);
}

/// Returns a lent buffer without views for a visitor: to the depot, where every thread can get it.
pub(super) fn return_lent_to_depot(cell: Pooled<Cell>) {
    if cell.is_unchanged_after_views() {
        Pooled::give_to_all(cell);
    } else {
        return_lent_slow(cell);
    }
}

/// Returns a lent buffer that has no views left or has waited long enough.
pub(super) fn return_lent(cell: Pooled<Cell>) {
    if cell.is_unchanged_after_views() {
        drop(cell);
    } else {
        return_lent_slow(cell);
    }
}

/// Like [`return_lent`], for a buffer that has to be checked.
#[cold]
#[inline(never)]
pub(super) fn return_lent_slow(mut cell: Pooled<Cell>) {
    let (enough, used) = (cell.has_waited_enough(), cell.used_before());
    cell.has_waited();
    if !enough && cell.regain() {
        finish(cell, used);
    } else {
        // The last part frees the memory.
        drop(Cell::into_bytes(cell));
    }
}

/// Returns a buffer that has its whole allocation to its class, or frees it.
fn finish(mut cell: Pooled<Cell>, used: usize) {
    cell.wipe();
    if panicking() {
        return; // dropped: the pool does not keep what was in use during a panic
    }
    if cell.full() > cell.class.most {
        return Pooled::discard_for(cell, Reason::Oversize);
    }
    if cell.full() == 0 && cell.class.index != UNSIZED {
        // The user has taken the memory.
        return drop(Cell::into_bytes(cell));
    }
    cell.note_use(used);
    let kept = match cell.judge(used) {
        Verdict::Keep => true,
        Verdict::Cut => cell.cut(),
        Verdict::TooSmall => false,
    };
    if kept {
        drop(cell);
    } else {
        Pooled::discard_for(cell, Reason::Reset);
    }
}

/// Hands out the content as `Bytes` and keeps a handle to the memory.
#[inline]
pub(super) fn freeze(mut cell: Pooled<Cell>) -> Bytes {
    if cell.is_little_used() || !cell.freezes_fast() || panicking() {
        return freeze_slow(cell);
    }
    let view = cell.bytes.split().freeze();
    lend(cell);
    view
}

/// Like [`freeze`], for a buffer that has to be checked or is empty, or while the thread panics.
#[cold]
#[inline(never)]
fn freeze_slow(mut cell: Pooled<Cell>) -> Bytes {
    if cell.bytes.is_empty() || panicking() {
        return freeze_at_once(cell);
    }
    if let Some((view, reason)) = prepare(&mut cell) {
        // Its memory is gone, so the cell must not be kept, even if the pool has been switched on
        // meanwhile.
        Pooled::discard_for(cell, reason);
        return view;
    }
    let view = cell.bytes.split().freeze();
    lend(cell);
    view
}

/// Prepares a buffer to wait for its views and to be checked afterwards. If nothing will wait for
/// it but its memory has to be overwritten, returns all of it as a view that wipes itself.
fn prepare(cell: &mut Pooled<Cell>) -> Option<(Bytes, Reason)> {
    if let Some(reason) = cell.class.keeps_nothing().filter(|_| cell.class.wipes) {
        return Some((wipe::freeze_wiped(mem::take(&mut cell.bytes)), reason));
    }
    cell.prepare_to_wait();
    if cell.class.is_bounded() {
        cell.class.relieve_if_due();
    }
    None
}

/// Freezes an empty buffer, or any buffer while the thread panics.
fn freeze_at_once(mut cell: Pooled<Cell>) -> Bytes {
    let view = if cell.bytes.is_empty() {
        Bytes::new()
    } else {
        // The last view frees the memory.
        let bytes = mem::take(&mut cell.bytes);
        match cell.class.wipes {
            true => wipe::freeze_wiped(bytes),
            false => bytes.freeze(),
        }
    };
    give_back_slow(cell);
    view
}

/// Puts a handle into a ring, where it waits until it is the only one.
#[inline(always)]
fn lend(cell: Pooled<Cell>) {
    if let Err(cell) = Lent::push(cell) {
        Lent::push_slow(cell);
    }
}
