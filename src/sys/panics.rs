//! Running code that may panic where a panic must not escape: the janitor's thread, destructors
//! of thread-locals, the second panic of a batch.

use crate::sync::IN_MODELS;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs code that is not ours; `None` if it panics.
///
/// Under loom a panic passes: it is how a model says that it failed.
pub(crate) fn catch_panic<R>(f: impl FnOnce() -> R) -> Option<R> {
    if IN_MODELS {
        return Some(f());
    }
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => Some(result),
        Err(panic) => {
            swallow(panic);
            None
        }
    }
}

/// Drops what a panic carried. Its destructor may panic as well; what that carries is leaked.
pub(crate) fn swallow(panic: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(second);
    }
}
