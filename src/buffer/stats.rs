//! The figures of a buffer pool: of one class, and of all of them together.

use super::class;
use super::inner::{Inner, Used};
use crate::raw::stats::Stats;

/// The figures of one size class, from [`BufferPool::class_stats`](crate::BufferPool::class_stats).
///
/// `requests`, `created`, `reused` and `oversize` count from the pool's first use and never go back. The
/// others are the present state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// The capacity that the class serves, in bytes; 0 for requests without a size, and `usize::MAX`
    /// for requests above the largest class.
    pub capacity: usize,
    /// Buffers of this class handed out: `created` and `reused` together. A request that is served one
    /// class up counts there.
    pub requests: u64,
    /// Buffers of this class made.
    pub created: u64,
    /// Buffers of this class handed out again.
    pub reused: u64,
    /// Buffers dropped because they came back larger than the largest class, or than
    /// `max_object_bytes`.
    pub oversize: u64,
    /// Buffers waiting to be handed out.
    pub idle: u64,
    /// Their capacity together, in bytes.
    pub idle_bytes: u64,
    /// Buffers in use, the lent ones among them.
    pub in_use: u64,
    /// Buffers given up by their user of which views may still be around: frozen, or split.
    pub lent: u64,
    /// Their capacity together, in bytes. Where there is no limit, one that has grown may count at the
    /// capacity of its class.
    pub lent_bytes: u64,
}

impl ClassStats {
    pub(super) fn of(Used { pool, class }: &Used) -> Self {
        let stats = pool.stats();
        let lent = class.lent.figures();
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

/// Of all classes.
pub(super) fn of_all(inner: &Inner) -> Stats {
    let mut sum = Stats::default();
    for Used { pool, class } in inner.all_used() {
        sum.add(&pool.stats());
        let again = class.lent.figures().again;
        sum.reused += again;
        sum.returned += again;
    }
    let plain = inner.plain_ones();
    sum.created += plain;
    sum.discarded += plain;
    sum.discarded_by.switched_off += plain;
    // What goes from thread to thread may have been seen twice; no limit is exceeded (I7).
    let (objects, bytes) = inner.settings().common.most();
    let idle = sum.idle.min(objects as u64);
    sum.peak_idle = sum.peak_idle.min(objects as u64);
    sum.in_use += sum.idle - idle;
    sum.idle = idle;
    sum.idle_bytes = sum.idle_bytes.min(bytes as u64);
    sum
}
