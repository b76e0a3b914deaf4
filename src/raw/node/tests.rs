//! Batches of nodes without a pool.

#![cfg(not(repool_loom))]

use super::*;

/// Allocates nodes, and frees them all at the end of a test, wherever they are then.
pub(crate) struct Nodes(Vec<*mut Link>);

impl Nodes {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn node(&mut self, weight: usize) -> *mut Link {
        let link = Box::into_raw(Box::new(Link::new(ptr::null())));
        self.0.push(link);
        // SAFETY: just allocated, and not yet in a list.
        unsafe { Link::set_weight(link, weight) };
        link
    }

    /// A batch of nodes with these weights, the topmost first.
    pub(crate) fn batch(&mut self, weights: &[usize]) -> Batch {
        let mut batch = Batch::EMPTY;
        for &weight in weights.iter().rev() {
            // SAFETY: a new node, which goes into this batch only.
            unsafe { batch.push(self.node(weight)) };
        }
        batch
    }

    pub(crate) fn batch_of(&mut self, len: usize, weight: usize) -> Batch {
        self.batch(&vec![weight; len])
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for &link in &self.0 {
            // SAFETY: from `Box::into_raw`, and freed here only.
            drop(unsafe { Box::from_raw(link) });
        }
    }
}

/// The same numbers in each run (Marsaglia's xorshift). Each is below the argument.
pub(crate) fn random() -> impl FnMut(usize) -> usize {
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    }
}

/// The weights of a batch, the topmost first. Checks what the batch says about them.
pub(crate) fn weights(batch: &Batch) -> Vec<usize> {
    let mut weights = Vec::new();
    // SAFETY: the batch holds its nodes.
    batch.each(|link| weights.push(unsafe { Link::weight(link) }));
    let sum = weights.iter().copied().fold(0, usize::wrapping_add);
    assert_eq!((batch.len, batch.bytes), (weights.len(), sum));
    assert_eq!(batch.is_empty(), weights.is_empty());
    let heaviest = weights.iter().copied().max().unwrap_or(0);
    assert!(
        batch.heaviest >= heaviest,
        "{} says {}",
        heaviest,
        batch.heaviest
    );
    weights
}

#[test]
fn a_batch_is_a_stack() {
    let mut nodes = Nodes::new();
    let mut batch = nodes.batch(&[1, 20, 300]);
    assert_eq!(weights(&batch), [1, 20, 300]);
    assert_eq!(batch.heaviest, 300);
    // SAFETY: a batch holds its nodes; so does the test, once they are taken.
    assert_eq!(unsafe { Link::weight(batch.pop()) }, 1);
    assert_eq!(weights(&batch), [20, 300]);
    let taken = batch.take();
    assert_eq!((weights(&taken), weights(&batch)), (vec![20, 300], vec![]));
    assert!(batch.pop().is_null());
    assert_eq!(weights(&batch), []);
    // SAFETY: not in a list.
    let one = unsafe { Batch::of_one(nodes.node(7)) };
    assert_eq!((weights(&one), one.heaviest), (vec![7], 7));
}

#[test]
fn sums_of_absurd_weights_wrap_and_come_back() {
    let mut nodes = Nodes::new();
    let mut batch = nodes.batch(&[usize::MAX, usize::MAX, 5]);
    weights(&batch);
    let mut other = nodes.batch(&[usize::MAX]);
    other.append(batch.take());
    weights(&other);
    let top = other.split_top(2);
    assert_eq!(
        (weights(&top).len(), weights(&other)),
        (2, vec![5, usize::MAX])
    );
    other.pop();
    assert_eq!(weights(&other), [usize::MAX]);
}

#[test]
fn the_weights_of_a_list_are_summed_to_the_count() {
    let mut nodes = Nodes::new();
    let batch = nodes.batch(&(1..=40).collect::<Vec<_>>());
    for count in 0..=40 {
        // SAFETY: the batch holds its nodes, and has as many.
        let sum = unsafe { Link::weights(batch.head, count) };
        assert_eq!(sum, count * (count + 1) / 2);
    }
}

#[test]
fn a_top_is_split_off_in_its_order() {
    for count in 0..6 {
        let mut nodes = Nodes::new();
        let mut batch = nodes.batch(&[1, 2, 3, 4]);
        let top = batch.split_top(count);
        let (above, below) = [1, 2, 3, 4].split_at(count.min(4));
        assert_eq!(
            (weights(&top), weights(&batch)),
            (above.to_vec(), below.to_vec())
        );
    }
}

#[test]
fn what_is_below_the_top_is_split_off_in_its_order() {
    let mut nodes = Nodes::new();
    for count in 0..=4 {
        let mut batch = nodes.batch(&[1, 2, 3]);
        let below = batch.split_below(count);
        let all: Vec<_> = weights(&batch).into_iter().chain(weights(&below)).collect();
        assert_eq!((batch.len, all), (count.min(3), vec![1, 2, 3]));
        assert_eq!((below.len, below.is_empty()), (3 - batch.len, count >= 3));
    }
}

#[test]
fn a_list_is_split_off_by_count_and_by_bytes() {
    let mut nodes = Nodes::new();
    let mut split = |weights: &[usize]| nodes.batch(weights).split_list().len;
    assert_eq!(split(&[]), 0);
    assert_eq!(split(&[1; LIST_LEN - 1]), LIST_LEN - 1);
    assert_eq!(split(&[1; LIST_LEN + 1]), LIST_LEN);
    let half = LIST_BYTES / 2;
    assert_eq!(
        split(&[half, half, 1]),
        2,
        "a list takes exactly LIST_BYTES"
    );
    assert_eq!(split(&[half, half + 1, 1]), 1);
    assert_eq!(split(&[LIST_BYTES + 1, 0]), 1, "a heavy object is a list");
    assert_eq!(
        split(&[1, usize::MAX, usize::MAX]),
        1,
        "sums do not wrap here"
    );
}

#[test]
fn a_batch_has_room_up_to_a_list() {
    let mut nodes = Nodes::new();
    assert!(nodes.batch_of(LIST_LEN - 1, 1).has_room_for(1));
    assert!(!nodes.batch_of(LIST_LEN, 1).has_room_for(1));
    let mut batch = nodes.batch(&[LIST_BYTES - 10]);
    assert!(batch.has_room_for(10));
    assert!(!batch.has_room_for(11));
    assert!(!batch.has_room_for(usize::MAX));
    batch.pop();
    assert!(batch.has_room_for(LIST_BYTES));
}

#[test]
fn batches_are_joined_on_top_and_below() {
    for (one, other) in [
        (&[][..], &[][..]),
        (&[1, 2], &[]),
        (&[], &[3, 40]),
        (&[1, 2], &[3, 40]),
    ] {
        let mut nodes = Nodes::new();
        let (mut below, above) = (nodes.batch(one), nodes.batch(other));
        below.append(above);
        assert_eq!(weights(&below), [other, one].concat());
        let (mut above, below) = (nodes.batch(one), nodes.batch(other));
        above.append_below(below);
        assert_eq!(weights(&above), [one, other].concat());
    }
    let mut nodes = Nodes::new();
    let mut batch = nodes.batch(&[9]);
    batch.append(nodes.batch(&[5]));
    assert_eq!(batch.heaviest, 9);
    batch.append(nodes.batch(&[10]));
    assert_eq!(batch.heaviest, 10);
}

#[test]
fn a_bound_that_is_too_high_is_found_out() {
    let mut nodes = Nodes::new();
    let mut batch = nodes.batch(&[100, 1, 1]);
    assert!(!batch.is_weighed(), "34 on average, and up to 100");
    batch.pop();
    assert!(!batch.is_weighed());
    assert_eq!(batch.heaviest, 100);
    batch.weigh();
    assert_eq!(batch.heaviest, 1);
    assert!(batch.is_weighed());
    // The average is half of the bound, and more than that.
    assert!(!nodes.batch(&[10, 0]).is_weighed());
    assert!(nodes.batch(&[10, 1]).is_weighed());
}

#[test]
fn one_node_is_picked_from_its_place() {
    let mut nodes = Nodes::new();
    let mut batch = nodes.batch(&[1, 2, 3, 2]);
    let mut seen = Vec::new();
    // SAFETY: the batch holds its nodes.
    let weight = |link| unsafe { Link::weight(link) };
    let second = batch.take_where(|link| {
        seen.push(weight(link));
        weight(link) == 2
    });
    assert_eq!((weight(second), seen), (2, vec![1, 2]));
    assert_eq!(weights(&batch), [1, 3, 2]);
    assert!(batch.take_where(|_| false).is_null());
    assert_eq!(weights(&batch), [1, 3, 2]);
}

#[test]
fn every_node_of_a_batch_learns_its_last_cache() {
    let mut nodes = Nodes::new();
    let batch = nodes.batch(&[1, 2, 3]);
    let cache: *const OpaqueCache = ptr::without_provenance(64);
    // SAFETY: no node's cache is used.
    unsafe { batch.set_last_cache(cache, 5) };
    batch.each(|link| {
        // SAFETY: the batch holds its nodes.
        assert_eq!(unsafe { Link::last_cache(link) }, cache);
        // SAFETY: as above.
        assert_eq!(unsafe { Link::last_owner(link) }, 5);
    });
}
