//! What `fence.rs` is in the models: loom has no asymmetric fence, and models both halves as `SeqCst` fences. A
//! heavy fence is one in `fence.rs` as well; `membarrier` is taken at its word.

use crate::sync::{Ordering, fence};

pub(crate) fn light() {
    fence(Ordering::SeqCst); // mutant: light-fence
}

pub(crate) fn slow() {
    light();
}

#[must_use]
pub(crate) fn heavy() -> bool {
    fence(Ordering::SeqCst); // mutant: heavy-fence
    true
}

pub(crate) fn asymmetric() -> bool {
    true
}
