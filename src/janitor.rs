//! The janitor: one background thread per process that runs passes. It has no policy of its own;
//! what a pass does is in `trim.rs`, how short memory is in `pressure.rs`.
//!
//! # Life
//! It is started by the first object that becomes idle in a pool with automatic trimming, sleeps
//! without a timeout while every pool is quiet, and ends with the last of those pools.
//!
//! # How it can sleep
//! Nobody can tell it of a hit-path return, so a pool is only left alone (*unwatched*) when no
//! such return can happen: a pass found every cache unused and empty, and left it so that the next
//! return takes the slow path (`Cache::strip` leaves no room). The slow path looks at
//! `Core::is_watched`, and calls [`watch_slow`] when nobody watches. `trim::watchful_pass` has the
//! order that keeps a return from falling between the two.
//!
//! # Where there is no thread
//! Where it can never be (wasm, Miri, `REPOOL_JANITOR=off`), threads are given no place, so that every
//! operation takes the slow path, and each return runs a pass itself when one is due. Where it could
//! not be started this time (limits), the pool stays unwatched: what returns take the slow path do
//! the same, and once a second one tries to start it again.
//!
//! # Fork
//! A forked child has no janitor. A handler counts [`epoch`] up there, which makes every pool
//! unwatched, and the child's first return on a slow path starts a new thread.

use crate::core::{Core, WeakCore, swallow};
use crate::pressure;
use crate::sync::rare::{Builder, OnceLock, Thread, park, park_timeout};
use crate::sync::{AtomicUsize, Figure, Mutex, Ordering, Patience};
use crate::trim::{self, Level};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The default time between two passes.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// Between two passes over one pool at high pressure, at most.
const HIGH_PAUSE: Duration = Duration::from_millis(100);
/// How often the pressure is looked at while anything is idle.
const PRESSURE_POLL: Duration = Duration::from_secs(1);

/// Counts the processes that this one was forked from, from 1.
static EPOCH: AtomicUsize = AtomicUsize::new(1);
static PASSES: Figure = Figure::new(0);
static WAKE_UPS: Figure = Figure::new(0);
static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
    pools: BTreeMap::new(),
    thread: None,
    epoch: 0,
});

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
    let of = |registry: &Registry| (registry.running(), registry.pools.len() as u64);
    let (running, pools) = registry.as_deref().map(of).unwrap_or_default();
    JanitorStats {
        running,
        passes: PASSES.load(Ordering::Relaxed) as u64,
        wake_ups: WAKE_UPS.load(Ordering::Relaxed) as u64,
        pools,
    }
}

struct Registry {
    /// By the core's address.
    pools: BTreeMap<usize, Entry>,
    thread: Option<Thread>,
    /// The epoch that `thread` lives in.
    epoch: usize,
}

struct Entry {
    core: WeakCore,
    interval: Duration,
    /// When its pass is due at the usual pace; `None`: quiet, and left alone.
    due: Option<Instant>,
    /// When its last pass ended.
    passed: Option<Instant>,
}

impl Entry {
    /// When its pass is due at this level of pressure.
    fn due_at(&self, level: Level, now: Instant) -> Option<Instant> {
        let due = self.due?;
        let sooner = match level {
            Level::None => due,
            // Four times as often.
            Level::Some => due
                .checked_sub(self.interval - self.interval / 4)
                .unwrap_or(now),
            // At once, and then as often as is any use.
            Level::High => {
                let pause = (self.interval / 4).min(HIGH_PAUSE);
                self.passed.map_or(now, |passed| passed + pause)
            }
        };
        Some(sooner.min(due))
    }
}

impl Registry {
    fn running(&self) -> bool {
        self.thread.is_some() && self.epoch == epoch()
    }
}

/// See the module's "Fork".
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
    if !is_possible() {
        ride(core, interval);
        return;
    }
    // Long: if this call is lost, nobody may look after the pool for as long as it is idle.
    let Some(mut registry) = REGISTRY.lock_bounded(Patience::Long) else {
        return;
    };
    if core.is_closed() {
        return;
    }
    if !registry.running() && (START_FAILED.is_within(RETRY) || !start(&mut registry)) {
        drop(registry);
        ride(core, interval);
        return;
    }
    let due = Some(Instant::now() + interval);
    let key = core.address().addr();
    match registry.pools.get_mut(&key) {
        Some(entry) => entry.due = due,
        None => {
            let core = WeakCore::new(core);
            registry.pools.insert(
                key,
                Entry {
                    core,
                    interval,
                    due,
                    passed: None,
                },
            );
        }
    }
    core.set_watched(true);
    let thread = registry.thread.clone();
    drop(registry);
    if let Some(thread) = thread {
        thread.unpark();
    }
}

/// The pool is gone.
pub(crate) fn forget(core: &Core) {
    if core.interval().is_none() {
        return;
    }
    let Some(mut registry) = REGISTRY.lock_bounded(Patience::Long) else {
        return; // the janitor finds it closed
    };
    let entry = registry.pools.remove(&core.address().addr());
    let last = registry.pools.is_empty() && entry.is_some();
    let thread = last.then(|| registry.thread.clone()).flatten();
    drop(registry);
    drop(entry);
    if let Some(thread) = thread {
        thread.unpark();
    }
}

/// Something that it goes by has changed.
pub(crate) fn wake() {
    let thread = REGISTRY
        .lock_bounded(Patience::Short)
        .and_then(|registry| registry.thread.clone().filter(|_| registry.running()));
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

// -------------------------------------------------------------------- the thread

fn start(registry: &mut Registry) -> bool {
    after_fork::install();
    // Under the registry's lock, which a forking thread takes first.
    pressure::prepare();
    let _ = Timer::now();
    let thread = Builder::new().name("repool-janitor".into()).spawn(run);
    let Ok(thread) = thread else {
        START_FAILED.restart();
        return false;
    };
    registry.thread = Some(thread.thread().clone());
    registry.epoch = epoch();
    true
}

fn run() {
    // Should this thread end by a panic, all the same: another one can be started.
    let _leaving = Leaving;
    loop {
        WAKE_UPS.fetch_add(1, Ordering::Relaxed);
        match round() {
            Next::Sleep => park(),
            Next::SleepUntil(due) => {
                park_timeout(due.saturating_duration_since(Instant::now()));
            }
            Next::End => return,
        }
    }
}

struct Leaving;

impl Drop for Leaving {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(mut registry) = REGISTRY.lock_bounded(Patience::Long)
        {
            registry.thread = None;
            registry
                .pools
                .values()
                .for_each(|entry| entry.core.set_watched(false));
        }
    }
}

/// Whether a thread may be had at all. `REPOOL_JANITOR=off` in the environment says no; Miri would
/// complain of a thread that is still there when `main` returns.
pub(crate) fn is_possible() -> bool {
    // Set, and not waited for: a forked child would wait for ever for one that it does not have.
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    POSSIBLE.get().copied().unwrap_or_else(|| {
        let forbidden = std::env::var_os("REPOOL_JANITOR").is_some_and(|value| value == "off");
        let possible = !forbidden && !cfg!(any(miri, target_family = "wasm"));
        let _ = POSSIBLE.set(possible);
        possible
    })
}

/// How long to go without a janitor before the next try to start one.
const RETRY: Duration = Duration::from_secs(1);
static START_FAILED: Timer = Timer::new();

/// Tells one of many threads that something is due, in whole milliseconds.
#[derive(Debug)]
pub(crate) struct Timer {
    /// Milliseconds since the first look at any timer, plus one; 0: never.
    last: AtomicUsize,
}

impl Timer {
    pub(crate) const fn new() -> Self {
        Self {
            last: AtomicUsize::new(0),
        }
    }

    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    fn now() -> usize {
        1 // no clock there: nothing is ever due
    }

    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    fn now() -> usize {
        static START: OnceLock<Instant> = OnceLock::new();
        let start = START.get().copied().unwrap_or_else(|| {
            let now = Instant::now();
            let _ = START.set(now);
            now
        });
        start.elapsed().as_millis() as usize + 1
    }

    fn restart(&self) {
        // Relaxed, here and below: a number on its own.
        self.last.store(Self::now(), Ordering::Relaxed);
    }

    /// Whether the last restart was less than `interval` ago.
    fn is_within(&self, interval: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last != 0 && Self::now().saturating_sub(last) < interval.as_millis() as usize
    }

    /// `true` for one caller each time that `interval` has gone by; the first call starts it.
    fn is_due(&self, interval: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        if self.is_within(interval) {
            return false;
        }
        let mine =
            self.last
                .compare_exchange(last, Self::now(), Ordering::Relaxed, Ordering::Relaxed);
        mine.is_ok() && last != 0
    }
}

enum Next {
    Sleep,
    SleepUntil(Instant),
    End,
}

/// Runs the passes that are due.
fn round() -> Next {
    let level = quietly(pressure::level).unwrap_or_default();
    let now = Instant::now();
    let Some(due) = take_due(now, level) else {
        // Somebody holds the registry: look again soon.
        return Next::SleepUntil(now + Duration::from_millis(10));
    };
    for (core, interval) in due {
        let quiet = pass(&core, level);
        if let Some(mut registry) = REGISTRY.lock_bounded(Patience::Long)
            && let Some(entry) = registry.pools.get_mut(&core.address().addr())
        {
            let now = Instant::now();
            entry.passed = Some(now);
            // Quiet, it is left alone, unless a return has called for the janitor since.
            entry.due = (!quiet || core.is_watched()).then(|| now + interval);
        }
        // Freeing a core runs destructors of the user's closures.
        let _ = quietly(|| drop(core));
    }
    settle(level)
}

/// The pools whose pass is due. A tenth of an interval early is due as well, so that pools tick
/// together.
fn take_due(now: Instant, level: Level) -> Option<Vec<(WeakCore, Duration)>> {
    let mut gone = Vec::new();
    let mut due = Vec::new();
    let mut registry = REGISTRY.lock_bounded(Patience::Long)?;
    registry.pools.retain(|_, entry| {
        if entry.core.is_closed() {
            gone.push(WeakCore::new(&entry.core));
            return false;
        }
        let early = if level == Level::High {
            now
        } else {
            now + entry.interval / 10
        };
        if entry.due_at(level, now).is_some_and(|at| at <= early) {
            due.push((WeakCore::new(&entry.core), entry.interval));
        }
        true
    });
    drop(registry);
    let _ = quietly(|| drop(gone));
    Some(due)
}

/// One pass, whatever the destructors do; whether the pool has gone quiet.
fn pass(core: &Core, level: Level) -> bool {
    PASSES.fetch_add(1, Ordering::Relaxed);
    quietly(|| trim::watchful_pass(core, level)).unwrap_or(false)
}

/// Runs somebody else's code; `None` if it panics.
fn quietly<R>(f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => Some(result),
        Err(panic) => {
            swallow(panic);
            None
        }
    }
}

fn settle(level: Level) -> Next {
    let Some(mut registry) = REGISTRY.lock_bounded(Patience::Long) else {
        return Next::SleepUntil(Instant::now() + Duration::from_millis(10));
    };
    if registry.pools.is_empty() {
        registry.thread = None;
        return Next::End;
    }
    let now = Instant::now();
    match registry
        .pools
        .values()
        .filter_map(|entry| entry.due_at(level, now))
        .min()
    {
        None => Next::Sleep,
        Some(due) => Next::SleepUntil(due.min(now + PRESSURE_POLL)),
    }
}

#[cfg(all(unix, not(miri)))]
mod after_fork {
    use super::{EPOCH, REGISTRY};
    use crate::sync::rare::Once;
    use crate::sync::{Ordering, Patience};
    use std::cell::Cell;

    thread_local! {
        /// Whether this thread, which forks, took the registry's lock. Two may fork at once.
        static HELD: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: the handlers are plain functions; the one for the child touches an atomic,
            // a cell and a lock that its own thread holds, which is all that a child of a process with
            // threads may do.
            unsafe { libc::pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
        });
    }

    /// The child must not inherit a registry that the janitor was about to change.
    extern "C" fn prepare() {
        let held = REGISTRY
            .lock_bounded(Patience::Long)
            .map(std::mem::forget)
            .is_some();
        HELD.set(held);
    }

    extern "C" fn in_parent() {
        if HELD.replace(false) {
            // SAFETY: taken in `prepare` by this thread, and its guard forgotten.
            unsafe { REGISTRY.unlock_forgotten() };
        }
    }

    extern "C" fn in_child() {
        EPOCH.fetch_add(1, Ordering::Relaxed);
        in_parent();
    }
}

#[cfg(not(all(unix, not(miri))))]
mod after_fork {
    pub(super) fn install() {}
}
