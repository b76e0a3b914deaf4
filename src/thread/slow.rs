//! The slow steps of a thread at a pool: get and give back without a hit, and how a pool ends.
//!
//! These stand above the passive core: they register threads, and tell the janitor. Those that give a node up take
//! the core as a pointer: with the node they may give up the last thing that keeps the core's memory, and no
//! reference to it may be around then (I6).

use super::register::{self, reopen_slow};
use crate::background::manual::ensure_watched;
use crate::background::worker;
use crate::raw::cache::{Cache, Returned};
use crate::raw::limits::{Charge, FIRST_THRESHOLD};
use crate::raw::node::{Batch, End, LIST_LEN, Link};
use crate::raw::pool::Core;
use crate::raw::refs::{DiscardOnDrop, WeakCore};
use crate::raw::stats::Reason;
use crate::sync::Timeout;
use crate::sys::thread_id::ThreadId;
use std::ptr;

/// The most objects that one return takes the room of.
const EVICTED: usize = 32;

// -------------------------------------------------------------------- get

/// An idle node, by the slow path; null when none is in reach.
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
                    // It is, but in a forked child, whose first operation at a cache comes here.
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

/// The pool keeps nothing at the moment: a visitor may have left it to this thread to empty its cache all the same.
/// User code runs then.
#[cold]
pub(crate) fn drain_slow(core: &Core, id: Option<ThreadId>) {
    let cache = id.map_or(ptr::null(), |id| core.cache_table().cache_of(id));
    // SAFETY: caches live as long as their core.
    let cache = unsafe { cache.as_ref() };
    if let Some(cache) = cache.filter(|cache| cache.is_drain_requested()) {
        reopen_slow(core, cache);
    }
}

/// One node from the depot; null when none is in reach.
fn take_one(core: &Core) -> *mut Link {
    let link = core.depot.take_one();
    if link.is_null() {
        core.note_miss();
    } else {
        handed_out(core, link);
    }
    link
}

/// The owner's lists are empty: takes a batch from the depot, hands out its top node.
pub(super) fn refill(core: &Core, cache: &Cache, id: ThreadId) -> *mut Link {
    if core.crossings_use_depot() {
        // Nothing stays here that other threads may want.
        let mut link = take_one(core);
        if link.is_null() {
            // SAFETY: the caller is the owner. It may be charged for more than it has; and it may have something all
            // the same, because to look empty from outside takes no more than a visitor at work.
            let (rest, end) = unsafe { hand_over(core, cache) };
            if !rest.is_empty() {
                // SAFETY: the pool is borrowed by the caller, and keeps the core.
                unsafe { into_depot(core.address(), rest, end) };
                link = take_one(core);
            }
        }
        if !link.is_null() {
            // SAFETY: I1: taken from the depot; the calling thread's cache.
            unsafe { core.set_last_cache(link, cache, id.as_owner()) };
        }
        return link;
    }
    let Some(mut batch) = core.depot.take() else {
        core.note_miss();
        return ptr::null_mut();
    };
    let bounded = core.limits.bounded();
    let mut full = LIST_LEN;
    if bounded || batch.heaviest >= FIRST_THRESHOLD {
        // Otherwise the threshold is the same power of two.
        if bounded || !batch.is_weighed() {
            batch.weigh();
        }
        full = core.limits.full_len(core.limits.threshold_for(batch.heaviest));
    }
    let link = batch.pop();
    handed_out(core, link);
    // SAFETY: I1: taken from the batch; the calling thread's cache.
    unsafe { core.set_last_cache(link, cache, id.as_owner()) };
    if bounded {
        // So that a return to another thread is seen as one.
        // SAFETY: the depot's nodes are of this core; the calling thread's cache.
        unsafe { core.set_last_cache_of_batch(&batch, cache, id) };
    }
    let fits = batch.split_top(full);
    // SAFETY: the caller is the owner; the batch is of this core.
    let mut back = unsafe { cache.load(fits, &core.limits, true) };
    back.append_below(batch);
    if !back.is_empty() {
        let bomb = DiscardOnDrop {
            link,
            reason: Reason::Panic,
        };
        // SAFETY: the pool is borrowed by the caller, and keeps the core.
        unsafe { into_depot(core.address(), back, End::Hot) };
        std::mem::forget(bomb);
    }
    ensure_watched(core); // mutant: drop-tell-refill
    link
}

/// Makes a new node at home in the calling thread's cache.
///
/// # Safety
/// The caller holds the node, which is of this core.
pub(crate) unsafe fn set_last_cache_of_new(core: &Core, id: Option<ThreadId>, link: *mut Link) {
    let Some(id) = id else {
        return;
    };
    let cache = core.cache_table().cache_of(id);
    // SAFETY: caches live as long as their core.
    if let Some(cache) = unsafe { cache.as_ref() } {
        // SAFETY: the caller holds the node; the cache is at the calling thread's place.
        unsafe { core.set_last_cache(link, cache, id.as_owner()) };
    }
}

pub(crate) fn handed_out(core: &Core, link: *mut Link) {
    // SAFETY: I1: taken from the depot.
    let bytes = unsafe { Link::weight(link) };
    core.limits.release(Charge { objects: 1, bytes });
    core.counters.reused(1);
}

// -------------------------------------------------------------------- give back

/// Takes a node in, by the slow path. It has been reset and weighs `weight`.
///
/// # Safety
/// The node is of this core; the caller holds it and gives it up.
pub(crate) unsafe fn give(
    core: *const Core,
    id: Option<ThreadId>,
    link: *mut Link,
    weight: usize,
) {
    // SAFETY: the node keeps its core alive (I6).
    let this = unsafe { &*core };
    let cache = id.and_then(|id| register::cache_of(this, id));
    // A thread with a cache here holds a weak reference. Another one needs its own, because
    // once the node is in the depot another thread may free the core.
    let keep = cache.is_none().then(|| WeakCore::new(this));
    // SAFETY: the caller's; the cache is its owner's.
    let (outcome, leaving) = unsafe { into_cache(this, cache.zip(id), link, weight) };
    if outcome.is_ok() && leaving.0.is_empty() && this.is_watched() {
        return;
    }
    // Below, user code may run (destructors of what the depot refuses, passes), and that may end
    // the thread's weak reference as well: by the first use of another pool, where a thread forgets those that are
    // gone (`local::remember`).
    let _keep = keep.unwrap_or_else(|| WeakCore::new(this)); // mutant: drop-keep-core
    match outcome {
        Ok(()) => {
            let _watched = EnsureWatched(this);
            // SAFETY: kept, as above.
            unsafe { into_depot(core, leaving.0, leaving.1) };
        }
        // SAFETY: the node was not taken; the core is kept, as above.
        Err(reason) => unsafe { past_cache(this, cache, link, weight, leaving, reason) },
    }
}

/// Ensures on drop that the janitor watches a pool, including during unwinding: objects became idle.
struct EnsureWatched<'a>(&'a Core);

impl Drop for EnsureWatched<'_> {
    fn drop(&mut self) {
        ensure_watched(self.0); // mutant: drop-tell-return
    }
}

/// Puts a node into the calling thread's cache. `Ok`: it is given up, and a full list may have to leave.
///
/// # Safety
/// As [`give`], and the cache is the caller's; `Err` leaves the node with the caller.
unsafe fn into_cache(
    core: &Core,
    cache: Option<(&Cache, ThreadId)>,
    link: *mut Link,
    weight: usize,
) -> (Result<(), Option<Reason>>, (Batch, End)) {
    let nothing = (Batch::EMPTY, End::Hot);
    if let Some(reason) = core.inactive_reason() {
        return (Err(Some(reason)), nothing);
    }
    if !core.limits.accepts(weight) {
        return (Err(Some(Reason::Oversize)), nothing);
    }
    let Some((cache, id)) = cache else {
        return (Err(None), nothing);
    };
    // SAFETY: the caller holds the node.
    let last_cache = unsafe { Link::last_cache(link) };
    // Without one it has been attached before its thread had a cache, and may have stayed with it.
    if last_cache != cache.as_opaque() && !last_cache.is_null() {
        core.note_crossing();
        if core.crossings_use_depot() {
            // SAFETY: the caller is the owner.
            return (Err(None), unsafe { hand_over(core, cache) });
        }
    }
    // SAFETY: the caller holds the node; the cache is at its thread's place.
    unsafe { core.set_last_cache(link, cache, id.as_owner()) };
    // SAFETY: the caller is the owner of its cache, and gives the node up.
    match unsafe { cache.push_slow(link, weight, &core.limits) } {
        Ok(Returned::Kept(leaving)) => (Ok(()), leaving),
        Ok(Returned::Refused(leaving)) => {
            // SAFETY: the caller is the owner.
            let rest = unsafe { hand_over(core, cache) };
            (Err(None), combine(leaving, rest))
        }
        Err(_shut) => (Err(None), nothing),
    }
}

/// Takes everything out of this thread's cache, with what it is charged for in advance: for a pool whose limits
/// would keep it from the threads that want it.
///
/// # Safety
/// The caller is the owner.
unsafe fn hand_over(core: &Core, cache: &Cache) -> (Batch, End) {
    // SAFETY: upheld by the caller.
    let all = unsafe { cache.hand_over(&core.limits) };
    (all.unwrap_or(Batch::EMPTY), End::Hot)
}

/// What leaves a cache, with the rest of it on top: as hot as the hottest of both.
pub(super) fn combine(mut leaving: (Batch, End), rest: (Batch, End)) -> (Batch, End) {
    if !rest.0.is_empty() {
        leaving.1 = rest.1;
    }
    leaving.0.append(rest.0);
    leaving
}

/// Puts a node that its thread's cache has not taken into the depot, or drops it for `reason`, if there is one.
///
/// # Safety
/// As [`give`]; the core's memory is kept until this returns or later.
unsafe fn past_cache(
    core: &Core,
    cache: Option<&Cache>,
    link: *mut Link,
    weight: usize,
    leaving: (Batch, End),
    reason: Option<Reason>,
) {
    let mut falling = DiscardOnDrop {
        link,
        reason: reason.unwrap_or(Reason::Panic),
    };
    // SAFETY: the caller keeps the core.
    unsafe { into_depot(core.address(), leaving.0, leaving.1) };
    if let Some(cache) = cache {
        reopen_slow(core, cache);
    }
    if reason.is_some() {
        return;
    }
    let mut dropping = match make_space(core, weight) {
        Ok(evicted) => evicted,
        Err(reason) => {
            falling.reason = reason;
            return;
        }
    };
    std::mem::forget(falling);
    // SAFETY: the caller holds the node.
    unsafe { Link::set_weight(link, weight) };
    // SAFETY: the caller gives the node up.
    match unsafe { core.depot.give_one(link) } {
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

/// Reserves what one object weighs. Where a limit is in the way, the coldest objects in the depot make room;
/// they are to be dropped, and are not charged for any more. They stay if that does not make enough.
pub(crate) fn make_space(core: &Core, weight: usize) -> Result<Batch, Reason> {
    let of_one = Charge {
        objects: 1,
        bytes: weight,
    };
    let mut evicted = Batch::EMPTY;
    let Err(reason) = core.limits.reserve(of_one) else {
        return Ok(evicted);
    };
    if core.limits.could_hold(weight) {
        while evicted.len < EVICTED {
            let Some(cold) = core.depot.take_cold(1) else {
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

/// Gives a batch, with the charge that came with it, to the depot; drops it if the depot cannot
/// be locked.
///
/// # Safety
/// The batch is of this core, and the core's memory is kept until this returns or later.
pub(crate) unsafe fn into_depot(core: *const Core, batch: Batch, end: End) {
    // SAFETY: upheld by the caller.
    let this = unsafe { &*core };
    if let Err(refused) = this.depot.give(batch, end, Timeout::Short) {
        this.drop_batch(this.count_refused(refused));
    }
}

// -------------------------------------------------------------------- the end

/// The pool is gone: no more idle objects, now or later. The janitor comes back for what cannot be reached now.
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
