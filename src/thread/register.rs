//! A thread joins a pool and leaves it: ids, caches, thread exit.
//!
//! The id goes back when [`EXIT`] is dropped, a second thread-local that the hit path never
//! touches. Before that, the objects in the thread's caches go back to their pools. The hand-over
//! of a id is the registry's lock: what the last owner did to its caches happens before
//! anything that the next one does (I3). Nothing keyed by a id is borrowed beyond one
//! operation (I4), because ids are reused.

use super::local::{remember, unremember};
use crate::raw::cache::Cache;
use crate::raw::pool::Core;
use crate::raw::stats::Reason;
use crate::sync::Timeout;
use crate::sys::thread_id::ThreadId;

/// The calling thread's cache in a pool; makes it if need be. `None`: work without one this time.
pub(crate) fn cache_of(core: &Core, id: ThreadId) -> Option<&Cache> {
    let cache = core.cache_table().cache_of_or_make(id);
    // SAFETY: caches live as long as their core.
    let cache = unsafe { &*cache };
    (cache.is_occupied() || register_slow(core, cache)).then_some(cache)
}

#[cold]
fn register_slow(core: &Core, cache: &Cache) -> bool {
    // First, so that no registered cache is ever forgotten.
    if core.is_closed() || !remember(core) {
        return false;
    }
    let visits = core.lock_visits(Timeout::Short);
    let Some(visits) = visits.filter(|_| !core.is_closed()) else {
        unremember(core);
        return false;
    };
    // SAFETY: I3: the cache of the calling thread's place; the visits are held.
    unsafe { core.occupy(cache) };
    drop(visits);
    true
}

/// The owner has found its gate shut: it does what a visitor has left to it. Whether to try again.
///
/// User code runs: the caller keeps the core.
#[cold]
pub(crate) fn reopen_slow(core: &Core, cache: &Cache) -> bool {
    if core.visits_are_lost() {
        return core.recover_visits_slow();
    }
    if !cache.is_drain_requested() && !core.is_closed() {
        return false;
    }
    let Some(visits) = core.lock_visits(Timeout::Short) else {
        return false;
    };
    // SAFETY: the calling thread is the owner and not inside; the visits are held.
    let [loaded, mut all] = unsafe { cache.drain(&core.limits) };
    drop(visits);
    all.append(loaded);
    if core.is_closed() {
        core.counters.discarded(Reason::Closed, all.len);
    } else {
        core.counters.trimmed(all.len);
    }
    core.drop_batch(all);
    !core.is_closed()
}
