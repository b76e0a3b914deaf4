//! [`Store`]: a lock-free stack of batches of unpooled nodes (`object/unpooled.rs`), which all threads share.
//!
//! The batches are linked by the `last_cache` of their first nodes, a field that unpooled nodes do not use. A thread
//! always takes the whole stack, and puts back what it does not need. So no thread reads a node that another thread may
//! hold, and there is no ABA problem.
//!
//! # Who may touch what
//! The nodes of a batch, including its link to the next batch, belong to the thread that holds the batch, and to no
//! thread while it is in the store.
//!
//! # Orderings
//! - `first`: put with Release, taken with Acquire: the taker sees the links of the batches. A put is a
//!   read-modify-write, so it continues the release sequences of the earlier puts.

use super::node::Link;
use crate::sync::{AtomicPtr, Ordering, StatUsize, const_fn};
use std::ptr;

/// The batches of one size class of nodes.
#[derive(Debug)]
pub(crate) struct Store {
    /// The first node of the top batch.
    first: AtomicPtr<Link>,
    /// An upper bound of the number of batches in the store.
    batches: StatUsize,
}

/// The next batch, below this one.
///
/// # Safety
/// The caller owns the nodes of the batch that `first` starts.
unsafe fn below(first: *mut Link) -> *mut Link {
    // SAFETY: guaranteed by the caller.
    unsafe { Link::last_cache(first) }.cast_mut().cast()
}

/// Sets the next batch.
///
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

    /// Takes a batch, whose nodes the caller owns then. Null if there is none, or if another thread has taken the
    /// stack at the moment.
    pub(crate) fn take(&self) -> *mut Link {
        // Relaxed: a cheap test before the exchange.
        if self.first.load(Ordering::Relaxed).is_null() {
            return ptr::null_mut();
        }
        // Acquire: pairs with the Release in `put_all`.
        let top = self.first.swap(ptr::null_mut(), Ordering::Acquire); // mutant: take-batches
        if top.is_null() {
            return top;
        }
        self.batches.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: this thread owns the whole stack now.
        let rest = unsafe { below(top) };
        if !rest.is_null() {
            // SAFETY: as above.
            unsafe { self.put_all(rest) }; // mutant: drop-put-back
        }
        top
    }

    /// Puts a batch. `false` if there are `most` batches; threads that race may see a few more than there are.
    ///
    /// # Safety
    /// The caller owns the batch, and gives it up if this returns `true`.
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
            // Relaxed: this thread links to the batch that it finds, but does not read it.
            Ordering::Relaxed,
        ) {
            found = now;
            // SAFETY: owned by the caller, since the batches are not in the store yet.
            unsafe { set_below(last, found) };
        }
    }
}

#[cfg(test)]
mod tests;
