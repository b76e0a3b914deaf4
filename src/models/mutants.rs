//! Decides which mutant a process runs. `ci/loom-mutants.sh` builds all mutants into one program, and calls these functions
//! at each line of `src/` that is marked `mutant: name`. Nothing else does.

use crate::sync::Ordering;
use std::sync::OnceLock;

static MUTANT: OnceLock<String> = OnceLock::new();

/// Whether the line of this mutant is as it ships.
pub(crate) fn keeps(name: &str) -> bool {
    let mutant = MUTANT.get_or_init(|| std::env::var("REPOOL_MUTANT").unwrap_or_default());
    mutant != name
}

/// The ordering of a line as it ships, or Relaxed in its mutant.
pub(crate) fn ordering(name: &str, shipped: Ordering) -> Ordering {
    if keeps(name) {
        shipped
    } else {
        Ordering::Relaxed
    }
}
