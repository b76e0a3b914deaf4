//! Black-box tests. The name of each is a claim of the crate's contract; its first comment describes
//! the failure that it guards against.
//!
//! `fallback.rs` runs all of it a second time without the process-wide barrier.

mod bounds;
mod budget;
#[cfg(not(miri))] // long: passes each 3 ms of a slow clock
mod chaos;
mod crossing;
#[cfg(feature = "derive")]
mod derive;
mod limits;
mod loads;
mod objects;
#[cfg(not(miri))] // fills megabytes
mod outliers;
mod panics;
mod prefill;
mod properties;
mod reentry;
mod stats;
mod support;
mod teardown;
mod threads;
mod trimming;
mod turns;
mod types;
