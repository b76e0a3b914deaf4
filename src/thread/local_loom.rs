//! Stands in for `local.rs` in the models. loom's thread-local destructors cannot be relied on, so a model calls
//! `exit::vacate` itself, and keeps what its threads remember until it ends.

pub(super) use crate::models::{remember, unremember};
