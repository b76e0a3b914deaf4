//! What an operator sees: the named pools of the process and their figures.
//!
//! This layer is above the pools and only reads them. Nothing below calls into it, so figures cost
//! nothing until someone asks for them.

mod advice;
mod metrics;
mod pools;
mod serialize;

pub use self::advice::Advice;
#[cfg(feature = "metrics")]
pub use self::metrics::record_metrics;
pub use self::pools::{PoolInfo, pools};
