//! Contains panics where they must not escape: in the janitor's thread, in destructors of thread-locals, and at the
//! second panic of a batch.

use crate::sync::IN_MODELS;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `f`, which may be user code. `None` if it panics.
///
/// In the models the panic propagates, because that is how a model fails.
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

/// Drops the payload of a panic. If the destructor of the payload panics too, leaks the second payload.
pub(crate) fn swallow(panic: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(second);
    }
}
