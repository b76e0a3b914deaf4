//! The core of a pool: its caches, depot, limits and counters.
//!
//! Everything here is untyped: nodes are [`Link`]s, and operations that need `T` (dropping a node, freeing the core) go
//! through a [`VTable`]. The layer above puts the typed part of a pool behind the core, in the same allocation. A core
//! is passive: it starts no thread and runs no pass.
//!
//! # The life of a core
//! The pool's handle and each node hold a *strong* reference (I6). With the last one, the user's closures are dropped.
//! Each thread with a cache here and the janitor hold a *weak* reference, and all strong ones together hold one. With
//! the last weak reference, the memory is freed (`refs.rs`).
//!
//! Dropping the pool closes the core: all gates are shut for good, and caches and depot are emptied. That drops the
//! idle nodes with their references, which breaks the cycle. A guard that is dropped later finds the gate shut and
//! the depot closed, and drops its node. If a visitor could not enter a cache before its timeout, the owner drains it
//! when it finds its gate shut.
//!
//! # Cache lines
//! Every hit, and every return from another thread, reads the header and the fields after it. They are written only
//! when a pool is set up, switched, or changes its mode, and by passes. The fields that slow paths write follow on other
//! cache lines (I10).
//!
//! # Orderings
//! - `state`, `drain_requested`, `visit_timed_out`: Relaxed hints on slow paths. The gate and the depot's lock decide.
//! - `newest`: publish Release, read Acquire: the reader sees the rest of the list.
//! - `off_counter`, `made_off_counter`: publish Release, read Acquire: the reader sees its zeros.
//! - `watched`: ordered as `background/watch_list.rs` describes.

use super::cache::Cache;
use super::cache_table::CacheTable;
use super::depot::{Depot, Refused};
use super::header::Header;
use super::limits::{Charge, Limits};
use super::node::{Batch, Link, NO_OWNER, OpaqueCore};
use super::off_counter::OffCounter;
use super::refusals::Refusals;
use super::stats::{Counters, Reason};
use crate::sync::publish::publish;
use crate::sync::switch::apply_latest;
use crate::sync::{
    AtomicBool, AtomicPtr, AtomicUsize, CachePadded, Mutex, Ordering, StatU32, StatUsize,
};
use crate::sys::generation::generation;
use crate::sys::panics::swallow;
use crate::sys::thread_id::ThreadId;
use crate::sys::timer::Timer;
use std::mem::offset_of;
use std::ptr;
use std::time::Duration;

/// The operations of a core that need its type.
///
/// # Safety
/// The core that is passed to each function is the one that this table was given to, and its memory is alive. Each
/// field says what else the caller has to uphold.
#[derive(Debug)]
pub(crate) struct VTable {
    /// Drops the object, frees its node, and releases the node's strong reference. Runs user code, and may panic.
    ///
    /// Safety: the node belongs to the core. The caller holds the node (I1), and gives it up, even if this panics.
    pub(crate) drop_node: unsafe fn(*const Core, *mut Link),
    /// The hook for passes: `true` if it has to run at the next pass as well. Runs user code.
    ///
    /// Safety: the caller holds a strong reference until this returns.
    pub(crate) on_pass: unsafe fn(*const Core) -> bool,
    /// The pool's name, if it has one.
    ///
    /// Safety: the caller holds a strong reference until this returns.
    #[allow(dead_code, reason = "for events, which are a feature")]
    pub(crate) name: unsafe fn(*const Core) -> Option<String>,
    /// Drops the user's closures.
    ///
    /// Safety: the last strong reference is gone, the caller holds a weak one, and this is called once.
    pub(crate) drop_payload: unsafe fn(*const Core),
    /// Frees the memory.
    ///
    /// Safety: the last weak reference is gone, and no thread uses the core any more.
    pub(crate) free: unsafe fn(*const Core),
}

const UNWATCHED: usize = 0;
const MANUAL: usize = usize::MAX;

const CLOSED: u8 = 1;
const SWITCHED_OFF: u8 = 2;
/// An object heavier than usual was kept, so returns check how much of an object was used.
const CHECKS_USE: u8 = 4;
/// The pool has diagnostics, so no thread has a cache.
const DIAGNOSTICS: u8 = 8;

/// The untyped part of a pool. The header comes first, where the hit path finds it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Core {
    pub(super) header: Header,
    pub(super) vtable: &'static VTable,
    /// The core's own address, with the provenance of its whole allocation.
    address: AtomicPtr<Core>,
    /// Whether a visitor has ever asked an owner to drain its cache.
    drain_requested: AtomicBool,
    /// The time between two passes of the janitor; `None` if the user runs the passes.
    interval: Option<Duration>,
    /// Counts the objects that are handed out while the pool is switched off; null while it is on.
    off_counter: AtomicPtr<OffCounter>,
    /// The same counter, from a box: also while the pool is on, once it has been off.
    made_off_counter: AtomicPtr<OffCounter>,
    pub(super) more_depots: Box<[CachePadded<Depot>]>,
    /// The cache of the first thread ID: on its own cache lines, and in the page that a hit has just read.
    first_cache: Cache,
    /// The first depot; see `depots.rs`.
    pub(super) depot: CachePadded<Depot>,
    pub(crate) limits: Limits,
    /// The lock of visitors, which take turns. Guards the reasons at the gates, and the list of caches.
    pub(super) visits: Mutex<()>,
    /// Whether the last visit that waited for an owner timed out.
    pub(super) visit_timed_out: AtomicBool,
    /// Objects that exiting threads are moving to the depot; see `peaks.rs`.
    pub(super) exiting: StatU32,
    /// The number of returns to the depot before which crossings go there; see `crossings.rs`.
    pub(super) crossings_until: StatU32,
    /// The number of returns at the last pass. Only differences count. One of more than 32 bits is
    /// taken for less, which changes what one pass does.
    pub(crate) returned_at_pass: StatU32,
    /// What limits have refused since a thread last looked for hoards; see `hoards.rs`.
    pub(super) refusals: Refusals,
    /// The fork generation in which `visits` was last locked; see `visit.rs`, "Fork".
    pub(crate) visit_generation: StatUsize,
    /// The caches that ever had an owner, newest first. They stay on the list when they become vacant.
    newest: AtomicPtr<Cache>,
    pub(crate) counters: Counters,
    /// The fork generation of the janitor while it watches this pool, or else [`UNWATCHED`]. Always [`MANUAL`] if the
    /// user runs the passes.
    watched: AtomicUsize,
    /// For passes that returning threads run, without a janitor.
    pub(crate) pass_timer: Timer,
    pub(super) strong: AtomicUsize,
    pub(super) weak: AtomicUsize,
}

impl Core {
    /// The offset in bytes of the state that [`Core::has_state_bits`] reads.
    #[allow(
        dead_code,
        reason = "for objects of no pool, which the models do without"
    )]
    pub(crate) const STATE_AT: usize = offset_of!(Self, header.state);

    /// A core with one strong reference, that of the pool's handle. The caller has to call [`Core::set_address`] once
    /// the core has its address.
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
            off_counter: AtomicPtr::new(ptr::null_mut()),
            made_off_counter: AtomicPtr::new(ptr::null_mut()),
            more_depots: Box::default(),
            first_cache: Cache::vacant(),
            depot: CachePadded::new(Depot::new()),
            limits,
            visits: Mutex::new(()),
            visit_generation: StatUsize::new(generation()),
            visit_timed_out: AtomicBool::new(false),
            exiting: StatU32::new(0),
            crossings_until: StatU32::new(0),
            returned_at_pass: StatU32::new(0),
            refusals: Refusals::new(),
            newest: AtomicPtr::new(ptr::null_mut()),
            counters: Counters::new(),
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

    /// Stores the core's own address, with the provenance of its whole allocation, and the address of its first cache.
    ///
    /// # Safety
    /// `core` is alive, and no other thread knows it yet.
    pub(crate) unsafe fn set_address(core: *const Core) {
        // Relaxed: no other thread knows the core yet.
        // SAFETY: guaranteed by the caller.
        unsafe { (*core).address.store(core.cast_mut(), Ordering::Relaxed) };
        // SAFETY: in bounds of the core.
        let first = unsafe { &raw const (*core).first_cache };
        // SAFETY: guaranteed by the caller.
        let this = unsafe { &*core };
        // SAFETY: guaranteed by the caller. The cache lives as long as the table, which is in the same core.
        unsafe { this.header.cache_table.set_first(first.cast_mut()) };
    }

    /// The core's own address, with the provenance of its whole allocation.
    #[inline]
    pub(crate) fn address(&self) -> *const Core {
        self.address.load(Ordering::Relaxed)
    }

    /// The pointer to this core that its nodes hold.
    pub(crate) fn as_node_core(&self) -> *const OpaqueCore {
        self.address().cast()
    }

    /// The core that owns this node.
    ///
    /// # Safety
    /// The caller holds the node (I1).
    #[inline(always)]
    pub(crate) unsafe fn of(link: *mut Link) -> *const Core {
        // SAFETY: guaranteed by the caller.
        unsafe { Link::core(link) }.cast()
    }

    // ---------------------------------------------------------------- caches

    /// The two pointers of the layer above, which it needs for a return.
    #[inline(always)]
    pub(crate) fn of_type(&self) -> [*mut (); 2] {
        self.header.of_type
    }

    /// Sets the two pointers of the layer above, before another thread knows the core.
    #[allow(dead_code, reason = "for typed pools, which the models do without")]
    pub(crate) fn set_of_type(&mut self, to: [*mut (); 2]) {
        self.header.of_type = to;
    }

    #[inline(always)]
    pub(crate) fn cache_table(&self) -> &CacheTable {
        &self.header.cache_table
    }

    /// Makes a cache of this core a node's last cache.
    ///
    /// # Safety
    /// The caller holds the node. The cache belongs to the thread that `owner` stands for.
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

    /// The calling thread's cache, which becomes the node's last cache. `None`: take the slow path. `mine` is the
    /// `as_owner` of the thread's ID, and `look` finds its cache.
    ///
    /// Reads the node, and cache lines of the core that are rarely written, but none that another thread's hits write
    /// (I10).
    ///
    /// # Safety
    /// The caller holds the node, which belongs to this core.
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
            // SAFETY: a node with a last owner has a last cache, and keeps the core of that cache alive.
            return Some(unsafe { Cache::at(last_cache) });
        }
        // SAFETY: the node keeps its core alive (I6).
        let core = unsafe { &*core };
        // SAFETY: caches live as long as their core.
        let cache = unsafe { look(&core.header.cache_table).as_ref() }?;
        if last_cache != cache.as_opaque() {
            if core.notes_crossings() && !last_cache.is_null() {
                core.mark_crossing();
                if core.crossings_use_depot() {
                    return None; // to the depot
                }
            }
            // SAFETY: the caller holds the node, and the cache is this thread's.
            unsafe { core.set_last_cache(link, cache, mine) };
        }
        Some(cache)
    }

    /// Makes a cache of this core the last cache of a batch's nodes.
    ///
    /// # Safety
    /// The batch belongs to this core, and the cache to the thread with this ID.
    pub(crate) unsafe fn set_last_cache_of_batch(
        &self,
        batch: &Batch,
        cache: &Cache,
        id: ThreadId,
    ) {
        let owner = if self.header.slow_returns {
            NO_OWNER
        } else {
            id.as_owner()
        };
        // SAFETY: guaranteed by the caller.
        unsafe { batch.set_last_cache(cache.as_opaque(), owner) };
    }

    /// Puts a cache on the list.
    ///
    /// # Safety
    /// The caller holds the visits. The cache belongs to this core, and is not on the list.
    pub(crate) unsafe fn list(&self, cache: &Cache) {
        // Relaxed: the list grows only under the visits.
        let newest = self.newest.load(Ordering::Relaxed);
        cache.next_listed.store(newest, Ordering::Relaxed);
        let cache = ptr::from_ref(cache).cast_mut();
        // Release: pairs with the Acquire in `each_cache`, for readers without the visits: they see the zeros of a
        // fresh cache, and the next cache on the list.
        self.newest.store(cache, Ordering::Release); // mutant: publish-cache
    }

    /// Calls `f` with each cache that has ever had an owner.
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

    /// Whether the pool is inactive, which means closed or switched off: it keeps nothing.
    #[inline]
    pub(crate) fn is_inactive(&self) -> bool {
        self.header.state.load(Ordering::Relaxed) & (CLOSED | SWITCHED_OFF) != 0
    }

    /// Whether any state bit is set. Only if none is, a return is just a reset and a push.
    ///
    /// # Safety
    /// `core` is alive, or points to something else that has such an atomic at an offset of [`Core::STATE_AT`] bytes.
    #[inline]
    pub(crate) unsafe fn has_state_bits(core: *const Core) -> bool {
        // SAFETY: in bounds, guaranteed by the caller.
        let state = unsafe { &raw const (*core).header.state };
        // SAFETY: guaranteed by the caller.
        unsafe { &*state }.load(Ordering::Relaxed) != 0
    }

    /// Says that the pool has diagnostics, so that no thread gets a cache. Call before the core is used.
    pub(crate) fn set_diagnostics(&self) {
        self.header.state.fetch_or(DIAGNOSTICS, Ordering::Relaxed);
    }

    #[allow(dead_code, reason = "for pools with diagnostics, which are a feature")]
    pub(crate) fn has_diagnostics(&self) -> bool {
        self.header.state.load(Ordering::Relaxed) & DIAGNOSTICS != 0
    }

    /// Notes the weight of an object that is about to be kept.
    pub(crate) fn note_weight(&self, weight: usize) {
        if weight > self.limits.usual_weight() {
            self.header.state.fetch_or(CHECKS_USE, Ordering::Relaxed);
        }
    }

    /// Notes that a visitor has asked an owner to drain its cache.
    pub(super) fn note_drain_request(&self) {
        self.drain_requested.store(true, Ordering::Relaxed);
    }

    /// Whether a visitor has ever asked an owner to drain its cache.
    #[inline]
    pub(crate) fn has_drain_requests(&self) -> bool {
        self.drain_requested.load(Ordering::Relaxed)
    }

    /// Why the pool is inactive; `None` if it is not.
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
        // Relaxed: the janitor's entry is removed afterwards, under the lock of the watch list. So the janitor finds
        // the pool closed if a late return has entered it again.
        self.header.state.fetch_or(CLOSED, Ordering::Relaxed); // mutant: drop-closed-first
    }

    /// Counts objects while the pool is switched off; `None` while it is on.
    #[inline]
    pub(crate) fn off_counter(&self) -> Option<&OffCounter> {
        // Acquire: pairs with the Release in `set_switched_on`. No mutant: loom leaves statistics to std.
        let off = self.off_counter.load(Ordering::Acquire);
        // SAFETY: null, or from a box that is freed with the core.
        unsafe { off.as_ref() }
    }

    /// Objects handed out while the pool was switched off.
    pub(super) fn handed_out_off(&self) -> u64 {
        // Acquire: pairs with the Release in `make_off_counter`. No mutant: as in `off_counter`.
        let off = self.made_off_counter.load(Ordering::Acquire);
        // SAFETY: as above.
        unsafe { off.as_ref() }.map_or(0, OffCounter::sum)
    }

    fn make_off_counter(&self) -> *mut OffCounter {
        // Acquire: pairs with the Release below. No mutant: as in `off_counter`.
        let made = self.made_off_counter.load(Ordering::Acquire);
        if !made.is_null() {
            return made;
        }
        let fresh = Box::into_raw(Box::new(OffCounter::new()));
        // Pairs with the Acquire above and in `handed_out_off`.
        match publish(&self.made_off_counter, fresh) {
            Ok(()) => fresh,
            Err(first) => {
                // SAFETY: I8: from the box above, and no other thread has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                first
            }
        }
    }

    /// Switches the pool on or off. When several threads switch at once, `state` and `off_counter` agree in the end.
    pub(super) fn set_switched_on(&self, on: bool) {
        // AcqRel, three times: the thread that reads the state last also stores the counter last. No mutant: in loom,
        // the stores of a thread take effect in their order anyway.
        if on {
            self.header.state.fetch_and(!SWITCHED_OFF, Ordering::AcqRel);
        } else {
            // No mutant: as above.
            self.header.state.fetch_or(SWITCHED_OFF, Ordering::AcqRel);
        }
        // Another thread may have switched the pool since. No mutant: as above.
        let is_off = || self.header.state.fetch_or(0, Ordering::AcqRel) & SWITCHED_OFF != 0;
        apply_latest(is_off, |is_off| {
            let off = if is_off {
                self.make_off_counter()
            } else {
                ptr::null_mut()
            };
            // Release: pairs with the Acquire in `off_counter`. No mutant: as there.
            self.off_counter.store(off, Ordering::Release);
        });
    }

    // ---------------------------------------------------------------- the janitor

    pub(crate) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// Whether the janitor watches this pool, or the user runs its passes.
    pub(crate) fn is_watched(&self) -> bool {
        // Relaxed: ordered as `watch_list::janitor_passes` describes.
        let watched = self.watched.load(Ordering::Relaxed);
        watched == MANUAL || watched == generation()
    }

    pub(crate) fn set_watched(&self, watched: bool) {
        if self.interval.is_some() {
            // Relaxed: as above.
            self.watched.store(
                if watched { generation() } else { UNWATCHED },
                Ordering::Relaxed,
            );
        }
    }

    // ---------------------------------------------------------------- dropping

    /// Drops one node, and counts why.
    ///
    /// # Safety
    /// The caller holds the node and gives it up.
    pub(crate) unsafe fn discard(link: *mut Link, reason: Reason) {
        // SAFETY: the caller holds the node.
        let core = unsafe { Core::of(link) };
        // SAFETY: the node keeps its core alive (I6).
        unsafe { (*core).counters.discarded(reason, 1) };
        // SAFETY: as above.
        let drop_node = unsafe { (*core).vtable.drop_node };
        // SAFETY: guaranteed by the caller.
        unsafe { drop_node(core, link) };
    }

    /// Drops the nodes of a batch and releases their charge. Runs user code: the caller must not hold a lock.
    pub(crate) fn drop_batch(&self, batch: Batch) {
        self.limits.release(Charge {
            objects: batch.len,
            bytes: batch.bytes,
        });
        self.drop_nodes(batch);
    }

    /// Drops the nodes of a batch whose charge is released. If destructors panic, all nodes are dropped nevertheless,
    /// and the first panic is resumed at the end.
    pub(crate) fn drop_nodes(&self, mut batch: Batch) {
        let (core, drop_node) = (self.address(), self.vtable.drop_node);
        let mut first_panic = None;
        loop {
            let link = batch.pop();
            if link.is_null() {
                break;
            }
            // SAFETY: I1: taken from the batch, which belongs to this core.
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

    /// Counts a batch that the depot has refused. The caller has to drop it.
    pub(crate) fn count_refused(&self, refused: Refused) -> Batch {
        let reason = refused.reason();
        let (Refused::Contended(batch) | Refused::Closed(batch)) = refused;
        self.counters.discarded(reason, batch.len);
        batch
    }

    /// Frees the core's other allocations: the caches, and the counter.
    ///
    /// # Safety
    /// The core is about to be freed, and no thread uses it any more.
    pub(crate) unsafe fn free_caches(&mut self) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.header.cache_table.free() };
        // Relaxed: no other thread knows the core any more.
        let off = self.made_off_counter.load(Ordering::Relaxed);
        self.made_off_counter
            .store(ptr::null_mut(), Ordering::Relaxed);
        if !off.is_null() {
            // SAFETY: I8: from the box in `make_off_counter`, and no other thread uses the core any more.
            drop(unsafe { Box::from_raw(off) });
        }
    }
}

#[cfg(test)]
mod tests;
