//! The header of a pool that has no core yet, as a constant: in it, no thread has a cache. loom's atomics have no
//! constant values, so the models do without.

#![cfg(not(repool_loom))]

use super::cache_table::CacheTable;
use super::header::Header;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU8};
use crate::sys::thread_id::BUCKETS;
use std::ptr;

impl Header {
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "only ever used to make a static"
    )]
    pub(crate) const EMPTY: Self = Self {
        of_type: [ptr::null_mut(); 2],
        state: AtomicU8::new(0),
        slow_returns: false,
        bounded: false,
        crossing_seen: AtomicBool::new(false),
        crossings_use_depot: AtomicBool::new(false),
        cache_table: CacheTable {
            buckets: [const { AtomicPtr::new(ptr::null_mut()) }; BUCKETS + 1],
        },
    };
}
