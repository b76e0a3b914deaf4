#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(docsrs, doc(auto_cfg(hide(repool_loom))))]
#![cfg_attr(
    any(repool_loom, not(all(feature = "bytes", feature = "bumpalo"))),
    allow(
        dead_code,
        reason = "models use the protocol and not the API; buffers and arenas use more than pools do"
    )
)]

#[cfg(all(feature = "bumpalo", not(repool_loom)))]
mod arena;
mod background;
#[cfg(not(repool_loom))]
mod budget;
#[cfg(all(feature = "bytes", not(repool_loom)))]
mod buffer;
#[cfg(not(repool_loom))]
mod object;
#[cfg(not(repool_loom))]
mod observe;
#[cfg(not(repool_loom))]
mod pressure;
mod raw;
mod sync;
mod sys;
mod thread;

#[cfg(all(test, repool_loom))]
mod models;

pub use crate::raw::stats::{Discarded, Stats, Trimmed};
pub use crate::sys::memory::Level;
#[cfg(not(repool_loom))]
pub use crate::{
    background::hook::on_trimmed,
    background::worker::{JanitorStats, janitor_stats},
    budget::Budget,
    object::builder::{Builder, CustomReset, OwnReset, Unweighed},
    object::guard::Pooled,
    object::pool::Pool,
    object::recycle::Recycle,
    object::roster::PoolKind,
    observe::{Advice, PoolInfo, pools},
    pressure::Pressure,
};

/// The version of bumpalo that [`ArenaPool`] uses.
#[cfg(feature = "bumpalo")]
pub use bumpalo;

/// The version of bytes that [`BufferPool`] uses.
#[cfg(feature = "bytes")]
pub use bytes;

#[cfg(all(feature = "bumpalo", not(repool_loom)))]
pub use crate::arena::{Arena, ArenaPool, ArenaPoolBuilder};

#[cfg(all(feature = "bumpalo", not(repool_loom)))]
#[doc(hidden)]
pub use crate::arena::ArenaPoolBuilder as ArenaBuilder;

#[cfg(all(feature = "bytes", not(repool_loom)))]
pub use crate::buffer::{Buffer, BufferPool, BufferPoolBuilder, CapacityError, ClassStats};

#[cfg(all(feature = "metrics", not(repool_loom)))]
pub use crate::observe::record_metrics;

/// Pools that are watched, in tests and in staging: leak reports, chaos and determinism (feature `diagnostics`).
///
/// [`Diagnostics`](diagnostics::Diagnostics) says what a pool is watched for, and [`leaks`](diagnostics::leaks)
/// which guards are out. A program is diagnosed without a change as well: with the feature compiled in,
/// `REPOOL_DIAGNOSTICS=leaks=100,chaos=7,deterministic` in the environment (any of the three, separated by commas)
/// applies to all pools, and with `:name,name` behind it to the pools with these names. See
/// [`guide::testing`] for how tests use them.
#[cfg(all(feature = "diagnostics", not(repool_loom)))]
pub mod diagnostics {
    pub use crate::object::diagnosed::records::{Leak, leaks};
    pub use crate::object::diagnosed::settings::Diagnostics;
}

#[cfg(feature = "derive")]
pub use repool_derive::Recycle;

/// For the derive's code, and for nothing else.
#[cfg(not(repool_loom))]
#[doc(hidden)]
pub mod __derive {
    pub use crate::object::keep::Keep;
}

#[cfg(not(repool_loom))]
#[doc = include_str!("memory.md")]
pub mod memory {}

/// Which pool to use, how to size it, and how to get there from something else.
///
/// - [`choose`](guide::choose): which pool, or none
/// - [`memory`]: when idle memory is given back, and all knobs of it
/// - [`limits`](guide::limits): sizes, limits and budgets
/// - [`async_code`](guide::async_code): guards over an `.await`
/// - [`testing`](guide::testing): with and without pools, in unit tests, leaks and chaos
/// - [`observing`](guide::observing): figures, advice, metrics, events
/// - [`migrating`](guide::migrating): from other pools, `Mutex<Vec<T>>`, `thread_local!`, Go and .NET
#[cfg(all(feature = "bumpalo", feature = "bytes", not(repool_loom)))]
pub mod guide {
    #[doc = include_str!("guide/async_code.md")]
    pub mod async_code {}
    #[doc = include_str!("guide/choose.md")]
    pub mod choose {}
    #[doc = include_str!("guide/limits.md")]
    pub mod limits {}
    #[doc = include_str!("guide/migrating.md")]
    pub mod migrating {}
    #[doc = include_str!("guide/observing.md")]
    pub mod observing {}
    #[doc = include_str!("guide/testing.md")]
    pub mod testing {}
}
