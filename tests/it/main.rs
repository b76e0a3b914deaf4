//! Black-box tests: the name of each is a claim of the crate's contract, and its first comment says
//! which line of the acceptance list it belongs to and what failure it pins.
//!
//! `fallback.rs` runs all of it a second time without the process-wide barrier.

mod budget;
#[cfg(not(miri))] // long: passes each 3 ms of a slow clock
mod chaos;
mod crossing;
#[cfg(feature = "derive")]
mod derive;
mod limits;
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
mod types;
