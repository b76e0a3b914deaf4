//! The watch list: the pools that the janitor watches, and the loop of the janitor's thread.
//!
//! The models run this code as it ships, in a world without time: what may become due is due there. These rules keep a
//! pool from being forgotten:
//!
//! - A thread that finds a pool unwatched puts it on the list, marks it as watched, unlocks the list, and then wakes
//!   the janitor ([`watch`]), unless the janitor wakes up before the pass over that pool is due.
//! - The janitor marks a pool as unwatched *before* a pass looks at the caches ([`janitor_passes`]). It stops watching
//!   the pool only if the pass found it quiescent *and* no thread has marked it as watched since ([`record_pass`]). It
//!   decides by the list whether to sleep ([`next_step`]). A thread that calls [`watch`] after that decision leaves a
//!   park token, which ends the sleep at once.
//! - A pool is marked as closed before its entry is removed (`slow::close`). If a late return adds an entry after that,
//!   it also wakes the janitor, which finds the pool closed.

use super::trim::{self, Pass};
use super::{hook, trace};
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;
use crate::sync::{
    Instant, Mutex, MutexGuard, Ordering, StatUsize, Thread, Timeout, park, park_timeout,
};
use crate::sys::generation::generation;
use crate::sys::memory::Level;
use crate::sys::panics::catch_panic;
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest time between two passes over a pool while memory pressure is critical.
const CRITICAL_PAUSE: Duration = Duration::from_millis(100);
/// The time between two reads of the pressure level while anything is idle.
const PRESSURE_POLL: Duration = Duration::from_secs(1);
/// The time between two tries to empty a pool that is gone. An owner is inside its cache for some instructions,
/// unless it is descheduled there, or a signal handler runs.
const FINISH_PAUSE: Duration = Duration::from_millis(100);
/// After this many tries, the next ones come at longer intervals.
const FINISH_SOON: u32 = 100;
const FINISH_RARELY: Duration = Duration::from_secs(5);
/// After this many tries, which take a quarter of an hour, the objects stay until the owner's thread ends.
const FINISH_TRIES: u32 = 300;
/// The most pools whose passes run step by step at once.
const PASSES_AT_ONCE: usize = 64;
/// The time until the next try if the watch list could not be locked.
const AGAIN: Duration = Duration::from_millis(10);

pub(super) static PASSES: StatUsize = StatUsize::new(0);
pub(super) static WAKE_UPS: StatUsize = StatUsize::new(0);

#[derive(Debug)]
pub(crate) struct WatchList {
    /// The pools, by the address of their core.
    pub(super) pools: BTreeMap<usize, Entry>,
    /// The pools that are gone and could not be emptied yet.
    closing: Vec<Closing>,
    thread: Option<Thread>,
    /// When the janitor, which sleeps, wakes up at the latest; `None`: when a thread wakes it. It reads the list
    /// then, so a pool whose pass is not due earlier does not have to wake it.
    wakes_at: Option<Instant>,
    /// The fork generation that `thread` belongs to.
    generation: usize,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) core: WeakCore,
    interval: Duration,
    /// When the next pass is due at normal pressure; `None`: quiescent, and not watched.
    pub(super) due: Option<Instant>,
    /// When the last pass ended.
    passed: Option<Instant>,
}

impl Entry {
    /// When the next pass is due at this level of pressure.
    fn due_at(&self, level: Level, now: Instant) -> Option<Instant> {
        let due = self.due?;
        let sooner = match level {
            Level::Normal => due,
            // Four times as often.
            Level::Elevated => due
                .checked_sub(self.interval - self.interval / 4)
                .unwrap_or(now),
            // At once, and then at short intervals.
            Level::Critical => {
                let pause = (self.interval / 4).min(CRITICAL_PAUSE);
                self.passed.map_or(now, |passed| passed + pause)
            }
        };
        Some(sooner.min(due))
    }
}

/// A pool that is gone, with a cache that could not be emptied because its owner was inside.
#[derive(Debug)]
struct Closing {
    core: WeakCore,
    /// The fork generation: an owner of another one does not exist in this process.
    generation: usize,
    tries: u32,
    due: Instant,
}

impl WatchList {
    pub(crate) const fn new() -> Self {
        Self {
            pools: BTreeMap::new(),
            closing: Vec::new(),
            thread: None,
            wakes_at: None,
            generation: 0,
        }
    }

    pub(crate) fn running(&self) -> bool {
        self.thread.is_some() && self.generation == generation()
    }

    /// The number of pools that have had an idle object and still exist.
    pub(crate) fn pools(&self) -> usize {
        self.pools.len()
    }

    /// The janitor's thread. The caller unlocks the list before it wakes the thread.
    pub(super) fn thread(&self) -> Option<Thread> {
        self.thread.clone().filter(|_| self.running())
    }
}

// ---------------------------------------------------------------- called by pools

/// The outcome of [`watch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// The janitor watches the pool, or the pool is closed.
    Done,
    /// There is no thread, and none could be started.
    NoThread,
    /// The list could not be locked before the timeout.
    Locked,
}

/// Puts a pool on the list, because an object has become idle in it. Calls `start` if there is no thread.
pub(crate) fn watch(
    watch_list: &Mutex<WatchList>,
    core: &Core,
    interval: Duration,
    start: impl FnOnce() -> Option<Thread>,
) -> Watch {
    // Long: if this call fails, an unused pool may keep its idle objects.
    let Some(mut entered) = watch_list.lock_bounded(Timeout::Long) else {
        return Watch::Locked;
    };
    if core.is_closed() {
        return Watch::Done; // do not start a thread for a closed pool
    }
    if !entered.running() {
        let Some(thread) = start() else {
            return Watch::NoThread;
        };
        entered.thread = Some(thread);
        entered.wakes_at = None;
        entered.generation = generation();
    }
    let due = Instant::now() + interval;
    let key = core.address().addr();
    let entry = entered.pools.entry(key).or_insert_with(|| Entry {
        core: WeakCore::new(core),
        interval,
        due: None,
        passed: None,
    });
    entry.due = Some(due); // mutant: drop-due-again
    core.set_watched(true); // mutant: drop-watched-again
    let wakes_in_time = entered.wakes_at.is_some_and(|at| at <= due);
    let thread = entered.thread().filter(|_| !wakes_in_time);
    drop(entered);
    if let Some(thread) = thread {
        thread.unpark(); // mutant: drop-wake-for-pool
    }
    Watch::Done
}

/// Removes a pool that is gone. Wakes the janitor if it was the last one, so that the thread ends.
pub(crate) fn unwatch(watch_list: &Mutex<WatchList>, core: &Core) {
    let Some(mut entered) = watch_list.lock_bounded(Timeout::Long) else {
        return; // the janitor finds the pool closed when it next wakes up
    };
    let entry = entered.pools.remove(&core.address().addr());
    let last = entered.pools.is_empty() && entry.is_some();
    let thread = last.then(|| entered.thread()).flatten();
    drop(entered);
    drop(entry);
    if let Some(thread) = thread {
        thread.unpark(); // mutant: drop-wake-to-end
    }
}

/// Lets the janitor empty a pool that is gone, but has a cache whose owner was inside. Calls `start` if there is no
/// thread. If none can be started, the objects stay until the owner's thread ends, or a later call starts one.
pub(crate) fn finish_later(
    watch_list: &Mutex<WatchList>,
    core: &Core,
    start: impl FnOnce() -> Option<Thread>,
) {
    let Some(mut entered) = watch_list.lock_bounded(Timeout::Long) else {
        return;
    };
    entered.closing.push(Closing {
        core: WeakCore::new(core),
        generation: generation(),
        tries: 0,
        due: Instant::now() + FINISH_PAUSE,
    });
    if !entered.running() {
        entered.thread = start();
        entered.generation = generation();
    }
    let thread = entered.thread();
    drop(entered);
    if let Some(thread) = thread {
        thread.unpark(); // mutant: drop-wake-to-finish
    }
}

// ---------------------------------------------------------------- the thread

/// The loop of the janitor's thread, until the last pool is gone.
pub(crate) fn run(watch_list: &Mutex<WatchList>, level: impl Fn() -> Level) {
    // In case this thread ends by a panic, so that another one can be started.
    let _leaving = UnwatchAllOnPanic(watch_list);
    trace::janitor_started();
    loop {
        WAKE_UPS.fetch_add(1, Ordering::Relaxed);
        match run_due_passes(watch_list, catch_panic(&level).unwrap_or_default()) {
            Next::Sleep => park(),
            Next::SleepUntil(due) => {
                park_timeout(due.saturating_duration_since(Instant::now()));
            }
            Next::End => break,
        }
    }
    trace::janitor_ended();
}

/// Marks all pools as unwatched if the janitor's thread unwinds.
struct UnwatchAllOnPanic<'a>(&'a Mutex<WatchList>);

impl Drop for UnwatchAllOnPanic<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if let Some(mut watch_list) = self.0.lock_bounded(Timeout::Long) {
            watch_list.thread = None;
            watch_list
                .pools
                .values()
                .for_each(|entry| entry.core.set_watched(false));
        }
    }
}

/// What the janitor does next.
enum Next {
    Sleep,
    SleepUntil(Instant),
    End,
}

/// Runs the passes that are due, and decides what to do next.
fn run_due_passes(watch_list: &Mutex<WatchList>, level: Level) -> Next {
    let now = Instant::now();
    let Some(due) = take_due(watch_list, now, level) else {
        return Next::SleepUntil(now + AGAIN);
    };
    hook::once_for(|| {
        for due in due.chunks(PASSES_AT_ONCE) {
            let quiescent = janitor_passes(due.iter().map(|(core, _)| &**core), level);
            for ((core, interval), quiescent) in due.iter().zip(quiescent) {
                if let Some(entered) = watch_list.lock_bounded(Timeout::Long) {
                    record_pass(entered, core, *interval, quiescent);
                }
            }
        }
        // The last reference to a core may run the destructors of the user's closures.
        for core in due {
            let _ = catch_panic(|| drop(core));
        }
    });
    finish(watch_list);
    next_step(watch_list, level)
}

/// Tries again to empty the pools that are gone.
fn finish(watch_list: &Mutex<WatchList>) {
    let now = Instant::now();
    let Some(mut entered) = watch_list.lock_bounded(Timeout::Long) else {
        return;
    };
    if entered.closing.is_empty() {
        return;
    }
    let all = std::mem::take(&mut entered.closing);
    drop(entered);
    let mut left = Vec::new();
    for mut closing in all {
        if closing.due > now {
            left.push(closing);
            continue;
        }
        // Runs user code. If it panics, the next try continues where this one stopped.
        let finished = catch_panic(|| closing.core.finish_closing()).unwrap_or(false);
        closing.tries += 1;
        if finished || closing.tries >= FINISH_TRIES || closing.generation != generation() {
            let _ = catch_panic(|| drop(closing));
            continue;
        }
        let pause = if closing.tries < FINISH_SOON {
            FINISH_PAUSE
        } else {
            FINISH_RARELY
        };
        closing.due = Instant::now() + pause;
        left.push(closing);
    }
    if let Some(mut entered) = watch_list.lock_bounded(Timeout::Long) {
        entered.closing.append(&mut left);
    }
}

/// The pools whose pass is due. A pass that is early by a tenth of its interval counts as due, so that passes of
/// several pools coincide.
fn take_due(
    watch_list: &Mutex<WatchList>,
    now: Instant,
    level: Level,
) -> Option<Vec<(WeakCore, Duration)>> {
    let mut gone = Vec::new();
    let mut due = Vec::new();
    let mut watch_list = watch_list.lock_bounded(Timeout::Long)?;
    watch_list.pools.retain(|_, entry| {
        if entry.core.is_closed() {
            gone.push(WeakCore::new(&entry.core));
            return false;
        }
        let early = if level == Level::Critical {
            now
        } else {
            now + entry.interval / 10
        };
        if entry.due_at(level, now).is_some_and(|at| at <= early) {
            due.push((WeakCore::new(&entry.core), entry.interval));
        }
        true
    });
    drop(watch_list);
    let _ = catch_panic(|| drop(gone));
    Some(due)
}

/// Records the outcome of a pass: a quiescent pool is no longer watched, unless a return has marked it since.
fn record_pass(
    mut entered: MutexGuard<'_, WatchList>,
    core: &Core,
    interval: Duration,
    quiescent: bool,
) {
    let Some(entry) = entered.pools.get_mut(&core.address().addr()) else {
        return; // the pool is gone
    };
    let mut quiescent = quiescent;
    // A mark since the pass began was set under this lock.
    quiescent &= !core.is_watched(); // mutant: drop-called-since
    let now = Instant::now();
    entry.passed = Some(now);
    entry.due = (!quiescent).then(|| now + interval);
}

/// Runs one pass over each of these pools, even if destructors panic. Returns which of them are quiescent, so that they
/// need not be watched.
///
/// The janitor marks a pool as unwatched *before* the pass looks at the caches. If a return comes before the pass
/// looks, the pass sees it, and the pool is not quiescent. If the return comes later, it passes the gate that the
/// pass has opened again (Release, Acquire), or the depot's lock. So it sees that the pool is unwatched, and calls
/// [`watch`].
pub(crate) fn janitor_passes<'a>(cores: impl Iterator<Item = &'a Core>, level: Level) -> Vec<bool> {
    let begin = |core: &'a Core| {
        PASSES.fetch_add(1, Ordering::Relaxed);
        core.set_watched(false); // mutant: drop-say-unwatched
        // User code may panic. Then the pool stays watched.
        let rewatch = RewatchOnDrop(core);
        (rewatch, catch_panic(|| Pass::begin(core, level)))
    };
    let (rewatch, mut passes): (Vec<_>, Vec<_>) = cores.map(begin).unzip();
    trim::visit_all(&mut passes);
    let finish = |(rewatch, pass): (RewatchOnDrop<'_>, Option<Pass<'_>>)| {
        let (trimmed, quiescent) = pass
            .and_then(|pass| catch_panic(|| pass.finish()))
            .unwrap_or_default();
        hook::add(trimmed);
        trace::passed(rewatch.0, level, trimmed);
        if quiescent {
            std::mem::forget(rewatch);
        }
        quiescent
    };
    rewatch.into_iter().zip(passes).map(finish).collect()
}

/// Marks the pool as watched on drop.
struct RewatchOnDrop<'a>(&'a Core);

impl Drop for RewatchOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set_watched(true);
    }
}

/// Decides whether the janitor sleeps, and until when.
fn next_step(watch_list: &Mutex<WatchList>, level: Level) -> Next {
    let now = Instant::now();
    let Some(mut watch_list) = watch_list.lock_bounded(Timeout::Long) else {
        return Next::SleepUntil(now + AGAIN);
    };
    if watch_list.pools.is_empty() && watch_list.closing.is_empty() {
        // Under the lock, so that the next call of `watch` starts another thread.
        watch_list.thread = None; // mutant: drop-say-end
        return Next::End;
    }
    let passes = watch_list
        .pools
        .values()
        .filter_map(|entry| entry.due_at(level, now));
    let closing = watch_list.closing.iter().map(|closing| closing.due);
    match passes.chain(closing).min() {
        None => {
            watch_list.wakes_at = None; // mutant: drop-sleeps-until-woken
            Next::Sleep
        }
        Some(due) => {
            let due = due.min(now + PRESSURE_POLL);
            watch_list.wakes_at = Some(due);
            Next::SleepUntil(due)
        }
    }
}
