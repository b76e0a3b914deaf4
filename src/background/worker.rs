//! The process's janitor: its one registry, the thread, and what that is told about time and memory.

use super::registry::{self, PASSES, Registry, WAKE_UPS, quietly};
use crate::background::trim;
use crate::pressure;
use crate::raw::pool::Core;
use crate::sync::rare::{Builder, OnceLock};
use crate::sync::{AtomicUsize, Mutex, Ordering, Patience, Thread};
use crate::sys::timer::Timer;
use std::time::Duration;

/// The default time between two passes.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// How long to go without a janitor before the next try to start one.
const RETRY: Duration = Duration::from_secs(1);

/// Counts the processes that this one was forked from, from 1.
pub(super) static EPOCH: AtomicUsize = AtomicUsize::new(1);
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

/// See `janitor.rs`, "Fork".
pub(crate) fn epoch() -> usize {
    // Relaxed: changes only in a child, before it has a second thread.
    EPOCH.load(Ordering::Relaxed)
}

/// An object became idle, and nobody watches the pool.
#[cold]
pub(crate) fn watch_slow(core: &Core) {
    let Some(interval) = core.interval() else {
        return;
    };
    if !is_possible() || !registry::watch(&REGISTRY, core, interval, start) {
        ride(core, interval);
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

/// Passes without a janitor: whoever comes by runs one when it is due.
fn ride(core: &Core, interval: Duration) {
    if core.ridden.is_due(interval) {
        PASSES.fetch_add(1, Ordering::Relaxed);
        let _ = quietly(|| trim::pass(core, pressure::level()));
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
    pressure::prepare();
    let _ = Timer::now();
    let run = || registry::run(&REGISTRY, pressure::level);
    let thread = Builder::new().name("repool-janitor".into()).spawn(run);
    let Ok(thread) = thread else {
        START_FAILED.restart();
        return None;
    };
    Some(thread.thread().clone())
}

/// Whether a thread may be had at all. `REPOOL_JANITOR=off` in the environment says no; Miri would
/// complain of a thread that is still there when `main` returns.
pub(crate) fn is_possible() -> bool {
    // Worked out first and then set, so that a fork in between, whose child would wait for ever for
    // a thread that it does not have, has next to no time.
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    POSSIBLE.get().copied().unwrap_or_else(|| {
        let forbidden = std::env::var_os("REPOOL_JANITOR").is_some_and(|value| value == "off");
        let possible = !forbidden && !cfg!(any(miri, target_family = "wasm"));
        let _ = POSSIBLE.set(possible);
        possible
    })
}
