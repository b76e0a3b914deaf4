//! How a buffer comes back: dropped or frozen by its user, or found in a ring when its views are gone.
//!
//! ```text
//! dropped, plain ---------------------------------------------------------> the class's pool
//! dropped, not plain -> regain the allocation -> finish: wipe, judge ------> the same, or freed
//!                                | parts are around
//! frozen ------------------------+--> a ring --> back, plain --> handed out from there
//!                                                back, not plain --> regain, finish
//!                                                waited long enough --> left to its last part
//! ```
//!
//! Nothing here runs inside a critical section. See `cell.rs` for the three files that import each other.

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

/// A buffer comes back that is not as it was, or has to be looked at.
#[cold]
#[inline(never)]
pub(super) fn give_back_slow(mut cell: Pooled<Cell>) {
    let used = cell.used_now();
    if cell.class.is_bounded() && !panicking() {
        cell.class.relieve_if_due();
    }
    if cell.is_plain_after_all() {
        drop(cell);
    } else if cell.regain() {
        finish(cell, used);
    } else if !panicking() {
        cell.wait(used);
        lend(cell);
    }
}

/// A buffer comes back that is as it was, and not by the hit path.
#[cold]
#[inline(never)]
pub(super) fn give_back_plain(cell: Pooled<Cell>) {
    drop(cell);
}

/// A lent buffer is back, for a visitor: it goes where every thread finds it.
pub(super) fn came_back_for_all(cell: Pooled<Cell>) {
    if cell.is_plain_again() {
        Pooled::give_to_all(cell);
    } else {
        came_back_slow(cell);
    }
}

/// A lent buffer is back, or has waited long enough.
pub(super) fn came_back(cell: Pooled<Cell>) {
    if cell.is_plain_again() {
        drop(cell);
    } else {
        came_back_slow(cell);
    }
}

/// The same, of one that has to be looked at.
#[cold]
#[inline(never)]
pub(super) fn came_back_slow(mut cell: Pooled<Cell>) {
    let (enough, used) = (cell.has_waited_enough(), cell.used_before());
    cell.has_waited();
    if !enough && cell.regain() {
        finish(cell, used);
    } else {
        // The memory goes with the last part.
        drop(Cell::into_bytes(cell));
    }
}

/// A buffer that has the whole of its allocation goes back to its class, or is freed.
fn finish(mut cell: Pooled<Cell>, used: usize) {
    cell.wipe();
    if panicking() {
        return; // dropped: the pool does not keep what was in use during a panic
    }
    if cell.full() > cell.class.most {
        return Pooled::discard_for(cell, Reason::Oversize);
    }
    if cell.full() == 0 && cell.class.index != UNSIZED {
        // Its user has taken the memory.
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

/// Gives the bytes away, and keeps a handle to the memory.
#[inline]
pub(super) fn freeze(mut cell: Pooled<Cell>) -> Bytes {
    if cell.is_little_used() || !cell.freezes_plainly() || panicking() {
        return freeze_slow(cell);
    }
    let view = cell.bytes.split().freeze();
    lend(cell);
    view
}

/// The same, of a buffer that has to be looked at, or is empty, or while the thread panics.
#[cold]
#[inline(never)]
fn freeze_slow(mut cell: Pooled<Cell>) -> Bytes {
    if cell.bytes.is_empty() || panicking() {
        return freeze_at_once(cell);
    }
    if let Some((view, reason)) = prepare(&mut cell) {
        // Its memory is gone: it must not be kept, also if the pool was switched on meanwhile.
        Pooled::discard_for(cell, reason);
        return view;
    }
    let view = cell.bytes.split().freeze();
    lend(cell);
    view
}

/// Makes a buffer ready to wait and to be looked at when it is back; the whole of it, if nothing will wait
/// for it and the memory has to be overwritten all the same.
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

/// A freeze of one that is empty, or while the thread panics.
fn freeze_at_once(mut cell: Pooled<Cell>) -> Bytes {
    let view = if cell.bytes.is_empty() {
        Bytes::new()
    } else {
        // The memory goes with the last view.
        let bytes = mem::take(&mut cell.bytes);
        match cell.class.wipes {
            true => wipe::freeze_wiped(bytes),
            false => bytes.freeze(),
        }
    };
    give_back_slow(cell);
    view
}

/// Lets a handle wait until it is the only one.
#[inline(always)]
fn lend(cell: Pooled<Cell>) {
    if let Err(cell) = Lent::push(cell) {
        Lent::push_slow(cell);
    }
}
