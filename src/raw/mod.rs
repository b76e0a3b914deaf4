//! One pool, untyped and passive: nodes, a cache for each thread, the depot, limits, statistics.
//!
//! This layer moves pointers and counts. It starts no thread and runs no pass; the layers above decide when anything
//! happens. It knows no `T`: operations that need the type go through a vtable. The loom models compile all of it.

pub(crate) mod cache;
pub(crate) mod cache_table;
mod charge;
mod crossings;
pub(crate) mod depot;
pub(crate) mod depots;
#[cfg_attr(repool_loom, path = "empty_loom.rs")]
mod empty;
mod gate;
pub(crate) mod header;
pub(crate) mod hoards;
pub(crate) mod indexed;
pub(crate) mod limits;
pub(crate) mod lists;
pub(crate) mod node;
pub(crate) mod off_counter;
#[cfg_attr(repool_loom, path = "page_loom.rs")]
mod page;
mod peaks;
pub(crate) mod pool;
pub(crate) mod refs;
mod refusals;
pub(crate) mod root;
mod shared;
pub(crate) mod stats;
pub(crate) mod store;
#[cfg(all(test, not(repool_loom)))]
mod tests;
pub(crate) mod visit;
