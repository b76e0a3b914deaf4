//! Several depots, as threads see them.

#![cfg(not(repool_loom))]

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

fn take(depots: Depots<'_>) -> Option<Batch> {
    let mut taken = IndexedBatch::EMPTY;
    depots.take(&mut taken).then(|| taken.into_batch())
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
    let batch = take(depots).map(|batch| weights(&batch));
    assert_eq!(batch, Some(vec![100]));
    assert!(take(depots).is_none() && depots.take_cold(1).is_none());
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
    assert_eq!(take(depots).map(|batch| weights(&batch)[0]), Some(5));
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
