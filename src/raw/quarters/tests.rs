#![cfg(not(repool_loom))]

use super::*;
use crate::raw::node::OpaqueCache;
use crate::raw::node::tests::{Nodes, weights};
use std::ptr;

/// A batch of nodes with the weights 0, 1, 2, … from the top, all last in the cache of the thread 5.
fn batch(nodes: &mut Nodes, len: usize) -> Batch {
    let batch = nodes.batch(&(0..len).collect::<Vec<_>>());
    // SAFETY: no node's cache is used.
    unsafe { batch.set_last_cache(cache(), 5) };
    batch
}

fn cache() -> *const OpaqueCache {
    ptr::without_provenance(64)
}

/// The last cache and the last owner.
fn last(link: *mut Link) -> (*const OpaqueCache, u32) {
    // SAFETY: the callers' batches hold their nodes.
    let cache = unsafe { Link::last_cache(link) };
    // SAFETY: as above.
    (cache, unsafe { Link::last_owner(link) })
}

fn links(batch: &Batch) -> Vec<*mut Link> {
    let mut links = Vec::new();
    batch.each(|link| links.push(link));
    links
}

#[test]
fn the_top_nodes_say_where_the_quarters_begin() {
    let mut nodes = Nodes::new();
    for (len, quarter) in [
        (16, 4),
        (20, 4),
        (31, 4),
        (32, 8),
        (63, 12),
        (64, 16),
        (130, 32),
    ] {
        let mut batch = batch(&mut nodes, len);
        batch.note_quarters();
        assert!(batch.has_quarters);
        let links = links(&batch);
        for note in 0..3 {
            let (start, owner) = last(links[note]);
            assert_eq!(start.cast::<Link>(), links[(note + 1) * quarter], "{len}");
            assert_eq!(owner, NO_OWNER, "no return uses it");
        }
    }
}

#[test]
fn after_a_fetch_a_batch_is_as_it_was() {
    let mut nodes = Nodes::new();
    for len in (0..=70).chain([200]) {
        let mut batch = batch(&mut nodes, len);
        let before = links(&batch);
        batch.note_quarters();
        assert_eq!(batch.has_quarters, len >= WORTHWHILE);
        batch.fetch();
        assert_eq!((links(&batch), batch.has_quarters), (before, false));
        assert_eq!(weights(&batch), (0..len).collect::<Vec<_>>());
        batch.each(|link| {
            assert_eq!(last(link), (cache(), 5), "{len}");
        });
    }
}

/// The quarters may be in another batch afterwards, or gone.
#[test]
fn a_batch_that_changes_forgets_its_quarters() {
    let mut nodes = Nodes::new();
    let noted = |nodes: &mut Nodes| {
        let mut batch = batch(nodes, 64);
        batch.note_quarters();
        batch
    };
    let mut popped = noted(&mut nodes);
    popped.pop();
    let mut pushed = noted(&mut nodes);
    // SAFETY: a new node, which goes into this batch only.
    unsafe { pushed.push(nodes.node(1)) };
    let mut below = noted(&mut nodes);
    let above = below.split_top(20);
    let mut joined = noted(&mut nodes);
    joined.append(noted(&mut nodes));
    let mut searched = noted(&mut nodes);
    // SAFETY: the batch holds its nodes.
    let is_that = |link| unsafe { Link::weight(link) } == 40;
    assert!(!searched.take_where(is_that).is_null());
    for mut batch in [popped, pushed, below, above, joined, searched] {
        assert!(!batch.has_quarters);
        batch.fetch();
    }
    // What only moves keeps them.
    let mut moved = noted(&mut nodes).take();
    let mut alone = Batch::EMPTY;
    alone.append(moved.split_top(64));
    assert!(alone.has_quarters && !moved.has_quarters);
}
