//! What asks the system: barriers, clocks, processes, memory.

pub(crate) mod fence;
#[cfg(not(repool_loom))]
pub(crate) mod timer;
