//! Registration: a thread gets its cache in a pool, and reopens its gate after a visitor has left a request.

use super::local::{remember, unremember};
use crate::raw::cache::Cache;
use crate::raw::pool::Core;
use crate::raw::stats::Reason;
use crate::sync::Timeout;
use crate::sys::thread_id::ThreadId;

/// The calling thread's cache in a pool; registers the thread if necessary. `None`: work without a cache this time.
pub(crate) fn cache_of(core: &Core, id: ThreadId) -> Option<&Cache> {
    let cache = core.cache_table().cache_of_or_make(id);
    // SAFETY: caches live as long as their core.
    let cache = unsafe { &*cache };
    (cache.is_occupied() || register_slow(core, cache)).then_some(cache)
}

#[cold]
fn register_slow(core: &Core, cache: &Cache) -> bool {
    // First, so that no occupied cache is ever forgotten.
    if core.is_closed() || !remember(core) {
        return false;
    }
    let visits = core.lock_visits(Timeout::Short);
    let Some(visits) = visits.filter(|_| !core.is_closed()) else {
        unremember(core);
        return false;
    };
    // SAFETY: I3: the cache belongs to the ID of the calling thread, which holds the visits.
    unsafe { core.occupy(cache) };
    drop(visits);
    true
}

/// For an owner that has found its gate shut: recovers lost visits, or drains the cache if a visitor has asked for
/// that. Returns whether the owner should try again.
///
/// Runs user code, so the caller has to keep the core alive.
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
    // SAFETY: the calling thread is the owner and outside, and it holds the visits.
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

#[cfg(test)]
mod tests;
