//! What an operator sees: the list of named pools, the switch in the environment.
#![cfg(not(target_family = "wasm"))]

#[cfg(not(miri))] // thousands of requests each, and advice only reads figures
#[path = "observe/advice.rs"]
mod advice;
#[cfg(feature = "metrics")]
#[path = "observe/metrics.rs"]
mod metrics;
#[path = "observe/pools.rs"]
mod pools;
#[path = "observe/stats.rs"]
mod stats;
#[cfg(not(miri))] // children of this binary
#[path = "observe/switch.rs"]
mod switch;

/// How often; under Miri, `miri` times.
const fn n(full: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { full }
}
