//! Lent-out buffers: those whose bytes somebody still looks at.
//!
//! `bytes` tells nobody when the last view of a buffer goes, so the pool keeps a handle to each and
//! asks. Handles wait in [`Ring`]s, in the order in which they were lent: a `get` that finds nothing
//! idle looks at the oldest [`LOOKS`] of its thread's ring, a freeze that finds many in it at two, a
//! pass at all. What has been looked at in vain goes to the end, so that a view that somebody keeps
//! for ever does not hide the others.
//!
//! A ring is a pooled object of its own: each class has a private pool of them. So a thread finds
//! its own ring as it finds a buffer, by a hit, and while it has the ring nobody else does: no lock,
//! and nothing that must not be done. The ring of a thread that has ended is in that pool's depot,
//! where others find it. A pass and `clear` take all rings out of all caches, as a visitor takes idle
//! objects, and `clear` looks again if somebody had one in hand (still, one may be missed then). The
//! figures look at them where they are.
//!
//! # Who keeps whom, and who looks
//! A ring keeps the cells in it, and through them their class and its pool of rings: [`Lent::close`]
//! breaks that circle, for good. As long as there is a ring the janitor watches its class: whoever
//! makes one tells it to, and a pass that has kept or missed one wants to see the next. So there is
//! nothing to tell when a ring is used.

use super::cell::{self, Cell};
use crate::budget::Budget;
use crate::cache::LIST_BYTES;
use crate::guard::Pooled;
use crate::pool::Pool;
use crate::recycle::Recycle;
use crate::sync::{Figure, Ordering, Patience};
use std::collections::VecDeque;

/// What a get looks at.
const LOOKS: usize = 8;
/// From this length on, gets do not keep up, or are somebody else's: then each freeze looks at two.
const MANY: usize = 16;
/// How many rings without an owner a get looks into.
const MERGED: usize = 4;

/// Some lent-out buffers, the oldest first: those of one thread, as a rule.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    cells: VecDeque<Pooled<Cell>>,
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
        for cell in self.cells.drain(..) {
            drop(Pooled::into_inner(cell));
        }
    }
}

impl Ring {
    /// The first of the oldest few that is back. What is still lent goes to the end.
    #[inline(always)]
    fn look(&mut self, looks: usize) -> Option<Pooled<Cell>> {
        // The oldest is, as a rule.
        self.look_at_one().or_else(|| self.look_on(looks))
    }

    /// The same, after a look at the first.
    #[inline(never)]
    fn look_on(&mut self, looks: usize) -> Option<Pooled<Cell>> {
        (1..looks.min(self.cells.len())).find_map(|_| self.look_at_one())
    }

    #[inline(always)]
    fn look_at_one(&mut self) -> Option<Pooled<Cell>> {
        let mut cell = self.cells.pop_front()?;
        if cell.is_back() {
            self.bytes = self.bytes.wrapping_sub(cell.full);
            return Some(cell);
        }
        self.cells.push_back(cell);
        None
    }

    /// Takes over what is in another one.
    fn merge(&mut self, other: &mut Self) {
        self.cells.append(&mut other.cells);
        self.bytes = self.bytes.wrapping_add(std::mem::take(&mut other.bytes));
        self.again += std::mem::take(&mut other.again);
        self.used |= other.used;
    }

    #[inline(always)]
    fn push(&mut self, cell: Pooled<Cell>) {
        self.used = true;
        self.bytes = self.bytes.wrapping_add(cell.full);
        self.cells.push_back(cell);
        if self.cells.len() > MANY {
            self.relieve();
        }
    }

    #[inline(never)]
    fn relieve(&mut self) {
        for _ in 0..2 {
            if let Some(cell) = self.look(1) {
                cell::came_back(cell);
            }
        }
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<Pooled<Cell>> {
        let mut cell = self.look(LOOKS)?;
        if cell.is_as_it_was_lent() {
            self.again += 1;
            return Some(cell);
        }
        give_back_slow(cell)
    }

    /// Takes out, for a pass, what is back or has waited long enough.
    fn sift(&mut self, found: &mut impl FnMut(Pooled<Cell>)) {
        for _ in 0..self.cells.len() {
            let Some(mut cell) = self.cells.pop_front() else {
                break;
            };
            if cell.is_back() || !cell.goes_on_waiting() {
                self.bytes = self.bytes.wrapping_sub(cell.full);
                found(cell);
            } else {
                self.cells.push_back(cell);
            }
        }
        // Its own memory, after a burst.
        let (len, capacity) = (self.cells.len(), self.cells.capacity());
        if capacity >= 128 && len <= capacity / 4 {
            self.cells.shrink_to(2 * len + 16);
        }
    }
}

/// One that is back, but not as it was, goes where it belongs. None to be handed out.
#[cold]
#[inline(never)]
fn give_back_slow(cell: Pooled<Cell>) -> Option<Pooled<Cell>> {
    cell::came_back(cell);
    None
}

/// The rings of one class.
#[derive(Debug)]
pub(super) struct Lent {
    rings: Pool<Ring>,
    /// What rings have counted in theirs.
    again: Figure,
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
        }
    }

    /// Puts a cell at the end of this thread's ring; where many wait, some that are back leave it.
    /// `Err`: the thread has none. Not while it panics.
    ///
    /// What is borrowed here may be gone when this returns: once the cell is in the ring, the pool
    /// may be dropped, and the ring with all that is in it.
    #[inline(always)]
    pub(super) fn push(cell: Pooled<Cell>) -> Result<(), Pooled<Cell>> {
        match cell.class.lent.rings.try_get_fast() {
            Some(mut ring) => {
                ring.push(cell);
                Ok(())
            }
            None => Err(cell),
        }
    }

    /// The same, with a ring that nobody has, or a new one.
    pub(super) fn push_slow(cell: Pooled<Cell>) {
        let mut ring = cell.class.lent.rings.get();
        ring.push(cell);
    }

    /// One that is back and as it was, of the oldest few in this thread's ring. Others that are back
    /// are given back.
    #[inline(always)]
    pub(super) fn pop(&self) -> Option<Pooled<Cell>> {
        // While a thread panics a ring would not go back, but be dropped.
        if std::thread::panicking() {
            return None;
        }
        self.rings.try_get_fast()?.pop()
    }

    /// The same, also from rings that nobody has: those of ended threads, and one that a pass had in
    /// hand when its thread wanted it, which then took another. They become one with this thread's.
    pub(super) fn pop_slow(&self) -> Option<Pooled<Cell>> {
        if std::thread::panicking() {
            return None;
        }
        let mut ring = self.rings.try_get()?;
        for _ in 0..MERGED {
            let found = ring.pop();
            if found.is_some() {
                return found;
            }
            let mut other = self.rings.try_get()?;
            ring.merge(&mut other);
            drop(Pooled::into_inner(other));
        }
        ring.pop()
    }

    /// Looks at every handle once, for a pass. `found` gets what is back or has waited long
    /// enough. Whether there may be something to look at next time.
    pub(super) fn look_at_all(&self, mut found: impl FnMut(Pooled<Cell>)) -> bool {
        let mut more = false;
        let all = self.each(None, |ring| {
            ring.sift(&mut found);
            // One that is in use is empty now and then.
            let keep = std::mem::take(&mut ring.used) || !ring.cells.is_empty();
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
        let mut figures = Figures {
            handles: 0,
            bytes: 0,
            again: self.again.load(Ordering::Relaxed) as u64,
        };
        self.rings.peek(|ring| {
            figures.handles += ring.cells.len() as u64;
            figures.bytes += ring.bytes as u64;
            figures.again += ring.again as u64;
        });
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
