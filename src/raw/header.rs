//! [`Header`]: the start of a core, on one cache line what a hit reads of it, and a return with a reset of its own.
//!
//! A program with many pools finds none of their lines in its caches. So all that a get and a drop read of a core by a
//! thread of the first sixteen is on its first line.

use super::cache_table::CacheTable;
use crate::sync::{AtomicBool, AtomicU8};
use std::ptr;

/// The first fields of a core. Alone, it stands for a pool without a core.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    /// What the layer above needs for a return. Written before any other thread knows the core.
    pub(super) of_type: [*mut (); 2],
    pub(super) state: AtomicU8,
    /// Returns must not take the hit path, because the reset is not the type's own.
    pub(super) slow_returns: bool,
    /// Whether anything is charged at all.
    pub(super) bounded: bool,
    /// In a bounded pool: an object came back to another thread than the one that got it.
    pub(super) crossing_seen: AtomicBool,
    /// In a bounded pool: a thread found nothing although objects cross threads, so what comes back to
    /// another thread goes to the depot.
    pub(super) crossings_use_depot: AtomicBool,
    pub(crate) cache_table: CacheTable,
}

// SAFETY: the two pointers are only handed on, to a layer that may use what they lead to on any thread; every other
// field is `Send`.
unsafe impl Send for Header {}
// SAFETY: as above, and `Sync`.
unsafe impl Sync for Header {}

impl Header {
    pub(super) fn new(slow_returns: bool, bounded: bool) -> Self {
        Self {
            of_type: [ptr::null_mut(); 2],
            state: AtomicU8::new(0),
            slow_returns,
            bounded,
            crossing_seen: AtomicBool::new(false),
            crossings_use_depot: AtomicBool::new(false),
            cache_table: CacheTable::new(),
        }
    }
}
