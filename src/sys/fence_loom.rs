//! What `fence.rs` is in the models: loom has no asymmetric fence, and models both halves as `SeqCst` fences. A
//! heavy fence is one in `fence.rs` as well; `membarrier` is taken at its word.
//!
//! A `SeqCst` fence orders more than a compiler fence does, and so hides what a store of the owner has to order by
//! itself. In the models of `models/barrier.rs` the light half is nothing at all, and the heavy one runs in the
//! owner's thread as well, as `membarrier` does it.

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
