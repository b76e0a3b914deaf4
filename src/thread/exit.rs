//! The exit of a thread from a pool: the objects in its cache go to the depot.

use crate::background::manual::ensure_watched;
use crate::raw::node::{Batch, End};
use crate::raw::pool::Core;
use crate::sync::Timeout;
use crate::sys::thread_id::ThreadId;

/// Vacates the cache of a thread that ends, and moves its objects to the depot. `false` if the cache could not be
/// vacated: then the thread's ID must not be reused.
#[must_use]
pub(crate) fn vacate(core: &Core, id: ThreadId) -> bool {
    let cache = core.cache_table().cache_of(id);
    // SAFETY: caches live as long as their core.
    let Some(cache) = (unsafe { cache.as_ref() }).filter(|cache| cache.is_occupied()) else {
        return true;
    };
    let Some(visits) = core.lock_visits(Timeout::Long) else {
        return false;
    };
    let exiting = core.announce_exit(cache);
    // SAFETY: the calling thread is the owner and is ending, and it holds the visits.
    let [loaded, spare] = unsafe { cache.vacate(&core.limits) };
    drop(visits);
    let mut dropping = Batch::EMPTY;
    for batch in [spare, loaded] {
        if let Err(refused) = core.depots_of(id).give(batch, End::Hot, Timeout::Long) {
            dropping.append(core.count_refused(refused));
        }
    }
    core.finish_exit(exiting);
    ensure_watched(core); // mutant: drop-tell-exit
    core.drop_batch(dropping);
    true
}
