//! [`Cell`]: a buffer and what the pool knows of it; how one comes back.
//!
//! The user may do to a `BytesMut` what `bytes` allows: grow it, advance it, split it, put another
//! one in its place. So nothing is believed of one that comes back except what it says itself. One
//! whose start and capacity are what it went out with is as it was. Any other is asked for the whole of its
//! allocation ([`whole`]), which it gets back unless somebody else still has a part; then it waits
//! with the lent ones.

use super::class;
use super::inner::Class;
use super::lent::Lent;
use crate::object::guard::Pooled;
use crate::object::recycle::Recycle;
use crate::raw::stats::Reason;
use crate::sync::rare::Arc;
use bytes::{Bytes, BytesMut};
use std::mem;

/// Up to this capacity a buffer may be as empty as it likes.
const FLOOR: usize = 4 << 10;
/// The strike that drops the buffer.
const OUT: u8 = 5;

/// How long a buffer waits for its parts, in [`Marks::patience`]. One that was split, grown or
/// exchanged waits for three passes, and not for ever as others do that are frozen: its user may have
/// put a part of one buffer into another, and then each would wait for the other.
const NO_LONGER: u8 = 1;
const THREE_PASSES: u8 = NO_LONGER + 3;
const FOR_EVER: u8 = u8::MAX;

/// More than can be used: each return has a look at the buffer.
const LOOK: usize = usize::MAX;

/// What makes a return look at a buffer. None, as a rule: then it goes back by the hit path, or waits
/// for its views for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    /// Returns in a row that used little.
    strikes: u8,
    /// How long it waits for its views, if not in the ordinary way.
    patience: u8,
    /// One more than the class that was asked for, if that is not its own.
    asked: u8,
}

/// In this order: what each return looks at comes first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Cell {
    pub(super) bytes: BytesMut,
    /// The capacity of the whole allocation, as far as we know.
    pub(super) full: usize,
    /// Where it starts. With the capacity, this tells a buffer that is as it was from one that has
    /// been grown, split or exchanged, and happens to have the same capacity.
    start: usize,
    /// If less than this was used, its return has a look at it: a quarter, above 4 KiB; [`LOOK`]
    /// while it has marks.
    least: usize,
    marks: Marks,
    /// The class whose pool the cell belongs to.
    pub(super) class: Arc<Class>,
    /// What its user filled of it, while it is lent with a mark of patience.
    used: usize,
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
        let marks = Marks {
            strikes,
            ..Marks::default()
        };
        let mut cell = Self {
            bytes: BytesMut::new(),
            full: 0,
            start: 0,
            least: 0,
            used: 0,
            marks,
            class: Arc::clone(class),
        };
        cell.fill(bytes);
        cell
    }

    /// Gives the cell its memory: a buffer that covers all of its allocation.
    pub(super) fn fill(&mut self, bytes: BytesMut) {
        let full = bytes.capacity();
        self.full = full;
        self.start = bytes.as_ptr().addr();
        self.bytes = bytes;
        self.mark(|_| {});
    }

    /// Changes the marks.
    fn mark(&mut self, change: impl FnOnce(&mut Marks)) {
        change(&mut self.marks);
        self.least = if self.marks == Marks::default() {
            self.enough()
        } else {
            LOOK
        };
    }

    /// Less than this is little use of so large a buffer.
    fn enough(&self) -> usize {
        if self.full > FLOOR {
            self.full.div_ceil(4)
        } else {
            0
        }
    }

    /// Takes note of the class that was asked for.
    pub(super) fn set_asked(&mut self, class: usize) {
        let asked = if class == self.class.index {
            0
        } else {
            class as u8 + 1
        };
        self.mark(|marks| marks.asked = asked);
    }

    /// The class that was asked for.
    fn asked(&self) -> usize {
        match self.marks.asked {
            0 => self.class.index,
            more => more as usize - 1,
        }
    }

    /// Whether the handle covers what it went out with. (There may be more behind it, which a user
    /// has made grow there and then split off: nothing but a freeze will find that.)
    #[inline(always)]
    fn is_whole(&self) -> bool {
        self.bytes.capacity() == self.full && self.bytes.as_ptr().addr() == self.start
    }

    /// Whether the buffer goes back as it came, well used. If not, the long way round
    /// ([`give_back_slow`]) has to look at it.
    #[inline(always)]
    pub(super) fn is_as_it_was(&self) -> bool {
        !WIPES && self.is_whole() && self.bytes.len() >= self.least
    }

    /// The same, of one that was lent and is back.
    #[inline(always)]
    pub(super) fn is_as_it_was_lent(&self) -> bool {
        debug_assert!(self.bytes.is_empty());
        // What went out whole may come back as less: its user has made it grow where it was, and split
        // off just what was new. Then `bytes` has more to give back than one byte more.
        !WIPES && self.least != LOOK && self.is_whole()
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
        // As many marks as before: `least` is right.
        let patience = &mut self.marks.patience;
        if *patience != 0 && *patience != FOR_EVER {
            *patience = (*patience - 1).max(NO_LONGER);
        }
        *patience != NO_LONGER
    }

    /// It is to wait for its views, and then to be looked at.
    #[cold]
    #[inline(never)]
    fn wait_slow(&mut self) {
        self.used = self.used_now();
        let patience = if self.is_whole() {
            FOR_EVER
        } else {
            THREE_PASSES
        };
        self.mark(|marks| marks.patience = patience);
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

/// A buffer that is as it was goes back by the hit path, or nothing is done.
#[inline(always)]
pub(super) fn give_back_fast(cell: Pooled<Cell>) -> Result<(), Pooled<Cell>> {
    let weight = cell.full;
    Pooled::give_back_fast(cell, weight, |cell| cell.bytes.clear())
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
        cell.mark(|marks| marks.patience = THREE_PASSES);
        lend(cell);
    }
}

/// A lent buffer is back, for a visitor: to where every thread finds it.
pub(super) fn came_back_for_all(cell: Pooled<Cell>) {
    if cell.is_as_it_was_lent() {
        Pooled::give_to_all(cell);
    } else {
        came_back_slow(cell);
    }
}

/// A lent buffer is back, or has waited long enough.
pub(super) fn came_back(cell: Pooled<Cell>) {
    if cell.is_as_it_was_lent() {
        drop(cell);
    } else {
        came_back_slow(cell);
    }
}

/// The same, of one that has to be looked at.
#[cold]
#[inline(never)]
pub(super) fn came_back_slow(mut cell: Pooled<Cell>) {
    if cell.marks.patience != NO_LONGER && cell.regain() {
        // Without a mark of patience it was whole, and well used.
        let used = match cell.marks.patience {
            0 => cell.full,
            _ => cell.used,
        };
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
    let (full, asked) = (cell.full, cell.asked());
    if full > cell.class.top {
        return Pooled::discard_for(cell, Reason::Oversize);
    }
    let Some(home) = class::filing(full) else {
        // Its user has taken the memory.
        return drop(Pooled::into_inner(cell));
    };
    let strikes = cell.marks.strikes;
    let strikes = match used {
        0 => strikes,
        little if little < cell.enough() => strikes + 1,
        _ => 0,
    };
    if strikes == OUT {
        if let Some(inner) = cell.class.inner() {
            inner.learn_shrunk(asked, used);
        }
        return Pooled::discard_for(cell, Reason::Reset);
    }
    cell.mark(|marks| {
        *marks = Marks {
            strikes,
            ..Marks::default()
        };
    });
    if home == cell.class.index {
        drop(cell);
    } else {
        refile(cell, home, asked, used);
    }
}

/// A grown buffer serves its new class.
#[cold]
fn refile(cell: Pooled<Cell>, home: usize, asked: usize, used: usize) {
    let Some(inner) = cell.class.inner() else {
        return; // the pool is gone, and drops it
    };
    if let Some(reason) = cell.class.barred() {
        return Pooled::discard_for(cell, reason);
    }
    inner.learn_grown(asked, used);
    cell.class.counts.left();
    let Cell { bytes, marks, .. } = Pooled::into_inner(cell);
    inner.adopt(home, bytes, marks.strikes).counts.arrived();
}

/// Gives the bytes away, and keeps a handle to the memory.
#[inline]
pub(super) fn freeze(mut cell: Pooled<Cell>) -> Bytes {
    if cell.bytes.is_empty() || std::thread::panicking() {
        return freeze_slow(cell);
    }
    if !cell.is_as_it_was() {
        cell.wait_slow();
    }
    let view = cell.bytes.split().freeze();
    lend(cell);
    view
}

/// The same, of one that is empty, or while the thread panics.
#[cold]
#[inline(never)]
fn freeze_slow(mut cell: Pooled<Cell>) -> Bytes {
    let bytes = if cell.bytes.is_empty() {
        BytesMut::new()
    } else {
        // The memory goes with the last view.
        mem::take(&mut cell.bytes)
    };
    drop(super::Buffer::of(cell));
    bytes.freeze()
}

/// Lets a handle wait until it is the only one.
#[inline(always)]
fn lend(cell: Pooled<Cell>) {
    if let Err(cell) = Lent::push(cell) {
        Lent::push_slow(cell);
    }
}
