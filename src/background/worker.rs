//! The process's janitor: its one registry, the thread, and what that is told about time and memory.

use super::registry::{self, PASSES, Registry, WAKE_UPS};
use super::{source, trim};
use crate::raw::pool::Core;
use crate::sync::{Mutex, Ordering, Patience, Thread};
use crate::sys::memory;
use crate::sys::panics::quietly;
use crate::sys::process::janitor_is_possible;
use crate::sys::spawn;
use crate::sys::timer::Timer;
use std::time::Duration;

/// The default time between two passes.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// How long to go without a janitor before the next try to start one.
const RETRY: Duration = Duration::from_secs(1);

pub(super) static REGISTRY: Mutex<Registry> = Mutex::new(Registry::new());
static START_FAILED: Timer = Timer::new();

/// What the janitor has done, from [`janitor_stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JanitorStats {
    /// Whether the thread is there.
    pub running: bool,
    /// Passes run, over all pools.
    pub passes: u64,
    /// Times the thread woke up. It does not while every pool is quiet.
    pub wake_ups: u64,
    /// Pools that have had an idle object and are still there.
    pub pools: u64,
}

/// What the background thread that trims pools has done so far in this process.
#[must_use]
pub fn janitor_stats() -> JanitorStats {
    let registry = REGISTRY.lock_bounded(Patience::Long);
    let of = |registry: &Registry| (registry.running(), registry.pools() as u64);
    let (running, pools) = registry.as_deref().map(of).unwrap_or_default();
    JanitorStats {
        running,
        passes: PASSES.load(Ordering::Relaxed) as u64,
        wake_ups: WAKE_UPS.load(Ordering::Relaxed) as u64,
        pools,
    }
}

/// An object became idle, and nobody watches the pool.
#[cold]
pub(crate) fn watch_slow(core: &Core) {
    let Some(interval) = core.interval() else {
        return;
    };
    if !janitor_is_possible() || !registry::watch(&REGISTRY, core, interval, start) {
        pass_if_due(core, interval);
    }
}

/// The pool is gone.
pub(crate) fn forget(core: &Core) {
    if core.interval().is_some() {
        registry::forget(&REGISTRY, core);
    }
}

/// Something that it goes by has changed.
pub(crate) fn wake() {
    let thread = REGISTRY
        .lock_bounded(Patience::Short)
        .and_then(|registry| registry.thread());
    if let Some(thread) = thread {
        thread.unpark();
    }
}

/// Without a janitor, the returning thread runs the pass when it is due.
fn pass_if_due(core: &Core, interval: Duration) {
    if !core.ridden.is_due(interval) {
        return;
    }
    PASSES.fetch_add(1, Ordering::Relaxed);
    let quiet = quietly(|| trim::pass(core, source::level()).1);
    // While this pass had objects in its hands, a janitor that another thread could start may have
    // found the pool quiet.
    if quiet != Some(true) && janitor_is_possible() && !core.is_watched() {
        let _ = registry::watch(&REGISTRY, core, interval, start);
    }
}

/// Starts the thread, under the registry's lock.
fn start() -> Option<Thread> {
    if START_FAILED.is_within(RETRY) {
        return None;
    }
    #[cfg(all(unix, not(miri)))]
    super::fork::install();
    // Under the registry's lock, which a forking thread takes first.
    let _ = memory::system_files();
    let _ = Timer::now();
    let run = || registry::run(&REGISTRY, source::level);
    let thread = spawn::background("repool-janitor", run);
    if thread.is_none() {
        START_FAILED.restart();
    }
    thread
}
