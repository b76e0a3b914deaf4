//! What one cache is charged, used by one thread and by passes in between, without a pool.

#![cfg(not(repool_loom))]

use super::*;
use crate::raw::cache::Returned;
use crate::raw::lists::tests::{Put, Solo, slow};
use crate::raw::node::{LIST_LEN, Link};
use proptest::prelude::*;
use std::collections::BTreeSet;

const UNLIMITED: usize = usize::MAX;

#[test]
fn a_charge_grows_by_one_and_then_by_as_many_as_there_are() {
    let mut solo = Solo::new(Limits::new(800, UNLIMITED, UNLIMITED));
    let mut charges = Vec::new();
    for _ in 0..3 * LIST_LEN {
        if solo.put(1) != Put::Hit {
            charges.push(solo.charged());
        }
    }
    assert_eq!(charges[..8], [1, 2, 4, 8, 16, 32, 64, 128]);
    assert!(
        charges.iter().all(|&charged| charged <= 2 * LIST_LEN),
        "{charges:?}"
    );
    assert!(solo.limits.charged() >= solo.idle());
}

#[test]
fn the_last_objects_below_a_limit_are_charged_one_by_one() {
    // A list is six objects.
    let mut solo = Solo::new(Limits::new(50, UNLIMITED, UNLIMITED));
    assert_eq!(
        solo.limits.reserve(Charge {
            objects: 47,
            bytes: 0
        }),
        Ok(())
    );
    for charged in 1..=3 {
        assert_eq!((solo.put(1), solo.charged()), (slow(), charged));
    }
    assert_eq!(solo.put(1), Put::Refused);
    assert_eq!(
        (solo.charged(), solo.idle(), solo.limits.charged()),
        (3, 3, 50)
    );
}

#[test]
fn what_leaves_stays_charged_at_its_own_weight() {
    let mut solo = Solo::new(Limits::new(UNLIMITED, 100_000, UNLIMITED));
    assert_eq!(solo.put(1000), slow());
    for _ in 0..5 {
        assert_ne!(solo.put(10), Put::Refused);
    }
    assert_eq!(solo.hand_over().len(), 6);
    assert_eq!(solo.charged(), 0);
    // The batch is still charged, with what it weighs.
    let rest = Charge {
        objects: 0,
        bytes: 100_000 - 1050,
    };
    assert_eq!(solo.limits.reserve(rest), Ok(()));
    assert_eq!(solo.put(1), Put::Refused);
}

/// A cache that may take 1000 bytes, in lists of as many.
fn with_1000_bytes_left() -> Solo {
    let solo = Solo::new(Limits::new(UNLIMITED, 8000, UNLIMITED));
    let others = Charge {
        objects: 0,
        bytes: 7000,
    };
    assert_eq!(solo.limits.reserve(others), Ok(()));
    solo
}

#[test]
fn a_threshold_sinks_when_the_limit_asks_for_it() {
    let mut solo = with_1000_bytes_left();
    assert_eq!(solo.put(900), slow());
    assert_eq!(solo.get(), Some(900));
    assert_eq!(solo.put(100), Put::Hit, "charged at 900");
    // A second one at 900 is too much. At 100 it is not.
    assert_eq!(solo.put(100), slow());
    assert_eq!((solo.charged(), solo.idle()), (2, 2));
    for _ in 2..10 {
        assert_ne!(solo.put(100), Put::Refused);
    }
    assert_eq!(solo.put(100), Put::Refused);
    assert_eq!(solo.idle(), 10);
    for _ in 0..9 {
        solo.get();
    }
    assert_eq!(solo.put(500), slow());
    assert_eq!((solo.charged(), solo.idle()), (2, 2));
    assert_eq!(solo.put(1), Put::Refused, "it would be charged at 500");
}

#[test]
fn a_threshold_sinks_to_the_heaviest_object() {
    let mut solo = with_1000_bytes_left();
    assert_eq!(solo.put(900), slow());
    assert_eq!(solo.get(), Some(900));
    assert_eq!(solo.put(100), Put::Hit);
    assert_eq!(solo.put(300), slow(), "the one that comes in");
    assert_eq!(solo.put(100), slow(), "one that is there");
    assert_eq!((solo.charged(), solo.idle()), (3, 3));
    assert_eq!(solo.put(100), Put::Refused);
}

#[test]
fn a_heavier_object_that_does_not_fit_changes_nothing() {
    let mut solo = with_1000_bytes_left();
    for _ in 0..4 {
        assert_ne!(solo.put(100), Put::Refused);
    }
    let before = (solo.charged(), solo.idle());
    assert_eq!(before, (4, 4));
    assert_eq!(solo.put(601), Put::Refused);
    assert_eq!((solo.charged(), solo.idle()), before);
    // Four fit at 250 each, but not five.
    assert_eq!(solo.put(250), Put::Refused);
    assert_eq!((solo.charged(), solo.idle()), before);
    let rest = Charge {
        objects: 0,
        bytes: 600,
    };
    assert_eq!(solo.limits.reserve(rest), Ok(()));
    solo.limits.release(rest);
    // At 200 each the five of them fit.
    assert_eq!(solo.put(200), slow());
    assert_eq!((solo.charged(), solo.idle()), (5, 5));
}

#[test]
fn a_batch_is_loaded_with_the_charge_that_it_has() {
    let limits = Limits::new(80, UNLIMITED, UNLIMITED);
    let mut solo = Solo::new(limits);
    // The depot has charged these.
    let charge = Charge {
        objects: 5,
        bytes: 150,
    };
    assert_eq!(solo.limits.reserve(charge), Ok(()));
    assert!(solo.load(&[10, 20, 30, 40, 50]));
    assert_eq!(
        (solo.charged(), solo.limits.charged(), solo.idle()),
        (5, 5, 5)
    );
    // The thread has three of them in use when it loads more. Their charge stays.
    for _ in 0..5 {
        solo.get();
    }
    let charge = Charge {
        objects: 3,
        bytes: 30,
    };
    assert_eq!(solo.limits.reserve(charge), Ok(()));
    assert!(solo.load(&[10; 3]));
    assert_eq!((solo.charged(), solo.limits.charged()), (8, 8));
    solo.hand_over();
    assert_eq!(
        (solo.charged(), solo.limits.charged()),
        (0, 3),
        "three are handed over"
    );
}

#[test]
fn a_batch_of_heavier_objects_lets_them_come_back() {
    let mut solo = Solo::new(Limits::new(UNLIMITED, UNLIMITED, UNLIMITED));
    assert!(solo.load(&[5000, 5000]));
    let link = solo.pop();
    assert_eq!(solo.return_node(link, 5000).ok(), Some(Put::Hit));
}

#[test]
fn a_thread_that_only_gets_charges_no_more_than_two_lists() {
    let mut solo = Solo::new(Limits::new(80, UNLIMITED, UNLIMITED));
    for round in 1..10 {
        let charge = Charge {
            objects: 5,
            bytes: 5,
        };
        assert_eq!(solo.limits.reserve(charge), Ok(()));
        assert!(solo.load(&[1; 5]));
        assert_eq!(solo.charged(), (5 * round).min(20));
        while solo.get().is_some() {}
    }
}

/// An operation of the owner, or a pass.
#[derive(Clone, Copy, Debug)]
enum Act {
    Get,
    Put(usize),
    Age,
    HandOver,
    Load(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        20 => Just(Act::Get),
        30 => prop_oneof![1..50_usize, 1..5000_usize].prop_map(Act::Put),
        2 => Just(Act::Age),
        1 => Just(Act::HandOver),
        2 => (1..LIST_LEN).prop_map(Act::Load),
    ];
    prop::collection::vec(act, 1..600)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 100 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Every object is in one place. What is idle is charged, and what is charged is within the limits. The counts that
    /// any thread may read agree with the lists.
    #[test]
    fn any_owner_and_passes_lose_nothing_and_exceed_no_limit(
        acts in acts(),
        max_idle in prop_oneof![Just(UNLIMITED), 0..300_usize],
        max_bytes in prop_oneof![Just(UNLIMITED), 0..200_000_usize],
        object_bytes in 0..100_usize,
    ) {
        let limits = Limits::new(max_idle, max_bytes, UNLIMITED).with_object_bytes(object_bytes);
        let mut solo = Solo::new(limits);
        let mut inside = BTreeSet::new();
        let leave = |inside: &mut BTreeSet<*mut Link>, batch: Batch, solo: &Solo| {
            batch.each(|link| assert!(inside.remove(&link), "it was not here"));
            // The depot would keep the charge.
            solo.limits.release(Charge { objects: batch.len, bytes: batch.bytes });
        };
        for act in acts {
            match act {
                Act::Get => {
                    let link = solo.pop();
                    prop_assert_eq!(link.is_null(), inside.is_empty());
                    if !link.is_null() {
                        prop_assert!(inside.remove(&link));
                    }
                }
                Act::Put(weight) => {
                    let link = solo.node(weight);
                    // SAFETY: as in `Solo::new`.
                    if unsafe { solo.cache.push(link, weight, || (), || ()) } {
                        inside.insert(link);
                    } else {
                        let mut leaving = Leaving::NOTHING;
                        // SAFETY: as above.
                        let done = unsafe {
                            solo.cache
                                .push_slow(link, weight, &solo.limits, &mut leaving)
                        };
                        if done.unwrap() == Returned::Kept {
                            inside.insert(link);
                        }
                        leave(&mut inside, leaving.batch.into_batch(), &solo);
                    }
                }
                Act::Age => {
                    let left = solo.lists(|lists| lists.age(&solo.limits));
                    leave(&mut inside, left, &solo);
                }
                Act::HandOver => {
                    // SAFETY: as above.
                    let left = unsafe { solo.cache.hand_over(&solo.limits) }.unwrap();
                    leave(&mut inside, left, &solo);
                    prop_assert!(inside.is_empty());
                    prop_assert_eq!(solo.limits.charged(), 0);
                    let all_bytes = Charge { objects: 0, bytes: max_bytes };
                    prop_assert_eq!(solo.limits.reserve(all_bytes), Ok(()));
                    solo.limits.release(all_bytes);
                }
                Act::Load(len) => {
                    let mut batch = solo.nodes.batch_of(len, len);
                    let charge = Charge { objects: len, bytes: batch.bytes };
                    if solo.limits.reserve(charge).is_ok() {
                        batch.each(|link| {
                            inside.insert(link);
                        });
                        // SAFETY: as above.
                        unsafe { solo.cache.load(&mut batch, &solo.limits, len % 2 == 0) };
                        leave(&mut inside, batch, &solo);
                    }
                }
            }
            let (idle, stats, bytes, threshold) = solo.lists(|lists| {
                (lists.idle(), lists.shared.idle(), lists.idle_bytes(), lists.lists.threshold())
            });
            prop_assert_eq!((idle, stats), (inside.len(), inside.len()));
            // SAFETY: the cache holds them.
            let weight = |link: &*mut Link| unsafe { Link::weight(*link) };
            prop_assert_eq!(bytes, inside.iter().map(weight).sum::<usize>());
            prop_assert!(inside.iter().map(weight).all(|weight| weight < threshold));
            if solo.limits.bounded() {
                prop_assert!(idle <= solo.charged());
                prop_assert!(solo.limits.charged() <= max_idle);
                prop_assert!(bytes.saturating_add(idle * object_bytes) <= max_bytes);
                prop_assert_eq!(solo.limits.charged(), solo.charged());
            }
        }
    }
}
