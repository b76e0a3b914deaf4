#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    repool_loom,
    allow(dead_code, reason = "models use the protocol, not the API")
)]

#[cfg(all(feature = "bumpalo", not(repool_loom)))]
mod arena;
#[cfg(not(repool_loom))]
mod budget;
#[cfg(all(feature = "bytes", not(repool_loom)))]
mod buffer;
#[cfg(not(repool_loom))]
mod builder;
#[cfg(all(feature = "bytes", not(repool_loom)))]
mod by_value;
mod cache;
mod core;
mod depot;
#[cfg(not(repool_loom))]
mod entry;
mod fence;
mod janitor;
#[cfg(all(feature = "bytes", not(repool_loom)))]
mod lazy;
mod limits;
mod node;
#[cfg(not(repool_loom))]
mod pressure;
mod stats;
mod sync;
mod thread;
mod trim;

#[cfg(not(repool_loom))]
mod guard;
#[cfg(not(repool_loom))]
mod pool;
#[cfg(not(repool_loom))]
mod recycle;
#[cfg(not(repool_loom))]
mod shell;

#[cfg(all(test, repool_loom))]
mod models;

pub use crate::stats::{Discarded, Stats, Trimmed};
pub use crate::trim::Level;
#[cfg(not(repool_loom))]
pub use crate::{
    budget::Budget,
    builder::{Builder, CustomReset, OwnReset},
    guard::Pooled,
    janitor::{JanitorStats, janitor_stats},
    pool::Pool,
    pressure::Pressure,
    recycle::Recycle,
};

#[cfg(all(feature = "bumpalo", not(repool_loom)))]
pub use crate::arena::{Arena, ArenaBuilder, ArenaPool};

#[cfg(all(feature = "bytes", not(repool_loom)))]
pub use crate::buffer::{Buffer, BufferPool, BufferPoolBuilder, CapacityError, ClassStats};

#[cfg(feature = "derive")]
pub use repool_derive::Recycle;

#[cfg(not(repool_loom))]
#[doc = include_str!("memory.md")]
pub mod memory {}
