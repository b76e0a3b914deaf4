//! What an operator sees: the list of named pools, the switch in the environment.
#![cfg(not(any(miri, target_family = "wasm")))]

#[path = "observe/advice.rs"]
mod advice;
#[cfg(feature = "metrics")]
#[path = "observe/metrics.rs"]
mod metrics;
#[path = "observe/pools.rs"]
mod pools;
#[path = "observe/stats.rs"]
mod stats;
#[path = "observe/switch.rs"]
mod switch;
