//! The quarters of a list, for the thread that takes it from the depot.
//!
//! The nodes of a list from another thread are in that thread's processor cache. A list is linked, so the thread that
//! takes it would wait for one node after the other: with every get, as long as a cache line takes from processor to
//! processor. Therefore the thread that gives the list away, which has its nodes at hand, notes where the second, third
//! and fourth quarter begin, and the thread that takes it walks all four at the same time. (`benches/README.md`, "From
//! thread to thread", has the times.)
//!
//! The notes are in the three top nodes, in place of their last caches. Such a node has no last owner, so no return uses
//! what it says. A batch says whether the notes hold: only until it is changed. The nodes of a batch that was changed
//! get a last cache when they are returned.

use super::node::{Batch, Link, NO_OWNER};
use crate::sync::IN_MODELS;
use std::hint::black_box;

/// Shorter lists are walked at once.
const WORTHWHILE: usize = 16;
/// The length of a quarter is a multiple of this, so that the loops can be unrolled. The last one may be longer.
const UNROLLED: usize = 4;

fn quarter_of(len: usize) -> usize {
    len / 4 / UNROLLED * UNROLLED
}

impl Batch {
    /// Notes the quarters of a list. Walks it.
    pub(crate) fn note_quarters(&mut self) {
        if self.len < WORTHWHILE || IN_MODELS {
            return;
        }
        let (mut note, mut link) = (self.head, self.head);
        for _ in 0..3 {
            for _ in 0..quarter_of(self.len) / UNROLLED {
                for _ in 0..UNROLLED {
                    // SAFETY: I1: the batch holds its nodes, of which at least a quarter follow.
                    link = unsafe { Link::next(link) };
                }
            }
            // SAFETY: I1: as above.
            unsafe { Link::set_last_cache(note, link.cast_const().cast()) };
            // SAFETY: as above.
            unsafe { Link::set_last_owner(note, NO_OWNER) };
            // SAFETY: as above.
            note = unsafe { Link::next(note) };
        }
        self.has_quarters = true;
    }

    /// Loads the nodes of a list whose quarters are noted into this processor's cache.
    pub(crate) fn fetch(&mut self) {
        if !std::mem::take(&mut self.has_quarters) {
            return;
        }
        let mut link = self.head;
        let noted = [(); 3].map(|()| {
            let note = link;
            // SAFETY: I1: the batch holds its nodes.
            link = unsafe { Link::next(note) };
            // SAFETY: as above.
            let start: *mut Link = unsafe { Link::last_cache(note) }.cast_mut().cast();
            (note, start)
        });
        // The three nodes have probably been in the same cache as the fourth one.
        // SAFETY: as above.
        let cache = unsafe { Link::last_cache(link) };
        // SAFETY: as above.
        let owner = unsafe { Link::last_owner(link) };
        let [second, third, fourth] = noted.map(|(note, start)| {
            // SAFETY: as above.
            unsafe { Link::set_last_cache(note, cache) };
            // SAFETY: as above.
            unsafe { Link::set_last_owner(note, owner) };
            start
        });
        let mut all = [link, second, third, fourth];
        // Each load waits for the one before it in its quarter, and for no other.
        for _ in 0..quarter_of(self.len) / UNROLLED {
            for _ in 0..UNROLLED {
                // SAFETY: I1: the batch holds its nodes, and each quarter has so many. The last step of the fourth may
                // arrive at the end. The first is ahead by three, and the second follows it.
                all = all.map(|link| unsafe { Link::next(link) });
            }
        }
        // So that the loads are not left out.
        black_box(all);
    }
}

#[cfg(test)]
mod tests;
