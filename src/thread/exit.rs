//! A thread ends: the objects in its caches go to the depots of their pools.

use crate::background::manual::ensure_watched;
use crate::raw::node::{Batch, End};
use crate::raw::pool::Core;
use crate::sync::Timeout;
use crate::sys::thread_id::ThreadId;

/// The thread of this id ends: its objects go to the depot. `false` if that could not be
/// done, and the id must not be used again.
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
    // SAFETY: the calling thread is the owner and on its way out; the visits are held.
    let [loaded, spare] = unsafe { cache.vacate(&core.limits) };
    drop(visits);
    let mut dropping = Batch::EMPTY;
    for batch in [spare, loaded] {
        if let Err(refused) = core.depot.give(batch, End::Hot, Timeout::Long) {
            dropping.append(core.count_refused(refused));
        }
    }
    core.finish_exit(exiting);
    ensure_watched(core); // mutant: drop-tell-exit
    core.drop_batch(dropping);
    true
}
