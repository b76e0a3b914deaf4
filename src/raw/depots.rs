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

    /// Puts one node on the hot end of the own depot.
    ///
    /// # Safety
    /// As for [`Depot::give_one`].
    pub(crate) unsafe fn give_one(self, link: *mut Link) -> Result<(), Refused> {
        // SAFETY: guaranteed by the caller.
        unsafe { self.own().give_one(link) }
    }

    /// Takes the hottest batch of the first depot that has one.
    pub(crate) fn take(self) -> Option<Batch> {
        self.all().find_map(Depot::take)
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

#[cfg(all(test, not(repool_loom)))]
mod tests {
    use super::*;
    use crate::raw::node::LIST_LEN;
    use crate::raw::node::tests::{Nodes, weights};
    use std::ptr;

    /// A depot for each of these numbers of objects, which weigh a hundred times the number of their depot, counted from
    /// one.
    fn filled(nodes: &mut Nodes, with: &[usize]) -> Vec<CachePadded<Depot>> {
        let fill = |(index, &objects)| {
            let depot = Depot::new();
            let batch = nodes.batch_of(objects, 100 * (index + 1));
            assert!(depot.give(batch, End::Hot, Timeout::Short).is_ok());
            CachePadded::new(depot)
        };
        with.iter().enumerate().map(fill).collect()
    }

    fn seen_from(all: &[CachePadded<Depot>], own: usize) -> Depots<'_> {
        let (first, more) = all.split_first().expect("at least one");
        Depots { first, more, own }
    }

    #[test]
    fn a_thread_looks_into_its_own_depot_first_and_then_into_each_other_one() {
        let mut nodes = Nodes::new();
        let all = filled(&mut nodes, &[1, 2, 3]);
        for own in 0..3 {
            let depots = seen_from(&all, own);
            assert!(ptr::eq(depots.own(), &raw const *all[own]));
            let seen: Vec<_> = depots.all().map(Depot::objects).collect();
            let expected: Vec<_> = (0..3).map(|step| (own + step) % 3 + 1).collect();
            assert_eq!(seen, expected);
            assert_eq!((depots.objects(), depots.bytes()), (6, 100 + 400 + 900));
        }
    }

    #[test]
    fn what_is_in_any_depot_can_be_taken() {
        let mut nodes = Nodes::new();
        let all = filled(&mut nodes, &[2, 0, 3]);
        let depots = seen_from(&all, 1);
        // SAFETY: the node was taken, and is in no list.
        let one = |depots: Depots<'_>| unsafe { Link::weight(depots.take_one()) };
        assert_eq!(one(depots), 300);
        let cold = |count| depots.take_cold(count).map(|cold| weights(&cold));
        assert_eq!(cold(1), Some(vec![300]));
        assert_eq!(cold(LIST_LEN), Some(vec![300]));
        assert_eq!(cold(1), Some(vec![100]));
        let batch = depots.take().map(|batch| weights(&batch));
        assert_eq!(batch, Some(vec![100]));
        assert!(depots.take().is_none() && depots.take_cold(1).is_none());
        assert!(depots.take_one().is_null());
        assert_eq!((depots.objects(), depots.bytes()), (0, 0));
    }

    #[test]
    fn a_thread_gives_to_its_own_depot() {
        let mut nodes = Nodes::new();
        let all = filled(&mut nodes, &[0, 0, 0]);
        let depots = seen_from(&all, 2);
        assert!(
            depots
                .give(nodes.batch_of(2, 1), End::Cold, Timeout::Short)
                .is_ok()
        );
        // SAFETY: a new node, which is in no list.
        assert!(unsafe { depots.give_one(nodes.node(5)) }.is_ok());
        let objects: Vec<_> = all.iter().map(|depot| depot.objects()).collect();
        assert_eq!(objects, [0, 0, 3]);
        // At the hot end.
        assert_eq!(depots.take().map(|batch| weights(&batch)[0]), Some(5));
        let _ = depots.own().drain(true);
        assert!(
            depots
                .give(nodes.batch_of(1, 1), End::Hot, Timeout::Short)
                .is_err()
        );
        // SAFETY: as above.
        assert!(unsafe { depots.give_one(nodes.node(5)) }.is_err());
    }

    #[test]
    fn the_id_of_a_thread_selects_its_depot() {
        let pool: crate::object::pool::Pool<Vec<u8>> = crate::object::pool::Pool::builder(Vec::new)
            .trim_manually()
            .build();
        for all in 1..=4 {
            let core = pool.core().address().cast_mut();
            // SAFETY: no other thread knows the core.
            unsafe { (*core).set_depots(all) };
            let core = pool.core();
            assert_eq!(core.depots().all().count(), all);
            for id in 0..9 {
                assert_eq!(core.depots_of(ThreadId(id)).own, id % all);
                assert_eq!(core.depots_from(id % all).own, id % all);
            }
            drop(pool.get());
            let State::Registered(id) = current(CurrentThread::state) else {
                panic!("this thread has used a pool");
            };
            assert_eq!(core.depots().own, id.0 % all);
        }
    }
}
