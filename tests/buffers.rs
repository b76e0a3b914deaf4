//! `BufferPool`, from outside. `buffers_alloc.rs` counts its allocator calls.
#![cfg(feature = "bytes")]

#[path = "buffers/bounds.rs"]
mod bounds;
#[path = "buffers/contract.rs"]
mod contract;
#[path = "buffers/figures.rs"]
mod figures;
#[path = "buffers/handles.rs"]
mod handles;
#[path = "buffers/lent.rs"]
mod lent;
#[path = "buffers/limits.rs"]
mod limits;
#[path = "buffers/model.rs"]
mod model;
#[path = "buffers/rings.rs"]
mod rings;
#[path = "buffers/shapes.rs"]
mod shapes;

use repool::{BufferPool, BufferPoolBuilder, ClassStats};

/// A pool whose passes the test runs.
fn manual() -> BufferPool {
    builder().build()
}

fn builder() -> BufferPoolBuilder {
    BufferPool::builder().trim_manually()
}

/// Returns the figures of the class with this capacity.
fn class(pool: &BufferPool, capacity: usize) -> ClassStats {
    let classes = pool.class_stats();
    let mut found = classes.into_iter().filter(|one| one.capacity == capacity);
    found.next().unwrap_or_default()
}

fn lent(pool: &BufferPool) -> u64 {
    pool.class_stats().iter().map(|class| class.lent).sum()
}

/// The counters add up.
fn assert_balanced(pool: &BufferPool) {
    let stats = pool.stats();
    assert_eq!(
        stats.created + stats.adopted,
        stats.in_use + stats.idle + stats.discarded + stats.trimmed + stats.taken,
        "{stats:?}"
    );
}
