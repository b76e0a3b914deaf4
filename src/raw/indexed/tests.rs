//! What the index holds, and that it never outlives a change.

#![cfg(not(repool_loom))]

use super::*;
use crate::raw::node::tests::Nodes;

fn links(batch: &Batch) -> Vec<*mut Link> {
    let mut links = Vec::new();
    batch.each(|link| links.push(link));
    links
}

/// A batch of `len` nodes that weigh 1, 2, 3, … from the top, with its index.
pub(in crate::raw) fn indexed(nodes: &mut Nodes, len: usize) -> IndexedBatch {
    let mut batch = nodes.batch(&(1..=len).collect::<Vec<_>>());
    batch.bytes = 0;
    let mut indexed = IndexedBatch::EMPTY;
    indexed.fill(batch);
    assert_eq!(indexed.batch().bytes, len * (len + 1) / 2);
    indexed
}

/// How many entries of the index `fetch` uses.
pub(in crate::raw) fn entries(batch: &IndexedBatch) -> usize {
    match batch.index {
        [a, ..] if a.is_null() => 0,
        [.., g] if g.is_null() => LEAST,
        _ => ENTRIES,
    }
}

#[test]
fn the_index_has_every_eighth_node() {
    let mut nodes = Nodes::new();
    for (len, known) in [
        (0, 0),
        (1, 0),
        (31, 0),
        (32, LEAST),
        (39, LEAST),
        (63, LEAST),
        (64, ENTRIES),
        (71, ENTRIES),
        (128, ENTRIES),
    ] {
        let batch = indexed(&mut nodes, len);
        assert_eq!(entries(&batch), known, "{len}");
        let links = links(batch.batch());
        assert_eq!(links.len(), len);
        for (at, entry) in batch.index.iter().take(known).enumerate() {
            assert_eq!(*entry, links[(at + 1) * STEP], "{len}");
        }
        batch.fetch();
    }
}

#[test]
fn a_second_batch_replaces_the_index() {
    let mut nodes = Nodes::new();
    for (first, second, known) in [(64, 32, LEAST), (64, 8, 0), (32, 64, ENTRIES)] {
        let mut batch = indexed(&mut nodes, first);
        batch.fill(nodes.batch(&vec![1; second]));
        assert_eq!((batch.batch().bytes, entries(&batch)), (second, known));
        batch.fetch();
    }
}

#[test]
fn a_batch_that_changes_loses_its_index() {
    let mut nodes = Nodes::new();
    let mut batch = indexed(&mut nodes, 64);
    batch.batch_mut().pop();
    assert_eq!(entries(&batch), 0);
    batch.fetch();
    let batch = batch.into_batch();
    assert_eq!(batch.len, 63);
}

#[test]
fn a_moved_batch_takes_its_index_along() {
    let mut nodes = Nodes::new();
    let (mut from, mut to) = (indexed(&mut nodes, 64), IndexedBatch::EMPTY);
    let before = links(from.batch());
    from.move_to(&mut to);
    assert!(from.is_empty());
    assert_eq!((entries(&from), entries(&to)), (0, ENTRIES));
    assert_eq!(links(to.batch()), before);
    to.fetch();
    from.fetch();
}

/// Checks each entry that `fetch` uses, and the nodes that it loads from there on. Returns how many there are.
pub(in crate::raw) fn check(batch: &IndexedBatch) -> usize {
    let known = entries(batch);
    let links = links(batch.batch());
    assert_eq!(links.len(), batch.batch().len);
    for (at, entry) in batch.index.iter().take(known).enumerate() {
        assert_eq!(*entry, links[(at + 1) * STEP]);
        assert!(links.len() >= (at + 2) * STEP);
    }
    known
}
