//! A thread joins a pool and leaves it: ids, caches, thread exit.
//!
//! The id goes back when [`EXIT`] is dropped, a second thread-local that the hit path never
//! touches. Before that, the objects in the thread's caches go back to their pools. The hand-over
//! of a id is the registry's lock: what the last owner did to its caches happens before
//! anything that the next one does (I3). Nothing keyed by a id is borrowed beyond one
//! operation (I4), because ids are reused.

use crate::background::manual::ensure_watched;
use crate::raw::cache::Cache;
use crate::raw::node::{Batch, End};
use crate::raw::pool::Core;
use crate::raw::stats::Reason;
use crate::sync::Timeout;
use crate::sys::thread_id::ThreadId;

#[cfg(not(repool_loom))]
pub(crate) use self::local::{thread_id, remember, unremember};

/// loom's thread-local destructors cannot be relied on: models call [`vacate`] themselves, and
/// what a thread remembers is kept until the end of the model.
#[cfg(repool_loom)]
use crate::models::{remember, unremember};

/// The calling thread's cache in a pool; makes it if need be. `None`: work without one this time.
pub(crate) fn cache_of(core: &Core, id: ThreadId) -> Option<&Cache> {
    let cache = core.cache_table().cache_of_or_make(id);
    // SAFETY: caches live as long as their core.
    let cache = unsafe { &*cache };
    (cache.is_occupied() || register_slow(core, cache)).then_some(cache)
}

#[cold]
fn register_slow(core: &Core, cache: &Cache) -> bool {
    // First, so that no registered cache is ever forgotten.
    if core.is_closed() || !remember(core) {
        return false;
    }
    let visits = core.lock_visits(Timeout::Short);
    let Some(visits) = visits.filter(|_| !core.is_closed()) else {
        unremember(core);
        return false;
    };
    // SAFETY: I3: the cache of the calling thread's place; the visits are held.
    unsafe { core.occupy(cache) };
    drop(visits);
    true
}

/// The thread of this id ends: its objects go to the depot. `false` if that could not be
/// done, and the id must not be used again.
#[must_use]
pub(crate) fn vacate(core: &Core, id: ThreadId) -> bool {
    let cache = core.cache_table().cache_of(id);
    // SAFETY: caches live as long as their core.
    let Some(cache) = (unsafe { cache.as_ref() }).filter(|cache| cache.is_occupied()) else {
        return true;
    };
    let Some(visits) = core.lock_visits(Timeout::Long) else {
        return false;
    };
    let exiting = core.announce_exit(cache);
    // SAFETY: the calling thread is the owner and on its way out; the visits are held.
    let [loaded, spare] = unsafe { cache.vacate(&core.limits) };
    drop(visits);
    let mut dropping = Batch::EMPTY;
    for batch in [spare, loaded] {
        if let Err(refused) = core.depot.give(batch, End::Hot, Timeout::Long) {
            dropping.append(core.count_refused(refused));
        }
    }
    core.finish_exit(exiting);
    ensure_watched(core); // mutant: drop-tell-exit
    core.drop_batch(dropping);
    true
}

/// The owner has found its gate shut: it does what a visitor has left to it. Whether to try again.
///
/// User code runs: the caller keeps the core.
#[cold]
pub(crate) fn reopen_slow(core: &Core, cache: &Cache) -> bool {
    if core.visits_are_lost() {
        return core.recover_visits_slow();
    }
    if !cache.is_drain_requested() && !core.is_closed() {
        return false;
    }
    let Some(visits) = core.lock_visits(Timeout::Short) else {
        return false;
    };
    // SAFETY: the calling thread is the owner and not inside; the visits are held.
    let [loaded, mut all] = unsafe { cache.drain(&core.limits) };
    drop(visits);
    all.append(loaded);
    if core.is_closed() {
        core.counters.discarded(Reason::Closed, all.len);
    } else {
        core.counters.trimmed(all.len);
    }
    core.drop_batch(all);
    !core.is_closed()
}

/// Everything that is thread-local.
#[cfg(not(repool_loom))]
mod local {
    use crate::raw::cache::Cache;
    use crate::raw::pool::Core;
    use crate::raw::refs::WeakCore;
    use crate::sync::{Mutex, Timeout};
    use crate::sys::fence;
    use crate::sys::panics::swallow;
    use crate::sys::thread_id::{BUCKETS, CurrentThread, State, ThreadId, current};
    use crate::sys::process::caches_are_possible;
    use std::cell::{Cell, RefCell};
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    thread_local! {
        static EXIT: Exit = const { Exit { id: Cell::new(None), cores: RefCell::new(Vec::new()) } };
    }

    /// This thread's id; registers the thread if need be. `None`: work without a cache.
    pub(crate) fn thread_id() -> Option<ThreadId> {
        match current(CurrentThread::state) {
            State::Registered(id) => Some(id),
            State::Without => None,
            State::Unknown => register_slow(),
        }
    }

    /// Remembers that this thread has a cache in `core`, so that its objects are handed over when the
    /// thread ends. `false`: the thread is ending already.
    pub(crate) fn remember(core: &Core) -> bool {
        let mut gone = Vec::new();
        let remembered = EXIT.try_with(|exit| {
            // Borrowed already: an allocator that uses a pool, in the growth below.
            let Ok(mut cores) = exit.cores.try_borrow_mut() else {
                return false;
            };
            if cores.len() == cores.capacity() {
                // Amortised: forget pools that are gone before growing. They are dropped after the
                // borrow has ended, since freeing a core runs other code.
                let (alive, dead) = cores.drain(..).partition(|core: &WeakCore| !core.is_gone());
                (*cores, gone) = (alive, dead);
                let room = cores.len() + 8;
                cores.reserve(room);
            }
            cores.push(WeakCore::new(core));
            true
        });
        drop(gone);
        remembered.unwrap_or(false)
    }

    /// Takes the last [`remember`] back.
    pub(crate) fn unremember(core: &Core) {
        let last = EXIT.try_with(|exit| {
            let mut cores = exit.cores.try_borrow_mut().ok()?;
            let last = cores
                .last()
                .is_some_and(|last| std::ptr::eq(&raw const **last, core));
            last.then(|| cores.pop()).flatten()
        });
        drop(last);
    }

    #[cold]
    fn register_slow() -> Option<ThreadId> {
        let id = EXIT.try_with(|exit| {
            let id = IDS.lock_bounded(Timeout::Short)?.take()?;
            exit.id.set(Some(id));
            Some(id)
        });
        let id = match id {
            Ok(Some(id)) => id,
            // No id this time (all taken, or the registry is contended): ask again later.
            Ok(None) => return None,
            Err(_torn_down) => {
                current(CurrentThread::clear);
                return None;
            }
        };
        let stride = (fence::asymmetric() && caches_are_possible()).then_some(size_of::<Cache>());
        current(|thread| thread.set_id(id, stride));
        Some(id)
    }

    /// Runs when the thread ends: hands its caches over, then its id.
    #[derive(Debug)]
    struct Exit {
        id: Cell<Option<ThreadId>>,
        cores: RefCell<Vec<WeakCore>>,
    }

    impl Drop for Exit {
        fn drop(&mut self) {
            // From here on every operation of this thread goes to the depot.
            current(CurrentThread::clear);
            let Some(id) = self.id.take() else {
                return;
            };
            let mut vacated = true;
            for core in self.cores.take() {
                // A panic must not leave a thread-local destructor: it would end the process.
                let one = std::panic::AssertUnwindSafe(|| {
                    vacated &= super::vacate(&core, id);
                    drop(core);
                });
                if let Err(panic) = std::panic::catch_unwind(one) {
                    swallow(panic);
                }
            }
            // A cache that could not be vacated (its visitor was lost in a fork) keeps its id.
            if !vacated {
                return;
            }
            if let Some(mut ids) = IDS.lock_bounded(Timeout::Long) {
                ids.give_back(id);
            }
        }
    }

    static IDS: Mutex<FreeIds> = Mutex::new(FreeIds {
        next: 0,
        free: BinaryHeap::new(),
    });

    /// The lowest free id first, so that pools stay small.
    #[derive(Debug)]
    struct FreeIds {
        next: usize,
        free: BinaryHeap<Reverse<usize>>,
    }

    impl FreeIds {
        fn take(&mut self) -> Option<ThreadId> {
            if let Some(Reverse(id)) = self.free.pop() {
                return Some(ThreadId(id));
            }
            let id = ThreadId(self.next);
            if id.locate().0 >= BUCKETS {
                return None;
            }
            self.next += 1;
            Some(id)
        }

        fn give_back(&mut self, id: ThreadId) {
            self.free.push(Reverse(id.0));
        }
    }
}
