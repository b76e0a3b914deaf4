//! What threads other than the janitor do about passes: run one, and ensure that the janitor
//! watches a pool that has something idle.

use super::{hook, trace, trim, worker};
use crate::raw::pool::Core;
use crate::raw::stats::Trimmed;
use crate::sys::memory::Level;

/// Runs one pass on the calling thread. User code (destructors) runs at the end, with nothing held.
pub(crate) fn pass(core: &Core, level: Level) -> Trimmed {
    hook::once_for(|| {
        let (trimmed, quiescent) = trim::pass(core, level);
        hook::add(trimmed);
        trace::passed(core, level, trimmed);
        if !quiescent {
            // While this pass had objects in its hands, the janitor may have found the pool quiescent.
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
