//! Who watches which pool, and what the janitor does from one sleep to the next.
//!
//! The models run this as it ships, in a world without time: there, whatever may become due is
//! due. What keeps a pool from being forgotten:
//!
//! - A thread that finds a pool unwatched enters it, marks it as watched, and unlocks the watch list;
//!   only then it wakes the janitor ([`watch`]).
//! - The janitor marks a pool as unwatched *before* a pass looks ([`janitor_passes`]), and leaves
//!   the pool alone only if the pass found it quiescent *and* no thread has told it otherwise since
//!   ([`record_pass`]). It decides to sleep by what is entered ([`next_step`]), and a call that comes after
//!   that leaves a token, with which the sleep ends at once.
//! - A pool says that it is closed before its entry is taken out (`Core::close`). An entry that is made
//!   after that, by a late return, wakes the thread, which finds the pool closed.

use super::trim::{self, Pass};
use super::{hook, trace};
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;
use crate::sync::{
    StatUsize, Instant, Mutex, MutexGuard, Ordering, Timeout, Thread, park, park_timeout,
};
use crate::sys::memory::Level;
use crate::sys::panics::catch_panic;
use crate::sys::generation::generation;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two passes over one pool at high pressure, at most.
const CRITICAL_PAUSE: Duration = Duration::from_millis(100);
/// How often the pressure is looked at while anything is idle.
const PRESSURE_POLL: Duration = Duration::from_secs(1);
/// Between two tries to empty a pool that is gone. Its owner is inside for some instructions, unless
/// it has lost the processor there, or a signal handler runs.
const FINISH_PAUSE: Duration = Duration::from_millis(100);
/// This many tries come at that interval, later ones more rarely.
const FINISH_SOON: u32 = 100;
const FINISH_RARELY: Duration = Duration::from_secs(5);
/// After this many tries, a quarter of an hour, what is left is up to the end of the owner's thread.
const FINISH_TRIES: u32 = 300;
/// Pools whose passes go step by step together.
const PASSES_AT_ONCE: usize = 64;
/// How soon to look again when the watch list could not be locked.
const AGAIN: Duration = Duration::from_millis(10);

pub(super) static PASSES: StatUsize = StatUsize::new(0);
pub(super) static WAKE_UPS: StatUsize = StatUsize::new(0);

#[derive(Debug)]
pub(crate) struct WatchList {
    /// By the core's address.
    pub(super) pools: BTreeMap<usize, Entry>,
    /// Pools that are gone and could not be emptied.
    closing: Vec<Closing>,
    thread: Option<Thread>,
    /// The generation that `thread` lives in.
    generation: usize,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) core: WeakCore,
    interval: Duration,
    /// When its pass is due at the usual pace; `None`: quiescent, and left alone.
    pub(super) due: Option<Instant>,
    /// When its last pass ended.
    passed: Option<Instant>,
}

impl Entry {
    /// When its pass is due at this level of pressure.
    fn due_at(&self, level: Level, now: Instant) -> Option<Instant> {
        let due = self.due?;
        let sooner = match level {
            Level::Normal => due,
            // Four times as often.
            Level::Elevated => due
                .checked_sub(self.interval - self.interval / 4)
                .unwrap_or(now),
            // At once, and then as often as makes sense.
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
    /// The owner is none of another generation's threads.
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
            generation: 0,
        }
    }

    pub(crate) fn running(&self) -> bool {
        self.thread.is_some() && self.generation == generation()
    }

    /// Pools that have had an idle object and are still there.
    pub(crate) fn pools(&self) -> usize {
        self.pools.len()
    }

    /// The thread, to be woken with nothing held.
    pub(super) fn thread(&self) -> Option<Thread> {
        self.thread.clone().filter(|_| self.running())
    }
}

// ---------------------------------------------------------------- what pools say

/// What a call for the janitor came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// The janitor watches the pool, or the pool is closed.
    Started,
    /// There is no thread, and none can be started.
    NoThread,
    /// The watch list was locked for the whole of a long wait.
    Locked,
}

/// An object became idle in a pool that is not watched: the janitor watches it from now on. `start` is
/// asked for a thread if there is none.
pub(crate) fn watch(
    watch_list: &Mutex<WatchList>,
    core: &Core,
    interval: Duration,
    start: impl FnOnce() -> Option<Thread>,
) -> Watch {
    // Long: if this call is lost, the pool may keep what is idle for as long as it is not used.
    let Some(mut entered) = watch_list.lock_bounded(Timeout::Long) else {
        return Watch::Locked;
    };
    if core.is_closed() {
        return Watch::Started; // no thread for what would be found gone
    }
    if !entered.running() {
        let Some(thread) = start() else {
            return Watch::NoThread;
        };
        entered.thread = Some(thread);
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
    let thread = entered.thread();
    drop(entered);
    if let Some(thread) = thread {
        thread.unpark(); // mutant: drop-wake-for-pool
    }
    Watch::Started
}

/// The pool is gone.
pub(crate) fn unwatch(watch_list: &Mutex<WatchList>, core: &Core) {
    let Some(mut entered) = watch_list.lock_bounded(Timeout::Long) else {
        return; // the janitor finds it closed, when it is called next
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

/// The pool is gone, and a cache could not be emptied because its owner was inside: the janitor tries
/// again. `start` is asked for a thread if there is none; without one, the objects stay until the
/// owner's thread ends, or a thread can be started.
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

/// The thread's life, until the last pool has gone.
pub(crate) fn run(watch_list: &Mutex<WatchList>, level: impl Fn() -> Level) {
    // Should this thread end by a panic, all the same: another one can be started.
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

enum Next {
    Sleep,
    SleepUntil(Instant),
    End,
}

/// Runs the passes that are due.
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
        // Freeing a core runs destructors of the user's closures.
        for core in due {
            let _ = catch_panic(|| drop(core));
        }
    });
    finish(watch_list);
    next_step(watch_list, level)
}

/// Tries to empty the pools that are gone and still hold something.
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
        // User code; should it panic, the next try goes on where it stopped.
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

/// The pools whose pass is due. A tenth of an interval early is due as well, so that pools tick
/// together.
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

/// Enters how a pass went: a quiescent pool is left alone, unless a return has called since.
fn record_pass(mut entered: MutexGuard<'_, WatchList>, core: &Core, interval: Duration, quiescent: bool) {
    let Some(entry) = entered.pools.get_mut(&core.address().addr()) else {
        return; // gone meanwhile
    };
    let mut quiescent = quiescent;
    // Said under this lock, after the pass began.
    quiescent &= !core.is_watched(); // mutant: drop-called-since
    let now = Instant::now();
    entry.passed = Some(now);
    entry.due = (!quiescent).then(|| now + interval);
}

/// One pass over each of these pools, whatever the destructors do; which of them are quiescent now, and may be
/// left alone.
///
/// The janitor marks a pool as unwatched *before* the pass looks at the caches. A return that came
/// before the look was seen, and the pool is not quiescent. One that comes after it passes the gate that
/// the look has opened again (Release, Acquire), or the depot's lock, and so sees the mark,
/// and calls for the janitor.
pub(crate) fn janitor_passes<'a>(cores: impl Iterator<Item = &'a Core>, level: Level) -> Vec<bool> {
    let begin = |core: &'a Core| {
        PASSES.fetch_add(1, Ordering::Relaxed);
        core.set_watched(false); // mutant: drop-say-unwatched
        // User code may panic: better to come once too often.
        let again = RewatchOnDrop(core);
        (again, catch_panic(|| Pass::begin(core, level)))
    };
    let (again, mut passes): (Vec<_>, Vec<_>) = cores.map(begin).unzip();
    trim::visit_all(&mut passes);
    let finish = |(again, pass): (RewatchOnDrop<'_>, Option<Pass<'_>>)| {
        let (trimmed, quiescent) = pass
            .and_then(|pass| catch_panic(|| pass.finish()))
            .unwrap_or_default();
        hook::add(trimmed);
        trace::passed(again.0, level, trimmed);
        if quiescent {
            std::mem::forget(again);
        }
        quiescent
    };
    again.into_iter().zip(passes).map(finish).collect()
}

/// Watches the pool again when dropped.
struct RewatchOnDrop<'a>(&'a Core);

impl Drop for RewatchOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set_watched(true);
    }
}

/// What to do until something calls.
fn next_step(watch_list: &Mutex<WatchList>, level: Level) -> Next {
    let now = Instant::now();
    let Some(mut watch_list) = watch_list.lock_bounded(Timeout::Long) else {
        return Next::SleepUntil(now + AGAIN);
    };
    if watch_list.pools.is_empty() && watch_list.closing.is_empty() {
        // Under the lock: the next call starts another one.
        watch_list.thread = None; // mutant: drop-say-end
        return Next::End;
    }
    let passes = watch_list
        .pools
        .values()
        .filter_map(|entry| entry.due_at(level, now));
    let closing = watch_list.closing.iter().map(|closing| closing.due);
    match passes.chain(closing).min() {
        None => Next::Sleep,
        Some(due) => Next::SleepUntil(due.min(now + PRESSURE_POLL)),
    }
}
