//! [`Header`]: the start of a core, which is all that a hit reads of it.
//!
//! In a program with many pools, each access to a core is a cache miss. So the fields that gets and drops read come
//! first, and the first sixteen threads need only the first cache line.

use super::cache_table::CacheTable;
use crate::sync::{AtomicBool, AtomicU8};
use std::ptr;

/// The first fields of a core. A static one stands for the core of a pool that has none yet.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    /// For the layer above: what it needs for a return. Written before another thread knows the core.
    pub(super) of_type: [*mut (); 2],
    pub(super) state: AtomicU8,
    /// Returns must not take the hit path, because the reset is a closure of the pool.
    pub(super) slow_returns: bool,
    /// Whether the pool has a limit, so that caches and batches are charged.
    pub(super) bounded: bool,
    /// Whether the pool notes crossings: always in a bounded pool, and in a slow one; see `crossings.rs`.
    pub(super) notes_crossings: AtomicBool,
    /// For how many more passes it counts that an object has come back on a thread other than the one that got it.
    pub(super) crossing_seen: AtomicU8,
    /// Objects that come back on another thread go to the depot, where all threads find them; see `crossings.rs`.
    pub(super) crossings_use_depot: AtomicBool,
    /// In a bounded pool: limits have refused objects while caches held others. So all objects go to the depot.
    pub(super) returns_use_depot: AtomicBool,
    pub(crate) cache_table: CacheTable,
}

// SAFETY: this layer only stores the two pointers, and the layer above may use their targets on any thread. Every other
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
            notes_crossings: AtomicBool::new(bounded),
            crossing_seen: AtomicU8::new(0),
            crossings_use_depot: AtomicBool::new(false),
            returns_use_depot: AtomicBool::new(false),
            cache_table: CacheTable::new(),
        }
    }
}
