//! Events for the `tracing` facade (feature `tracing`): what passes dropped, what limits refused since the
//! pass before, a janitor that starts and ends. All of them are at the level DEBUG.
//!
//! A pass is the only place that emits; gets and drops do not. Subscribers are user code: they run with nothing
//! of this crate locked and outside of critical sections, after the pass, and a panic of theirs is dropped.
//! `trace_off.rs` has the same functions for builds without the feature.

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

/// After a pass over this pool.
pub(super) fn passed(core: &Core, level: Level, trimmed: Trimmed) {
    // Also while no subscriber listens, so that one that comes later is not told old news.
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
