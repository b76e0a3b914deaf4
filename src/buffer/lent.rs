//! [`Lent`] and [`Ring`]: *lent* buffers, whose memory live `Bytes` views may still reference.
//!
//! `bytes` does not report when the last view of a buffer goes, so the pool keeps a handle to each
//! lent buffer and looks whether that handle is the only one left. Handles wait in [`Ring`]s, in
//! the order in which they were lent. A *look* checks one handle.
//!
//! # Who looks, and how often
//! - A get that finds nothing idle in its thread's cache looks at the oldest handle in its thread's
//!   ring. Usually that buffer has no views left, and the get is done.
//! - Otherwise the get looks at more handles: first at one of the old part, then at young ones,
//!   continuing where the previous get stopped. If a young buffer has no views left, all before it
//!   have been lent for longer: they move to the *old* part of the ring, out of the way of the
//!   others. So a view that is kept for long hides nothing, and buffers in flight do not become old
//!   by being looked at.
//! - A get makes up to [`LOOKS`] looks where looks find buffers, and soon only [`LEAST_LOOKS`]
//!   where they do not; but it looks at all handles of a short ring before it creates a buffer. So
//!   many kept views cost each new buffer a few looks. If the set of kept views changes, about as
//!   many buffers again may be without views and not found yet.
//! - A freeze pushes its handle if the ring has room. Otherwise it looks at all young handles
//!   before the ring grows, so a thread that freezes and never gets does not collect handles.
//! - A pass looks at all handles of all threads. In a pool with limits, so does a return or a
//!   freeze while more is lent than may be idle, so rarely that it adds a few looks per operation.
//!
//! # Where a ring lives
//! A ring is a pooled object itself: each class has a private pool of rings. A thread's ring is the
//! idle object on top of the thread's cache in that pool, and it stays there: a handle is pushed
//! and removed in place, inside the owner's critical section ([`Top::with`]). That section moves
//! pointers and reads the handle's reference count; it does not allocate, panic, or run user code.
//! Everything rare takes the ring out as a get takes a buffer, and has it exclusively. The ring of
//! an ended thread is in the depot, where other threads find it. A pass and `clear` take all rings
//! out of all caches, as a visitor takes idle objects; `clear` looks again for rings that were in
//! use (it may still miss one).
//!
//! # Ownership
//! A ring owns its objects, and through them their class and the class's pool of rings.
//! [`Lent::close`] breaks that cycle for good. While there is a ring, the janitor watches its
//! class: the thread that creates a ring registers the class, and a pass that has kept or missed a
//! ring asks for the next pass. So using a ring notifies no one.
//!
//! See `pooled_bytes.rs` for the three files that import each other.

use super::pooled_bytes::{Class, PooledBytes};
use super::queue::Queue;
use super::returns::{return_lent, return_lent_slow, return_lent_to_depot};
use super::ring_stats::{ClassRingStats, RingStats, RingTotals};
use crate::budget::Budget;
use crate::object::entry::{Entry, Top};
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::object::recycle::Recycle;
use crate::raw::node::LIST_BYTES;
use crate::sync::rare::Arc;
use crate::sync::{AtomicBool, Ordering, StatUsize, Timeout};
use std::thread::panicking;

/// How many young handles, and then how many old ones, a get looks at before it creates a buffer.
/// Halved each time that it had to create one, down to [`LEAST_LOOKS`].
const LOOKS: usize = 32;
const LEAST_LOOKS: usize = 4;
/// A get looks at all handles of a ring that has at most this many.
const FEW: usize = 64;
/// How many rings of ended threads a get looks into.
const ELSEWHERE: usize = 16;
/// The least number of operations between two looks at all handles.
const APART: u64 = 16;

/// A lent buffer without views.
enum Found {
    /// It can be handed out as it is.
    Unchanged(Pooled<PooledBytes>),
    /// It was checked, and is idle in this thread's cache now.
    Idle,
}

/// Lent buffers: usually those of one thread.
#[derive(Debug)]
pub(crate) struct Ring {
    /// In the order in which they were lent.
    young: Queue<Pooled<PooledBytes>>,
    /// Handles that were looked at and still had views, in the order of the looks.
    old: Queue<Pooled<PooledBytes>>,
    stats: Arc<RingStats>,
    /// The index in `young` at which the next get continues to look.
    next: usize,
    /// How many handles a get looks at.
    looks: usize,
    /// How many pushes it had counted at the last pass.
    came: usize,
}

impl Recycle for Ring {
    #[inline(always)]
    fn recycle(&mut self) {}

    /// Not what it holds, but the weight that makes one ring a full list: if rings travelled in
    /// batches, one thread would get the rings of all.
    #[inline(always)]
    fn retained_bytes(&self) -> usize {
        LIST_BYTES
    }
}

impl Drop for Ring {
    /// Releases the handles: the last view frees the memory. (An object that is merely dropped would
    /// go back to its pool.)
    fn drop(&mut self) {
        let handles = self.young.len() + self.old.len();
        while let Some(object) = self.young.pop().or_else(|| self.old.pop()) {
            let mut object = Pooled::into_inner(object);
            object.has_waited();
        }
        RingStats::give_up(&self.stats, handles);
    }
}

/// Inside the critical section.
impl Ring {
    /// Pushes a handle if there is room.
    #[inline(always)]
    fn push_in_place(&mut self, object: Pooled<PooledBytes>) -> Result<(), Pooled<PooledBytes>> {
        self.young.push_in_place(object)?;
        self.stats.came();
        Ok(())
    }

    /// Removes the oldest handle if it has no views left. The flag says whether the buffer can be
    /// handed out as it is.
    #[inline(always)]
    fn take_in_place(&mut self) -> Option<(Pooled<PooledBytes>, bool)> {
        let object = self.young.pop_if(|object| object.is_unique())?;
        Some(self.leaves(object))
    }
}

impl Ring {
    fn new(stats: Arc<RingStats>) -> Self {
        Self {
            young: Queue::new(),
            old: Queue::new(),
            stats,
            next: 0,
            looks: LOOKS,
            came: 0,
        }
    }

    fn push(&mut self, object: Pooled<PooledBytes>) {
        self.stats.came();
        self.young.push(object);
    }

    /// Counts a handle that has left the ring. The flag says whether the buffer can be handed out
    /// as it is.
    #[inline(always)]
    fn leaves(&self, object: Pooled<PooledBytes>) -> (Pooled<PooledBytes>, bool) {
        let unchanged = object.is_unchanged_after_views();
        self.stats.left(unchanged);
        (object, unchanged)
    }

    /// Looks for a buffer without views, after the oldest one still had some.
    fn look(&mut self) -> Option<Found> {
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

    /// Looks at some young handles, starting behind the last ones looked at.
    fn look_at_young(&mut self, looks: usize) -> Option<Found> {
        for _ in 0..looks.min(self.young.len()) {
            if self.next >= self.young.len() {
                self.next = 0;
            }
            let at = self.next;
            if self.young.get_mut(at)?.is_unique() {
                return self.remove(at).map(|object| check(self.leaves(object)));
            }
            self.next += 1;
        }
        None
    }

    /// Removes a young handle without views; those before it become old.
    fn remove(&mut self, at: usize) -> Option<Pooled<PooledBytes>> {
        self.next = 0;
        for _ in 0..at {
            let object = self.young.pop()?;
            self.old.push(object);
        }
        self.young.pop()
    }

    /// Makes the first buffer without views idle; returns `false` if a few looks find none.
    fn make_one_idle(&mut self) -> bool {
        for at in 0..self.young.len().min(FEW) {
            if self
                .young
                .get_mut(at)
                .is_some_and(|object| object.is_unique())
            {
                let Some(object) = self.remove(at) else {
                    break;
                };
                self.stats.left(false);
                return_lent(object);
                return true;
            }
        }
        for _ in 0..self.old.len().min(FEW) {
            let Some(mut object) = self.old.pop() else {
                break;
            };
            if object.is_unique() {
                self.stats.left(false);
                return_lent(object);
                return true;
            }
            self.old.push(object);
        }
        false
    }

    /// Looks at some old handles. The first buffer without views that can be handed out as it is, is;
    /// all others without views become idle.
    fn look_at_old(&mut self, looks: usize) -> Option<Found> {
        let (mut first, mut idle) = (None, None);
        for _ in 0..looks.min(self.old.len()) {
            let Some(mut object) = self.old.pop() else {
                break;
            };
            if !object.is_unique() {
                self.old.push(object);
                continue;
            }
            let again = first.is_none() && object.is_unchanged_after_views();
            self.stats.left(again);
            if again {
                first = Some(Found::Unchanged(object));
            } else {
                return_lent(object);
                idle = Some(Found::Idle);
            }
        }
        first.or(idle)
    }

    /// Makes room for one more handle: removes those without views, or grows.
    fn make_room(&mut self) {
        let len = self.young.len();
        if len < self.young.capacity() {
            return;
        }
        for _ in 0..len {
            let Some(mut object) = self.young.pop() else {
                break;
            };
            if object.is_unique() {
                self.stats.left(false);
                return_lent(object);
            } else {
                self.young.push(object);
            }
        }
        // So that the next look at all handles comes only after as many pushes again.
        if self.young.len() > len / 2 || len == 0 {
            self.young.grow();
            // So that `old` usually has room for what moves there.
            self.old.grow();
        }
    }

    fn is_empty(&self) -> bool {
        self.young.len() + self.old.len() == 0
    }

    /// Takes over the handles of another ring.
    fn merge(&mut self, mut other: Self) {
        while let Some(object) = other.young.pop().or_else(|| other.old.pop()) {
            other.stats.left(false);
            self.push(object);
        }
    }

    /// For a pass: removes the handles that have no views left or have waited long enough.
    fn sift(&mut self, found: &mut impl FnMut(Pooled<PooledBytes>)) {
        for objects in [&mut self.young, &mut self.old] {
            for _ in 0..objects.len() {
                let Some(mut object) = objects.pop() else {
                    break;
                };
                if object.is_unique() || !object.goes_on_waiting() {
                    self.stats.left(false);
                    found(object);
                } else {
                    objects.push(object);
                }
            }
            objects.shrink();
        }
    }
}

/// Makes a buffer idle if it cannot be handed out as it is.
fn check((object, unchanged): (Pooled<PooledBytes>, bool)) -> Found {
    if unchanged {
        return Found::Unchanged(object);
    }
    return_lent_slow(object);
    Found::Idle
}

/// Gives a ring to the depot, where every thread can find it; drops it if it is empty.
fn release(ring: Pooled<Ring>) {
    if ring.is_empty() {
        drop(Pooled::into_inner(ring));
    } else {
        Pooled::give_to_all(ring);
    }
}

impl Found {
    fn unchanged(self) -> Option<Pooled<PooledBytes>> {
        match self {
            Self::Unchanged(object) => Some(object),
            Self::Idle => None,
        }
    }
}

/// Returns the oldest buffer of this thread's ring if it has no views left and needs no check.
#[inline(always)]
pub(super) fn pop(top: Top<Ring>) -> Option<Pooled<PooledBytes>> {
    // SAFETY: reads a handle's reference count and moves a pointer.
    match unsafe { top.with(Ring::take_in_place) }?? {
        (object, true) => Some(object),
        found => check_slow(found),
    }
}

#[cold]
#[inline(never)]
fn check_slow(found: (Pooled<PooledBytes>, bool)) -> Option<Pooled<PooledBytes>> {
    check(found).unchanged()
}

/// The rings of one class.
#[derive(Debug)]
pub(super) struct Lent {
    rings: Pool<Ring>,
    ring_stats: Arc<ClassRingStats>,
    /// Whether the entry tables point to the rings yet ([`Origin::has_lent`]).
    ///
    /// [`Origin::has_lent`]: super::pooled_bytes::Origin::has_lent
    entered: AtomicBool,
    /// Operations until the next look at all handles, in a pool with limits.
    due: StatUsize,
    /// The capacity of the lent buffers beyond what the class promises, in bytes. May wrap around
    /// for a moment.
    extra: StatUsize,
}

impl Lent {
    pub(super) fn new() -> Self {
        let ring_stats = Arc::new(ClassRingStats::new());
        let rings = Arc::clone(&ring_stats);
        Self {
            // Not called: no thread gets a ring here that `for_new_owner` has not made.
            rings: Pool::builder(move || Ring::new(rings.take()))
                // The class runs the passes.
                .trim_manually()
                .without_diagnostics()
                // A private budget without a limit: rings are not idle memory.
                .budget(Budget::new(usize::MAX))
                .build(),
            ring_stats,
            entered: AtomicBool::new(false),
            due: StatUsize::new(0),
            extra: StatUsize::new(0),
        }
    }

    /// Pushes an object onto this thread's ring. Returns `Err` if the thread has no ring, or no room
    /// in it.
    ///
    /// What is borrowed here may be gone when this returns: once the object is in the ring, another
    /// thread may drop the pool, and the ring with everything in it.
    #[inline(always)]
    pub(super) fn push(object: Pooled<PooledBytes>) -> Result<(), Pooled<PooledBytes>> {
        let Some(top) = object.class.lent.rings.top() else {
            return Err(object);
        };
        let mut object = Some(object);
        let push = |ring: &mut Ring| {
            if let Some(one) = object.take() {
                object = ring.push_in_place(one).err();
            }
        };
        // SAFETY: moves a pointer to where there is room for it.
        unsafe { top.with(push) };
        object.map_or(Ok(()), Err)
    }

    /// Like [`Lent::push`], but takes the ring out, to grow it or to create it. Not while the
    /// thread panics: the ring would be dropped.
    #[cold]
    #[inline(never)]
    pub(super) fn push_slow(object: Pooled<PooledBytes>) {
        if let Some(mut ring) = object.class.lent.rings.try_get_fast() {
            ring.make_room();
            return ring.push(object);
        }
        if let Some(reason) = object.class.keeps_nothing() {
            // The last view frees the memory.
            return Pooled::discard_for(object, reason);
        }
        let class = Arc::clone(&object.class);
        let mut ring = class.lent.for_new_owner();
        ring.make_room();
        ring.push(object);
        drop(ring);
        // Relaxed: a thread that does not see it does it again.
        if !class.lent.entered.load(Ordering::Relaxed) {
            if let Some(origin) = class.origin.upgrade() {
                origin.has_lent(class.index);
                class.lent.entered.store(true, Ordering::Relaxed);
            }
        }
        // After the ring is back in its place: a pass that has not seen it there has finished its
        // look, and has said so before.
        class.tell_janitor();
    }

    /// Points an entry at the rings.
    ///
    /// # Safety
    /// This must outlive all use of the entry.
    pub(super) unsafe fn enter_by(&self, entry: &Entry<Ring>) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.rings.enter_by(entry) };
    }

    /// Looks further into this thread's ring, after its oldest handle still had views. If it returns
    /// `None`, a buffer may have become idle in this thread's cache.
    pub(super) fn look(&self) -> Option<Pooled<PooledBytes>> {
        // While a thread panics, the ring would be dropped instead of returned.
        if panicking() {
            return None;
        }
        self.rings.try_get_fast()?.look()?.unchanged()
    }

    /// Returns a ring for a thread that has none: one that no thread has, or a new one. A ring with
    /// buffers without views stays where every thread can find it, unless this takes the last of them.
    fn for_new_owner(&self) -> Pooled<Ring> {
        if let Some(mut other) = self.rings.try_get() {
            if !other.make_one_idle() || other.is_empty() {
                return other;
            }
            Pooled::give_to_all(other);
        }
        self.rings.attach(Ring::new(self.ring_stats.take()))
    }

    /// Looks into rings that no thread has: those of ended threads, and one that a pass was using
    /// when its thread wanted it, so that the thread created another. If this returns `None`, a buffer
    /// may have become idle in this thread's cache.
    ///
    /// A ring with a buffer without views goes back to where every thread can find it, because there
    /// may be more such buffers in it. A ring without one becomes part of this thread's, so it is looked
    /// into once and does not hide the others.
    pub(super) fn look_elsewhere(&self) -> Option<Pooled<PooledBytes>> {
        if panicking() {
            return None;
        }
        let mut mine = self.rings.try_get_fast();
        for _ in 0..ELSEWHERE {
            let mut other = self.rings.try_get()?;
            if let Some(found) = other.look() {
                // An empty one serves this thread's next freeze.
                if mine.is_some() || !other.is_empty() {
                    release(other);
                }
                return found.unchanged();
            }
            match &mut mine {
                Some(ring) => ring.merge(Pooled::into_inner(other)),
                None => mine = Some(other),
            }
        }
        None
    }

    /// Switches lending on or off. Switching it off releases the handles of all rings, and no new
    /// ring is created.
    pub(super) fn switch(&self, on: bool) {
        if on && !self.rings.is_used() {
            return;
        }
        self.rings.set_enabled(on);
        if !on {
            self.clear();
        }
    }

    /// For a pass: looks at every handle once. `found` gets the buffers that have no views left or
    /// have waited long enough. Returns whether there may be something to look at next time.
    fn look_at_all(&self, mut found: impl FnMut(Pooled<PooledBytes>)) -> bool {
        let mut more = false;
        let all = self.rings.sift(None, |ring| {
            ring.sift(&mut found);
            // A ring that is in use is empty now and then.
            let empty = ring.is_empty();
            let came = ring.stats.has_come();
            let keep = std::mem::replace(&mut ring.came, came) != came || !empty;
            more |= keep;
            keep
        });
        more || !all
    }

    /// Releases all handles.
    pub(super) fn clear(&self) {
        self.rings.sift(Some(Timeout::Long), |_| false);
    }

    /// Releases all handles, now and in future.
    pub(super) fn close(&self) {
        self.rings.close();
    }

    pub(super) fn totals(&self) -> RingTotals {
        self.ring_stats.totals()
    }

    /// Counts an object larger than its class that starts to wait or (with wrapped `bytes`) stops.
    pub(super) fn add_extra(&self, bytes: usize) {
        // Relaxed: a counter.
        self.extra.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Class {
    /// Returns the capacity of all lent buffers, in bytes.
    pub(super) fn lent_bytes(&self) -> u64 {
        // Relaxed: a counter.
        let extra = self.lent.extra.load(Ordering::Relaxed) as isize;
        let handles = self.lent.totals().handles;
        handles * self.size as u64 + extra.max(0) as u64
    }

    /// Looks at all lent buffers; returns whether there may be something to look at next time.
    pub(super) fn look_at_all(&self) -> bool {
        self.lent.look_at_all(return_lent_to_depot)
    }

    /// Looks at all lent buffers now and then, if there are more than may be idle: every [`APART`]
    /// operations, or if the last look found little, once in as many operations as there are handles.
    pub(super) fn relieve_if_due(&self) {
        // Relaxed throughout: a lost count delays a look.
        let left = self.lent.due.load(Ordering::Relaxed);
        if left > 0 {
            return self.lent.due.store(left - 1, Ordering::Relaxed);
        }
        let before = self.lent.totals();
        let mut due = APART;
        if self.lent_bytes() > self.limit as u64 {
            self.look_at_all();
            let found = before.handles.saturating_sub(self.lent.totals().handles);
            let share = if found > before.handles / 8 { 8 } else { 1 };
            due = due.max(before.handles / share);
        }
        self.lent.due.store(due as usize, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
