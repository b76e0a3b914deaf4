//! What an operator sees: the named pools of the process and their figures.
//!
//! Stands above the pools and only reads: nothing below calls in here, so what is not asked for costs nothing.

mod advice;
mod metrics;
mod pools;
mod serialize;

pub use self::advice::Advice;
#[cfg(feature = "metrics")]
pub use self::metrics::record_metrics;
pub use self::pools::{PoolInfo, pools};
