#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod core;
mod depot;
mod fence;
mod limits;
mod node;
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

#[cfg(all(test, repool_loom))]
mod models;

pub use crate::stats::{Discarded, Stats, Trimmed};
#[cfg(not(repool_loom))]
pub use crate::{
    guard::Pooled,
    pool::{Builder, CustomReset, OwnReset, Pool},
    recycle::Recycle,
};

#[cfg(feature = "derive")]
pub use repool_derive::Recycle;
