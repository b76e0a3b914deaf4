//! The lists of one cache, used by one thread and by passes in between, without a pool.

#![cfg(not(repool_loom))]

use super::*;
use crate::raw::cache::{Cache, Returned};
use crate::raw::indexed::tests::{check, entries};
use crate::raw::limits::Charge;
use crate::raw::node::tests::{Nodes, random, weights};
use crate::raw::node::{LIST_BYTES, LIST_LEN};

const UNLIMITED: usize = usize::MAX;

/// A cache, with its owner, its visitor and its objects.
pub(in crate::raw) struct Solo {
    pub(in crate::raw) cache: Cache,
    pub(in crate::raw) limits: Limits,
    pub(in crate::raw) nodes: Nodes,
}

/// What became of a return.
#[derive(Debug, PartialEq)]
pub(in crate::raw) enum Put {
    Hit,
    /// Kept, and these left, for that end of the depot.
    Slow(Vec<usize>, End),
    Refused,
}

/// A slow return that moves nothing to the depot.
pub(in crate::raw) fn slow() -> Put {
    Put::Slow(Vec::new(), End::Hot)
}

impl Solo {
    pub(in crate::raw) fn new(limits: Limits) -> Self {
        let cache = Cache::vacant();
        // SAFETY: this thread is the only one that touches the cache. The same holds for all that follows.
        unsafe { cache.occupy(&limits, false) };
        Self {
            cache,
            limits,
            nodes: Nodes::new(),
        }
    }

    pub(in crate::raw) fn unbounded() -> Self {
        Self::new(Limits::new(UNLIMITED, UNLIMITED, UNLIMITED))
    }

    pub(in crate::raw) fn node(&mut self, weight: usize) -> *mut Link {
        self.nodes.node(weight)
    }

    pub(in crate::raw) fn return_node(&self, link: *mut Link, weight: usize) -> Result<Put, Batch> {
        // SAFETY: as in `new`; the nodes are this test's, and each is in one place.
        if unsafe { self.cache.push(link, weight, || (), || ()) } {
            return Ok(Put::Hit);
        }
        let mut leaving = Leaving::NOTHING;
        // SAFETY: as above.
        match unsafe {
            self.cache
                .push_slow(link, weight, &self.limits, &mut leaving)
        } {
            Ok(Returned::Kept) => Ok(Put::Slow(weights(leaving.batch.batch()), leaving.end)),
            Ok(Returned::Refused) => Err(leaving.batch.into_batch()),
            Err(shut) => panic!("{shut:?}"),
        }
    }

    /// Returns a new object of this weight.
    pub(in crate::raw) fn put(&mut self, weight: usize) -> Put {
        let link = self.node(weight);
        self.return_node(link, weight).unwrap_or(Put::Refused)
    }

    pub(in crate::raw) fn pop(&self) -> *mut Link {
        // SAFETY: as in `new`.
        let link = unsafe { self.cache.pop(|| ()) };
        if !link.is_null() {
            return link;
        }
        // SAFETY: as in `new`.
        unsafe { self.cache.pop_slow() }.expect("the gate is open")
    }

    /// The weight of the next object.
    pub(in crate::raw) fn get(&self) -> Option<usize> {
        let link = self.pop();
        // SAFETY: the test holds it now.
        (!link.is_null()).then(|| unsafe { Link::weight(link) })
    }

    pub(in crate::raw) fn lists<R>(&self, work: impl FnOnce(&mut ListsMut<'_>) -> R) -> R {
        // SAFETY: as in `new`.
        unsafe { self.cache.enter(work) }
    }

    /// What a pass does with the cache of an active owner.
    pub(in crate::raw) fn age(&self) -> Vec<usize> {
        weights(&self.lists(|lists| lists.age(&self.limits)))
    }

    pub(in crate::raw) fn idle(&self) -> usize {
        self.lists(|lists| lists.idle())
    }

    pub(in crate::raw) fn charged(&self) -> usize {
        self.lists(|lists| lists.lists.charged as usize)
    }

    /// Loads a batch, and returns whether the cache has taken it.
    pub(in crate::raw) fn load(&mut self, of: &[usize]) -> bool {
        let mut batch = self.nodes.batch(of);
        // SAFETY: as in `new`.
        unsafe { self.cache.load(&mut batch, &self.limits, true) };
        batch.is_empty()
    }

    pub(in crate::raw) fn hand_over(&self) -> Vec<usize> {
        // SAFETY: as in `new`.
        weights(&unsafe { self.cache.hand_over(&self.limits) }.expect("the gate is open"))
    }
}

#[test]
fn a_new_cache_takes_its_first_return_on_the_slow_path() {
    let mut solo = Solo::unbounded();
    assert_eq!(solo.get(), None);
    assert_eq!(solo.put(10), slow());
    for weight in 11..10 + LIST_LEN {
        assert_eq!(solo.put(weight), Put::Hit);
    }
    assert_eq!(solo.put(0), slow(), "the list is full");
    assert_eq!(solo.idle(), LIST_LEN + 1);
}

#[test]
fn the_hottest_object_comes_first() {
    let mut solo = Solo::unbounded();
    let all: Vec<_> = (1..=2 * LIST_LEN).collect();
    for &weight in &all {
        assert_ne!(solo.put(weight), Put::Refused);
    }
    for weight in all.into_iter().rev() {
        assert_eq!(solo.get(), Some(weight));
    }
    assert_eq!((solo.get(), solo.idle()), (None, 0));
}

#[test]
fn a_thread_at_the_border_of_a_list_does_not_use_the_depot() {
    let mut solo = Solo::unbounded();
    for weight in 0..LIST_LEN {
        assert_ne!(solo.put(weight), Put::Refused);
    }
    for _ in 0..3 {
        assert_ne!(solo.put(900), Put::Hit);
        assert_eq!(solo.put(901), Put::Hit);
        for weight in [901, 900, LIST_LEN - 1] {
            assert_eq!(solo.get(), Some(weight));
        }
        assert_eq!(solo.put(LIST_LEN - 1), Put::Hit);
    }
}

#[test]
fn the_colder_list_leaves_when_both_are_full() {
    let mut solo = Solo::unbounded();
    for weight in 0..2 * LIST_LEN {
        let left = matches!(solo.put(weight), Put::Slow(left, _) if !left.is_empty());
        assert!(!left, "{weight}");
    }
    let colder: Vec<_> = (0..LIST_LEN).rev().collect();
    assert_eq!(solo.put(7), Put::Slow(colder, End::Hot));
    assert_eq!(solo.idle(), LIST_LEN + 1);
}

#[test]
fn a_batch_leaves_room_for_the_rest_of_the_list() {
    for len in 1..=LIST_LEN {
        let mut solo = Solo::unbounded();
        assert!(solo.load(&vec![1; len]));
        for _ in len..LIST_LEN {
            assert_eq!(solo.put(1), Put::Hit, "{len}");
        }
        assert_eq!(solo.put(1), slow(), "{len}");
    }
}

#[test]
fn heavier_objects_make_shorter_lists() {
    let mut solo = Solo::unbounded();
    for weight in [FIRST, FIRST, 8192, 8192] {
        assert_ne!(solo.put(weight), Put::Refused);
    }
    let full = LIST_BYTES / 8192;
    for _ in 4..full {
        assert_eq!(solo.put(8192), Put::Hit);
    }
    assert_eq!(solo.put(8192), slow(), "the spare list was empty");
    assert_eq!(solo.put(8193), slow());
    assert_eq!(solo.idle(), full + 2);
    // Light ones pass as well.
    assert_eq!(solo.put(1), Put::Hit);
}

/// Lighter than the first threshold.
const FIRST: usize = LIST_BYTES / LIST_LEN;

#[test]
fn objects_that_are_still_old_leave_at_the_next_pass() {
    let mut solo = Solo::unbounded();
    for weight in 1..=10 {
        solo.put(weight);
    }
    assert_eq!(solo.age(), []);
    // The owner takes back three of them, one at a time, and returns two.
    assert_eq!([solo.get(), solo.get(), solo.get()], [10, 9, 8].map(Some));
    assert_eq!([solo.put(8), solo.put(9)], [Put::Hit, Put::Hit]);
    assert_eq!(solo.idle(), 9);
    assert_eq!(solo.age(), [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(solo.idle(), 2);
    assert_eq!(solo.age(), [9, 8]);
    assert_eq!(solo.age(), []);
}

#[test]
fn a_cache_without_old_objects_only_ages() {
    let mut solo = Solo::unbounded();
    for weight in 0..LIST_LEN + 5 {
        solo.put(weight);
    }
    assert_eq!(solo.age(), []);
    assert_eq!(solo.idle(), LIST_LEN + 5);
    let all = (0..LIST_LEN + 5).rev().collect::<Vec<_>>();
    assert_eq!(solo.age(), all);
}

#[test]
fn old_objects_stay_below_the_others_while_there_is_space() {
    let mut solo = Solo::unbounded();
    for weight in 0..10 {
        solo.put(weight);
    }
    assert_eq!(solo.age(), []);
    // A full list and more comes back. The old ones do not leave for that.
    for weight in 100..100 + LIST_LEN {
        assert_eq!(solo.put(weight), Put::Hit);
    }
    assert_eq!(solo.put(200), slow());
    assert_eq!(solo.idle(), LIST_LEN + 11);
    assert_eq!(solo.get(), Some(200));
    for weight in (100..100 + LIST_LEN).rev() {
        assert_eq!(solo.get(), Some(weight), "all that are not old at once");
    }
    assert_eq!(solo.idle(), 10);
    assert_eq!(solo.age(), (0..10).rev().collect::<Vec<_>>());
}

#[test]
fn old_objects_leave_cold_when_the_space_is_needed() {
    let mut solo = Solo::unbounded();
    for weight in 0..LIST_LEN {
        solo.put(weight);
    }
    assert_eq!(solo.age(), []);
    for weight in 100..100 + LIST_LEN {
        assert_eq!(solo.put(weight), Put::Hit);
    }
    let old = (0..LIST_LEN).rev().collect();
    assert_eq!(solo.put(200), Put::Slow(old, End::Cold));
    assert_eq!(solo.idle(), LIST_LEN + 1);
    // Those that are left are not old.
    assert_eq!(solo.age(), []);
}

#[test]
fn a_list_that_is_only_partly_old_leaves_hot() {
    let mut solo = Solo::unbounded();
    for weight in 0..10 {
        solo.put(weight);
    }
    assert_eq!(solo.age(), []);
    for weight in 100..101 + LIST_LEN {
        solo.put(weight);
    }
    // The spare list has a full list above the ten old ones. Up to two lists in all.
    for weight in 201..200 + LIST_LEN - 10 {
        assert_eq!(solo.put(weight), Put::Hit);
    }
    assert_eq!(solo.idle(), 2 * LIST_LEN);
    let Put::Slow(left, End::Hot) = solo.put(300) else {
        panic!("the cache was full");
    };
    assert_eq!((left.len(), left.last()), (LIST_LEN + 10, Some(&0)));
    assert_eq!(solo.idle(), 2 * LIST_LEN - left.len() + 1);
}

#[test]
fn drained_lists_are_empty_and_without_room() {
    let mut solo = Solo::unbounded();
    for weight in 0..LIST_LEN + 3 {
        solo.put(weight);
    }
    let all: Vec<_> = (0..LIST_LEN + 3).rev().collect();
    assert_eq!(solo.hand_over(), all, "the hottest on top");
    assert_eq!((solo.idle(), solo.get()), (0, None));
    assert_eq!(solo.put(1), slow());
    assert_eq!(solo.put(2), Put::Hit);
    let [loaded, spare] = solo.lists(|lists| lists.drain(&solo.limits));
    assert_eq!((weights(&loaded), weights(&spare)), (vec![2, 1], vec![]));
}

#[test]
fn a_pass_sees_whether_the_owner_has_worked() {
    let mut solo = Solo::unbounded();
    let used = |solo: &Solo| solo.lists(|lists| lists.was_used());
    assert!(!used(&solo));
    solo.put(1);
    assert!(used(&solo));
    assert!(!used(&solo));
    // A get and a return leave the same number of objects.
    let link = solo.pop();
    assert_eq!(solo.return_node(link, 1).ok(), Some(Put::Hit));
    assert!(used(&solo));
    assert!(!used(&solo));
    solo.pop();
    assert!(used(&solo), "a get only");
    assert!(solo.load(&[1, 2]));
    assert_eq!([solo.get(), solo.get()], [Some(1), Some(2)]);
    assert!(used(&solo), "a batch came in and is in use");
    assert!(!used(&solo));
    // What a pass does itself is no use.
    solo.put(3);
    assert!(used(&solo));
    solo.age();
    assert!(!used(&solo));
    solo.put(4);
    assert!(used(&solo));
    assert_eq!(solo.age(), [3]);
    assert!(!used(&solo));
    solo.lists(|lists| lists.drain(&solo.limits));
    assert!(!used(&solo));
}

#[test]
fn statistics_count_what_moved_in_batches() {
    let mut solo = Solo::unbounded();
    assert!(solo.load(&[1, 2, 3]));
    assert_eq!(solo.lists(|lists| lists.shared.moved()), 3);
    assert!(!solo.load(&[4]), "the lists are not empty");
    solo.get();
    assert_eq!(solo.hand_over().len(), 2);
    assert_eq!(
        solo.lists(|lists| (lists.shared.moved(), lists.shared.returned())),
        (1, 0)
    );
    for weight in 0..=2 * LIST_LEN {
        solo.put(weight);
    }
    let counts = solo.lists(|lists| {
        (
            lists.shared.moved(),
            lists.shared.returned(),
            lists.shared.idle(),
        )
    });
    assert_eq!(
        counts,
        (
            1_usize.wrapping_sub(LIST_LEN),
            2 * LIST_LEN + 1,
            LIST_LEN + 1
        )
    );
}

#[test]
fn readers_count_the_object_in_the_slot() {
    let mut solo = Solo::unbounded();
    let idle = |solo: &Solo| solo.lists(|lists| lists.shared.idle());
    for objects in 1..=3 {
        solo.put(1);
        assert_eq!(idle(&solo), objects);
    }
    for objects in (0..3).rev() {
        solo.get();
        assert_eq!(idle(&solo), objects, "the slot is empty");
    }
}

#[test]
fn the_weight_of_both_lists_is_known() {
    let mut solo = Solo::unbounded();
    for weight in 1..=LIST_LEN + 2 {
        solo.put(weight);
    }
    let sum = (LIST_LEN + 2) * (LIST_LEN + 3) / 2;
    let figures = |solo: &Solo| solo.lists(|lists| (lists.idle_bytes(), lists.heaviest()));
    assert_eq!(figures(&solo), (sum, LIST_LEN + 2));
    solo.get();
    assert_eq!(figures(&solo), (sum - LIST_LEN - 2, LIST_LEN + 1));
    let mut seen = 0;
    solo.lists(|lists| lists.each(|_| seen += 1));
    assert_eq!(seen, LIST_LEN + 1);
}

#[test]
fn a_visitor_can_send_the_next_return_to_the_slow_path() {
    let mut solo = Solo::unbounded();
    solo.put(1);
    solo.put(2);
    solo.lists(|lists| lists.revoke_room());
    assert_eq!(solo.put(3), slow());
    assert_eq!(solo.put(4), Put::Hit);
    solo.get();
    solo.lists(|lists| lists.revoke_room());
    assert_eq!(solo.put(4), slow(), "with an empty slot as well");
    assert_eq!(solo.put(5), Put::Hit);
}

#[test]
fn large_objects_whose_use_is_checked_take_the_slow_path() {
    const LARGE: usize = 64 << 10;
    let limits = Limits::new(UNLIMITED, UNLIMITED, UNLIMITED).with_use_checked();
    let mut solo = Solo::new(limits);
    assert_eq!(solo.put(200 << 10), slow());
    assert_eq!(solo.get(), Some(200 << 10));
    assert_eq!(
        solo.put(LARGE + 1),
        slow(),
        "below the threshold, but checked"
    );
    assert_eq!(solo.get(), Some(LARGE + 1));
    assert_eq!(solo.put(LARGE), Put::Hit);
    assert_eq!(solo.get(), Some(LARGE));
    // New objects are larger now.
    solo.limits.expect(LARGE + 1);
    assert_eq!(solo.put(LARGE + 1), slow());
    assert_eq!(solo.get(), Some(LARGE + 1));
    assert_eq!(solo.put(LARGE + 1), Put::Hit);
    assert_eq!(solo.get(), Some(LARGE + 1));
    assert_eq!(solo.put(2 * LARGE), Put::Hit);
    assert_eq!(solo.get(), Some(2 * LARGE));
    assert_eq!(solo.put(2 * LARGE + 1), slow());
}

/// A list that leaves because both lists are full has an index, and one that is too short for it leaves without.
#[test]
fn a_full_list_leaves_with_an_index() {
    for (weight, known) in [(1, 7), (LIST_BYTES / 32, 3), (LIST_BYTES / 16, 0)] {
        let mut solo = Solo::unbounded();
        let mut left = 0;
        for _ in 0..5 * LIST_LEN {
            let link = solo.node(weight);
            let mut leaving = Leaving::NOTHING;
            // SAFETY: as in `Solo::new`; the node is new.
            let done = unsafe {
                solo.cache
                    .push_slow(link, weight, &solo.limits, &mut leaving)
            };
            assert!(matches!(done, Ok(Returned::Kept)));
            if !leaving.batch.is_empty() {
                left += 1;
                assert_eq!(entries(&leaving.batch), known, "{weight}");
            }
        }
        assert!(left > 0);
    }
}

/// Whatever a cache has been through, the index of what leaves it is right.
#[test]
fn what_leaves_has_a_right_index_after_any_operations() {
    let mut random = random();
    let mut seen = [0_usize; 8];
    let mut cold_with_index = 0;
    let mut long = 0;
    for round in 0..if cfg!(miri) { 4 } else { 20 } {
        let limits = match round % 4 {
            0 | 1 => Limits::new(UNLIMITED, UNLIMITED, UNLIMITED),
            2 => Limits::new(8 * LIST_LEN + random(600), UNLIMITED, UNLIMITED),
            _ => Limits::new(UNLIMITED, random(400_000) + 1, UNLIMITED),
        };
        let limits = if round % 8 == 0 {
            limits.with_unbounded_list_bytes(2 * LIST_BYTES)
        } else {
            limits
        };
        let mut solo = Solo::new(limits);
        let mut out = Vec::new();
        let heavy = [1, 100, 2048, 4096, 5000, 20_000][random(6)];
        for _ in 0..if cfg!(miri) { 8 } else { 1000 } {
            match random(100) {
                0..=1 => solo.lists(|lists| lists.age(&solo.limits)).each(|_| ()),
                2 => drop(solo.lists(|lists| lists.drain(&solo.limits))),
                3..=5 => {
                    for _ in 0..random(80) {
                        out.push(solo.pop());
                    }
                    out.retain(|link| !link.is_null());
                }
                _ => {
                    for _ in 0..random(60) {
                        let weight = match random(40) {
                            0 => random(heavy * 2),
                            _ => heavy,
                        };
                        let link = match out.pop() {
                            Some(link) => link,
                            None => solo.node(weight),
                        };
                        // SAFETY: as in `Solo::new`.
                        if unsafe { solo.cache.push(link, weight, || (), || ()) } {
                            continue;
                        }
                        let mut leaving = Leaving::NOTHING;
                        // SAFETY: as above.
                        let done = unsafe {
                            solo.cache
                                .push_slow(link, weight, &solo.limits, &mut leaving)
                        }
                        .unwrap();
                        let known = check(&leaving.batch);
                        leaving.batch.fetch();
                        if leaving.batch.is_empty() {
                            assert_eq!((known, leaving.end), (0, End::Hot));
                        } else {
                            seen[known] += 1;
                            long = long.max(leaving.batch.batch().len);
                            cold_with_index += usize::from(known > 0 && leaving.end == End::Cold);
                        }
                        if done == Returned::Refused {
                            // SAFETY: as above.
                            let rest = unsafe { solo.cache.hand_over(&solo.limits) }.unwrap();
                            if !rest.is_empty() {
                                leaving.batch.batch_mut().append(rest);
                            }
                            check(&leaving.batch);
                            out.push(link);
                        }
                        let left = leaving.batch.into_batch();
                        assert_eq!(left.bytes, weights(&left).iter().sum::<usize>());
                        solo.limits.release(Charge {
                            objects: left.len,
                            bytes: left.bytes,
                        });
                    }
                }
            }
        }
    }
    assert!(cfg!(miri) || (seen[3] > 0 && seen[7] > 0 && cold_with_index > 0 && long > LIST_LEN));
}
