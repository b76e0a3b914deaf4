//! Stands in for `local.rs` in the models. loom does not run the destructors of thread-locals reliably. So a model
//! calls `Ids::exit` or `exit::vacate` itself, and what its threads remember is kept until the model ends.

pub(super) use crate::models::{remember, unremember};
