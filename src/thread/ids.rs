//! [`Ids`]: which thread IDs are free, and the exit of a thread, which frees its own.
//!
//! The lock orders what the old owner of an ID did to its caches before what the next owner does (I3). A thread that
//! exits frees its ID once all its caches are vacant. If one cannot be vacated, the ID is not reused.

use super::exit::vacate;
use crate::raw::refs::WeakCore;
use crate::sync::{Mutex, Timeout, const_fn};
use crate::sys::panics::catch_panic;
use crate::sys::thread_id::{BUCKETS, ThreadId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The IDs of all threads.
#[derive(Debug)]
pub(crate) struct Ids(Mutex<FreeIds>);

impl Ids {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self(Mutex::new(FreeIds {
                next: 0,
                free: BinaryHeap::new(),
            }))
        }
    }

    /// An ID for the calling thread. `None` if all are taken, or if the lock could not be taken.
    pub(crate) fn take(&self) -> Option<ThreadId> {
        self.0.lock_bounded(Timeout::Short)?.take()
    }

    /// Vacates the caches of an exiting thread in each of `cores`, and then frees its ID.
    pub(crate) fn exit(&self, id: ThreadId, cores: Vec<WeakCore>) {
        let mut vacated = true;
        for core in cores {
            // A panic must not escape from the destructor of a thread-local: it would abort the process.
            let one = catch_panic(|| {
                let vacated = vacate(&core, id);
                drop(core);
                vacated
            });
            // When a destructor panics, the cache is vacant already.
            vacated &= one.unwrap_or(true); // mutant: drop-vacated
        }
        // If a cache could not be vacated, because its visitor was lost in a fork, its ID is not reused.
        if !vacated {
            return;
        }
        if let Some(mut ids) = self.0.lock_bounded(Timeout::Long) {
            ids.give_back(id);
        }
    }
}

/// The free IDs. The lowest is taken first, so that cache tables stay small.
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

#[cfg(test)]
mod tests;
