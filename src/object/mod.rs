//! The typed pool: what users call, and what a core needs to know of `T`.

pub(crate) mod builder;
pub(crate) mod by_value;
#[cfg_attr(not(feature = "diagnostics"), path = "diagnostics_off.rs")]
pub(crate) mod diagnostics;
pub(crate) mod entry;
pub(crate) mod factory;
mod for_bytes;
mod for_hashbrown;
mod for_indexmap;
mod for_smallvec;
pub(crate) mod guard;
mod guard_bytes;
mod guard_serde;
mod guard_traits;
pub(crate) mod keep;
mod memory;
pub(crate) mod one_line;
mod parts;
pub(crate) mod pool;
mod prefill;
pub(crate) mod recycle;
pub(crate) mod registry;
pub(crate) mod settings;
mod tables;
pub(crate) mod typed_core;
pub(crate) mod unpooled;
pub(crate) mod word_copy;
