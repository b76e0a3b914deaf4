//! The layer that asks the system: barriers, clocks, processes, memory. It knows nothing of pools.

mod cgroup;
pub(crate) mod env;
#[cfg_attr(repool_loom, path = "fence_loom.rs")]
pub(crate) mod fence;
#[cfg_attr(any(not(unix), miri, repool_loom), path = "generation_fixed.rs")]
pub(crate) mod generation;
mod loaded;
pub(crate) mod memory;
pub(crate) mod panics;
pub(crate) mod process;
pub(crate) mod spawn;
pub(crate) mod thread_id;
pub(crate) mod timer;
