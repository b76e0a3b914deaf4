//! [`BufferPool`]: pools of `BytesMut` by size class, made of the pools of `object/`.
//!
//! | file | what |
//! |---|---|
//! | `pool.rs` `builder.rs` `diagnostics.rs` `stats.rs` `error.rs` | what users call and see |
//! | `guard.rs` | [`Buffer`]; `io.rs`, `read.rs`: its traits, and reading into it; `unpooled.rs`: buffers of no pool |
//! | `inner.rs` `settings.rs` `registry.rs` | a pool per class, and the choice between them |
//! | `pooled_bytes.rs` | the objects of those pools |
//! | `returns.rs` | how a buffer is returned |
//! | `lent.rs` `queue.rs` `ring_stats.rs` | lent buffers, until their last view is gone: a ring of them per thread |
//! | `policy.rs` `class.rs` | sizes: what is kept as it is, and what is created for a request |
//! | `memory.rs` `wipe.rs` | allocations, and overwriting them |
//!
//! Imports run downwards in this table, except that `pooled_bytes.rs`, `returns.rs` and `lent.rs`
//! import each other.

mod builder;
mod class;
mod diagnostics;
mod error;
mod guard;
mod inner;
mod io;
mod lent;
mod memory;
mod policy;
mod pool;
mod pooled_bytes;
mod queue;
mod read;
mod registry;
mod returns;
mod ring_stats;
mod settings;
mod stats;
mod unpooled;
mod wipe;

pub use self::builder::BufferPoolBuilder;
pub use self::error::CapacityError;
pub use self::guard::Buffer;
pub use self::pool::BufferPool;
pub use self::stats::ClassStats;
