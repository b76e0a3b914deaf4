//! One pool's inside: the caches, the depot, the limits, and how it closes.
//!
//! Everything here is untyped: nodes are [`Link`]s, and what needs `T` (dropping a node, freeing
//! the core) goes through a [`VTable`]. `pool.rs` puts the typed part, the `create` and `reset`
//! functions, behind this one in the same allocation.
//!
//! # The life of a core
//! *Strong* references are the pool's handle and one for each node (I6). When the last is gone, the
//! user's closures are dropped. *Weak* references are those of threads that have a cache here, of
//! the janitor, and one for all strong ones together; with the last of them the memory goes.
//!
//! Dropping the pool closes the core: all gates are barred for good, caches and depot are emptied,
//! which releases the nodes and so breaks the cycle. A guard that comes later finds the gate
//! barred, then the depot closed, and frees its node.
//!
//! # Orderings
//! - strong, weak: decrement Release, last one loads Acquire: whoever frees sees what all the
//!   others did. Increments are Relaxed: they start from a reference that is held.
//! - `state`: Relaxed hints on slow paths; what decides is the gate and the depot's lock.

use super::cache::{Cache, Home, Returned, Shut};
use super::directory::Directory;
use super::lists::full_len;
use super::refs::{Falling, WeakCore};
use super::visit::Listed;
use crate::raw::depot::{Depot, End, Refused};
use crate::raw::limits::{Charge, Limits};
use crate::raw::node::{Batch, Link};
use crate::raw::stats::{Counters, Reason};
use crate::sync::{AtomicU8, AtomicUsize, Mutex, Ordering, Patience};
use crate::sys::panics::swallow;
use crate::sys::process::epoch;
use crate::sys::timer::Timer;
use crate::thread::attach::Number;
use std::ptr;
use std::time::Duration;

/// What an untyped core asks of its type.
#[derive(Debug)]
pub(crate) struct VTable {
    /// Drops the object, frees its node, and releases the node's reference; may panic. The core is
    /// the node's: told, so that nobody has to ask the node, whose home is another cold line.
    pub(crate) drop_node: unsafe fn(*const Core, *mut Link),
    /// What a pass has to do besides; `true` if it wants to see the next one. User code. Needs a
    /// strong reference.
    pub(crate) on_pass: unsafe fn(*const Core) -> bool,
    /// Drops the user's closures.
    pub(crate) drop_payload: unsafe fn(*const Core),
    /// Frees the memory.
    pub(crate) free: unsafe fn(*const Core),
}

const UNWATCHED: usize = 0;
const MANUAL: usize = usize::MAX;

pub(super) const CLOSED: u8 = 1;
const SWITCHED_OFF: u8 = 2;

/// A pool's inside. The directory comes first: the hit path finds it at the pool's pointer.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Core {
    pub(super) directory: Directory,
    pub(super) state: AtomicU8,
    pub(super) vtable: &'static VTable,
    /// The home of nodes that were never on a cache of their own, and of all nodes of a pool
    /// that wants every return on the slow path.
    orphan: Home,
    /// Returns must take the slow path, because the reset is not the type's own.
    slow_returns: bool,
    pub(crate) limits: Limits,
    pub(crate) depot: Depot,
    /// Visitors take turns. Guards the list of registered caches as well.
    pub(super) visits: Mutex<Listed>,
    pub(crate) counters: Counters,
    /// Time between two passes of the janitor; `None`: the user runs them.
    interval: Option<Duration>,
    /// The janitor's epoch while it watches this pool; [`UNWATCHED`], or [`MANUAL`] for good.
    watched: AtomicUsize,
    /// For passes without a janitor.
    pub(crate) ridden: Timer,
    pub(super) strong: AtomicUsize,
    pub(super) weak: AtomicUsize,
}

impl Core {
    /// A core with one strong reference (the pool's), which is to be finished with
    /// [`Core::settle`] once it has its address.
    pub(crate) fn new(
        vtable: &'static VTable,
        limits: Limits,
        slow_returns: bool,
        interval: Option<Duration>,
    ) -> Self {
        Self {
            directory: Directory::new(),
            state: AtomicU8::new(0),
            vtable,
            orphan: Home::new(),
            slow_returns,
            limits,
            depot: Depot::new(),
            visits: Mutex::new(Listed {
                newest: ptr::null(),
                stuck: false,
            }),
            counters: Counters::new(),
            interval,
            watched: AtomicUsize::new(if interval.is_some() {
                UNWATCHED
            } else {
                MANUAL
            }),
            ridden: Timer::new(),
            strong: AtomicUsize::new(1),
            weak: AtomicUsize::new(1),
        }
    }

    /// Tells the core where it lives: with the provenance of its whole allocation.
    ///
    /// # Safety
    /// `core` is a live core that nobody else knows yet.
    pub(crate) unsafe fn settle(core: *const Core) {
        // SAFETY: the caller's.
        unsafe { (*core).orphan.set_core(core) };
    }

    /// Where the core lives, with the provenance of its whole allocation.
    pub(crate) fn address(&self) -> *const Core {
        self.orphan.core()
    }

    pub(crate) fn orphan(&self) -> &Home {
        &self.orphan
    }

    // ---------------------------------------------------------------- state

    pub(crate) fn is_closed(&self) -> bool {
        self.state.load(Ordering::Relaxed) & CLOSED != 0
    }

    #[inline]
    pub(crate) fn is_barred(&self) -> bool {
        self.state.load(Ordering::Relaxed) != 0
    }

    /// Why nothing is kept at the moment, if so.
    pub(crate) fn barred(&self) -> Option<Reason> {
        match self.state.load(Ordering::Relaxed) {
            0 => None,
            state if state & CLOSED != 0 => Some(Reason::Closed),
            _ => Some(Reason::SwitchedOff),
        }
    }

    /// Whether neither the pool nor a guard is left.
    pub(crate) fn is_gone(&self) -> bool {
        // Acquire: pairs with the Release in `release`.
        self.strong.load(Ordering::Acquire) == 0
    }

    /// Switches pooling off and on. Off, every gate is barred, so that every operation takes the
    /// slow path and finds out there.
    pub(crate) fn set_enabled(&self, on: bool) {
        let Some(listed) = self.visits.lock_bounded(Patience::Long) else {
            return;
        };
        if on {
            self.state.fetch_and(!SWITCHED_OFF, Ordering::Relaxed);
        } else {
            self.state.fetch_or(SWITCHED_OFF, Ordering::Relaxed);
        }
        listed.each(|cache| cache.set_barred(self.is_barred()));
    }

    // ---------------------------------------------------------------- the janitor

    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Whether the janitor will look at this pool by itself, or nobody wants it to.
    pub(crate) fn is_watched(&self) -> bool {
        // Relaxed: see `registry::watchful_pass` for what orders it.
        let watched = self.watched.load(Ordering::Relaxed);
        watched == MANUAL || watched == epoch()
    }

    pub(crate) fn set_watched(&self, watched: bool) {
        if self.interval.is_some() {
            // Relaxed: as above.
            self.watched
                .store(if watched { epoch() } else { UNWATCHED }, Ordering::Relaxed);
        }
    }

    /// An object has become idle by the slow path, or was on its way between a cache and the depot,
    /// where a pass does not see it, or a pass has something to look at all the same.
    pub(crate) fn tell_janitor(&self) {
        crate::background::manual::ensure_watched(self);
    }

    // ---------------------------------------------------------------- get

    /// An idle node, the long way round; null when none is in reach.
    pub(crate) fn take(&self, number: Option<Number>) -> *mut Link {
        if self.is_barred() {
            return ptr::null_mut();
        }
        if let Some(cache) = number.and_then(|number| self.cache_of(number)) {
            // SAFETY: `cache_of` gives the owner its cache.
            match unsafe { cache.pop_slow() } {
                Ok(link) if !link.is_null() => return link,
                Ok(_) => return self.refill(cache),
                Err(Shut) => {}
            }
        }
        let link = self.depot.take_one();
        if !link.is_null() {
            self.handed_out_from_depot(link);
        }
        link
    }

    /// The owner's lists are empty: takes a batch from the depot, hands out its top node.
    fn refill(&self, cache: &Cache) -> *mut Link {
        let Some(mut batch) = self.depot.take() else {
            return ptr::null_mut();
        };
        let link = batch.pop();
        self.handed_out_from_depot(link);
        // SAFETY: I1: taken from the batch; the home is of its core.
        unsafe { Link::set_home(link, self.home_in(cache)) };
        // SAFETY: the depot's nodes are of this core, and so is the home.
        let heaviest = unsafe { batch.settle(self.home_in(cache)) };
        let fits = batch.split_top(full_len(self.limits.bar_for(heaviest)));
        // SAFETY: the caller is the owner; settled above.
        let mut back = unsafe { cache.load(fits, heaviest, &self.limits) };
        back.append_below(batch);
        let bomb = Falling {
            link,
            reason: Reason::Panic,
        };
        // SAFETY: the pool is borrowed by the caller, and keeps the core.
        unsafe { Core::into_depot(self.address(), back, End::Hot) };
        std::mem::forget(bomb);
        self.tell_janitor(); // mutant: drop-tell-refill
        link
    }

    fn handed_out_from_depot(&self, link: *mut Link) {
        // SAFETY: I1: taken from the depot.
        let weight = unsafe { Link::weight(link) };
        self.limits.release(Charge {
            objects: 1,
            bytes: weight,
        });
        self.counters.reused(1);
    }

    // ---------------------------------------------------------------- give back

    // These take the core as a pointer: with the node they may give up the last thing that keeps
    // the core's memory, and no reference to it may be around then.

    /// Takes a node in, the long way round. It has been reset and weighs `weight`.
    ///
    /// # Safety
    /// The node is of this core; the caller holds it and gives it up.
    pub(crate) unsafe fn give(
        core: *const Core,
        number: Option<Number>,
        link: *mut Link,
        weight: usize,
    ) {
        // SAFETY: the node keeps its core alive (I6).
        let this = unsafe { &*core };
        let cache = number.and_then(|number| this.cache_of(number));
        let mut leaving = (Batch::EMPTY, End::Hot);
        // A thread with a cache here holds a weak reference; another one needs its own, because
        // once the node is in the depot somebody else may free the core.
        let keep = cache.is_none().then(|| WeakCore::new(this));
        // SAFETY: the caller's; the cache is its owner's.
        let outcome = unsafe { this.try_give(cache, link, weight, &mut leaving) };
        // Below, user code may run (destructors of what the depot refuses, passes), and that may end
        // the thread's weak reference as well.
        let kept = outcome.is_ok();
        let keep = keep.or_else(|| {
            let plain = leaving.0.is_empty() && (!kept || this.is_watched());
            (!plain).then(|| WeakCore::new(this))
        });
        // Also if a destructor panics below.
        let refused = outcome.err().map(|reason| Falling { link, reason });
        if kept {
            // SAFETY: kept, as above.
            unsafe { (*core).tell_janitor() }; // mutant: drop-tell-return
        }
        let (leaving, end) = leaving;
        if !leaving.is_empty() {
            // SAFETY: kept, as above.
            unsafe { Core::into_depot(core, leaving, end) };
            // SAFETY: as above.
            unsafe { (*core).tell_janitor() }; // mutant: drop-tell-rotation
        }
        drop(refused);
        drop(keep);
    }

    /// # Safety
    /// As [`Core::give`], and `cache` is the caller's; `Err` leaves the node with the caller.
    unsafe fn try_give(
        &self,
        cache: Option<&Cache>,
        link: *mut Link,
        weight: usize,
        leaving: &mut (Batch, End),
    ) -> Result<(), Reason> {
        if let Some(reason) = self.barred() {
            return Err(reason);
        }
        if !self.limits.accepts(weight) {
            return Err(Reason::Oversize);
        }
        if let Some(cache) = cache {
            // SAFETY: the caller holds the node, which is of this core.
            unsafe { Link::set_home(link, self.home_in(cache)) };
            // SAFETY: the caller is the owner of its cache, and gives the node up.
            match unsafe { cache.push_slow(link, weight, &self.limits) } {
                Ok(Returned::Kept(full)) => {
                    *leaving = full;
                    return Ok(());
                }
                Ok(Returned::Refused(full, reason)) => {
                    *leaving = full;
                    return Err(reason);
                }
                Err(Shut) => {}
            }
        }
        let charge = Charge {
            objects: 1,
            bytes: weight,
        };
        self.limits.reserve(charge)?;
        // SAFETY: the caller holds the node.
        unsafe { Link::set_home(link, &raw const self.orphan) };
        // SAFETY: as above.
        unsafe { Link::set_weight(link, weight) };
        // SAFETY: the caller gives the node up.
        match unsafe { self.depot.give_one(link) } {
            Ok(()) => {
                self.counters.returned(1);
                Ok(())
            }
            Err(refused) => {
                self.limits.release(charge);
                Err(refused.reason())
            }
        }
    }

    /// Gives a batch, with the charge that came with it, to the depot; drops it if that is not to
    /// be had.
    ///
    /// # Safety
    /// The batch is of this core, and the core's memory is kept until this returns or later.
    pub(crate) unsafe fn into_depot(core: *const Core, batch: Batch, end: End) {
        // SAFETY: the caller's.
        let this = unsafe { &*core };
        if let Err(refused) = this.depot.give(batch, end, Patience::Short) {
            // The destructors below may do anything, also end what kept the core's memory.
            let _keep = WeakCore::new(this);
            this.drop_batch(this.count_refused(refused));
        }
    }

    /// Drops one node for a reason.
    ///
    /// # Safety
    /// The node is of this core; the caller holds it and gives it up.
    pub(crate) unsafe fn discard(link: *mut Link, reason: Reason) {
        // SAFETY: the caller holds the node.
        let core = unsafe { Link::core(link) };
        // SAFETY: the node keeps its core alive (I6).
        unsafe { (*core).counters.discarded(reason, 1) };
        // SAFETY: as above.
        let drop_node = unsafe { (*core).vtable.drop_node };
        // SAFETY: the caller's.
        unsafe { drop_node(core, link) };
    }

    /// Drops the nodes of a batch and gives back the charge for them. User code runs: nothing may
    /// be held. A panic of one object's destructor does not keep the others from going; the
    /// first one goes on when all are gone.
    pub(crate) fn drop_batch(&self, mut batch: Batch) {
        self.limits.release(Charge {
            objects: batch.len,
            bytes: batch.bytes,
        });
        let (core, drop_node) = (self.address(), self.vtable.drop_node);
        let mut first_panic = None;
        loop {
            let link = batch.pop();
            if link.is_null() {
                break;
            }
            // SAFETY: I1: taken from the batch, which is of this core.
            let one = std::panic::AssertUnwindSafe(|| unsafe { drop_node(core, link) });
            if let Err(panic) = std::panic::catch_unwind(one) {
                match &first_panic {
                    None => first_panic = Some(panic),
                    Some(_) => swallow(panic),
                }
            }
        }
        if let Some(panic) = first_panic {
            std::panic::resume_unwind(panic);
        }
    }

    /// Counts what the depot did not take; it is to be dropped.
    pub(crate) fn count_refused(&self, refused: Refused) -> Batch {
        let reason = refused.reason();
        let (Refused::Contended(batch) | Refused::Closed(batch)) = refused;
        self.counters.discarded(reason, batch.len);
        batch
    }

    /// The home that nodes get while they are in this cache.
    fn home_in(&self, cache: &Cache) -> *const Home {
        if self.slow_returns {
            return &raw const self.orphan;
        }
        // With the provenance of the whole cache, which a return casts it back to.
        ptr::from_ref(cache).cast()
    }
}

impl Refused {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Refused::Contended(_) => Reason::Full,
            Refused::Closed(_) => Reason::Closed,
        }
    }
}
