//! Events for the `tracing` facade (feature `tracing`): what a pass dropped, what limits refused since the last pass,
//! and the start and end of the janitor. All events have the level DEBUG.
//!
//! Only passes and the janitor emit events; gets and drops do not. Subscribers are user code. They run after the pass,
//! outside critical sections and without a lock of this crate, and their panics are swallowed. `trace_off.rs` stands in
//! for this file in builds without the feature.

use crate::raw::pool::Core;
use crate::raw::stats::Trimmed;
use crate::sys::memory::Level;
use crate::sys::panics::catch_panic;
use tracing::{Level as Severity, debug, enabled};

pub(super) fn janitor_started() {
    let _ = catch_panic(|| debug!(target: "repool::janitor", "janitor started"));
}

pub(super) fn janitor_ended() {
    let _ = catch_panic(|| debug!(target: "repool::janitor", "janitor ended"));
}

/// Reports a pass over this pool.
pub(super) fn passed(core: &Core, level: Level, trimmed: Trimmed) {
    // Read even without a subscriber, so that a later subscriber does not get old counts.
    let (full, budget) = core.counters.refused_since_pass();
    if trimmed.objects == 0 && full == 0 && budget == 0 {
        return;
    }
    let _ = catch_panic(|| tell(core, level, trimmed, full, budget));
}

fn tell(core: &Core, level: Level, trimmed: Trimmed, full: usize, budget: usize) {
    if trimmed.objects > 0 && enabled!(target: "repool::trim", Severity::DEBUG) {
        debug!(
            target: "repool::trim",
            pool = core.name(),
            objects = trimmed.objects,
            bytes = trimmed.bytes,
            pressure = ?level,
            "trim pass dropped idle objects"
        );
    }
    if full + budget > 0 && enabled!(target: "repool::limits", Severity::DEBUG) {
        debug!(
            target: "repool::limits",
            pool = core.name(),
            full,
            budget,
            "limits refused returned objects since the last pass"
        );
    }
}
