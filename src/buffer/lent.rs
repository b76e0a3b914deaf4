//! Lent buffers: those whose bytes views still refer to.
//!
//! `bytes` does not say when the last view of a buffer goes, so the pool keeps a handle to each and
//! asks. Handles wait in [`Ring`]s, in the order in which they were lent. A *look* asks one handle.
//!
//! # Who looks, and how often
//! - A get that finds nothing idle in its thread's cache looks at the oldest handle of its thread's ring.
//!   If that is back, as a rule, the get is done.
//! - If not, it looks at more, at one of the old part first, and goes on each time where it has ended. If
//!   a young one is back, all before it have been lent for longer: they move to the *old* part of the ring,
//!   out of the way of the others. So a view that is kept for long hides nothing, and what is in flight
//!   does not become old by being looked at.
//! - Where looks find something there are up to [`LOOKS`] of them, and where they do not, soon
//!   [`LEAST_LOOKS`]; but all of a few are looked at before a buffer is made. So many that are kept cost each
//!   buffer made a few looks. If those that are kept change, about as many again may be back and
//!   not found yet.
//! - A freeze puts its handle into the ring where there is room. If there is none it looks at all young
//!   ones before the ring grows, so that a thread which freezes and never gets does not collect them.
//! - A pass looks at all, of all threads. In a pool with limits so does a return or a freeze when more is
//!   lent than may be idle, once for so many operations that a look at all costs each a few looks.
//!
//! # Where a ring is
//! A ring is a pooled object of its own: each class has a private pool of them. A thread's ring is
//! the idle object on top of its cache there, and there it stays: a handle is put in and taken out
//! in place, inside the owner's critical section ([`Top::with`]), in which pointers are moved, the
//! handle's count is read and nothing else is done: no allocation, no user code, no panic. All that is
//! rare takes the ring out as one takes a buffer, and while it has the ring nothing else does. The ring
//! of a thread that has ended is in that pool's depot, where others find it. A pass and `clear` take all
//! rings out of all caches, as a visitor takes idle objects; `clear` looks again for those that were in
//! hand (still, one may be missed then).
//!
//! # What keeps what
//! A ring keeps the cells in it, and through them their class and its pool of rings: [`Lent::close`]
//! breaks that circle, for good. As long as there is a ring the janitor watches its class: the thread
//! that makes one tells it to, and a pass that has kept or missed one wants to see the next. So there is
//! nothing to tell when a ring is used.
//!
//! See `cell.rs` for the three files that import each other.

use super::cell::{Cell, Class};
use super::comeback::{came_back, came_back_for_all, came_back_slow};
use super::queue::Queue;
use super::tally::{Figures, Tallies, Tally};
use crate::budget::Budget;
use crate::object::entry::{Entry, Top};
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::object::recycle::Recycle;
use crate::raw::node::LIST_BYTES;
use crate::sync::rare::Arc;
use crate::sync::{AtomicBool, Ordering, StatUsize, Timeout};
use std::thread::panicking;

/// What a get that found the oldest one lent looks at, of the young ones and again of the old ones,
/// before it makes a buffer: so many, and half of it each time that it had to make one, down to the least.
const LOOKS: usize = 32;
const LEAST_LOOKS: usize = 4;
/// All of so few are looked at.
const FEW: usize = 64;
/// How many rings without an owner a get looks into.
const MERGED: usize = 4;
/// This many operations, at least, from one look at all handles to the next.
const APART: u64 = 16;

/// Some lent buffers: those of one thread, as a rule.
#[derive(Debug)]
pub(crate) struct Ring {
    /// In the order in which they were lent.
    young: Queue<Pooled<Cell>>,
    /// Those that were looked at and still lent, in the order of the looks.
    old: Queue<Pooled<Cell>>,
    tally: Arc<Tally>,
    /// The young one where a get goes on to look.
    next: usize,
    /// How many it looks at.
    looks: usize,
    /// What its tally had counted as come when the last pass looked.
    came: usize,
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
        let handles = self.young.len() + self.old.len();
        while let Some(cell) = self.young.pop().or_else(|| self.old.pop()) {
            let mut cell = Pooled::into_inner(cell);
            cell.has_waited();
        }
        self.tally.give_up(handles);
    }
}

/// In the critical section.
impl Ring {
    /// Puts a handle at the end, if there is room.
    #[inline(always)]
    fn push_in_place(&mut self, cell: Pooled<Cell>) -> Result<(), Pooled<Cell>> {
        self.young.push_in_place(cell)?;
        self.tally.came();
        Ok(())
    }

    /// Takes the oldest out, if it is back; and whether it can be handed out as it is.
    #[inline(always)]
    fn take_in_place(&mut self) -> Option<(Pooled<Cell>, bool)> {
        let cell = self.young.pop_if(|cell| cell.is_back())?;
        Some(self.leaves(cell))
    }
}

impl Ring {
    fn new(tally: Arc<Tally>) -> Self {
        Self {
            young: Queue::new(),
            old: Queue::new(),
            tally,
            next: 0,
            looks: LOOKS,
            came: 0,
        }
    }

    fn push(&mut self, cell: Pooled<Cell>) {
        self.tally.came();
        self.young.push(cell);
    }

    /// Takes note of one that is back and out of the ring; and whether it can be handed out as it is.
    #[inline(always)]
    fn leaves(&self, cell: Pooled<Cell>) -> (Pooled<Cell>, bool) {
        let plain = cell.is_plain_again();
        self.tally.left(plain);
        (cell, plain)
    }

    /// Looks for one to be handed out, where the oldest is still lent.
    fn look(&mut self) -> Option<Pooled<Cell>> {
        let all = self.young.len() + self.old.len();
        let looks = if all <= FEW { all } else { self.looks };
        let found = self
            .look_at_old(1)
            .or_else(|| self.look_at_young(looks))
            .or_else(|| self.look_at_old(looks));
        self.looks = match found {
            Some(_) => LOOKS,
            None => (self.looks / 2).max(LEAST_LOOKS),
        };
        found
    }

    /// Looks at some young ones, behind those that were looked at last.
    fn look_at_young(&mut self, looks: usize) -> Option<Pooled<Cell>> {
        for _ in 0..looks.min(self.young.len()) {
            if self.next >= self.young.len() {
                self.next = 0;
            }
            let at = self.next;
            if self.young.get_mut(at)?.is_back() {
                return self.take_at(at).and_then(ready);
            }
            self.next += 1;
        }
        None
    }

    /// Takes out one that is back; those before it are old.
    fn take_at(&mut self, at: usize) -> Option<(Pooled<Cell>, bool)> {
        self.next = 0;
        for _ in 0..at {
            let cell = self.young.pop()?;
            self.old.push(cell);
        }
        self.young.pop().map(|cell| self.leaves(cell))
    }

    /// Looks at some of the old ones. What is back beside the first becomes idle.
    fn look_at_old(&mut self, looks: usize) -> Option<Pooled<Cell>> {
        let mut first = None;
        for _ in 0..looks.min(self.old.len()) {
            let Some(mut cell) = self.old.pop() else {
                break;
            };
            if !cell.is_back() {
                self.old.push(cell);
                continue;
            }
            let again = first.is_none() && cell.is_plain_again();
            self.tally.left(again);
            if again {
                first = Some(cell);
            } else {
                came_back(cell);
            }
        }
        first
    }

    /// Makes room for one more: lets go of what is back, or grows.
    fn make_room(&mut self) {
        let len = self.young.len();
        if len < self.young.capacity() {
            return;
        }
        for _ in 0..len {
            let Some(mut cell) = self.young.pop() else {
                break;
            };
            if cell.is_back() {
                self.tally.left(false);
                came_back(cell);
            } else {
                self.young.push(cell);
            }
        }
        // So that the next look at all is after as many more.
        if self.young.len() > len / 2 || len == 0 {
            self.young.grow();
            // So that what moves there finds room, as a rule.
            self.old.grow();
        }
    }

    /// Takes over what is in another one.
    fn merge(&mut self, mut other: Self) {
        while let Some(cell) = other.young.pop().or_else(|| other.old.pop()) {
            other.tally.left(false);
            self.push(cell);
        }
    }

    /// Takes out, for a pass, what is back or has waited long enough.
    fn sift(&mut self, found: &mut impl FnMut(Pooled<Cell>)) {
        for cells in [&mut self.young, &mut self.old] {
            for _ in 0..cells.len() {
                let Some(mut cell) = cells.pop() else {
                    break;
                };
                if cell.is_back() || !cell.goes_on_waiting() {
                    self.tally.left(false);
                    found(cell);
                } else {
                    cells.push(cell);
                }
            }
            cells.shrink();
        }
    }
}

/// One that is back, if it can be handed out as it is; if not, it becomes idle.
fn ready((cell, plain): (Pooled<Cell>, bool)) -> Option<Pooled<Cell>> {
    if plain {
        return Some(cell);
    }
    came_back_slow(cell);
    None
}

/// The oldest of this thread's ring, if that is back and needs no look.
#[inline(always)]
pub(super) fn pop(top: Top<Ring>) -> Option<Pooled<Cell>> {
    // SAFETY: reads a handle's count, and moves a pointer.
    match unsafe { top.with(Ring::take_in_place) }?? {
        (cell, true) => Some(cell),
        found => ready_slow(found),
    }
}

#[cold]
#[inline(never)]
fn ready_slow(found: (Pooled<Cell>, bool)) -> Option<Pooled<Cell>> {
    ready(found)
}

/// The rings of one class.
#[derive(Debug)]
pub(super) struct Lent {
    rings: Pool<Ring>,
    tallies: Arc<Tallies>,
    /// Whether the entries lead to the rings yet ([`Origin::has_lent`]).
    ///
    /// [`Origin::has_lent`]: super::cell::Origin::has_lent
    entered: AtomicBool,
    /// Operations until one looks at all handles, in a pool with limits.
    due: StatUsize,
    /// The capacity of the lent ones beyond what the class promises; may wrap around for a moment.
    extra: StatUsize,
}

impl Lent {
    pub(super) fn new() -> Self {
        let tallies = Arc::new(Tallies::new());
        let rings = Arc::clone(&tallies);
        Self {
            rings: Pool::builder(move || Ring::new(rings.take()))
                // Passes are the class's.
                .trim_manually()
                .undiagnosed()
                // Of its own, and without end: rings are not idle memory.
                .budget(Budget::new(usize::MAX))
                .build(),
            tallies,
            entered: AtomicBool::new(false),
            due: StatUsize::new(0),
            extra: StatUsize::new(0),
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
            if let Some(one) = cell.take() {
                cell = ring.push_in_place(one).err();
            }
        };
        // SAFETY: moves a pointer to where there is room for it.
        unsafe { top.with(push) };
        cell.map_or(Ok(()), Err)
    }

    /// The same, with the ring in hand: it may need more room, and if there is none it is made. Not
    /// while the thread panics: the ring would be dropped.
    #[cold]
    #[inline(never)]
    pub(super) fn push_slow(cell: Pooled<Cell>) {
        if let Some(mut ring) = cell.class.lent.rings.try_get_fast() {
            ring.make_room();
            return ring.push(cell);
        }
        if let Some(reason) = cell.class.keeps_nothing() {
            // The memory goes with the last view.
            return Pooled::discard_for(cell, reason);
        }
        let class = Arc::clone(&cell.class);
        let mut ring = class.lent.rings.get();
        ring.make_room();
        ring.push(cell);
        drop(ring);
        // Relaxed: a thread that does not see it does it again.
        if !class.lent.entered.load(Ordering::Relaxed) {
            if let Some(origin) = class.origin.upgrade() {
                origin.has_lent(class.index);
                class.lent.entered.store(true, Ordering::Relaxed);
            }
        }
        // With the ring in its place: a pass that has not seen it there is over with its look, and
        // has said so before.
        class.tell_janitor();
    }

    /// Leads an entry to the rings.
    ///
    /// # Safety
    /// This has to outlive all use of it.
    pub(super) unsafe fn enter_by(&self, entry: &Entry<Ring>) {
        // SAFETY: the caller's.
        unsafe { self.rings.enter_by(entry) };
    }

    /// More looks at this thread's ring, where its oldest handle is still lent.
    pub(super) fn look(&self) -> Option<Pooled<Cell>> {
        // While a thread panics a ring would not go back, but be dropped.
        if panicking() {
            return None;
        }
        self.rings.try_get_fast()?.look()
    }

    /// Looks at rings that no thread has: those of ended threads, and one that a pass had in hand when
    /// its thread wanted it, which then took another. They become one with this thread's.
    pub(super) fn look_elsewhere(&self) -> Option<Pooled<Cell>> {
        if panicking() {
            return None;
        }
        let mine = self.rings.try_get_fast();
        let mut ring = match mine {
            Some(ring) => ring,
            None => {
                let mut ring = self.rings.try_get()?;
                if let Some(found) = ring.look() {
                    return Some(found);
                }
                ring
            }
        };
        for _ in 0..MERGED {
            let other = self.rings.try_get()?;
            ring.merge(Pooled::into_inner(other));
            if let Some(found) = ring.look() {
                return Some(found);
            }
        }
        None
    }

    /// Off, nothing waits: there is no ring, and what is in one is let go.
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
    fn look_at_all(&self, mut found: impl FnMut(Pooled<Cell>)) -> bool {
        let mut more = false;
        let all = self.rings.sift(None, |ring| {
            ring.sift(&mut found);
            // One that is in use is empty now and then.
            let empty = ring.young.len() + ring.old.len() == 0;
            let came = ring.tally.has_come();
            let keep = std::mem::replace(&mut ring.came, came) != came || !empty;
            more |= keep;
            keep
        });
        more || !all
    }

    /// Lets go of all handles.
    pub(super) fn clear(&self) {
        self.rings.sift(Some(Timeout::Long), |_| false);
    }

    /// Lets go of all handles, and of those that are yet to come.
    pub(super) fn close(&self) {
        self.rings.close();
    }

    pub(super) fn figures(&self) -> Figures {
        self.tallies.figures()
    }

    /// One that is larger than its class waits from now on, or (`bytes` wrapped around) no longer.
    pub(super) fn add_extra(&self, bytes: usize) {
        // Relaxed: a figure.
        self.extra.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Class {
    /// The capacity of all that is lent, in bytes.
    pub(super) fn lent_bytes(&self) -> u64 {
        // Relaxed: a figure.
        let extra = self.lent.extra.load(Ordering::Relaxed) as isize;
        let handles = self.lent.figures().handles;
        handles * self.size as u64 + extra.max(0) as u64
    }

    /// Looks at all that is lent; whether there may be something to look at next time.
    pub(super) fn look_at_all(&self) -> bool {
        self.lent.look_at_all(came_back_for_all)
    }

    /// Looks at all that is lent if it is more than may be idle, now and then: where the last look
    /// found little, once for each handle.
    pub(super) fn relieve_if_due(&self) {
        // Relaxed, all of it: a lost count makes a look come later.
        let left = self.lent.due.load(Ordering::Relaxed);
        if left > 0 {
            return self.lent.due.store(left - 1, Ordering::Relaxed);
        }
        let before = self.lent.figures();
        let mut due = APART;
        if self.lent_bytes() > self.limit as u64 {
            self.look_at_all();
            let found = before.handles.saturating_sub(self.lent.figures().handles);
            let share = if found > before.handles / 8 { 8 } else { 1 };
            due = due.max(before.handles / share);
        }
        self.lent.due.store(due as usize, Ordering::Relaxed);
    }
}
