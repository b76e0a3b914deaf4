//! One pool's inside: the caches, the depot, the limits.
//!
//! Everything here is untyped: nodes are [`Link`]s, and what needs `T` (dropping a node, freeing
//! the core) goes through a [`VTable`]. `object/shell.rs` puts the typed part behind this one in the same
//! allocation. A core is passive: it starts no thread and runs no pass by itself.
//!
//! # The life of a core
//! *Strong* references are the pool's handle and one for each node (I6). When the last is gone, the
//! user's closures are dropped. *Weak* references are those of threads that have a cache here, of
//! the janitor, and one for all strong ones together; with the last of them the memory goes (`refs.rs`).
//!
//! Dropping the pool closes the core: all gates are inactive for good, caches and depot are emptied,
//! which releases the nodes and so breaks the cycle. A guard that comes later finds the gate
//! inactive, then the depot closed, and frees its node. An owner that a visitor could not wait for empties its
//! own cache when it finds its gate shut.
//!
//! # What is on which line
//! The head and the first fields are read by every hit and by every return from another thread, and written when a
//! pool is set up, switched, or changes its mode. What slow paths write comes after them, on lines of its own (I10).
//!
//! # Orderings
//! - `state`, `crossings_use_depot`, `crossing_seen`, `drain_requested`, `visit_timed_out`: Relaxed hints on slow paths; what decides is the gate and the depot's lock.
//! - `newest`: publish Release, read Acquire: the reader sees the caches below it.
//! - `off_counter`, `made_off_counter`: publish Release, read Acquire: the reader sees its zeros.
//! - `watched`: see `background/watch_list.rs`.

use super::cache::Cache;
use super::depot::{Depot, Refused};
use super::cache_table::CacheTable;
use super::header::Header;
use super::limits::{Charge, Limits};
use super::node::{Batch, Link, NO_OWNER, OpaqueCore};
use super::off_counter::OffCounter;
use super::stats::{Counters, Reason};
use crate::sync::{
    AtomicBool, AtomicPtr, AtomicUsize, CachePadded, StatUsize, StatU32, StatPtr, Mutex, Ordering,
};
use crate::sys::panics::swallow;
use crate::sys::thread_id::ThreadId;
use crate::sys::generation::generation;
use crate::sys::timer::Timer;
use std::mem::offset_of;
use std::ptr;
use std::time::Duration;

/// What an untyped core asks of its type.
#[derive(Debug)]
pub(crate) struct VTable {
    /// Drops the object, frees its node, and releases the node's reference; may panic. The core is
    /// the node's.
    pub(crate) drop_node: unsafe fn(*const Core, *mut Link),
    /// What a pass has to do besides; `true` if it wants to see the next one. User code. Needs a
    /// strong reference.
    pub(crate) on_pass: unsafe fn(*const Core) -> bool,
    /// The pool's name. Needs a strong reference.
    #[allow(dead_code, reason = "for events, which are a feature")]
    pub(crate) name: unsafe fn(*const Core) -> Option<String>,
    /// Drops the user's closures.
    pub(crate) drop_payload: unsafe fn(*const Core),
    /// Frees the memory.
    pub(crate) free: unsafe fn(*const Core),
}

const UNWATCHED: usize = 0;
const MANUAL: usize = usize::MAX;

const CLOSED: u8 = 1;
const SWITCHED_OFF: u8 = 2;
/// An object was kept that is heavier than usual: returns ask how much of one is used.
const CHECKS_USE: u8 = 4;
/// No thread has a cache: see `object/diagnosed/`.
const DIAGNOSTICS: u8 = 8;

/// A pool's inside. The head comes first: the hit path finds it at the pool's pointer.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Core {
    header: Header,
    pub(super) vtable: &'static VTable,
    /// Where the core lives, with the provenance of its whole allocation.
    address: AtomicPtr<Core>,
    /// A visitor has left it to an owner to empty its cache, once or more.
    drain_requested: AtomicBool,
    /// Time between two passes of the janitor; `None`: the user runs them.
    interval: Option<Duration>,
    /// What counts the objects that are handed out while the pool is switched off; null while it is on.
    off_counter: StatPtr<OffCounter>,
    /// The same whether it is on or off, once it was off; from a box.
    made_off_counter: StatPtr<OffCounter>,
    pub(crate) depot: CachePadded<Depot>,
    pub(crate) limits: Limits,
    /// Visitors take turns. Guards the reasons at the gates, and the list of caches.
    pub(super) visits: Mutex<()>,
    /// The process in which `visits` was locked last; see `visit.rs`, "Fork".
    pub(super) visit_generation: StatUsize,
    /// Whether the last visit that waited for an owner did so until its timeout ran out.
    pub(super) visit_timed_out: AtomicBool,
    /// Objects that ending threads are handing over to the depot; see `peaks.rs`.
    pub(super) exiting: StatU32,
    /// The caches that ever had an owner, newest first. They stay on the list when they become vacant.
    newest: AtomicPtr<Cache>,
    pub(crate) counters: Counters,
    /// Returns that passes have seen.
    pub(crate) returned_at_pass: StatUsize,
    /// The janitor's generation while it watches this pool; [`UNWATCHED`], or [`MANUAL`] for good.
    watched: AtomicUsize,
    /// For passes without a janitor.
    pub(crate) pass_timer: Timer,
    pub(super) strong: AtomicUsize,
    pub(super) weak: AtomicUsize,
}

impl Core {
    /// Where [`Core::has_state_bits`] looks, in bytes from the start.
    #[allow(dead_code, reason = "for objects of no pool, which loom does without")]
    pub(crate) const STATE_AT: usize = offset_of!(Self, header.state);

    /// A core with one strong reference (the pool's), which is to be finished with
    /// [`Core::set_address`] once it has its address.
    pub(crate) fn new(
        vtable: &'static VTable,
        limits: Limits,
        slow_returns: bool,
        interval: Option<Duration>,
    ) -> Self {
        Self {
            header: Header::new(slow_returns, limits.bounded()),
            vtable,
            address: AtomicPtr::new(ptr::null_mut()),
            drain_requested: AtomicBool::new(false),
            interval,
            off_counter: StatPtr::new(ptr::null_mut()),
            made_off_counter: StatPtr::new(ptr::null_mut()),
            depot: CachePadded::new(Depot::new()),
            limits,
            visits: Mutex::new(()),
            visit_generation: StatUsize::new(generation()),
            visit_timed_out: AtomicBool::new(false),
            exiting: StatU32::new(0),
            newest: AtomicPtr::new(ptr::null_mut()),
            counters: Counters::new(),
            returned_at_pass: StatUsize::new(0),
            watched: AtomicUsize::new(if interval.is_some() {
                UNWATCHED
            } else {
                MANUAL
            }),
            pass_timer: Timer::new(),
            strong: AtomicUsize::new(1),
            weak: AtomicUsize::new(1),
        }
    }

    /// Tells the core where it lives: with the provenance of its whole allocation.
    ///
    /// # Safety
    /// `core` is a live core that no other thread knows yet.
    pub(crate) unsafe fn set_address(core: *const Core) {
        // Relaxed: before any other thread knows the core.
        // SAFETY: upheld by the caller.
        unsafe { (*core).address.store(core.cast_mut(), Ordering::Relaxed) };
        // SAFETY: in bounds of the core.
        let first = unsafe { &raw const (*core).first_cache };
        // SAFETY: the caller's; the cache lives as long as the directory, which is in the same core.
        unsafe { (*core).head.directory.set_first(first.cast_mut()) };
    }

    /// Where the core lives, with the provenance of its whole allocation.
    #[inline]
    pub(crate) fn address(&self) -> *const Core {
        self.address.load(Ordering::Relaxed)
    }

    /// This core as its nodes know it.
    pub(crate) fn as_node_core(&self) -> *const OpaqueCore {
        self.address().cast()
    }

    /// The core that owns this node.
    ///
    /// # Safety
    /// The caller holds the node (I1).
    #[inline(always)]
    pub(crate) unsafe fn of(link: *mut Link) -> *const Core {
        // SAFETY: upheld by the caller.
        unsafe { Link::core(link) }.cast()
    }

    // ---------------------------------------------------------------- caches

    /// What the layer above needs for a return.
    #[inline(always)]
    pub(crate) fn of_type(&self) -> [*mut (); 2] {
        self.header.of_type
    }

    /// Before any other thread knows the core.
    #[allow(dead_code, reason = "for typed pools, which loom does without")]
    pub(crate) fn set_of_type(&mut self, to: [*mut (); 2]) {
        self.header.of_type = to;
    }

    #[inline(always)]
    pub(crate) fn cache_table(&self) -> &CacheTable {
        &self.header.cache_table
    }

    /// Enters a node, which its thread is about to have or has in hand, at a cache of this core.
    ///
    /// # Safety
    /// The caller holds the node; the cache is that of the place of `owner`.
    #[inline(always)]
    pub(crate) unsafe fn set_last_cache(&self, link: *mut Link, cache: &Cache, owner: u32) {
        // SAFETY: the caller holds the node.
        unsafe { Link::set_last_cache(link, cache.as_opaque()) };
        let owner = if self.header.slow_returns {
            NO_OWNER
        } else {
            owner
        };
        // SAFETY: as above.
        unsafe { Link::set_last_owner(link, owner) };
    }

    /// The calling thread's cache, which is the node's home then; `None`: take the slow path. `mine` is the
    /// thread's `owner` number, and `look` finds its cache.
    ///
    /// It reads the node, and lines of the core that are rarely written: none that another thread's hits write
    /// (I10).
    ///
    /// # Safety
    /// The caller holds the node, which is of this core.
    #[inline(always)]
    pub(crate) unsafe fn cache_for_return<'a>(
        core: *const Core,
        link: *mut Link,
        mine: u32,
        look: impl FnOnce(&CacheTable) -> *const Cache,
    ) -> Option<&'a Cache> {
        // SAFETY: the caller holds the node.
        let last_cache = unsafe { Link::last_cache(link) };
        // SAFETY: as above.
        if unsafe { Link::last_owner(link) } == mine {
            // SAFETY: a node with an owner has a home, whose core it keeps.
            return Some(unsafe { Cache::at(last_cache) });
        }
        // SAFETY: the node keeps its core alive (I6).
        let core = unsafe { &*core };
        // SAFETY: caches live as long as their core.
        let cache = unsafe { look(&core.header.cache_table).as_ref() }?;
        if last_cache != cache.as_opaque() {
            if core.header.bounded && !last_cache.is_null() {
                core.note_crossing();
                if core.crossings_use_depot() {
                    return None; // to the depot
                }
            }
            // SAFETY: the caller holds the node; the cache is at this thread's place.
            unsafe { core.set_last_cache(link, cache, mine) };
        }
        Some(cache)
    }

    /// Makes a batch's nodes at home in a cache of this core.
    ///
    /// # Safety
    /// The batch is of this core; the cache is that of the place of `id`.
    pub(crate) unsafe fn set_last_cache_of_batch(&self, batch: &Batch, cache: &Cache, id: ThreadId) {
        let owner = if self.header.slow_returns {
            NO_OWNER
        } else {
            id.as_owner()
        };
        // SAFETY: upheld by the caller.
        unsafe { batch.set_last_cache(cache.as_opaque(), owner) };
    }

    /// Puts a cache on the list.
    ///
    /// # Safety
    /// The caller holds the visits; the cache is of this core and not listed.
    pub(crate) unsafe fn list(&self, cache: &Cache) {
        // Relaxed: the list grows under the visits only.
        let newest = self.newest.load(Ordering::Relaxed);
        cache.next_listed.store(newest, Ordering::Relaxed);
        let cache = ptr::from_ref(cache).cast_mut();
        // Release: pairs with the Acquire in `each_cache`, for readers without the visits: they see the zeros of a
        // fresh cache, and the cache below it.
        self.newest.store(cache, Ordering::Release); // mutant: publish-cache
    }

    /// The caches that ever had an owner.
    pub(crate) fn each_cache(&self, mut f: impl FnMut(&Cache)) {
        // Acquire: pairs with the Release in `list`.
        let mut next = self.newest.load(Ordering::Acquire); // mutant: read-list
        while !next.is_null() {
            // SAFETY: caches live as long as their core, and the list only grows.
            let cache = unsafe { &*next };
            // Relaxed: written before the cache came onto the list.
            next = cache.next_listed.load(Ordering::Relaxed);
            f(cache);
        }
    }

    // ---------------------------------------------------------------- state

    pub(crate) fn is_closed(&self) -> bool {
        self.header.state.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Whether nothing is kept at the moment: closed, or switched off.
    #[inline]
    pub(crate) fn is_inactive(&self) -> bool {
        self.header.state.load(Ordering::Relaxed) & (CLOSED | SWITCHED_OFF) != 0
    }

    /// Whether a return is more than a reset and a push, or keeps nothing. A single test.
    ///
    /// # Safety
    /// There is such an atomic [`Core::STATE_AT`] bytes from `core`: of a live core, or of what stands in for one.
    #[inline]
    pub(crate) unsafe fn has_state_bits(core: *const Core) -> bool {
        // SAFETY: in bounds, by the caller.
        let state = unsafe { &raw const (*core).header.state };
        // SAFETY: upheld by the caller.
        unsafe { &*state }.load(Ordering::Relaxed) != 0
    }

    /// No thread will have a cache. Before the core is used.
    pub(crate) fn set_diagnostics(&self) {
        self.header.state.fetch_or(DIAGNOSTICS, Ordering::Relaxed);
    }

    #[allow(dead_code, reason = "for diagnosed pools, which are a feature")]
    pub(crate) fn has_diagnostics(&self) -> bool {
        self.header.state.load(Ordering::Relaxed) & DIAGNOSTICS != 0
    }

    /// An object of this weight is about to be kept.
    pub(crate) fn note_weight(&self, weight: usize) {
        if weight > self.limits.usual_weight() {
            self.header.state.fetch_or(CHECKS_USE, Ordering::Relaxed);
        }
    }

    /// A visitor leaves it to an owner to empty its cache.
    pub(super) fn note_drain_request(&self) {
        self.drain_requested.store(true, Ordering::Relaxed);
    }

    /// Whether a visitor has ever left it to an owner to empty its cache.
    #[inline]
    pub(crate) fn has_drain_requests(&self) -> bool {
        self.drain_requested.load(Ordering::Relaxed)
    }

    /// Why nothing is kept at the moment, if so.
    pub(crate) fn inactive_reason(&self) -> Option<Reason> {
        match self.header.state.load(Ordering::Relaxed) & (CLOSED | SWITCHED_OFF) {
            0 => None,
            state if state & CLOSED != 0 => Some(Reason::Closed),
            _ => Some(Reason::SwitchedOff),
        }
    }

    #[inline]
    pub(crate) fn is_enabled(&self) -> bool {
        self.header.state.load(Ordering::Relaxed) & SWITCHED_OFF == 0
    }

    pub(crate) fn set_closed(&self) {
        // Relaxed: before the janitor's entry goes, under the watch list's lock, so that a thread that looks at an
        // entry that a late return has made since finds it closed.
        self.header.state.fetch_or(CLOSED, Ordering::Relaxed); // mutant: drop-closed-first
    }

    /// What counts objects while the pool is switched off; `None` while it is on.
    #[inline]
    pub(crate) fn off_counter(&self) -> Option<&OffCounter> {
        // Acquire: pairs with the Release in `set_switched_on`.
        let off = self.off_counter.load(Ordering::Acquire);
        // SAFETY: null, or from the box that is freed with the core.
        unsafe { off.as_ref() }
    }

    /// Objects handed out while the pool was switched off.
    pub(super) fn handed_out_off(&self) -> u64 {
        // Acquire: pairs with the Release in `make_off_counter`.
        let off = self.made_off_counter.load(Ordering::Acquire);
        // SAFETY: as above.
        unsafe { off.as_ref() }.map_or(0, OffCounter::sum)
    }

    fn make_off_counter(&self) -> *mut OffCounter {
        // Acquire: pairs with the Release below.
        let made = self.made_off_counter.load(Ordering::Acquire);
        if !made.is_null() {
            return made;
        }
        let fresh = Box::into_raw(Box::new(OffCounter::new()));
        // Release: pairs with the Acquire above and in `handed_out_off`. Acquire: the other's.
        match self.made_off_counter.compare_exchange(
            ptr::null_mut(),
            fresh,
            Ordering::Release,
            Ordering::Acquire,
        ) {
            Ok(_) => fresh,
            Err(first) => {
                // SAFETY: I8: from the box above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                first
            }
        }
    }

    pub(super) fn set_switched_on(&self, on: bool) {
        if on {
            self.header.state.fetch_and(!SWITCHED_OFF, Ordering::AcqRel);
        } else {
            self.header.state.fetch_or(SWITCHED_OFF, Ordering::AcqRel);
        }
        // As it is now: another thread may have switched since. AcqRel, here and above: the thread that looks last
        // stores last.
        let is_off = || self.header.state.fetch_or(0, Ordering::AcqRel) & SWITCHED_OFF != 0;
        let mut now = is_off();
        loop {
            let off = if now {
                self.make_off_counter()
            } else {
                ptr::null_mut()
            };
            // Release: pairs with the Acquire in `off_counter`.
            self.off_counter.store(off, Ordering::Release);
            let before = std::mem::replace(&mut now, is_off());
            if now == before {
                break;
            }
        }
    }

    // ---------------------------------------------------------------- objects that cross threads
    // In a bounded pool, the thread that drops what another one gets would sit on all that the limit allows.

    /// Whether an object that comes back to another thread than the one that got it goes to the depot.
    #[inline]
    pub(crate) fn crossings_use_depot(&self) -> bool {
        self.header.crossings_use_depot.load(Ordering::Relaxed)
    }

    /// An object came back to another thread than the one that got it.
    #[inline]
    pub(crate) fn note_crossing(&self) {
        if self.header.bounded && !self.header.crossing_seen.load(Ordering::Relaxed) {
            self.header.crossing_seen.store(true, Ordering::Relaxed);
        }
    }

    /// A thread found nothing idle: perhaps because a limit keeps objects with the threads that dropped them.
    pub(crate) fn note_miss(&self) {
        if self.header.crossing_seen.load(Ordering::Relaxed) && !self.crossings_use_depot() && self.limits.is_tight() {
            self.header.crossings_use_depot.store(true, Ordering::Relaxed);
        }
    }

    /// A pass starts anew: what the last interval has shown is forgotten.
    pub(crate) fn forget_crossings(&self) {
        if self.header.bounded {
            self.header.crossing_seen.store(false, Ordering::Relaxed);
            self.header.crossings_use_depot.store(false, Ordering::Relaxed);
        }
    }

    // ---------------------------------------------------------------- the janitor

    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Whether the janitor will look at this pool by itself, or the user runs its passes.
    pub(crate) fn is_watched(&self) -> bool {
        // Relaxed: see `watch_list::janitor_passes` for what orders it.
        let watched = self.watched.load(Ordering::Relaxed);
        watched == MANUAL || watched == generation()
    }

    pub(crate) fn set_watched(&self, watched: bool) {
        if self.interval.is_some() {
            // Relaxed: as above.
            self.watched
                .store(if watched { generation() } else { UNWATCHED }, Ordering::Relaxed);
        }
    }

    // ---------------------------------------------------------------- dropping

    /// Drops one node for a reason.
    ///
    /// # Safety
    /// The node is of this core; the caller holds it and gives it up.
    pub(crate) unsafe fn discard(link: *mut Link, reason: Reason) {
        // SAFETY: the caller holds the node.
        let core = unsafe { Core::of(link) };
        // SAFETY: the node keeps its core alive (I6).
        unsafe { (*core).counters.discarded(reason, 1) };
        // SAFETY: as above.
        let drop_node = unsafe { (*core).vtable.drop_node };
        // SAFETY: upheld by the caller.
        unsafe { drop_node(core, link) };
    }

    /// Drops the nodes of a batch and gives back the charge for them. User code runs: nothing may
    /// be held.
    pub(crate) fn drop_batch(&self, batch: Batch) {
        self.limits.release(Charge {
            objects: batch.len,
            bytes: batch.bytes,
        });
        self.drop_nodes(batch);
    }

    /// Drops the nodes of a batch that is not charged for any more. A panic of one object's destructor does
    /// not keep the others from going; the first one goes on when all are gone.
    pub(crate) fn drop_nodes(&self, mut batch: Batch) {
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

    /// Frees what the core has in allocations of its own.
    ///
    /// # Safety
    /// The core is about to be freed: no thread uses its caches any more.
    pub(crate) unsafe fn free_caches(&mut self) {
        // SAFETY: upheld by the caller.
        unsafe { self.header.cache_table.free() };
        let off = std::mem::replace(self.made_off_counter.get_mut(), ptr::null_mut());
        if !off.is_null() {
            // SAFETY: I8: from the box in `make_off_counter`; no other thread knows the core any more.
            drop(unsafe { Box::from_raw(off) });
        }
    }
}
