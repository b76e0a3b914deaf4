//! The thread-local part of registration: a thread's ID, and the pools in which it has a cache.
//!
//! When the thread ends, [`EXIT`] is dropped, a second thread-local that the hit path never touches. It hands the
//! thread's idle objects over to their pools, and then frees the ID (`ids.rs`). Because IDs are reused, no reference to
//! what an ID stands for outlives an operation (I4).

use super::ids::Ids;
use crate::raw::cache::Cache;
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;
use crate::sys::fence;
use crate::sys::process::caches_are_possible;
use crate::sys::thread_id::{CurrentThread, State, ThreadId, current};
use std::cell::{Cell, RefCell};

static IDS: Ids = Ids::new();

thread_local! {
    static EXIT: Exit = const { Exit { id: Cell::new(None), cores: RefCell::new(Vec::new()) } };
}

/// The ID of this thread; assigns one if necessary. `None`: the thread has to work without caches.
pub(crate) fn thread_id() -> Option<ThreadId> {
    match current(CurrentThread::state) {
        State::Registered(id) => Some(id),
        State::Ending => None,
        State::Unknown => register_slow(),
    }
}

/// Remembers that this thread has a cache in `core`, so that its objects are handed over when the thread ends. `false`
/// if the thread is ending already.
pub(crate) fn remember(core: &Core) -> bool {
    let mut gone = Vec::new();
    let remembered = EXIT.try_with(|exit| {
        // Already borrowed if an allocator that uses a pool is called while the list grows below.
        let Ok(mut cores) = exit.cores.try_borrow_mut() else {
            return false;
        };
        if cores.len() == cores.capacity() {
            // Before the list grows, it forgets the pools that are gone, which makes that cost amortized. They are
            // dropped after the borrow has ended, since freeing a core runs other code.
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

/// Undoes the last [`remember`].
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
        let id = IDS.take()?;
        exit.id.set(Some(id));
        Some(id)
    });
    let id = match id {
        Ok(Some(id)) => id,
        // No ID this time: all are taken, or the lock could not be taken. The next operation asks again.
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

/// What a thread does on exit: hands its caches over, and then frees its ID.
#[derive(Debug)]
struct Exit {
    id: Cell<Option<ThreadId>>,
    cores: RefCell<Vec<WeakCore>>,
}

impl Drop for Exit {
    fn drop(&mut self) {
        // From here on, every operation of this thread uses the depot.
        current(CurrentThread::clear);
        let Some(id) = self.id.take() else {
            return;
        };
        IDS.exit(id, self.cores.take());
    }
}

#[cfg(test)]
mod tests;
