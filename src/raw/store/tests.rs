//! The store, used by one thread.

#![cfg(not(repool_loom))]

use super::*;
use crate::raw::node::tests::{Nodes, weights};

#[test]
fn batches_below_the_top_are_put_back() {
    let mut nodes = Nodes::new();
    let store = Store::new();
    assert!(store.take().is_null());
    let batches = [1, 2, 3].map(|weight| nodes.batch(&[weight, 10 * weight]));
    for batch in &batches {
        // SAFETY: the batch holds its nodes, and is put once.
        assert!(unsafe { store.put(3, batch.head) });
    }
    let refused = nodes.batch(&[4]);
    // SAFETY: as above; it is refused.
    assert!(!unsafe { store.put(3, refused.head) });
    for batch in batches.iter().rev() {
        assert_eq!(store.take(), batch.head);
        assert_eq!(weights(batch).len(), 2, "its nodes are still linked");
    }
    assert!(store.take().is_null());
    // SAFETY: as above.
    let kept = unsafe { store.put(1, refused.head) };
    assert!(kept, "all that left were counted");
    assert_eq!(store.take(), refused.head);
}
