//! Diagnosed pools (feature `diagnostics`): what they do instead of a hit, and who holds their objects.
//!
//! A pool is diagnosed from its first use or never. Then no thread has a cache in it: each get and each return
//! takes the slow path, as if the system had no barrier, and everything idle is in the depot. So the hit path
//! of other pools has nothing to ask. The core knows by a bit that returns look at on their slow path anyway.
//!
//! | file | what |
//! |---|---|
//! | `settings.rs` | [`Diagnostics`], and which pool gets which |
//! | `records.rs` | the guards that are out, and the threads that idle objects belong to |
//! | `slot.rs` | what a core has of this: its settings, its dice |
//! | `builder.rs` | how a builder says it |
//! | `steps.rs` | get and return, typed |
//! | `poison.rs` | spare memory |
//!
//! Without the feature `diagnosed_off.rs` stands in for all of it.

mod builder;
pub(crate) mod poison;
pub(crate) mod records;
pub(crate) mod settings;
pub(crate) mod slot;
pub(crate) mod steps;
