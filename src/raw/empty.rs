//! The empty header of a pool that has no core yet, in which no thread has a cache. `empty_loom.rs` stands in for it in
//! the models, since loom's atomics have no constant values.

use super::cache_table::CacheTable;
use super::header::Header;
use super::pool::Core;
use crate::sync::{AtomicBool, AtomicPtr, AtomicU8};
use crate::sys::thread_id::BUCKETS;
use std::ptr;

static EMPTY: Header = Header::EMPTY;

/// A pointer to the empty header. It points to no more of a core than that.
pub(super) const fn empty() -> *mut Core {
    (&raw const EMPTY).cast::<Core>().cast_mut()
}

impl Header {
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "only ever used to make a static"
    )]
    const EMPTY: Self = Self {
        of_type: [ptr::null_mut(); 2],
        state: AtomicU8::new(0),
        slow_returns: false,
        bounded: false,
        notes_crossings: AtomicBool::new(false),
        crossing_seen: AtomicU8::new(0),
        crossings_use_depot: AtomicBool::new(false),
        returns_use_depot: AtomicBool::new(false),
        cache_table: CacheTable {
            buckets: [const { AtomicPtr::new(ptr::null_mut()) }; BUCKETS + 1],
        },
    };
}
