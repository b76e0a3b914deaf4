//! The janitor of the process: its watch list, the start of the thread, and the passes of returning threads without
//! one.

#![cfg(not(repool_loom))]

use super::watch_list::{self, PASSES, WAKE_UPS, Watch, WatchList};
use super::{hook, source, trace, trim};
use crate::raw::pool::Core;
use crate::sync::{AtomicPtr, AtomicUsize, Mutex, Ordering, Thread, Timeout};
use crate::sys::generation::generation;
use crate::sys::memory::Memory;
use crate::sys::panics::catch_panic;
use crate::sys::process::janitor_is_possible;
use crate::sys::spawn;
use crate::sys::timer::{self, Timer};
use std::ptr;
use std::time::Duration;

/// The default time between two passes.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// The time until the next try to start the thread.
const RETRY: Duration = Duration::from_secs(1);

static FIRST: Mutex<WatchList> = Mutex::new(WatchList::new());
/// The list that is used in place of [`FIRST`]; null for none.
static REPLACEMENT: AtomicPtr<Mutex<WatchList>> = AtomicPtr::new(ptr::null_mut());
/// The fork generation in which a thread has last locked the list. Relaxed: a hint.
static LOCKED_IN: AtomicUsize = AtomicUsize::new(1);
static START_FAILED: Timer = Timer::new();

/// The watch list of this process.
pub(super) fn watch_list() -> &'static Mutex<WatchList> {
    // Acquire: pairs with the Release in `replace`. No mutant: no model forks.
    let replacement = REPLACEMENT.load(Ordering::Acquire);
    if replacement.is_null() {
        &FIRST
    } else {
        // SAFETY: from a box that is never freed.
        unsafe { &*replacement }
    }
}

/// Replaces a list that is locked for good, because its holder was lost in the fork. Its entries leak, and with them
/// the memory of their pools.
fn replace(dead: &'static Mutex<WatchList>) {
    let before = REPLACEMENT.load(Ordering::Relaxed);
    if !ptr::eq(watch_list(), dead) {
        return; // another thread has replaced it
    }
    let fresh = Box::into_raw(Box::new(Mutex::new(WatchList::new())));
    // Release: pairs with the Acquire in `watch_list`. No mutant: as there.
    let set = REPLACEMENT.compare_exchange(before, fresh, Ordering::Release, Ordering::Relaxed);
    if set.is_err() {
        // SAFETY: from `into_raw` above, and not shared.
        drop(unsafe { Box::from_raw(fresh) });
    }
}

/// The statistics of the janitor in this process, from [`janitor_stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JanitorStats {
    /// Whether the thread is running.
    pub running: bool,
    /// The number of passes over all pools, by the janitor, or by returning threads if there is no janitor. Passes that
    /// the program runs ([`Pool::trim`](crate::Pool::trim)) do not count.
    pub passes: u64,
    /// How often the thread has woken up. It stays asleep while no pool with automatic trimming has idle objects.
    pub wake_ups: u64,
    /// The number of pools with automatic trimming that have had an idle object and still exist.
    pub pools: u64,
}

/// The statistics of the janitor, the background thread that trims pools.
///
/// The call takes one lock, which the janitor holds for microseconds at a time. If the lock cannot be taken within some
/// tenths of a second, `running` is `false` and `pools` is 0.
///
/// A forked child starts with the counts of its parent and without the thread. Its first return on a slow path starts
/// one. After a `fork` of the C library, each thread's next return is such a return. A child of the bare `clone` system
/// call is detected as well (Linux 4.14), but returns to a cache that has room are not slow there: the child is trimmed
/// once a return is slow, or once it calls [`Pool::stats`](crate::Pool::stats).
///
/// # Examples
/// ```
/// let pool = repool::Pool::<Vec<u8>>::new(Vec::new);
/// drop(pool.get()); // the first idle object starts the thread
/// println!("{:?}", repool::janitor_stats());
/// ```
#[must_use]
pub fn janitor_stats() -> JanitorStats {
    let watch_list = watch_list().lock_bounded(Timeout::Long);
    let of = |watch_list: &WatchList| (watch_list.running(), watch_list.pools() as u64);
    let (running, pools) = watch_list.as_deref().map(of).unwrap_or_default();
    JanitorStats {
        running,
        passes: PASSES.load(Ordering::Relaxed) as u64,
        wake_ups: WAKE_UPS.load(Ordering::Relaxed) as u64,
        pools,
    }
}

/// Makes the janitor watch a pool in which an object has become idle. Without a janitor, runs a pass if one is due.
#[cold]
pub(crate) fn watch_slow(core: &Core) {
    let Some(interval) = core.interval() else {
        return;
    };
    if !janitor_is_possible() || !try_watch(core, interval) {
        pass_if_due(core, interval);
    }
}

/// Makes the janitor watch a pool. `false` if there is no janitor.
fn try_watch(core: &Core, interval: Duration) -> bool {
    let call = |at| watch_list::watch(at, core, interval, || start(at));
    let first = watch_list();
    let mut called = call(first);
    // If a thread of this process has locked the list before, its present holder is a thread of this process as well.
    if called == Watch::Locked && LOCKED_IN.load(Ordering::Relaxed) != generation() {
        replace(first);
        called = call(watch_list());
    }
    if called == Watch::Done {
        LOCKED_IN.store(generation(), Ordering::Relaxed);
    }
    // If the list is locked, the next return on a slow path tries again.
    called != Watch::NoThread
}

/// Tells the janitor that the pool is gone.
pub(crate) fn unwatch(core: &Core) {
    if core.interval().is_some() {
        watch_list::unwatch(watch_list(), core);
    }
}

/// Tells the janitor to call [`Core::finish_closing`] until the pool, which is gone, is empty.
pub(crate) fn finish_later(core: &Core) {
    // Without a janitor there are no caches, except under Miri, where the owners drain them.
    if janitor_is_possible() {
        let watch_list = watch_list();
        watch_list::finish_later(watch_list, core, || start(watch_list));
    }
}

/// Wakes the janitor, because the level of memory pressure may have changed.
pub(crate) fn wake() {
    let thread = watch_list()
        .lock_bounded(Timeout::Short)
        .and_then(|watch_list| watch_list.thread());
    if let Some(thread) = thread {
        thread.unpark();
    }
}

/// Runs a pass on the returning thread if one is due, because there is no janitor.
fn pass_if_due(core: &Core, interval: Duration) {
    if !core.pass_timer.is_due(interval) {
        return;
    }
    PASSES.fetch_add(1, Ordering::Relaxed);
    let pass = || {
        let level = source::level();
        let (trimmed, quiescent) = trim::pass(core, level);
        hook::add(trimmed);
        trace::passed(core, level, trimmed);
        quiescent
    };
    let quiescent = catch_panic(|| hook::once_for(pass));
    // While this pass held objects, a janitor that another thread has started may have found the pool quiescent.
    if quiescent != Some(true) && janitor_is_possible() && !core.is_watched() {
        let _ = try_watch(core, interval);
    }
}

/// Starts the thread. The caller holds the lock of the watch list.
fn start(watch_list: &'static Mutex<WatchList>) -> Option<Thread> {
    if START_FAILED.is_within(RETRY) {
        return None;
    }
    #[cfg(all(unix, not(miri)))]
    super::fork::install();
    // These initialize a `OnceLock`. A forking thread takes the lock of the watch list first, so it waits for that.
    let _ = Memory::system();
    timer::prepare();
    let run = || watch_list::run(watch_list, source::level);
    let thread = spawn::background("repool-janitor", run);
    if thread.is_none() {
        START_FAILED.restart(RETRY);
    }
    thread
}

#[cfg(all(test, unix, not(miri)))]
mod tests {
    use super::watch_list;
    use crate::object::pool::Pool;
    use crate::raw::refs::WeakCore;
    use crate::sync::Timeout;
    use crate::sync::rare::Arc;
    use crate::thread::local;
    use std::time::{Duration, Instant};

    /// Runs one test at a time: one of them keeps the watch list locked.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

    fn alone() -> std::sync::MutexGuard<'static, ()> {
        ALONE
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// An owner stays inside its cache until closing times out, and longer. (The owner is this thread, whose cache only
    /// looks as if it were inside.)
    #[test]
    fn what_closing_could_not_reach_goes_when_the_owner_has_left() {
        let _alone = alone();
        for manually in [true, false] {
            let alive = Arc::new(());
            let counted = alive.clone();
            let builder = Pool::builder(move || counted.clone()).reset(|_| true);
            let pool = if manually {
                builder.trim_manually().build()
            } else {
                builder.trim_every(Duration::from_secs(3600)).build()
            };
            drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
            let core = WeakCore::new(pool.core());
            let id = local::thread_id().expect("a thread like any other");
            let cache = core.cache_table().cache_of(id);
            // SAFETY: used above; caches live as long as their core.
            let cache = unsafe { &*cache };
            cache.lose_owner_inside(true);
            drop(pool);
            let kept = Arc::strong_count(&alive);
            std::thread::sleep(Duration::from_millis(300)); // some tries that cannot succeed
            assert_eq!(Arc::strong_count(&alive), kept, "the owner is inside");
            assert!(kept > 10, "ten objects and their create function: {kept}");
            cache.lose_owner_inside(false);
            let start = Instant::now();
            while Arc::strong_count(&alive) > 1 && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(1)); // polls
            }
            let left = Arc::strong_count(&alive) - 1;
            assert_eq!(left, 0, "trimmed manually: {manually}");
        }
    }

    #[test]
    fn a_child_whose_registry_was_locked_at_the_fork_is_trimmed() {
        let _alone = alone();
        let pool = Pool::builder(Vec::<u8>::new)
            .trim_every(Duration::from_millis(10))
            .build();
        drop(pool.get());
        // The forking thread cannot take the lock, so the child finds it locked for good.
        let locked = watch_list().lock_bounded(Timeout::Long).expect("not dead");
        // SAFETY: the child uses only pools, threads and the allocator, and ends by `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let start = Instant::now();
            drop((0..100).map(|_| pool.get()).collect::<Vec<_>>());
            while pool.stats().idle != 0 && start.elapsed() < Duration::from_secs(20) {
                drop(pool.try_get());
                std::thread::sleep(Duration::from_millis(50)); // polls
            }
            let ok = pool.stats().idle == 0 && super::janitor_stats().running;
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!ok)) };
        }
        drop(locked);
        let mut status = 0;
        // SAFETY: the process is a child of this one, and `status` is valid for writes.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0);
    }
}
