//! The figures of a buffer pool: of one class, and of all classes together.

use super::class;
use super::inner::{Inner, Used};
use crate::raw::stats::Stats;

/// The figures of one size class, from [`BufferPool::class_stats`](crate::BufferPool::class_stats).
///
/// `requests`, `created`, `reused` and `oversize` count from the pool's first use and never go
/// back. The other fields are the current state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// The capacity that the class serves, in bytes; 0 for requests of 0 bytes, and `usize::MAX`
    /// for requests above the largest class.
    pub capacity: usize,
    /// Buffers of this class handed out: `created` plus `reused`. A request served from the next
    /// larger class counts there.
    pub requests: u64,
    /// Buffers of this class created.
    pub created: u64,
    /// Buffers of this class handed out again.
    pub reused: u64,
    /// Buffers dropped because they came back larger than the largest class or than
    /// `max_object_bytes`.
    pub oversize: u64,
    /// Idle buffers.
    pub idle: u64,
    /// The capacity of the idle buffers together, in bytes.
    pub idle_bytes: u64,
    /// Buffers in use, including lent ones.
    pub in_use: u64,
    /// Buffers that their user has frozen or split and dropped, and that may still have views.
    pub lent: u64,
    /// The capacity of the lent buffers together, in bytes. In a pool without a limit, a buffer
    /// that grew may count with the capacity of its class.
    pub lent_bytes: u64,
}

impl ClassStats {
    pub(super) fn of(Used { pool, class }: &Used) -> Self {
        let stats = pool.stats();
        let lent = class.lent.totals();
        let reused = stats.reused + lent.again;
        Self {
            capacity: if class.index == class::OUTSIDE {
                usize::MAX
            } else {
                class.size
            },
            requests: stats.created + reused,
            created: stats.created,
            reused,
            oversize: stats.discarded_by.oversize,
            idle: stats.idle,
            idle_bytes: stats.idle_bytes,
            in_use: stats.in_use,
            lent: lent.handles,
            lent_bytes: class.lent_bytes(),
        }
    }
}

/// Adds up the figures of all classes.
pub(super) fn of_all(inner: &Inner) -> Stats {
    let mut sum = Stats::default();
    for Used { pool, class } in inner.all_used() {
        sum.add(&pool.stats());
        let again = class.lent.totals().again;
        sum.reused += again;
        sum.returned += again;
    }
    let unpooled = inner.unpooled_count();
    sum.created += unpooled;
    sum.discarded += unpooled;
    sum.discarded_by.switched_off += unpooled;
    // Objects that move between threads may have been counted twice; no limit is exceeded (I7).
    let (objects, bytes) = inner.settings().common.most();
    let idle = sum.idle.min(objects as u64);
    sum.peak_idle = sum.peak_idle.min(objects as u64);
    sum.in_use += sum.idle - idle;
    sum.idle = idle;
    sum.idle_bytes = sum.idle_bytes.min(bytes as u64);
    sum
}
