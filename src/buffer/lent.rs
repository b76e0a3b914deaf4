//! Lent-out buffers: those whose bytes somebody still looks at.
//!
//! `bytes` tells nobody when the last view of a buffer goes, so the pool keeps a handle to each and
//! asks. Handles wait in [`Ring`]s, in the order in which they were lent: a `get` that finds nothing
//! idle in its thread's cache looks at the oldest of its thread's ring, and then at some [`LOOKS`]
//! more, of rings that nobody has as well; a freeze that finds many in it looks at two, a pass at all.
//! What has been looked at in vain goes to the end, so that a view that somebody keeps for ever does
//! not hide the others.
//!
//! A ring is a pooled object of its own: each class has a private pool of them. A thread's ring is
//! the idle object on top of its cache there, and there it stays: a handle is put in and taken out
//! where it is, inside the owner's critical section ([`Top::with`]), in which pointers are moved and
//! nothing else. Whether a handle is back is found out outside. All that is rare takes the ring out as
//! one takes a buffer, and while it has the ring nobody else does. The ring of a thread that has ended
//! is in that pool's depot, where others find it. A pass and `clear` take all rings out of all caches,
//! as a visitor takes idle objects, and `clear` looks again if somebody had one in hand (still, one may
//! be missed then). The figures look at them where they are.
//!
//! # Who keeps whom, and who looks
//! A ring keeps the cells in it, and through them their class and its pool of rings: [`Lent::close`]
//! breaks that circle, for good. As long as there is a ring the janitor watches its class: whoever
//! makes one tells it to, and a pass that has kept or missed one wants to see the next. So there is
//! nothing to tell when a ring is used.

use super::cell::{self, Cell};
use super::queue::{FEW, Queue};
use crate::budget::Budget;
use crate::object::entry::{Entry, Top};
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::object::recycle::Recycle;
use crate::raw::node::LIST_BYTES;
use crate::sync::rare::Arc;
use crate::sync::{AtomicBool, Figure, Ordering, Patience};

/// What a get looks at.
const LOOKS: usize = 8;
/// How many rings without an owner a get looks into.
const MERGED: usize = 4;

/// Some lent-out buffers, the oldest first: those of one thread, as a rule.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    cells: Queue<Pooled<Cell>>,
    /// The capacity behind them.
    bytes: usize,
    /// Buffers handed out again from here, since a pass took note.
    again: usize,
    /// Whether something was lent since the last pass.
    used: bool,
}

impl Recycle for Ring {
    #[inline(always)]
    fn recycle(&mut self) {}

    /// Not what it holds, but what makes a full list of one: rings do not travel in batches, or one
    /// thread would find those of all.
    #[inline(always)]
    fn retained_bytes(&self) -> usize {
        LIST_BYTES
    }
}

impl Drop for Ring {
    /// Lets go of the handles: the memory goes with the last view. (A cell that is merely dropped
    /// goes back to its pool.)
    fn drop(&mut self) {
        while let Some(cell) = self.cells.pop() {
            // Relaxed: a figure. (What an empty one has counted is lost; passes take note before.)
            let again = std::mem::take(&mut self.again);
            cell.class.lent.again.fetch_add(again, Ordering::Relaxed);
            drop(Pooled::into_inner(cell));
        }
    }
}

impl Ring {
    /// Takes the oldest out, to be handed out again if it is back.
    #[inline(always)]
    fn take(&mut self) -> Option<Pooled<Cell>> {
        let cell = self.cells.pop()?;
        self.bytes = self.bytes.wrapping_sub(cell.full);
        self.again = self.again.wrapping_add(1);
        Some(cell)
    }

    /// Takes back the last [`take`](Ring::take), of one that is not back: it goes to the end.
    fn untake(&mut self, cell: Pooled<Cell>) {
        self.again = self.again.wrapping_sub(1);
        self.push(cell);
    }

    /// Looks at so many, the oldest first, for one to be handed out. What is still lent goes to the end.
    fn look(&mut self, looks: usize) -> Option<Pooled<Cell>> {
        for _ in 0..looks.min(self.cells.len()) {
            let mut cell = self.take()?;
            if !cell.is_back() {
                self.untake(cell);
            } else if cell.is_as_it_was_lent() {
                return Some(cell);
            } else {
                self.again = self.again.wrapping_sub(1);
                cell::came_back_slow(cell);
                return None;
            }
        }
        None
    }

    /// Takes over what is in another one.
    fn merge(&mut self, other: &mut Self) {
        while let Some(cell) = other.cells.pop() {
            self.cells.push(cell);
        }
        self.bytes = self.bytes.wrapping_add(std::mem::take(&mut other.bytes));
        self.again = self.again.wrapping_add(std::mem::take(&mut other.again));
        self.used |= other.used;
    }

    /// Whether one more makes neither work nor a call to the allocator.
    #[inline(always)]
    fn has_room(&self) -> bool {
        self.cells.has_room()
    }

    #[inline(always)]
    fn push(&mut self, cell: Pooled<Cell>) {
        self.used = true;
        self.bytes = self.bytes.wrapping_add(cell.full);
        self.cells.push(cell);
    }

    /// Looks at two where many wait: gets do not keep up then, or are somebody else's.
    fn relieve(&mut self) {
        if self.cells.len() <= FEW {
            return;
        }
        for _ in 0..2 {
            if let Some(cell) = self.look(1) {
                self.again = self.again.wrapping_sub(1);
                cell::came_back(cell);
            }
        }
    }

    /// Takes out, for a pass, what is back or has waited long enough.
    fn sift(&mut self, found: &mut impl FnMut(Pooled<Cell>)) {
        for _ in 0..self.cells.len() {
            let Some(mut cell) = self.cells.pop() else {
                break;
            };
            if cell.is_back() || !cell.goes_on_waiting() {
                self.bytes = self.bytes.wrapping_sub(cell.full);
                found(cell);
            } else {
                self.cells.push(cell);
            }
        }
        self.cells.shrink();
    }
}

/// One that is back and as it was, of the oldest few in this thread's ring. One that is back and is
/// not goes where it belongs.
#[inline(always)]
pub(super) fn pop(top: Top<Ring>) -> Option<Pooled<Cell>> {
    // SAFETY: moves a pointer or two: one moves up from the rest only to where there is room.
    let mut cell = unsafe { top.with(Ring::take) }??;
    // The oldest is, as a rule.
    if !cell.is_back() {
        return look_on_slow(cell);
    }
    if !cell.is_as_it_was_lent() {
        return not_as_it_was_slow(cell);
    }
    Some(cell)
}

/// The same, with an oldest one that is back and has to be looked at. None to be handed out.
#[cold]
#[inline(never)]
fn not_as_it_was_slow(cell: Pooled<Cell>) -> Option<Pooled<Cell>> {
    cell.class.lent.again.fetch_sub(1, Ordering::Relaxed);
    cell::came_back_slow(cell);
    None
}

/// The same, with an oldest one that is still lent.
#[cold]
#[inline(never)]
fn look_on_slow(cell: Pooled<Cell>) -> Option<Pooled<Cell>> {
    if std::thread::panicking() {
        // A ring would not go back, but be dropped.
        cell.class.lent.again.fetch_sub(1, Ordering::Relaxed);
        if let Err(cell) = Lent::push(cell) {
            // The memory goes with the last view.
            drop(Pooled::into_inner(cell));
        }
        return None;
    }
    if let Some(mut ring) = cell.class.lent.rings.try_get_fast() {
        ring.untake(cell);
        return ring.look(LOOKS - 1);
    }
    // A visitor has come in between.
    cell.class.lent.again.fetch_sub(1, Ordering::Relaxed);
    Lent::push_slow(cell);
    None
}

/// The rings of one class.
#[derive(Debug)]
pub(super) struct Lent {
    rings: Pool<Ring>,
    /// What rings have counted in theirs; wrapping, as theirs: together they are right.
    again: Figure,
    /// Whether there is a way to the rings yet, past this ([`Inner::has_lent`]).
    ///
    /// [`Inner::has_lent`]: super::inner::Inner::has_lent
    entered: AtomicBool,
}

pub(super) struct Figures {
    /// Handles in the rings, and the capacity behind them.
    pub(super) handles: u64,
    pub(super) bytes: u64,
    /// Buffers handed out again straight from a ring, which the class's pool has not seen.
    pub(super) again: u64,
}

impl Lent {
    pub(super) fn new() -> Self {
        Self {
            rings: Pool::builder(Ring::default)
                // Passes are the class's.
                .trim_manually()
                // Of its own, and without end: rings are not idle memory.
                .budget(Budget::new(usize::MAX))
                .build(),
            again: Figure::new(0),
            entered: AtomicBool::new(false),
        }
    }

    /// Puts a cell at the end of this thread's ring. `Err`: the thread has none at hand, or none with
    /// room.
    ///
    /// What is borrowed here may be gone when this returns: once the cell is in the ring, the pool
    /// may be dropped, and the ring with all that is in it.
    #[inline(always)]
    pub(super) fn push(cell: Pooled<Cell>) -> Result<(), Pooled<Cell>> {
        let Some(top) = cell.class.lent.rings.top() else {
            return Err(cell);
        };
        let mut cell = Some(cell);
        let push = |ring: &mut Ring| {
            if ring.has_room() {
                cell.take().into_iter().for_each(|cell| ring.push(cell));
            }
        };
        // SAFETY: moves a pointer to where there is room for it.
        unsafe { top.with(push) };
        cell.map_or(Ok(()), Err)
    }

    /// The same, with the ring in hand: it may need more room, some that are back leave it where many
    /// wait, and if there is none it is made. Not while the thread panics: the ring would be dropped.
    #[cold]
    #[inline(never)]
    pub(super) fn push_slow(cell: Pooled<Cell>) {
        if let Some(mut ring) = cell.class.lent.rings.try_get_fast() {
            ring.push(cell);
            return ring.relieve();
        }
        if let Some(reason) = cell.class.refuses() {
            // The memory goes with the last view.
            return Pooled::discard_for(cell, reason);
        }
        let class = Arc::clone(&cell.class);
        let mut ring = class.lent.rings.get();
        ring.push(cell);
        ring.relieve();
        drop(ring);
        // Relaxed: whoever does not see it does it again.
        if !class.lent.entered.load(Ordering::Relaxed) {
            if let Some(inner) = class.inner() {
                inner.has_lent(class.index);
                class.lent.entered.store(true, Ordering::Relaxed);
            }
        }
        // With the ring in its place: a pass that has not seen it there is over with its look, and
        // has said so before.
        class.tell_janitor();
    }

    /// The way to a thread's ring.
    ///
    /// # Safety
    /// This has to outlive all use of it.
    pub(super) unsafe fn enter_by(&self, entry: &Entry<Ring>) {
        // SAFETY: the caller's.
        unsafe { self.rings.enter_by(entry) };
    }

    /// As [`pop`], also from rings that nobody has: those of ended threads, and one that a pass had in
    /// hand when its thread wanted it, which then took another. They become one with this thread's.
    pub(super) fn pop_slow(&self) -> Option<Pooled<Cell>> {
        // While a thread panics a ring would not go back, but be dropped.
        if std::thread::panicking() {
            return None;
        }
        let mut ring = self.rings.try_get()?;
        for _ in 0..MERGED {
            let found = ring.look(LOOKS);
            if found.is_some() {
                return found;
            }
            let mut other = self.rings.try_get()?;
            ring.merge(&mut other);
            drop(Pooled::into_inner(other));
        }
        ring.look(LOOKS)
    }

    /// Off, nothing waits: who wants a ring finds none, and what is in one is let go.
    pub(super) fn switch(&self, on: bool) {
        if on && !self.rings.is_used() {
            return;
        }
        self.rings.set_enabled(on);
        if !on {
            self.clear();
        }
    }

    /// Looks at every handle once, for a pass. `found` gets what is back or has waited long
    /// enough. Whether there may be something to look at next time.
    pub(super) fn look_at_all(&self, mut found: impl FnMut(Pooled<Cell>)) -> bool {
        let mut more = false;
        let all = self.each(None, |ring| {
            ring.sift(&mut found);
            // One that is in use is empty now and then.
            let keep = std::mem::take(&mut ring.used) || ring.cells.len() != 0;
            more |= keep;
            keep
        });
        more || !all
    }

    /// Lets go of all handles.
    pub(super) fn clear(&self) {
        self.each(Some(Patience::Long), |_| false);
    }

    /// Lets go of all handles, and of those that are yet to come.
    pub(super) fn close(&self) {
        self.rings.close();
    }

    pub(super) fn figures(&self) -> Figures {
        let mut again = self.again.load(Ordering::Relaxed);
        let mut figures = Figures {
            handles: 0,
            bytes: 0,
            again: 0,
        };
        self.rings.peek(|ring| {
            figures.handles += ring.cells.len() as u64;
            figures.bytes += ring.bytes as u64;
            again = again.wrapping_add(ring.again);
        });
        // Less than none, where a ring was missed that has counted one which was then taken back.
        figures.again = (again as isize).max(0) as u64;
        figures
    }

    /// Sees all rings, and drops those that `keep` does not want; `false` if one was missed.
    fn each(&self, patience: Option<Patience>, mut keep: impl FnMut(&mut Ring) -> bool) -> bool {
        self.rings.sift(patience, |ring| {
            // Relaxed: a figure.
            self.again
                .fetch_add(std::mem::take(&mut ring.again), Ordering::Relaxed);
            keep(ring)
        })
    }
}
