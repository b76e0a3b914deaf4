//! What threads other than the janitor do about passes: they run one, or ensure that the janitor watches a pool.

use super::{hook, trace, trim, worker};
use crate::raw::pool::Core;
use crate::raw::stats::Trimmed;
use crate::sys::memory::Level;

/// Runs one pass on the calling thread. Runs user code (destructors) at the end, without a lock.
pub(crate) fn pass(core: &Core, level: Level) -> Trimmed {
    hook::once_for(|| {
        let (trimmed, quiescent) = trim::pass(core, level);
        hook::add(trimmed);
        trace::passed(core, level, trimmed);
        if !quiescent {
            // While this pass held objects, the janitor may have found the pool quiescent.
            ensure_watched(core); // mutant: drop-tell-pass
        }
        trimmed
    })
}

/// Ensures that the janitor watches this pool; call it after an object became idle on a slow path.
pub(crate) fn ensure_watched(core: &Core) {
    if !core.is_watched() {
        worker::watch_slow(core);
    }
}
