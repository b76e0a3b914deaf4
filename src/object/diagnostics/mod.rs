//! Pools with diagnostics (feature `diagnostics`): pools with [`Diagnostics`] on, and records of which
//! guards hold their objects.
//!
//! A pool has diagnostics from its first use or never. No thread has a cache in a pool with diagnostics: each
//! get and each return takes the slow path, as if the system had no barrier, and all idle objects
//! are in the depot. So the hot path of other pools has nothing to check. A bit in the core marks
//! the pool; returns read that bit on their slow path anyway.
//!
//! | file | what |
//! |---|---|
//! | `settings.rs` | [`Diagnostics`], and which pool gets which |
//! | `records.rs` | the guards that are out, and the threads that idle objects belong to |
//! | `slot.rs` | a core's diagnostics: settings and random choices |
//! | `builder.rs` | setting diagnostics on a builder |
//! | `steps.rs` | get and return, typed |
//! | `poison.rs` | spare memory |
//!
//! Without the feature, `diagnostics_off.rs` stands in for all of it.

mod builder;
pub(crate) mod poison;
pub(crate) mod records;
pub(crate) mod settings;
pub(crate) mod slot;
pub(crate) mod steps;
