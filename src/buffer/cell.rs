//! [`Cell`]: a buffer and what the pool knows of it; how one comes back.
//!
//! The user may do to a `BytesMut` what `bytes` allows: grow it, advance it, split it, put another
//! one in its place. So nothing is believed of one that comes back except what it says itself. One
//! whose capacity is what it went out with is as it was. Any other is asked for the whole of its
//! allocation ([`whole`]), which it gets back unless somebody else still has a part; then it waits
//! with the lent ones.

use super::class;
use super::inner::Class;
use super::lent::Lent;
use crate::guard::Pooled;
use crate::recycle::Recycle;
use crate::stats::Reason;
use crate::sync::rare::Arc;
use bytes::{Bytes, BytesMut};
use std::mem;

/// Up to this capacity a buffer may be as empty as it likes.
const FLOOR: usize = 4 << 10;
/// How many passes a buffer that was split, grown or exchanged waits for its parts. Not for ever, as
/// others do that are frozen: its user may have put a part of one buffer into another, and then
/// each would wait for the other.
const PATIENCE: u8 = 3;
const FOR_EVER: u8 = u8::MAX;
/// The strike that drops the buffer.
const OUT: u8 = 5;

#[derive(Debug)]
pub(crate) struct Cell {
    pub(super) bytes: BytesMut,
    /// The capacity of the whole allocation, as far as we know.
    pub(super) full: usize,
    /// Where it starts. With the capacity, this tells a buffer that is as it was from one that has
    /// been grown, split or exchanged, and happens to have the same capacity.
    start: usize,
    /// What its user filled of it, while it is lent.
    used: usize,
    /// Returns in a row that used little.
    strikes: u8,
    /// How many more passes it waits, while it is lent.
    patience: u8,
    /// The class that was asked for.
    pub(super) asked: u8,
    /// The class whose pool the cell belongs to.
    pub(super) class: Arc<Class>,
}

impl Recycle for Cell {
    #[inline(always)]
    fn recycle(&mut self) {
        self.bytes.clear();
    }

    #[inline(always)]
    fn retained_bytes(&self) -> usize {
        self.full
    }
}

impl Cell {
    pub(super) fn empty(class: &Arc<Class>) -> Self {
        Self::filed(BytesMut::new(), class, 0)
    }

    /// A buffer that covers all of its allocation.
    pub(super) fn filed(bytes: BytesMut, class: &Arc<Class>, strikes: u8) -> Self {
        Self {
            full: bytes.capacity(),
            start: bytes.as_ptr().addr(),
            bytes,
            used: 0,
            strikes,
            patience: 0,
            asked: class.index as u8,
            class: Arc::clone(class),
        }
    }

    /// Gives a cell without memory its memory.
    pub(super) fn fill(&mut self, bytes: BytesMut) {
        self.full = bytes.capacity();
        self.start = bytes.as_ptr().addr();
        self.bytes = bytes;
    }

    /// Whether the handle covers what it went out with.
    #[inline(always)]
    fn is_whole(&self) -> bool {
        self.bytes.capacity() == self.full && self.bytes.as_ptr().addr() == self.start
    }

    /// Whether the buffer goes back as it came, well used. It does not when the long way round
    /// ([`give_back_slow`]) has to look at it.
    #[inline(always)]
    pub(super) fn is_as_it_was(&mut self) -> bool {
        self.is_fine(self.bytes.len())
    }

    /// The same, of one that was lent and is back.
    #[inline(always)]
    pub(super) fn is_as_it_was_lent(&mut self) -> bool {
        debug_assert!(self.bytes.is_empty());
        self.is_fine(self.used)
    }

    /// The same, of one that had `used` bytes in it.
    #[inline(always)]
    fn is_fine(&mut self, used: usize) -> bool {
        let full = self.full;
        if !self.is_whole() || (full > FLOOR && used < full.div_ceil(4)) || WIPES {
            return false;
        }
        self.strikes = 0;
        true
    }

    /// What its user filled: also what was consumed or split off.
    fn used_now(&self) -> usize {
        self.full.saturating_sub(self.bytes.capacity()) + self.bytes.len()
    }

    /// Whether nobody looks at a lent buffer any more; it then has its memory again.
    pub(super) fn is_back(&mut self) -> bool {
        // Not even one byte more is to be had unless the handle is the only one.
        let more = self.bytes.capacity() + 1;
        self.bytes.try_reclaim(more)
    }

    /// A pass has found it lent; `false` if that is enough.
    pub(super) fn goes_on_waiting(&mut self) -> bool {
        if self.patience != FOR_EVER {
            self.patience = self.patience.saturating_sub(1);
        }
        self.patience != 0
    }

    /// Takes the whole allocation back; `false` while somebody else has a part of it.
    fn regain(&mut self) -> bool {
        self.bytes.clear();
        // Consumed, or split and the other part is gone: one cheap call.
        let full = self.full;
        if self.is_whole()
            || (self.bytes.capacity() < full && self.bytes.try_reclaim(full) && self.is_whole())
        {
            return true;
        }
        match whole(mem::take(&mut self.bytes)) {
            Ok(bytes) => {
                self.fill(bytes);
                true
            }
            Err(bytes) => {
                self.bytes = bytes;
                false
            }
        }
    }

    /// Overwrites everything, where that is wanted.
    fn wipe(&mut self) {
        #[cfg(feature = "zeroize")]
        if self.class.wipes {
            wipe(&mut self.bytes);
        }
    }
}

/// Overwrites the whole capacity.
#[cfg(feature = "zeroize")]
pub(super) fn wipe(bytes: &mut BytesMut) {
    use zeroize::Zeroize;
    bytes.resize(bytes.capacity(), 0);
    // Volatile: also when the memory is freed next.
    bytes.as_mut().zeroize();
    bytes.clear();
}

/// Whether every return has to take the long way round.
const WIPES: bool = cfg!(feature = "zeroize");

/// An empty buffer with the whole of its allocation; `Err` while somebody else has a part of it,
/// with a handle that can be asked again ([`Cell::is_back`]).
pub(super) fn whole(mut bytes: BytesMut) -> Result<BytesMut, BytesMut> {
    // Where an empty vector points, and no allocation ends.
    if bytes.capacity() == 0 && bytes.as_ptr().addr() == 1 {
        return Ok(bytes);
    }
    // A handle at the end of our part. Splitting it off makes the memory a counted one, if it was
    // not, so that a single handle can tell that it is the only one.
    let mut end = bytes.split_off(bytes.capacity());
    drop(bytes);
    if !end.try_reclaim(1) {
        return Err(end);
    }
    // Ours alone: up to the end of the allocation, and then from its start.
    let mut bytes = end
        .freeze()
        .try_into_mut()
        .unwrap_or_else(|_| BytesMut::new());
    let more = bytes.capacity() + 1;
    let _ = bytes.try_reclaim(more);
    Ok(bytes)
}

/// A buffer comes back.
#[inline]
pub(super) fn give_back(mut cell: Pooled<Cell>) {
    if cell.is_as_it_was() {
        drop(cell);
    } else {
        give_back_slow(cell);
    }
}

/// A buffer comes back that is not as it was, or was not well used.
#[cold]
#[inline(never)]
pub(super) fn give_back_slow(mut cell: Pooled<Cell>) {
    let used = cell.used_now();
    if cell.regain() {
        finish(cell, used);
    } else if !std::thread::panicking() {
        cell.used = used;
        lend(cell, PATIENCE);
    }
}

/// The same, for a visitor: to where every thread finds it.
pub(super) fn came_back_for_all(mut cell: Pooled<Cell>) {
    if cell.is_as_it_was_lent() {
        Pooled::give_to_all(cell);
    } else {
        came_back(cell);
    }
}

/// A lent buffer is back, or has waited long enough.
pub(super) fn came_back(mut cell: Pooled<Cell>) {
    let used = cell.used;
    if cell.is_as_it_was_lent() {
        drop(cell);
    } else if cell.patience != 0 && cell.regain() {
        finish(cell, used);
    } else {
        // The memory goes with the last part.
        drop(Pooled::into_inner(cell));
    }
}

/// A buffer that has the whole of its allocation goes where it belongs.
fn finish(mut cell: Pooled<Cell>, used: usize) {
    cell.wipe();
    if std::thread::panicking() {
        return; // dropped: the pool does not keep what was in use during a panic
    }
    let full = cell.full;
    if full > cell.class.top {
        return Pooled::discard(cell, Reason::Oversize);
    }
    let Some(home) = class::filing(full) else {
        // Its user has taken the memory.
        return drop(Pooled::into_inner(cell));
    };
    if full > FLOOR && used != 0 && used < full.div_ceil(4) {
        cell.strikes += 1;
        if cell.strikes >= OUT {
            if let Some(inner) = cell.class.inner() {
                inner.learn_shrunk(cell.asked, used);
            }
            return Pooled::discard(cell, Reason::Reset);
        }
    } else if used != 0 {
        cell.strikes = 0;
    }
    if home == cell.class.index {
        drop(cell);
    } else {
        refile(cell, home, used);
    }
}

/// A grown buffer serves its new class.
#[cold]
fn refile(cell: Pooled<Cell>, home: usize, used: usize) {
    let Some(inner) = cell.class.inner() else {
        return; // the pool is gone, and drops it
    };
    if let Some(reason) = cell.class.barred() {
        return Pooled::discard(cell, reason);
    }
    inner.learn_grown(cell.asked, used);
    cell.class.counts.left();
    let Cell { bytes, strikes, .. } = Pooled::into_inner(cell);
    inner.adopt(home, bytes, strikes).counts.arrived();
}

/// Gives the bytes away, and keeps a handle to the memory.
#[inline]
pub(super) fn freeze(mut cell: Pooled<Cell>) -> Bytes {
    if cell.bytes.is_empty() || !cell.class.keeps() || std::thread::panicking() {
        return freeze_slow(cell);
    }
    let (used, patience) = if cell.is_whole() {
        (cell.bytes.len(), FOR_EVER)
    } else {
        (cell.used_now(), PATIENCE)
    };
    cell.used = used;
    let view = cell.bytes.split().freeze();
    lend(cell, patience);
    view
}

/// The same, of one that is empty, or that the pool does not keep.
#[cold]
#[inline(never)]
fn freeze_slow(mut cell: Pooled<Cell>) -> Bytes {
    if cell.bytes.is_empty() {
        give_back(cell);
        return Bytes::new();
    }
    let reason = match cell.class.barred() {
        Some(reason) => reason,
        None if std::thread::panicking() => Reason::Panic,
        None if cell.class.index == class::OUTSIDE => Reason::Oversize,
        // Not any more: it was, and there is but one way to be so and come back.
        None => Reason::SwitchedOff,
    };
    // The memory goes with the last view.
    let bytes = mem::take(&mut cell.bytes);
    Pooled::discard(cell, reason);
    bytes.freeze()
}

/// Lets a handle wait until it is the only one.
#[inline(always)]
fn lend(mut cell: Pooled<Cell>, patience: u8) {
    cell.patience = patience;
    if let Err(cell) = Lent::push(cell) {
        lend_slow(cell);
    }
}

/// The same, of a thread without a ring.
#[cold]
#[inline(never)]
fn lend_slow(cell: Pooled<Cell>) {
    let class = Arc::clone(&cell.class);
    Lent::push_slow(cell);
    // With the ring in its place: a pass that has not seen it there is over with its look, and has
    // said so before.
    class.tell_janitor();
}
