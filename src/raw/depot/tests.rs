//! The depot without a pool: its order, its counts, and what passes learn from it.

#![cfg(not(repool_loom))]

use super::*;
use crate::raw::indexed::tests::{check, entries, indexed};
use crate::raw::node::tests::{Nodes, random, weights};
use crate::raw::node::{LIST_BYTES, LIST_LEN};

fn give(depot: &Depot, batch: Batch, end: End) {
    assert!(depot.give(batch, end, Timeout::Long).is_ok());
}

fn take_batch(depot: &Depot) -> Option<Batch> {
    let mut taken = IndexedBatch::EMPTY;
    depot.take(&mut taken).then(|| taken.into_batch())
}

fn take(depot: &Depot) -> Vec<usize> {
    let before = (depot.objects(), depot.bytes());
    let batch = take_batch(depot).expect("a batch");
    let after = (depot.objects(), depot.bytes());
    assert_eq!(before, (after.0 + batch.len, after.1 + batch.bytes));
    weights(&batch)
}

fn take_cold(depot: &Depot, count: usize) -> Vec<usize> {
    let before = (depot.objects(), depot.bytes());
    let batch = depot.take_cold(count).expect("a batch");
    let after = (depot.objects(), depot.bytes());
    assert_eq!(before, (after.0 + batch.len, after.1 + batch.bytes));
    weights(&batch)
}

/// Holds the lock of the depot until the end of `work`.
fn while_locked(depot: &Depot, work: impl FnOnce()) {
    let lock = depot.stack.try_lock();
    assert!(lock.is_some());
    work();
}

#[test]
fn batches_leave_from_the_hot_end_and_from_the_cold_one() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    for weight in [3, 4, 5] {
        give(&depot, nodes.batch(&[weight]), End::Hot);
    }
    for weight in [2, 1] {
        give(&depot, nodes.batch(&[weight]), End::Cold);
    }
    give(&depot, Batch::EMPTY, End::Hot);
    assert_eq!((depot.objects(), depot.bytes()), (5, 15));
    assert_eq!(take(&depot), [5]);
    assert_eq!(take_cold(&depot, 9), [1]);
    // The field of the hottest batch is empty now, and what is cold still goes below the others.
    give(&depot, nodes.batch(&[1]), End::Cold);
    assert_eq!(take(&depot), [4]);
    give(&depot, nodes.batch(&[6]), End::Hot);
    assert_eq!([take(&depot), take(&depot), take(&depot)], [[6], [3], [2]]);
    assert_eq!(take_cold(&depot, 9), [1]);
    assert!(take_batch(&depot).is_none() && depot.take_cold(9).is_none());
    assert!(depot.take_one().is_null());
}

#[test]
fn a_single_batch_needs_no_stack() {
    let mut nodes = Nodes::new();
    let capacity = |depot: &Depot| depot.stack.try_lock().map(|stack| stack.batches.capacity());
    for end in [End::Hot, End::Cold] {
        let depot = Depot::new();
        give(&depot, nodes.batch(&[1]), end);
        assert_eq!(capacity(&depot), Some(0));
        give(&depot, nodes.batch(&[2]), end);
        assert!(capacity(&depot) > Some(0));
        assert_eq!(depot.objects(), 2);
    }
}

#[test]
fn a_stack_grows_by_doubling_and_keeps_the_order() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    let mut capacities = Vec::new();
    for weight in 1..=200 {
        give(&depot, nodes.batch(&[weight]), End::Hot);
        capacities.extend(depot.stack.try_lock().map(|stack| stack.batches.capacity()));
    }
    capacities.dedup();
    // The deque itself would only double, under the lock.
    assert!(
        capacities.windows(2).all(|pair| pair[1] == 2 * pair[0] + 4),
        "{capacities:?}"
    );
    for weight in (1..=200).rev() {
        assert_eq!(take(&depot), [weight]);
    }
}

#[test]
fn a_stack_shrinks_after_a_burst() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    let capacity = || {
        depot
            .stack
            .try_lock()
            .map_or(0, |stack| stack.batches.capacity())
    };
    for weight in 1..=1000 {
        give(&depot, nodes.batch(&[weight]), End::Hot);
    }
    let burst = capacity();
    depot.shrink();
    assert_eq!(capacity(), burst, "it is in use");
    // The field beside the stack is empty after a take.
    while depot.objects() > burst / 4 + 1 {
        take(&depot);
    }
    depot.shrink();
    assert_eq!(capacity(), burst, "more than a quarter is in use");
    take(&depot);
    depot.shrink();
    let after = capacity();
    assert!(
        (burst / 2..=burst / 2 + 4).contains(&after),
        "{after} of {burst}"
    );
    assert_eq!(depot.objects(), burst / 4);
    for weight in (1..=burst / 4).rev() {
        assert_eq!(take(&depot), [weight]);
    }
    depot.shrink();
    assert_eq!(capacity(), 0);
}

#[test]
fn a_small_stack_stays() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    let capacity = || {
        let stack = depot.stack.try_lock();
        stack.map_or(0, |stack| stack.batches.capacity())
    };
    for _ in 0..30 {
        give(&depot, nodes.batch(&[1]), End::Hot);
    }
    while depot.objects() > 1 {
        take(&depot);
    }
    let small = capacity();
    assert!((30..64).contains(&small));
    depot.shrink();
    assert_eq!(capacity(), small);
    // One of 64 shrinks.
    for _ in 0..200 {
        give(&depot, nodes.batch(&[1]), End::Hot);
    }
    for (left, shrunk) in [(32, 64), (10, 20)] {
        while depot.objects() > left {
            take(&depot);
        }
        depot.shrink();
        assert_eq!(capacity(), shrunk);
    }
}

#[test]
fn a_node_joins_the_hottest_batch_up_to_a_list() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    // SAFETY: new nodes, each given once.
    let one = |link| unsafe { depot.give_one(link) };
    for weight in 1..=LIST_LEN {
        assert!(one(nodes.node(weight)).is_ok());
        assert_eq!(depot.objects(), weight);
    }
    assert!(one(nodes.node(1000)).is_ok());
    assert_eq!(depot.bytes(), LIST_LEN * (LIST_LEN + 1) / 2 + 1000);
    assert_eq!(take(&depot), [1000], "the batch below was full");
    assert_eq!(take(&depot), (1..=LIST_LEN).rev().collect::<Vec<_>>());
    for weight in [LIST_BYTES - 1, 1, 1] {
        assert!(one(nodes.node(weight)).is_ok());
    }
    assert_eq!(
        [take(&depot), take(&depot)],
        [vec![1], vec![1, LIST_BYTES - 1]]
    );
}

#[test]
fn single_nodes_are_taken_from_the_top() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    give(&depot, nodes.batch(&[30]), End::Hot);
    give(&depot, nodes.batch(&[10, 20]), End::Hot);
    // SAFETY: taken from the depot, so held here.
    let weight = |link| unsafe { crate::raw::node::Link::weight(link) };
    for (taken, rest) in [(10, 50), (20, 30), (30, 0)] {
        assert_eq!((weight(depot.take_one()), depot.bytes()), (taken, rest));
    }
    assert_eq!(depot.objects(), 0);
    assert!(depot.take_one().is_null());
}

#[test]
fn a_chosen_node_is_taken_from_any_batch() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    for batch in [&[40, 7][..], &[30], &[10, 20]] {
        give(&depot, nodes.batch(batch), End::Hot);
    }
    // SAFETY: the depot holds its nodes, and then the test those that it took.
    let weight = |link| unsafe { crate::raw::node::Link::weight(link) };
    let mut seen = Vec::new();
    let found = depot.take_where(|link| {
        seen.push(weight(link));
        weight(link) == 30
    });
    assert_eq!((weight(found), seen), (30, vec![10, 20, 30]));
    assert_eq!((depot.objects(), depot.bytes()), (4, 77));
    assert!(depot.take_where(|_| false).is_null());
    assert_eq!((depot.objects(), depot.bytes()), (4, 77));
    assert_eq!(weight(depot.take_where(|_| true)), 10);
    assert_eq!([take(&depot), take(&depot)], [vec![20], vec![40, 7]]);
    assert!(depot.take_where(|_| true).is_null());
}

#[test]
fn the_coldest_part_of_a_batch_leaves_first() {
    for other in [false, true] {
        let mut nodes = Nodes::new();
        let depot = Depot::new();
        give(&depot, nodes.batch(&[1, 2, 3, 4, 5]), End::Hot);
        if other {
            give(&depot, nodes.batch(&[9]), End::Hot);
        }
        assert!(depot.take_cold(0).is_none());
        assert_eq!(take_cold(&depot, 2), [4, 5]);
        assert_eq!(take_cold(&depot, 1), [3]);
        assert_eq!(take_cold(&depot, 2), [1, 2]);
        if other {
            assert_eq!(take_cold(&depot, 2), [9]);
        }
        assert_eq!((depot.objects(), depot.bytes()), (0, 0));
    }
}

#[test]
fn a_closed_depot_returns_what_it_is_given() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    for weight in 1..=3 {
        give(&depot, nodes.batch(&[weight]), End::Hot);
    }
    let open: Vec<_> = depot.drain(false).map(|batch| weights(&batch)).collect();
    assert_eq!(open, [[1], [2], [3]], "the coldest first");
    assert_eq!((depot.objects(), depot.bytes()), (0, 0));
    give(&depot, nodes.batch(&[4]), End::Hot);
    assert_eq!(depot.drain(true).map(|batch| batch.len).sum::<usize>(), 1);
    for end in [End::Hot, End::Cold] {
        let refused = depot.give(nodes.batch(&[5, 6]), end, Timeout::Long);
        let Err(Refused::Closed(batch)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(weights(&batch), [5, 6]);
        assert_eq!(Refused::Closed(batch).reason(), Reason::Closed);
    }
    // SAFETY: a new node, given once.
    let one = unsafe { depot.give_one(nodes.node(7)) };
    assert!(matches!(one, Err(Refused::Closed(batch)) if weights(&batch) == [7]));
    assert_eq!(depot.drain(false).count(), 1, "an empty batch");
    assert!(
        depot
            .give(nodes.batch(&[8]), End::Hot, Timeout::Long)
            .is_err(),
        "still closed"
    );
    assert_eq!(depot.objects(), 0);
}

#[test]
fn a_depot_that_is_locked_loses_nothing() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    give(&depot, nodes.batch(&[1, 2]), End::Hot);
    while_locked(&depot, || {
        let refused = depot.give(nodes.batch(&[3]), End::Hot, Timeout::Short);
        let Err(Refused::Contended(batch)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(weights(&batch), [3]);
        assert_eq!(Refused::Contended(batch).reason(), Reason::Full);
        // SAFETY: a new node, given once.
        let one = unsafe { depot.give_one(nodes.node(4)) };
        assert!(matches!(one, Err(Refused::Contended(batch)) if weights(&batch) == [4]));
        assert!(take_batch(&depot).is_none() && depot.take_cold(1).is_none());
        assert!(depot.take_one().is_null());
        assert!(depot.take_where(|_| true).is_null());
        assert_eq!(
            (
                depot.surplus(2),
                depot.end_interval(1),
                depot.uncount_unneeded(1)
            ),
            (None, None, None)
        );
        depot.shrink();
        assert_eq!(depot.drain(true).count(), 0);
        assert_eq!((depot.objects(), depot.bytes()), (2, 3));
    });
    assert_eq!(take(&depot), [1, 2]);
    give(&depot, nodes.batch(&[5]), End::Hot);
}

#[test]
fn the_surplus_is_what_was_not_needed_in_either_interval() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    let interval = |intervals, unneeded| {
        let surplus = depot.surplus(intervals);
        assert_eq!(depot.end_interval(unneeded), Some(()));
        surplus.unwrap()
    };
    give(&depot, nodes.batch_of(10, 1), End::Hot);
    assert_eq!(interval(2, 0), 0, "they have just come");
    assert_eq!(interval(2, 0), 0, "not needed in one interval");
    // Four are used meanwhile: the low-water mark is six.
    let used = depot.take_cold(4).unwrap();
    give(&depot, used, End::Hot);
    assert_eq!(interval(2, 0), 6, "not needed in two intervals");
    // The caller has left them there. What counts is what remains of the mark.
    assert_eq!(interval(2, 0), 0);
    assert_eq!(interval(1, 0), 10, "one interval is enough under pressure");
    assert_eq!(interval(1, 0), 10);
}

#[test]
fn what_caches_did_not_need_counts_as_one_interval() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    give(&depot, nodes.batch_of(5, 1), End::Hot);
    assert_eq!(depot.surplus(2), Some(0));
    give(&depot, nodes.batch_of(3, 1), End::Cold);
    assert_eq!(depot.end_interval(3), Some(()));
    assert_eq!(depot.surplus(2), Some(3), "and these for another interval");
    assert_eq!(depot.end_interval(0), Some(()));
    // It is never more than the depot holds.
    assert_eq!(depot.end_interval(100), Some(()));
    assert_eq!(depot.surplus(2), Some(8));
    // A pass that drops them at once takes them out again.
    assert_eq!(depot.end_interval(4), Some(()));
    assert_eq!(depot.uncount_unneeded(3), Some(3));
    assert_eq!(depot.uncount_unneeded(3), Some(1));
    assert_eq!(depot.uncount_unneeded(3), Some(0));
    assert_eq!(depot.surplus(2), Some(0));
}

#[test]
fn what_a_drained_depot_held_is_no_surplus() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    give(&depot, nodes.batch_of(5, 1), End::Hot);
    assert_eq!(depot.end_interval(5), Some(()));
    assert_eq!(depot.drain(false).map(|batch| batch.len).sum::<usize>(), 5);
    give(&depot, nodes.batch_of(5, 1), End::Hot);
    assert_eq!(depot.end_interval(0), Some(()));
    assert_eq!(depot.surplus(2), Some(0));
}

#[test]
fn counts_of_objects_saturate() {
    assert_eq!(in_32_bits(7), 7);
    assert_eq!(in_32_bits(u32::MAX as usize), u32::MAX);
    assert_eq!(in_32_bits(usize::MAX), u32::MAX);
}

/// Whether the batch is the hottest one or below another one, a thread that takes it whole gets its index too.
#[test]
fn a_batch_keeps_its_index_until_it_changes() {
    let mut nodes = Nodes::new();
    let depot = Depot::new();
    for end in [End::Hot, End::Hot, End::Cold, End::Hot] {
        let mut batch = indexed(&mut nodes, 64);
        assert!(depot.give_indexed(&mut batch, end, Timeout::Long).is_ok());
        assert!(batch.is_empty());
    }
    // The hottest one changes.
    assert!(!depot.take_one().is_null());
    for (len, known) in [(63, 0), (64, 7), (64, 7), (64, 7)] {
        let mut taken = IndexedBatch::EMPTY;
        assert!(depot.take(&mut taken));
        assert_eq!((taken.batch().len, entries(&taken)), (len, known));
        taken.fetch();
    }
    assert!(take_batch(&depot).is_none());
}

/// Whatever happens to batches, an index names the right nodes of its own batch.
#[test]
fn an_index_that_is_there_is_right_after_any_operations() {
    let mut nodes = Nodes::new();
    let mut random = random();
    let (mut indexes, mut takes) = (0, 0);
    for _ in 0..if cfg!(miri) { 1 } else { 10 } {
        let depot = Depot::new();
        for _ in 0..if cfg!(miri) { 150 } else { 2000 } {
            let end = if random(3) == 0 { End::Cold } else { End::Hot };
            match random(12) {
                0..=2 => {
                    let len = if random(2) == 0 { 64 } else { random(130) };
                    let mut batch = indexed(&mut nodes, len);
                    check(&batch);
                    assert!(depot.give_indexed(&mut batch, end, Timeout::Long).is_ok());
                    assert!(batch.is_empty());
                    check(&batch);
                }
                3 => {
                    let batch = nodes.batch_of(random(70), 1);
                    give(&depot, batch, end);
                }
                4 => {
                    let node = nodes.node(random(9));
                    // SAFETY: a new node.
                    assert!(unsafe { depot.give_one(node) }.is_ok());
                }
                5..=7 => {
                    let mut taken = IndexedBatch::EMPTY;
                    if depot.take(&mut taken) {
                        takes += 1;
                        indexes += usize::from(check(&taken) > 0);
                        taken.fetch();
                        weights(taken.batch());
                        if random(2) == 0 {
                            // What is left goes back with its index, or without.
                            if random(2) == 0 {
                                taken.batch_mut().pop();
                            }
                            assert!(depot.give_indexed(&mut taken, end, Timeout::Long).is_ok());
                        }
                    }
                }
                8 => _ = depot.take_one(),
                9 => {
                    if let Some(batch) = depot.take_cold(random(40)) {
                        weights(&batch);
                    }
                }
                10 => {
                    let mut left = random(90);
                    _ = depot.take_where(|_| {
                        left = left.saturating_sub(1);
                        left == 0
                    });
                }
                _ => match random(10) {
                    0 => depot.drain(false).for_each(|batch| _ = weights(&batch)),
                    1 => depot.shrink(),
                    _ => {}
                },
            }
        }
    }
    assert!(
        cfg!(miri) || (indexes > 100 && takes > indexes),
        "{indexes} {takes}"
    );
}
