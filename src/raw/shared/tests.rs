//! Readers of statistics that race with slow paths: one thread plays both, and stops one of them at each step.

#![cfg(not(repool_loom))]

use super::*;
use crate::raw::lists::tests::Solo;
use crate::raw::node::{Batch, LIST_LEN};

/// The number of places between the loads of [`Shared::idle`].
const STEPS: usize = 4;

/// Caches with this many objects, with and without one in the slot, and with and without a spare list.
fn caches() -> impl Iterator<Item = Solo> {
    let counts = [
        0,
        1,
        2,
        3,
        LIST_LEN - 1,
        LIST_LEN,
        LIST_LEN + 1,
        LIST_LEN + 5,
    ];
    counts.into_iter().flat_map(|objects| {
        let filled = move || {
            let mut solo = Solo::unbounded();
            for _ in 0..objects {
                solo.put(1);
            }
            solo
        };
        let (got, aged, spare) = (filled(), filled(), filled());
        got.get();
        aged.age();
        aged.get();
        spare.lists(|lists| {
            lists.unload_onto_spare();
            lists.make_room();
        });
        [filled(), got, aged, spare]
    })
}

/// Does something to a cache. May return nodes of the batch to it.
type Work = fn(&Solo, Batch);

const WORKS: [Work; 8] = [
    |solo, _| solo.lists(|lists| lists.make_room()),
    |solo, _| {
        solo.lists(|lists| {
            lists.unload_onto_spare();
            lists.make_room();
        });
    },
    |solo, _| _ = solo.age(),
    |solo, _| _ = solo.hand_over(),
    |solo, _| _ = solo.get(),
    |solo, mut batch| _ = solo.return_node(batch.pop(), 1),
    |solo, mut batch| {
        solo.lists(|lists| lists.revoke_room());
        _ = solo.return_node(batch.pop(), 1);
    },
    |solo, mut batch| {
        // SAFETY: this thread is the only one, and the nodes are the test's.
        unsafe { solo.cache.load(&mut batch, &solo.limits, true) };
    },
];

#[test]
fn a_reader_misses_no_object_while_others_move() {
    for (nth, work) in WORKS.into_iter().enumerate() {
        for at in 0..STEPS {
            for (which, mut solo) in caches().enumerate() {
                let mut batch = solo.nodes.batch(&[1, 1, 1]);
                let (solo, before, mut step) = (&solo, solo.idle(), 0);
                let seen = solo.cache.shared.idle_while(|| {
                    if step == at {
                        work(solo, batch.take());
                    }
                    step += 1;
                });
                assert_eq!(step, STEPS);
                let least = before.min(solo.idle());
                assert!(
                    seen >= least,
                    "{seen} of {least}: work {nth} at {at}, cache {which}"
                );
            }
        }
    }
}

#[test]
fn a_reader_between_two_stores_counts_too_many() {
    let idle = 3;
    for before in 0..5 {
        for room in 0..5 {
            let shared = Shared::new();
            shared.set_room_and_below(before, before + idle, || ());
            assert_eq!(shared.idle(), idle as usize);
            let mut seen = 0;
            shared.set_room_and_below(room, room + idle, || seen = shared.idle());
            let more = usize::try_from(room - before)
                .unwrap_or(0)
                .max((before - room).max(0) as usize);
            assert_eq!(seen, idle as usize + more, "from {before} to {room}");
            assert_eq!((shared.room(), shared.idle()), (room, idle as usize));
        }
    }
}
