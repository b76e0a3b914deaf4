//! Stands in for `fence.rs` in the models. loom has no asymmetric fence, so both halves are `SeqCst` fences here. The
//! models assume that `membarrier` does what its documentation says.
//!
//! A `SeqCst` fence orders more than a compiler fence. It hides a missing ordering of the owner's stores. In the models
//! of `models/barrier.rs` the light half is therefore nothing at all, and the heavy half also runs in the owner's
//! thread, as it does with `membarrier`.

use crate::models::barrier;
use crate::sync::{Ordering, fence};

pub(crate) fn light() {
    if !barrier::is_on() {
        fence(Ordering::SeqCst); // mutant: light-fence
    }
}

pub(crate) fn slow() {
    light();
}

#[must_use]
pub(crate) fn heavy() -> bool {
    fence(Ordering::SeqCst); // mutant: heavy-fence
    barrier::run_in_owner();
    true
}

pub(crate) fn asymmetric() -> bool {
    true
}
