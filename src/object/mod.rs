//! The typed pool: what users call, and what a core needs to know of `T`.

pub(crate) mod builder;
#[cfg(feature = "bytes")]
pub(crate) mod by_value;
pub(crate) mod entry;
pub(crate) mod guard;
pub(crate) mod pool;
pub(crate) mod recipe;
pub(crate) mod recycle;
pub(crate) mod settings;
pub(crate) mod shell;
