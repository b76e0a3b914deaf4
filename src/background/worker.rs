//! The process's janitor: its one watch list, the thread, and what the thread is told about time and memory.

#![cfg(not(repool_loom))]

use super::watch_list::{self, Watch, PASSES, WatchList, WAKE_UPS};
use super::{hook, source, trace, trim};
use crate::raw::pool::Core;
use crate::sync::{AtomicPtr, AtomicUsize, Mutex, Ordering, Timeout, Thread};
use crate::sys::memory::Memory;
use crate::sys::panics::catch_panic;
use crate::sys::generation::generation;
use crate::sys::process::janitor_is_possible;
use crate::sys::spawn;
use crate::sys::timer::{self, Timer};
use std::ptr;
use std::time::Duration;

/// The default time between two passes.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// How long to go without a janitor before the next try to start one.
const RETRY: Duration = Duration::from_secs(1);

static FIRST: Mutex<WatchList> = Mutex::new(WatchList::new());
/// Null, or what is used instead of [`FIRST`].
static REPLACEMENT: AtomicPtr<Mutex<WatchList>> = AtomicPtr::new(ptr::null_mut());
/// The generation in which a call for the janitor last got at the watch list. Relaxed: a hint.
static LOCKED_IN: AtomicUsize = AtomicUsize::new(1);
static START_FAILED: Timer = Timer::new();

/// Who watches which pool, in this process.
pub(super) fn watch_list() -> &'static Mutex<WatchList> {
    // Acquire: pairs with the Release in `replace`.
    let replacement = REPLACEMENT.load(Ordering::Acquire);
    if replacement.is_null() {
        &FIRST
    } else {
        // SAFETY: from a box, and never freed.
        unsafe { &*replacement }
    }
}

/// Leaves a watch list to the thread that had locked it when this process was forked, and that does not exist
/// in this process. Its entries, and so the memory of the pools in it, leak.
fn replace(dead: &'static Mutex<WatchList>) {
    let before = REPLACEMENT.load(Ordering::Relaxed);
    if !ptr::eq(watch_list(), dead) {
        return; // another thread did
    }
    let fresh = Box::into_raw(Box::new(Mutex::new(WatchList::new())));
    // Release: pairs with the Acquire in `watch_list`.
    let set = REPLACEMENT.compare_exchange(before, fresh, Ordering::Release, Ordering::Relaxed);
    if set.is_err() {
        // SAFETY: made above, and not shared yet.
        drop(unsafe { Box::from_raw(fresh) });
    }
}

/// What the janitor has done in this process, from [`janitor_stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JanitorStats {
    /// Whether the thread runs.
    pub running: bool,
    /// Passes by the janitor, or by returning threads in its place, over all pools. A pass that the
    /// program runs ([`Pool::trim`](crate::Pool::trim)) does not count.
    pub passes: u64,
    /// Times the thread woke up. It sleeps on while every pool is quiescent.
    pub wake_ups: u64,
    /// Pools with automatic trimming that have had an idle object and still exist.
    pub pools: u64,
}

/// What the background thread that trims pools has done so far.
///
/// It takes one lock, which the janitor holds for microseconds at a time; if it cannot be taken within
/// some tenths of a second, `running` and `pools` read false and 0.
///
/// A forked child starts with the parent's counts and without the thread; its first return on a slow
/// path starts one of its own. That is each thread's next return after a `fork` by the C library. A
/// child by the bare `clone` system call is recognised as well (Linux 4.14), but its returns to a
/// cache that still has room are not slow: it is trimmed from the first one that is, or from
/// [`Pool::stats`](crate::Pool::stats) on.
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

/// An object became idle in a pool that is not watched.
#[cold]
pub(crate) fn watch_slow(core: &Core) {
    let Some(interval) = core.interval() else {
        return;
    };
    if !janitor_is_possible() || !try_watch(core, interval) {
        pass_if_due(core, interval);
    }
}

/// Calls for the janitor; `false` if there is none.
fn try_watch(core: &Core, interval: Duration) -> bool {
    let call = |at| watch_list::watch(at, core, interval, || start(at));
    let first = watch_list();
    let mut called = call(first);
    // Had a thread of this process got at it before, its holder would be one as well.
    if called == Watch::Locked && LOCKED_IN.load(Ordering::Relaxed) != generation() {
        replace(first);
        called = call(watch_list());
    }
    if called == Watch::Started {
        LOCKED_IN.store(generation(), Ordering::Relaxed);
    }
    // Locked: the next return on a slow path calls again.
    called != Watch::NoThread
}

/// The pool is gone.
pub(crate) fn unwatch(core: &Core) {
    if core.interval().is_some() {
        watch_list::unwatch(watch_list(), core);
    }
}

/// The pool is gone, and [`Core::finish_closing`] is to be called until it says that all is empty.
pub(crate) fn finish_later(core: &Core) {
    // Without a janitor there are no caches (but under Miri, where the owner empties its own).
    if janitor_is_possible() {
        let watch_list = watch_list();
        watch_list::finish_later(watch_list, core, || start(watch_list));
    }
}

/// Wakes the janitor: the level of memory pressure may have changed.
pub(crate) fn wake() {
    let thread = watch_list()
        .lock_bounded(Timeout::Short)
        .and_then(|watch_list| watch_list.thread());
    if let Some(thread) = thread {
        thread.unpark();
    }
}

/// Without a janitor, the returning thread runs the pass when it is due.
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
    // While this pass had objects in its hands, a janitor that another thread could start may have
    // found the pool quiescent.
    if quiescent != Some(true) && janitor_is_possible() && !core.is_watched() {
        let _ = try_watch(core, interval);
    }
}

/// Starts the thread, under the watch list's lock.
fn start(watch_list: &'static Mutex<WatchList>) -> Option<Thread> {
    if START_FAILED.is_within(RETRY) {
        return None;
    }
    #[cfg(all(unix, not(miri)))]
    super::fork::install();
    // Under the watch list's lock, which a forking thread takes first.
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

    /// One test at a time: one of them keeps the watch list locked.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

    fn alone() -> std::sync::MutexGuard<'static, ()> {
        ALONE
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// An owner is held up inside its cache for as long as closing has timeout, and more. (It is
    /// this thread, which only looks as if it were inside.)
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
        // The forking thread cannot have it, so the child finds it locked for good.
        let locked = watch_list().lock_bounded(Timeout::Long).expect("not dead");
        // SAFETY: the child uses pools, threads and the allocator only, and leaves by `_exit`.
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
        // SAFETY: our own child; `status` is valid.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0);
    }
}
