//! [`IndexedBatch`]: a batch on its way through the depot, with the addresses of some of its nodes.
//!
//! A thread that takes a batch which another thread has filled has to wait for the cache line of each node, and the
//! address of a node is in the one before it. So the gets would wait one after the other, longer than all else that
//! they do. The index has the address of every eighth node (skip pointers, as in a skip list). With it,
//! [`IndexedBatch::fetch`] loads eight nodes at a time.
//!
//! The thread that filled a list makes the index as the list leaves for the depot ([`IndexedBatch::fill`]), in the walk
//! that sums the weights. `benches/README.md` has what it gains.
//!
//! # Who may touch what
//! The batch owns its nodes (I1), and the index is valid as long as the batch does not change. The only way to change
//! it is [`IndexedBatch::batch_mut`], which drops the index.

use super::node::{Batch, Link};
use std::ptr;

/// One in so many nodes is in the index; see [`Link::weights_of_eight`].
const STEP: usize = 8;
/// The most entries: the first node of the batch is not among them.
const ENTRIES: usize = 7;
/// With fewer entries the index would gain little.
const LEAST: usize = 3;

/// A batch and, if it has one, its index.
#[derive(Debug)]
pub(crate) struct IndexedBatch {
    batch: Batch,
    /// Nodes of the batch: the one at `STEP`, at `2 * STEP`, and so on, each with at least `STEP - 1` more after it.
    /// If the first is null, there is no index. If the last is null, only the first `LEAST` are valid.
    index: [*mut Link; ENTRIES],
}

// SAFETY: the index only repeats addresses of nodes that the batch owns.
unsafe impl Send for IndexedBatch {}

impl IndexedBatch {
    pub(crate) const EMPTY: Self = Self::new(Batch::EMPTY);

    /// A batch without an index.
    pub(crate) const fn new(batch: Batch) -> Self {
        Self {
            batch,
            index: [ptr::null_mut(); ENTRIES],
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    pub(crate) fn into_batch(self) -> Batch {
        self.batch
    }

    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The batch, to be changed. Drops the index.
    pub(crate) fn batch_mut(&mut self) -> &mut Batch {
        self.index[0] = ptr::null_mut();
        &mut self.batch
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self {
            index: self.index,
            batch: self.batch_mut().take(),
        }
    }

    /// Moves the batch and its index to `to`, which is empty. Short, because the depot's lock is held.
    #[inline]
    pub(crate) fn move_to(&mut self, to: &mut Self) {
        *to = self.take();
    }

    /// Takes a batch in, sums its weights, and makes the index.
    pub(super) fn fill(&mut self, mut batch: Batch) {
        let steps = (batch.len / STEP).saturating_sub(1).min(ENTRIES);
        if steps < LEAST {
            batch.sum_weights();
            *self.batch_mut() = batch;
            return;
        }
        let (mut link, mut bytes) = (batch.head, 0_usize);
        self.index[ENTRIES - 1] = ptr::null_mut();
        for entry in self.index.iter_mut().take(steps) {
            // SAFETY: I1: the batch holds its nodes, and has more than this loop goes through.
            let (of_eight, next) = unsafe { Link::weights_of_eight(link) };
            bytes = bytes.wrapping_add(of_eight);
            link = next;
            *entry = link;
        }
        // SAFETY: I1: so many nodes are left.
        let rest = unsafe { Link::weights(link, batch.len - steps * STEP) };
        batch.bytes = bytes.wrapping_add(rest);
        self.batch = batch;
    }

    /// Loads the nodes of the batch, if it has an index, so that their cache lines are on their way at the same time.
    #[inline]
    pub(crate) fn fetch(&self) {
        let [a, b, c, d, e, f, g] = self.index;
        if a.is_null() {
            return;
        }
        if g.is_null() {
            // SAFETY: the nodes of the index, which has at least these entries.
            unsafe { load([self.batch.head, a, b, c]) };
        } else {
            // SAFETY: the nodes of the index.
            unsafe { load([self.batch.head, a, b, c, d, e, f, g]) };
        }
    }
}

/// Loads `STEP` nodes from each of these on.
///
/// # Safety
/// The caller holds these nodes, and after each at least `STEP - 1` more.
#[inline(always)]
unsafe fn load<const N: usize>(mut from: [*mut Link; N]) {
    for _ in 1..STEP {
        for link in &mut from {
            // SAFETY: guaranteed by the caller.
            *link = unsafe { Link::next(*link) };
        }
    }
    for link in from {
        // SAFETY: as above.
        unsafe { Link::touch(link) };
    }
}

#[cfg(test)]
pub(super) mod tests;
