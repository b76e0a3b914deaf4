//! The lock-free store of free nodes: `raw/store.rs`. The links of its nodes are tracked cells.

use super::run_model;
use crate::raw::node::Link;
use crate::raw::store::Store;
use loom::thread;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The number of live nodes in the present iteration.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// A batch, with its nodes.
struct Batch(*mut Link);

// SAFETY: a batch owns its nodes.
unsafe impl Send for Batch {}

impl Batch {
    fn new(len: usize) -> Self {
        let mut first = ptr::null_mut();
        for _ in 0..len {
            ALIVE.fetch_add(1, SeqCst);
            let link = Box::into_raw(Box::new(Link::new(ptr::null())));
            // SAFETY: just allocated.
            unsafe { Link::set_next(link, first) };
            first = link;
        }
        Self(first)
    }

    fn take_from(store: &Store) -> Option<Self> {
        let first = store.take();
        (!first.is_null()).then_some(Self(first))
    }

    /// Uses all nodes. If a node has two holders, loom reports a race here.
    fn touch(self) -> Self {
        let mut link = self.0;
        while !link.is_null() {
            // SAFETY: owned here; loom checks it.
            let next = unsafe { Link::next(link) };
            // SAFETY: as above.
            unsafe { Link::set_next(link, next) };
            link = next;
        }
        self
    }

    fn put_into(self, store: &Store, most: usize) -> bool {
        let batch = std::mem::ManuallyDrop::new(self.touch());
        // SAFETY: owned here, and given up if it is taken.
        let put = unsafe { store.put(most, batch.0) };
        if !put {
            drop(std::mem::ManuallyDrop::into_inner(batch));
        }
        put
    }
}

impl Drop for Batch {
    /// Frees the nodes.
    fn drop(&mut self) {
        while !self.0.is_null() {
            // SAFETY: owned here.
            let next = unsafe { Link::next(self.0) };
            // SAFETY: from `into_raw` above.
            drop(unsafe { Box::from_raw(self.0) });
            assert_ne!(ALIVE.fetch_sub(1, SeqCst), 0, "a node freed twice");
            self.0 = next;
        }
    }
}

/// Frees the nodes of all batches, as `free_shared` does. Returns the number of batches.
fn empty(store: &Store) -> usize {
    std::iter::from_fn(|| Batch::take_from(store)).count()
}

/// Two threads take a batch, use it and put it back. Each node has one holder, and none is lost, also if a batch
/// returns to the top while another thread is between two steps (ABA). Fails if a batch is put without Release, or
/// taken without Acquire.
#[test]
fn takes_and_puts_lose_no_batch() {
    run_model("takes_and_puts_lose_no_batch", || {
        ALIVE.store(0, SeqCst);
        let store = Arc::new(Store::new());
        assert!(Batch::new(2).put_into(&store, 8) && Batch::new(1).put_into(&store, 8));
        let others = store.clone();
        let other = thread::spawn(move || {
            if let Some(batch) = Batch::take_from(&others) {
                assert!(batch.put_into(&others, 8));
            }
        });
        if let Some(batch) = Batch::take_from(&store) {
            assert!(batch.put_into(&store, 8));
        }
        other.join().unwrap();
        assert_eq!(ALIVE.load(SeqCst), 3, "freed while in the store");
        assert_eq!(empty(&store), 2, "a batch was lost");
        assert_eq!(ALIVE.load(SeqCst), 0, "a node was lost");
    });
}

/// Two threads put a batch each, while a third one takes one.
#[test]
fn puts_at_once_are_all_found() {
    run_model("puts_at_once_are_all_found", || {
        ALIVE.store(0, SeqCst);
        let store = Arc::new(Store::new());
        let put = |store: &Arc<Store>| {
            let store = store.clone();
            thread::spawn(move || assert!(Batch::new(1).put_into(&store, 8)))
        };
        let (one, other) = (put(&store), put(&store));
        let taken = Batch::take_from(&store).map(Batch::touch);
        one.join().unwrap();
        other.join().unwrap();
        assert_eq!(empty(&store) + usize::from(taken.is_some()), 2);
        drop(taken);
        assert_eq!(ALIVE.load(SeqCst), 0);
    });
}

/// A pool is switched on, which empties the store, while another thread takes a batch and puts one.
#[test]
fn emptying_against_a_put_and_a_take() {
    run_model("emptying_against_a_put_and_a_take", || {
        ALIVE.store(0, SeqCst);
        let store = Arc::new(Store::new());
        assert!(Batch::new(1).put_into(&store, 8) && Batch::new(1).put_into(&store, 8));
        let others = store.clone();
        let other = thread::spawn(move || {
            let taken = Batch::take_from(&others).map(Batch::touch);
            assert!(Batch::new(1).put_into(&others, 8));
            drop(taken);
        });
        let _ = empty(&store);
        other.join().unwrap();
        let _ = empty(&store);
        assert_eq!(ALIVE.load(SeqCst), 0);
    });
}

/// The store never exceeds its bound, also if two threads put a batch at the same time.
#[test]
fn the_store_never_exceeds_its_bound() {
    run_model("the_store_never_exceeds_its_bound", || {
        ALIVE.store(0, SeqCst);
        let store = Arc::new(Store::new());
        let others = store.clone();
        let other = thread::spawn(move || {
            let taken = Batch::take_from(&others);
            Batch::new(1).put_into(&others, 1);
            drop(taken);
        });
        Batch::new(1).put_into(&store, 1);
        other.join().unwrap();
        assert!(empty(&store) <= 1, "more than one");
        // A refused batch is not counted.
        assert!(Batch::new(1).put_into(&store, 1));
        assert_eq!(empty(&store), 1);
        assert_eq!(ALIVE.load(SeqCst), 0);
    });
}
