//! Threads and pools: a thread registers and exits, and takes the slow path of get and drop.

pub(crate) mod exit;
pub(crate) mod ids;
#[cfg_attr(repool_loom, path = "local_loom.rs")]
pub(crate) mod local;
pub(crate) mod register;
pub(crate) mod slow;
#[cfg(all(test, not(repool_loom)))]
mod tests;
