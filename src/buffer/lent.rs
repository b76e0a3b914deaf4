//! Lent-out buffers: those whose bytes somebody still looks at.
//!
//! `bytes` tells nobody when the last view of a buffer goes, so the pool keeps a handle to each and
//! asks. Handles wait here, in the order in which they were lent; each [`push`](Lent::push) looks
//! at the oldest two, a `get` that finds nothing idle at [`LOOKS`], a pass at all. What has been
//! looked at in vain goes to the end of the line, so that a view that somebody keeps for ever does
//! not hide the others.
//!
//! The line is one per class, in stripes: a thread uses its own stripe, and gets that find nothing
//! there look at the others. Locks are only tried; under them handles are moved and asked, nothing
//! is allocated or dropped, and no user code runs.

use super::cell::Cell;
use crate::guard::Pooled;
use crate::sync::rare::OnceLock;
use crate::sync::{AtomicUsize, Mutex, Ordering, Patience};
use crate::thread;
use std::collections::VecDeque;

/// What a get looks at, until it has found two, and what a pass looks at without letting go of the
/// lock.
const LOOKS: usize = 8;
/// What each push looks at.
const LOOKS_ON_PUSH: usize = 2;
const STRIPES: usize = 8;

/// Buffers that are back.
pub(super) type Back<const N: usize = LOOKS> = [Option<Pooled<Cell>>; N];

#[derive(Debug)]
pub(super) struct Lent {
    stripes: OnceLock<Box<[Stripe; STRIPES]>>,
}

/// A line of its own, so that threads do not disturb each other.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe {
    line: Mutex<Line>,
    /// Repeats the line's length, for readers without the lock. Relaxed: a hint.
    len: AtomicUsize,
}

#[derive(Debug)]
struct Line {
    cells: VecDeque<Pooled<Cell>>,
    /// The capacity of all of them.
    bytes: usize,
    closed: bool,
}

impl Lent {
    pub(super) const fn new() -> Self {
        Self {
            stripes: OnceLock::new(),
        }
    }

    fn stripes(&self) -> &[Stripe; STRIPES] {
        self.stripes
            .get_or_init(|| Box::new(std::array::from_fn(|_| Stripe::new())))
    }

    fn own(stripes: &[Stripe; STRIPES]) -> &Stripe {
        let number = thread::number().map_or(0, |number| number.0);
        &stripes[number % STRIPES]
    }

    /// Puts a handle at the end of the line, and takes out what is back of the oldest two. `Err`:
    /// it does not fit (closed, or the lock is not to be had).
    pub(super) fn push(
        &self,
        cell: Pooled<Cell>,
        back: &mut Back<LOOKS_ON_PUSH>,
    ) -> Result<(), Pooled<Cell>> {
        let stripe = Self::own(self.stripes());
        let mut larger = VecDeque::new();
        loop {
            let Some(mut line) = stripe.line.lock_bounded(Patience::Short) else {
                return Err(cell);
            };
            if line.closed {
                return Err(cell);
            }
            let len = line.cells.len();
            if len == line.cells.capacity() {
                if larger.capacity() <= len {
                    // Grow outside the lock: the allocator may be the user's own code.
                    drop(line);
                    larger = VecDeque::with_capacity(2 * len + 16);
                    continue;
                }
                larger.extend(line.cells.drain(..));
                std::mem::swap(&mut line.cells, &mut larger);
            }
            line.bytes = line.bytes.wrapping_add(cell.full);
            line.cells.push_back(cell);
            line.look(LOOKS_ON_PUSH.min(len), false, back);
            stripe.publish(&line);
            drop(line);
            // The old, empty line, if there is one, is freed here, outside the lock.
            drop(larger);
            return Ok(());
        }
    }

    /// Takes out what is back of the oldest few: in this thread's stripe, else in the first other
    /// one that has something.
    pub(super) fn look(&self, back: &mut Back<2>) -> bool {
        let Some(stripes) = self.stripes.get() else {
            return false;
        };
        let own = Self::own(stripes);
        own.look(back) || stripes.iter().any(|stripe| stripe.look(back))
    }

    /// Looks at every handle once, for a pass. `found` gets what is back or has waited long
    /// enough, with nothing locked.
    pub(super) fn look_at_all(&self, mut found: impl FnMut(Pooled<Cell>)) {
        for stripe in self.stripes.get().into_iter().flat_map(|all| all.iter()) {
            let mut left = stripe.len();
            while left > 0 {
                let mut back: Back = Back::default();
                let looks = left.min(LOOKS);
                left -= looks;
                if let Some(mut line) = stripe.line.lock_bounded(Patience::Short) {
                    line.look(looks, true, &mut back);
                    stripe.publish(&line);
                }
                back.into_iter().flatten().for_each(&mut found);
            }
            stripe.shrink();
        }
    }

    /// Takes all handles out; with `close`, for good.
    pub(super) fn drain(&self, close: bool) -> Vec<Pooled<Cell>> {
        // A closed one must not be made afterwards, so it is made now.
        let stripes = if close {
            Some(self.stripes())
        } else {
            self.stripes.get().map(|stripes| &**stripes)
        };
        let mut all = Vec::new();
        for stripe in stripes.into_iter().flatten() {
            // Without the lock (a thread died holding it, in a fork) they leak.
            let Some(mut line) = stripe.line.lock_bounded(Patience::Long) else {
                continue;
            };
            line.closed |= close;
            line.bytes = 0;
            let cells = std::mem::take(&mut line.cells);
            stripe.publish(&line);
            drop(line);
            all.extend(cells);
        }
        all
    }

    /// Handles and the capacity behind them.
    pub(super) fn figures(&self) -> (usize, usize) {
        let of = |stripe: &Stripe| {
            let line = stripe.line.lock_bounded(Patience::Short)?;
            Some((line.cells.len(), line.bytes))
        };
        let stripes = self.stripes.get().into_iter().flat_map(|all| all.iter());
        stripes
            .filter_map(of)
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    pub(super) fn is_empty(&self) -> bool {
        let stripes = self.stripes.get().into_iter().flat_map(|all| all.iter());
        stripes.map(Stripe::len).sum::<usize>() == 0
    }
}

impl Stripe {
    fn new() -> Self {
        Self {
            line: Mutex::new(Line {
                cells: VecDeque::new(),
                bytes: 0,
                closed: false,
            }),
            len: AtomicUsize::new(0),
        }
    }

    fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Under the lock.
    fn publish(&self, line: &Line) {
        self.len.store(line.cells.len(), Ordering::Relaxed);
    }

    fn look(&self, back: &mut Back<2>) -> bool {
        if self.len() == 0 {
            return false;
        }
        let Some(mut line) = self.line.lock_bounded(Patience::Short) else {
            return false;
        };
        let looks = LOOKS.min(line.cells.len());
        let found = line.look(looks, false, back);
        self.publish(&line);
        found
    }

    /// Gives the line's own memory back after a burst.
    fn shrink(&self) {
        let Some(line) = self.line.lock_bounded(Patience::Short) else {
            return;
        };
        let (len, capacity) = (line.cells.len(), line.cells.capacity());
        drop(line);
        if capacity < 128 || len > capacity / 4 {
            return;
        }
        // Allocate and free outside the lock.
        let mut smaller = VecDeque::with_capacity(2 * len + 16);
        if let Some(mut line) = self.line.lock_bounded(Patience::Short) {
            if line.cells.len() <= smaller.capacity() {
                smaller.extend(line.cells.drain(..));
                std::mem::swap(&mut line.cells, &mut smaller);
            }
        }
        drop(smaller);
    }
}

impl Line {
    /// Looks at the oldest ones; at most [`LOOKS`]. What is still lent goes to the end, unless a
    /// `pass` finds that it has waited long enough.
    fn look(&mut self, looks: usize, pass: bool, back: &mut [Option<Pooled<Cell>>]) -> bool {
        let mut found = 0;
        for _ in 0..looks {
            if found == back.len() {
                break;
            }
            let Some(mut cell) = self.cells.pop_front() else {
                break;
            };
            if cell.is_back() || (pass && !cell.goes_on_waiting()) {
                self.bytes = self.bytes.wrapping_sub(cell.full);
                back[found] = Some(cell);
                found += 1;
            } else {
                self.cells.push_back(cell);
            }
        }
        found != 0
    }
}
