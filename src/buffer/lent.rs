//! Lent-out buffers: those whose bytes somebody still looks at.
//!
//! `bytes` tells nobody when the last view of a buffer goes, so the pool keeps a handle to each and
//! asks. Handles wait in [`Ring`]s, in the order in which they were lent: each freeze looks at the
//! oldest two of its ring, a `get` that finds nothing idle at [`LOOKS`], a pass at all. What has been
//! looked at in vain goes to the end, so that a view that somebody keeps for ever does not hide the
//! others.
//!
//! A ring is a pooled object of its own: each class has a private pool of them. So a thread finds
//! its own ring as it finds a buffer, by a hit, and while it has the ring nobody else does: no lock
//! here, and allocating, dropping and asking are nobody's business. The ring of a thread that has
//! ended is in that pool's depot, where others find it; a pass, `clear` and the figures take all
//! rings out of all caches, as any visitor takes idle objects. A ring that somebody has in hand at
//! that moment is missed, as an operation under way.
//!
//! Who keeps a ring keeps the cells in it, and through them their class and its pool of rings:
//! [`Lent::close`] breaks that circle, for good.

use super::cell::Cell;
use crate::budget::Budget;
use crate::cache::LIST_BYTES;
use crate::guard::Pooled;
use crate::pool::Pool;
use crate::recycle::Recycle;
use crate::sync::Patience;
use std::collections::VecDeque;

/// What a get looks at, until it has found two.
pub(super) const LOOKS: usize = 8;
/// What each freeze looks at.
pub(super) const LOOKS_ON_FREEZE: usize = 2;

/// Buffers that are back.
pub(super) type Back = [Option<Pooled<Cell>>; 2];

/// Some lent-out buffers, the oldest first: those of one thread, as a rule.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    cells: VecDeque<Pooled<Cell>>,
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
    #[inline]
    pub(super) fn push(&mut self, cell: Pooled<Cell>) {
        self.used = true;
        self.cells.push_back(cell);
    }

    /// Takes out what is back of the oldest ones, two at most. What is still lent goes to the end.
    #[inline]
    pub(super) fn look(&mut self, looks: usize) -> Back {
        let mut back = Back::default();
        let mut found = 0;
        for _ in 0..looks.min(self.cells.len()) {
            let Some(mut cell) = self.cells.pop_front() else {
                break;
            };
            if !cell.is_back() {
                self.cells.push_back(cell);
                continue;
            }
            back[found] = Some(cell);
            found += 1;
            if found == back.len() {
                break;
            }
        }
        back
    }

    /// Takes out, for a pass, what is back or has waited long enough.
    fn sift(&mut self, found: &mut impl FnMut(Pooled<Cell>)) {
        for _ in 0..self.cells.len() {
            let Some(mut cell) = self.cells.pop_front() else {
                break;
            };
            if cell.is_back() || !cell.goes_on_waiting() {
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

/// The rings of one class.
#[derive(Debug)]
pub(super) struct Lent {
    rings: Pool<Ring>,
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
        }
    }

    /// This thread's ring, or one that nobody has, or a new one.
    #[inline(always)]
    pub(super) fn ring(&self) -> Pooled<Ring> {
        self.rings.get()
    }

    /// Takes out what is back of the oldest few of this thread's ring, or of one that nobody has.
    pub(super) fn look(&self) -> Back {
        if std::thread::panicking() {
            return Back::default(); // the ring would be dropped, with all that is in it
        }
        self.rings
            .try_get()
            .map(|mut ring| ring.look(LOOKS))
            .unwrap_or_default()
    }

    /// Looks at every handle once, for a pass. `found` gets what is back or has waited long
    /// enough. Whether there may be something to look at next time.
    pub(super) fn look_at_all(&self, mut found: impl FnMut(Pooled<Cell>)) -> bool {
        let mut more = false;
        let reached = self.rings.sift(None, |ring| {
            ring.sift(&mut found);
            // One that is in use is empty now and then.
            let keep = std::mem::take(&mut ring.used) || !ring.cells.is_empty();
            more |= keep;
            keep
        });
        more || !reached
    }

    /// Lets go of all handles.
    pub(super) fn clear(&self) {
        self.rings.clear();
    }

    /// Lets go of all handles, and of those that are yet to come.
    pub(super) fn close(&self) {
        self.rings.close();
    }

    /// Handles and the capacity behind them.
    pub(super) fn figures(&self) -> (usize, usize) {
        let mut sum = (0, 0);
        self.rings.sift(Some(Patience::Long), |ring| {
            sum.0 += ring.cells.len();
            sum.1 += ring.cells.iter().map(|cell| cell.full).sum::<usize>();
            true
        });
        sum
    }
}
