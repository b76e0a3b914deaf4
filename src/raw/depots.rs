//! [`Depots`]: the depots of one pool, as a thread sees them.
//!
//! A pool has one depot. With `REPOOL_DEPOTS` it has several, for machines on which so many processors hand objects over
//! that they wait for the lock (`benches/README.md`, "Many cores", has the model and its figures). A thread gives to its
//! own depot, which its ID selects. It takes from its own first, and from the others before it creates an object. So each
//! object in any of them serves every thread.
//!
//! The depots do not know of each other: each has its lock, its low-water marks, and is closed by itself. What moves
//! from one to another goes through a cache. A pass treats them one after the other. So objects that threads pass back
//! and forth between two depots are needed in each, and stay, even if half of them would do: therefore several depots
//! are not the default.

use super::depot::{Depot, Refused};
use super::indexed::IndexedBatch;
use super::node::{Batch, End, Link};
use super::pool::Core;
use crate::sync::rare::OnceLock;
use crate::sync::{CachePadded, Timeout};
use crate::sys::env;
use crate::sys::thread_id::{CurrentThread, State, ThreadId, current};

/// The depots of a pool. The first is part of the core.
#[derive(Clone, Copy)]
pub(crate) struct Depots<'a> {
    first: &'a Depot,
    more: &'a [CachePadded<Depot>],
    /// The index of the calling thread's own depot.
    own: usize,
}

/// The most depots of a pool.
const MOST: usize = 16;

/// Returns how many depots each pool of this process has: one, or the number in `REPOOL_DEPOTS`, up to [`MOST`].
pub(crate) fn in_this_process() -> usize {
    // Computed first and then set: a child that is forked while a `OnceLock` initializes would wait forever.
    static FOUND: OnceLock<usize> = OnceLock::new();
    FOUND.get().copied().unwrap_or_else(|| {
        let found = env::depots(MOST).unwrap_or(1);
        let _ = FOUND.set(found);
        found
    })
}

impl Core {
    /// Gives the pool this many depots. Once, before another thread knows the core.
    pub(crate) fn set_depots(&mut self, all: usize) {
        self.more_depots = (1..all).map(|_| CachePadded::new(Depot::new())).collect();
    }

    /// The depots, as the calling thread sees them.
    pub(crate) fn depots(&self) -> Depots<'_> {
        match current(CurrentThread::state) {
            State::Registered(id) => self.depots_of(id),
            // The janitor, or a thread that is ending.
            State::Unknown | State::Ending => self.depots_from(0),
        }
    }

    /// The depots, as the thread with this ID sees them. For a thread that is ending, and has given its ID up.
    pub(crate) fn depots_of(&self, id: ThreadId) -> Depots<'_> {
        self.depots_from(match self.more_depots.len() {
            0 => 0,
            more => id.0 % (more + 1),
        })
    }

    /// The depots, as a thread sees them whose own has this index.
    pub(crate) fn depots_from(&self, own: usize) -> Depots<'_> {
        Depots {
            first: &self.depot,
            more: &self.more_depots,
            own,
        }
    }
}

impl<'a> Depots<'a> {
    /// The calling thread's own depot.
    pub(crate) fn own(self) -> &'a Depot {
        self.at(self.own)
    }

    /// All depots, the calling thread's own first.
    pub(crate) fn all(self) -> impl Iterator<Item = &'a Depot> {
        let len = 1 + self.more.len();
        (0..len).map(move |step| self.at((self.own + step) % len))
    }

    fn at(self, index: usize) -> &'a Depot {
        match index.checked_sub(1) {
            None => self.first,
            Some(index) => &self.more[index],
        }
    }

    /// Puts a batch at one end of the own depot.
    #[inline]
    pub(crate) fn give(self, batch: Batch, end: End, timeout: Timeout) -> Result<(), Refused> {
        self.own().give(batch, end, timeout)
    }

    /// The same for a batch with its index.
    #[inline]
    pub(crate) fn give_indexed(
        self,
        batch: &mut IndexedBatch,
        end: End,
        timeout: Timeout,
    ) -> Result<(), Refused> {
        self.own().give_indexed(batch, end, timeout)
    }

    /// Puts one node on the hot end of the own depot.
    ///
    /// # Safety
    /// As for [`Depot::give_one`].
    pub(crate) unsafe fn give_one(self, link: *mut Link) -> Result<(), Refused> {
        // SAFETY: guaranteed by the caller.
        unsafe { self.own().give_one(link) }
    }

    /// Takes the hottest batch of the first depot that has one into `to`, which is empty. `false` if there is none, or
    /// no lock could be taken.
    pub(crate) fn take(self, to: &mut IndexedBatch) -> bool {
        self.all().any(|depot| depot.take(to))
    }

    /// Takes the hottest node of the first depot that has one; null if there is none, or no lock could be taken.
    pub(crate) fn take_one(self) -> *mut Link {
        let mut links = self.all().map(Depot::take_one);
        links
            .find(|link| !link.is_null())
            .unwrap_or(std::ptr::null_mut())
    }

    /// Takes up to `count` of the coldest objects of the first depot that has any. `None` if there are no more.
    pub(crate) fn take_cold(self, count: usize) -> Option<Batch> {
        self.all().find_map(|depot| depot.take_cold(count))
    }

    /// The number of objects in all depots, which may be slightly out of date.
    pub(crate) fn objects(self) -> usize {
        self.all().map(Depot::objects).sum()
    }

    pub(crate) fn bytes(self) -> usize {
        let bytes = self.all().map(Depot::bytes);
        bytes.fold(0, usize::wrapping_add)
    }
}

#[cfg(test)]
mod tests;
