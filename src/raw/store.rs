//! [`Store`]: batches of nodes that no thread has, without a lock.
//!
//! A stack of batches, linked by their first nodes' `last_cache`: those of nodes of no pool (`object/free_nodes.rs`), which have
//! none. It is only ever taken as a whole, and what a taker does not want is put back, so there is no ABA: no thread
//! reads a node that another one may have.
//!
//! # Who may touch what
//! The nodes of a batch, its link to the next one included, belong to the thread that holds it, and to no thread while
//! it is in the store.
//!
//! # Orderings
//! - `first`: put on with Release, taken with Acquire: the taker sees the links of the batches. What is put on top of
//!   others goes on with their releases, since it is a read-modify-write.

use super::node::Link;
use crate::sync::{AtomicPtr, Ordering, StatUsize, const_fn};
use std::ptr;

/// Batches of one kind that no thread has.
#[derive(Debug)]
pub(crate) struct Store {
    /// The top one's first node.
    first: AtomicPtr<Link>,
    /// About how many there are: no fewer than are to be found.
    batches: StatUsize,
}

/// The batch below this one.
///
/// # Safety
/// The caller owns the nodes of the batch that `first` starts.
unsafe fn below(first: *mut Link) -> *mut Link {
    // SAFETY: guaranteed by the caller.
    unsafe { Link::last_cache(first) }.cast_mut().cast()
}

/// # Safety
/// As [`below`].
unsafe fn set_below(first: *mut Link, batch: *mut Link) {
    // SAFETY: guaranteed by the caller.
    unsafe { Link::set_last_cache(first, batch.cast_const().cast()) };
}

impl Store {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                first: AtomicPtr::new(ptr::null_mut()),
                batches: StatUsize::new(0),
            }
        }
    }

    /// Takes a batch out; null if there is none, or another thread has all of them in hand. The caller owns its nodes
    /// from then on.
    pub(crate) fn take(&self) -> *mut Link {
        // Relaxed: a look that costs nothing.
        if self.first.load(Ordering::Relaxed).is_null() {
            return ptr::null_mut();
        }
        // Acquire: pairs with the Release in `put_all`.
        let top = self.first.swap(ptr::null_mut(), Ordering::Acquire); // mutant: take-batches
        if top.is_null() {
            return top;
        }
        self.batches.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: all that was there is owned here.
        let rest = unsafe { below(top) };
        if !rest.is_null() {
            // SAFETY: as above.
            unsafe { self.put_all(rest) }; // mutant: drop-put-back
        }
        top
    }

    /// Puts a batch in; `false` if there are `most` of them, or nearly so many.
    ///
    /// # Safety
    /// The caller owns the batch, and on `true` gives it up.
    pub(crate) unsafe fn put(&self, most: usize, first: *mut Link) -> bool {
        if self.batches.fetch_add(1, Ordering::Relaxed) >= most {
            self.batches.fetch_sub(1, Ordering::Relaxed); // mutant: drop-uncount-refused
            return false;
        }
        // SAFETY: the caller gives the batch up.
        unsafe { set_below(first, ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { self.put_all(first) };
        true
    }

    /// Puts batches on top.
    ///
    /// # Safety
    /// As [`Store::put`], of the batch that `top` starts and those below it.
    unsafe fn put_all(&self, top: *mut Link) {
        let mut last = top;
        loop {
            // SAFETY: owned by the caller.
            let next = unsafe { below(last) };
            if next.is_null() {
                break;
            }
            last = next;
        }
        let mut found = ptr::null_mut();
        while let Err(now) = self.first.compare_exchange_weak(
            found,
            top,
            // Release: pairs with the Acquire in `take`.
            Ordering::Release, // mutant: put-batches
            // Relaxed: what is found is only linked to.
            Ordering::Relaxed,
        ) {
            found = now;
            // SAFETY: owned by the caller, since they are not in the store yet.
            unsafe { set_below(last, found) };
        }
    }
}
