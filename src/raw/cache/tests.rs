//! Statistics of one cache, at rest and while its lists change.

#![cfg(not(repool_loom))]

use super::*;
use crate::raw::lists::tests::Solo;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// An object that only moves between slot, lists and depot is never counted as handed out: no counter goes back.
/// That holds as well on machines (and under Miri) where stores of another thread are seen out of order.
#[test]
fn no_hit_is_counted_before_it_happens() {
    const ROUNDS: usize = if cfg!(miri) { 100 } else { 300_000 };
    let (cache, done) = (Cache::vacant(), AtomicBool::new(false));
    let limits = Limits::new(usize::MAX, usize::MAX, usize::MAX);
    let mut batch = Batch::EMPTY;
    for _ in 0..3 {
        let link = Box::into_raw(Box::new(Link::new(ptr::null())));
        // SAFETY: held here.
        unsafe { batch.push(link) };
    }
    // SAFETY: this thread is the only one that touches the lists.
    unsafe { cache.occupy(&limits, false) };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                let reused = cache.stats().0.reused as isize;
                assert!(reused <= 0, "{reused} seem to be in use");
            }
        });
        for _ in 0..ROUNDS {
            // SAFETY: as above.
            unsafe { cache.load(&mut batch, &limits, true) };
            assert!(batch.is_empty());
            // SAFETY: as above.
            unsafe {
                cache.enter(|lists| {
                    lists.unload_onto_spare();
                    lists.make_room();
                    lists.load_spare();
                });
            }
            // SAFETY: as above.
            batch = unsafe { cache.hand_over(&limits) }.expect("no visitor");
        }
        done.store(true, SeqCst);
    });
    assert_eq!((cache.stats().0.reused, batch.len), (0, 3));
    while !batch.is_empty() {
        // SAFETY: from `into_raw` above.
        drop(unsafe { Box::from_raw(batch.pop()) });
    }
}

/// The reuses, returns, idle objects and bytes of a cache, and whether the bytes are exact.
fn stats(solo: &Solo) -> ([usize; 4], bool) {
    let (stats, exact) = solo.cache.stats();
    let PartStats {
        reused,
        returned,
        idle,
        idle_bytes,
    } = stats;
    ([reused, returned, idle, idle_bytes], exact)
}

#[test]
fn bytes_are_exact_after_a_visit_and_estimated_after_hits() {
    let mut solo = Solo::unbounded();
    assert_eq!(stats(&solo), ([0; 4], true));
    for weight in [10, 20, 31] {
        solo.put(weight);
    }
    assert_eq!(stats(&solo), ([0, 3, 3, 0], false), "not known yet");
    let note = |solo: &Solo| solo.lists(|lists| solo.cache.note_bytes(lists));
    note(&solo);
    assert_eq!(stats(&solo), ([0, 3, 3, 61], true));
    assert_eq!(solo.get(), Some(31));
    assert_eq!(stats(&solo), ([1, 3, 2, 40], false), "20 each");
    solo.put(500);
    assert_eq!(stats(&solo), ([1, 4, 3, 60], false), "as many as then");
    note(&solo);
    assert_eq!(stats(&solo), ([1, 4, 3, 530], true));
    // A batch that comes or leaves makes the weight unknown.
    assert_eq!(solo.hand_over(), [500, 20, 10]);
    assert_eq!(stats(&solo), ([1, 4, 0, 0], true), "nothing has no weight");
    assert!(solo.load(&[7, 8]));
    let ([reused, returned, idle, _], exact) = stats(&solo);
    assert_eq!((reused, returned, idle, exact), (1, 4, 2, false));
    note(&solo);
    assert_eq!(stats(&solo), ([1, 4, 2, 15], true));
    assert_eq!([solo.get(), solo.get()], [Some(7), Some(8)]);
    assert_eq!(stats(&solo), ([3, 4, 0, 0], true));
}

#[test]
fn a_stamp_stands_for_one_state_of_the_lists() {
    let mut seen = std::collections::HashSet::new();
    for returned in [0, 1, 2, 1000] {
        for idle in [0, 1, 2, STAMP_IDLE - 1] {
            let stamp = stamp(returned, idle);
            assert_eq!(stamp % STAMP_IDLE, idle);
            assert!(stamp != 0 && seen.insert(stamp));
        }
        let most = stamp(returned, STAMP_IDLE - 1);
        assert_eq!(stamp(returned, STAMP_IDLE), most);
        assert_eq!(stamp(returned, 10 * STAMP_IDLE), most);
    }
}

#[test]
fn a_cache_is_empty_without_objects_in_either_list() {
    let mut solo = Solo::unbounded();
    assert!(solo.cache.is_empty());
    solo.put(1);
    assert!(!solo.cache.is_empty());
    solo.age();
    assert!(!solo.cache.is_empty(), "in the spare list");
    solo.get();
    assert!(solo.cache.is_empty());
}

#[test]
fn each_question_to_a_cache_is_about_its_own_reason() {
    let cache = Cache::vacant();
    let answers = || {
        let (occupied, listed) = (cache.is_occupied(), cache.is_listed());
        [occupied, listed, cache.is_drain_requested()]
    };
    assert_eq!(answers(), [false; 3]);
    for (index, reason) in [OCCUPIED, LISTED, DRAIN].into_iter().enumerate() {
        cache.gate.set(reason, true);
        assert_eq!(answers(), [0, 1, 2].map(|other| other == index));
        cache.gate.set(reason, false);
    }
    // SAFETY: this thread is the only one, and the cache is vacant.
    unsafe { cache.occupy(&Limits::new(9, 9, 9), true) };
    assert!(cache.is_occupied() && cache.gate.has(INACTIVE));
    cache.gate.set(LISTED | DRAIN | MISSED, true);
    // SAFETY: as above, and this thread is the owner.
    let [loaded, spare] = unsafe { cache.vacate(&Limits::new(9, 9, 9)) };
    assert!(loaded.is_empty() && spare.is_empty());
    assert_eq!(answers(), [false, true, false], "it stays on the list");
    assert!(!cache.gate.has(INACTIVE | MISSED));
}

/// The places between the loads of two looks.
const STEPS: usize = 8;

/// Calls `change` at one place of a read. Returns the reuses that the reader computes, and the idle objects that it sees.
fn read_while(solo: &Solo, at: usize, change: impl Fn()) -> (isize, usize) {
    let mut step = 0;
    let (moved, idle) = solo.cache.moved_and_idle_while(|| {
        if step == at {
            change();
        }
        step += 1;
    });
    let came = solo.cache.shared.returned().wrapping_add(moved);
    (came.wrapping_sub(idle) as isize, idle)
}

/// If a slow path changed the lists during one look, the next look finds them at rest.
#[test]
fn a_reader_looks_again_if_a_slow_path_has_changed_the_lists() {
    for at in 0..STEPS {
        let mut solo = Solo::unbounded();
        assert!(solo.load(&[1, 2, 3]));
        let seen = read_while(&solo, at, || _ = solo.hand_over());
        let before = (0, 3);
        assert!(
            seen == (0, 0) || at > 3 && seen == before,
            "{seen:?} at {at}"
        );
        let mut solo = Solo::unbounded();
        let batch = std::cell::Cell::new(solo.nodes.batch(&[1, 2, 3]));
        let seen = read_while(&solo, at, || {
            let mut batch = batch.replace(Batch::EMPTY);
            // SAFETY: this thread is the only one, and the nodes are the test's.
            unsafe { solo.cache.load(&mut batch, &solo.limits, true) };
            assert!(batch.is_empty());
        });
        assert!(
            seen == (0, 3) || at > 3 && seen == (0, 0),
            "{seen:?} at {at}"
        );
    }
}

/// A reader that never finds the lists at rest, because slow paths follow each other, counts no object as handed out that
/// was not.
#[test]
fn a_reader_that_finds_no_rest_overstates_nothing() {
    for at in 0..4 * LOOKS {
        let mut solo = Solo::unbounded();
        assert!(solo.load(&[1, 2, 3]));
        solo.cache.gate.change();
        let (reused, _) = read_while(&solo, at, || _ = solo.hand_over());
        assert!(reused <= 0, "{reused} at {at}");
        solo.cache.gate.change();
        let mut solo = Solo::unbounded();
        assert!(solo.load(&[1, 2, 3]));
        assert_eq!(solo.get(), Some(1));
        solo.cache.gate.change();
        let (reused, idle) = read_while(&solo, at, || ());
        assert_eq!((reused, idle), (1, 2), "nothing moved meanwhile");
        solo.cache.gate.change();
    }
}
