//! The slow path: gets and returns that are not hits, and the end of a pool.
//!
//! This file is above the passive core: it registers threads, and notifies the janitor. The functions that give a node
//! up take the core as a pointer. The node may hold the last reference that keeps the core's memory, and no Rust
//! reference to the core may exist when that memory is freed (I6).

use super::register::{self, reopen_slow};
use crate::background::manual::ensure_watched;
use crate::background::trim;
use crate::background::worker;
use crate::raw::cache::{Cache, Returned};
use crate::raw::depot::Refused;
use crate::raw::indexed::IndexedBatch;
use crate::raw::limits::{Charge, FIRST_THRESHOLD};
use crate::raw::lists::Leaving;
use crate::raw::node::{Batch, End, LIST_LEN, Link};
use crate::raw::pool::Core;
use crate::raw::refs::{DiscardOnDrop, WeakCore};
use crate::raw::stats::Reason;
use crate::sync::Timeout;
use crate::sys::thread_id::ThreadId;
use std::ptr;

/// The most objects that one return evicts from the depot.
const EVICTED: usize = 32;

// -------------------------------------------------------------------- get

/// Takes an idle node on the slow path; null if the thread can reach none.
pub(crate) fn take(core: &Core, id: Option<ThreadId>) -> *mut Link {
    if core.is_inactive() {
        if core.has_drain_requests() {
            drain_slow(core, id);
        }
        return ptr::null_mut();
    }
    let cache = id.and_then(|id| register::cache_of(core, id));
    if let Some((cache, id)) = cache.zip(id) {
        for _ in 0..2 {
            if cache.is_empty() && !cache.is_drain_requested() {
                return refill(core, cache, id);
            }
            // SAFETY: `cache_of` gives the owner its cache.
            match unsafe { cache.pop_slow() } {
                Ok(link) if !link.is_null() => {
                    // It is watched already, except in a forked child, where a thread's first operation comes here.
                    ensure_watched(core);
                    return link;
                }
                Ok(_) => return refill(core, cache, id),
                Err(_shut) if reopen_slow(core, cache) => {}
                Err(_shut) => break,
            }
        }
    }
    take_one(core)
}

/// For a pool that is inactive: drains this thread's cache if a visitor has asked for that. May run user code.
#[cold]
pub(crate) fn drain_slow(core: &Core, id: Option<ThreadId>) {
    let cache = id.map_or(ptr::null(), |id| core.cache_table().cache_of(id));
    // SAFETY: caches live as long as their core.
    let cache = unsafe { cache.as_ref() };
    if let Some(cache) = cache.filter(|cache| cache.is_drain_requested()) {
        reopen_slow(core, cache);
    }
}

/// Takes one node from the depot; null if there is none, or the depot could not be locked.
fn take_one(core: &Core) -> *mut Link {
    let link = core.depots().take_one();
    if link.is_null() {
        core.note_miss();
    } else {
        handed_out(core, link);
    }
    link
}

/// Refills the owner's empty lists with a batch from the depot, and takes its top node.
pub(super) fn refill(core: &Core, cache: &Cache, id: ThreadId) -> *mut Link {
    if core.crossings_use_depot() || core.returns_use_depot() {
        // This cache keeps nothing that other threads may want.
        let mut link = take_one(core);
        if link.is_null() {
            // The cache may be charged for more than it holds. And it may hold objects after all: while a visitor is at
            // work, a cache can look empty.
            // SAFETY: the caller is the owner.
            let rest = unsafe { hand_over(core, cache) };
            if !rest.is_empty() {
                // SAFETY: the caller borrows the pool, which keeps the core.
                unsafe { into_depot(core.address(), rest, End::Hot) };
                link = take_one(core);
            }
        }
        if !link.is_null() {
            // SAFETY: I1: the node was taken from the depot. The cache is the calling thread's.
            unsafe { core.set_last_cache(link, cache, id.as_owner()) };
        }
        return link;
    }
    let mut taken = IndexedBatch::EMPTY;
    if !core.depots().take(&mut taken) {
        core.note_miss();
        return ptr::null_mut();
    }
    // SAFETY: I1: the batch holds its nodes, and is not empty.
    let last_owner = unsafe { Link::last_owner(taken.batch().head) };
    if last_owner != id.as_owner() {
        taken.fetch();
    }
    let batch = taken.batch_mut();
    let bounded = core.limits.bounded();
    let mut full = LIST_LEN;
    if bounded || batch.heaviest >= FIRST_THRESHOLD {
        // Skipped if the true maximum would give the same threshold.
        if bounded || !batch.is_weighed() {
            batch.weigh();
        }
        full = core
            .limits
            .full_len(core.limits.threshold_for(batch.heaviest));
    }
    let link = batch.pop();
    handed_out(core, link);
    // SAFETY: I1: the node was taken from the batch. The cache is the calling thread's.
    unsafe { core.set_last_cache(link, cache, id.as_owner()) };
    if core.notes_refill(batch.len) {
        // SAFETY: the depot's nodes belong to this core. The cache is the calling thread's.
        unsafe { core.set_last_cache_of_batch(batch, cache, id) };
    }
    let below = batch.split_below(full);
    // SAFETY: the caller is the owner, and the batch belongs to this core.
    unsafe { cache.load(batch, &core.limits, true) };
    if !(batch.is_empty() && below.is_empty()) {
        let mut back = batch.take();
        back.append_below(below);
        let discard = DiscardOnDrop {
            link,
            reason: Reason::Panic,
        };
        // SAFETY: the caller borrows the pool, which keeps the core.
        unsafe { into_depot(core.address(), back, End::Hot) };
        std::mem::forget(discard);
    }
    ensure_watched(core); // mutant: drop-tell-refill
    link
}

/// Makes the calling thread's cache the last cache of a new node.
///
/// # Safety
/// The caller holds the node, which belongs to this core.
pub(crate) unsafe fn set_last_cache_of_new(core: &Core, id: Option<ThreadId>, link: *mut Link) {
    let Some(id) = id else {
        return;
    };
    let cache = core.cache_table().cache_of(id);
    // SAFETY: caches live as long as their core.
    if let Some(cache) = unsafe { cache.as_ref() } {
        // SAFETY: the caller holds the node. The cache is the calling thread's.
        unsafe { core.set_last_cache(link, cache, id.as_owner()) };
    }
}

/// Counts a node that was taken from the depot to be handed out, and releases its charge.
pub(crate) fn handed_out(core: &Core, link: *mut Link) {
    // SAFETY: I1: the node was taken from the depot.
    let bytes = unsafe { Link::weight(link) };
    core.limits.release(Charge { objects: 1, bytes }); // mutant: drop-charge-of-taken
    core.counters.reused(1);
}

// -------------------------------------------------------------------- return

/// Returns a node to the pool on the slow path. The object has been reset and weighs `weight`.
///
/// # Safety
/// The node belongs to this core. The caller holds it and gives it up.
pub(crate) unsafe fn give(core: *const Core, id: Option<ThreadId>, link: *mut Link, weight: usize) {
    // SAFETY: the node keeps its core alive (I6).
    let this = unsafe { &*core };
    let cache = id.and_then(|id| register::cache_of(this, id));
    // A thread with a cache here holds a weak reference. A thread without one takes it here: once the node is in the
    // depot, another thread may free the core.
    let keep = cache.is_none().then(|| WeakCore::new(this));
    let mut leaving = Leaving::NOTHING;
    // SAFETY: guaranteed by the caller, which is the owner of the cache.
    let outcome = unsafe { into_cache(this, cache.zip(id), link, weight, &mut leaving) };
    if outcome.is_ok() && leaving.batch.is_empty() && this.is_watched() {
        return;
    }
    // User code may run below: destructors of objects that the depot refuses, and passes. If it uses another pool for
    // the first time, the thread forgets pools that are gone (`local::remember`), and drops its weak reference to this
    // one.
    let _keep = keep.unwrap_or_else(|| WeakCore::new(this)); // mutant: drop-keep-core
    match outcome {
        Ok(()) => {
            let _watched = EnsureWatched(this);
            // SAFETY: kept, as above.
            unsafe { leave_for_depot(core, &mut leaving) };
        }
        // SAFETY: `into_cache` has not taken the node. The core is kept, as above.
        Err(reason) => unsafe { past_cache(this, cache, link, weight, &mut leaving, reason) },
    }
}

/// Ensures on drop that the janitor watches a pool in which objects have become idle, including during unwinding.
struct EnsureWatched<'a>(&'a Core);

impl Drop for EnsureWatched<'_> {
    fn drop(&mut self) {
        ensure_watched(self.0); // mutant: drop-tell-return
    }
}

/// Puts a node into the calling thread's cache. `Ok` takes the node. `leaving` is empty, and gets what has to go to the
/// depot.
///
/// # Safety
/// As [`give`], and the caller owns the cache. `Err` leaves the node with the caller.
unsafe fn into_cache(
    core: &Core,
    cache: Option<(&Cache, ThreadId)>,
    link: *mut Link,
    weight: usize,
    leaving: &mut Leaving,
) -> Result<(), Option<Reason>> {
    if let Some(reason) = core.inactive_reason() {
        return Err(Some(reason));
    }
    if !core.limits.accepts(weight) {
        return Err(Some(Reason::Oversize));
    }
    let Some((cache, id)) = cache else {
        return Err(None);
    };
    // SAFETY: the caller holds the node.
    let last_cache = unsafe { Link::last_cache(link) };
    // A node without a last cache was attached before its thread had a cache. It may not have crossed threads.
    let crosses = last_cache != cache.as_opaque() && !last_cache.is_null();
    if crosses {
        core.note_crossing();
    }
    if core.returns_use_depot() || (crosses && core.crossing_uses_depot()) {
        // SAFETY: the caller is the owner.
        let rest = unsafe { hand_over(core, cache) };
        combine(leaving, rest);
        return Err(None);
    }
    // SAFETY: the caller holds the node, and owns the cache.
    unsafe { core.set_last_cache(link, cache, id.as_owner()) };
    // SAFETY: the caller owns the cache, and gives the node up.
    match unsafe { cache.push_slow(link, weight, &core.limits, leaving) } {
        Ok(Returned::Kept) => Ok(()),
        Ok(Returned::Refused) => {
            // SAFETY: the caller is the owner.
            let rest = unsafe { hand_over(core, cache) };
            combine(leaving, rest);
            Err(None)
        }
        Err(_shut) => Err(None),
    }
}

/// Takes everything out of this thread's cache, and releases what was charged in advance, so that the pool's limits do
/// not keep it from other threads.
///
/// # Safety
/// The caller is the owner.
unsafe fn hand_over(core: &Core, cache: &Cache) -> Batch {
    // SAFETY: guaranteed by the caller.
    let all = unsafe { cache.hand_over(&core.limits) };
    all.unwrap_or(Batch::EMPTY)
}

/// Puts the rest of a cache, which is hot, on top of what leaves it.
pub(super) fn combine(leaving: &mut Leaving, rest: Batch) {
    if !rest.is_empty() {
        leaving.end = End::Hot;
        leaving.batch.batch_mut().append(rest);
    }
}

/// Puts a node that the thread's cache has not taken into the depot, or drops it if there is a `reason` to.
///
/// # Safety
/// As [`give`], and the caller keeps the core's memory until this returns.
unsafe fn past_cache(
    core: &Core,
    cache: Option<&Cache>,
    link: *mut Link,
    weight: usize,
    leaving: &mut Leaving,
    reason: Option<Reason>,
) {
    let discard = DiscardOnDrop {
        link,
        reason: reason.unwrap_or(Reason::Panic),
    };
    // SAFETY: the caller keeps the core.
    unsafe { leave_for_depot(core.address(), leaving) };
    if let Some(cache) = cache {
        reopen_slow(core, cache);
    }
    if reason.is_some() {
        return;
    }
    let give = |link| {
        // SAFETY: the caller gives the node up.
        unsafe { core.depots().give_one(link) }
    };
    // SAFETY: guaranteed by the caller.
    unsafe { charge_and_give(core, discard, weight, give) };
}

/// Charges the node of `discard`, and gives it to the depot by `give`. Drops the node if either fails.
///
/// # Safety
/// The node belongs to this core. The caller holds it and gives it up, and keeps the core's memory until this returns.
/// `give` takes the node, or returns it in a batch.
#[inline]
pub(crate) unsafe fn charge_and_give(
    core: &Core,
    mut discard: DiscardOnDrop,
    weight: usize,
    give: impl FnOnce(*mut Link) -> Result<(), Refused>,
) {
    let mut dropping = match make_space(core, weight) {
        Ok(evicted) => evicted,
        Err(reason) => {
            discard.reason = reason;
            return;
        }
    };
    let link = discard.link;
    std::mem::forget(discard);
    // SAFETY: the caller holds the node.
    unsafe { Link::set_weight(link, weight) };
    match give(link) {
        Ok(()) => {
            core.counters.returned(1);
            ensure_watched(core); // mutant: drop-tell-return-to-depot
        }
        Err(refused) => {
            core.limits.release(Charge {
                objects: 1,
                bytes: weight,
            });
            dropping.append(core.count_refused(refused));
        }
    }
    core.drop_nodes(dropping);
}

/// Charges one object of this weight. If a limit refuses that, evicts the coldest objects of the depot and releases
/// their charge; the caller drops them. If that does not make enough room, they stay.
fn make_space(core: &Core, weight: usize) -> Result<Batch, Reason> {
    let of_one = Charge {
        objects: 1,
        bytes: weight,
    };
    let mut evicted = Batch::EMPTY;
    let Err(reason) = core.limits.reserve(of_one) else {
        return Ok(evicted);
    };
    if core.limits.could_hold(weight) {
        let recalled = core.recall_hoards();
        if !recalled.is_empty() {
            let (_, refused) = trim::give_to_depot(core, recalled);
            core.drop_batch(refused);
            // The caches had more charge than objects, perhaps.
            if core.limits.reserve(of_one).is_ok() {
                return Ok(evicted);
            }
        }
        while evicted.len < EVICTED {
            let Some(cold) = core.depots().take_cold(1) else {
                break;
            };
            core.limits.release(Charge {
                objects: cold.len,
                bytes: cold.bytes,
            });
            evicted.append(cold);
            if core.limits.reserve(of_one).is_ok() {
                core.counters.discarded(reason, evicted.len);
                return Ok(evicted);
            }
        }
    }
    core.limits.count_refused();
    if core
        .limits
        .reserve(Charge {
            objects: evicted.len,
            bytes: evicted.bytes,
        })
        .is_ok()
    {
        // SAFETY: the caller keeps the core.
        unsafe { into_depot(core.address(), evicted, End::Cold) };
    } else {
        core.counters.discarded(reason, evicted.len);
        core.drop_nodes(evicted);
    }
    Err(reason)
}

/// Moves a batch and its charge to the depot, or drops it if the depot refuses it.
///
/// # Safety
/// The batch belongs to this core, and the caller keeps the core's memory until this returns.
pub(crate) unsafe fn into_depot(core: *const Core, batch: Batch, end: End) {
    let batch = IndexedBatch::new(batch);
    // SAFETY: guaranteed by the caller.
    unsafe { leave_for_depot(core, &mut Leaving { batch, end }) };
}

/// The same for what has left a cache.
///
/// # Safety
/// As [`into_depot`].
unsafe fn leave_for_depot(core: *const Core, leaving: &mut Leaving) {
    // SAFETY: guaranteed by the caller.
    let this = unsafe { &*core };
    let Leaving { batch, end } = leaving;
    if let Err(refused) = this.depots().give_indexed(batch, *end, Timeout::Short) {
        this.drop_batch(this.count_refused(refused));
    }
}

// -------------------------------------------------------------------- the end

/// Closes a pool that is gone, and drops its idle objects. The janitor drops those that cannot be reached now.
pub(crate) fn close(core: &Core) {
    core.set_closed();
    worker::unwatch(core);
    let (all, reached) = core.empty(true);
    if !reached {
        worker::finish_later(core); // mutant: drop-finish-later
    }
    core.counters.discarded(Reason::Closed, all.len);
    core.drop_batch(all);
}

#[cfg(test)]
mod tests;
