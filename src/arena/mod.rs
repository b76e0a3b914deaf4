//! [`ArenaPool`]: a bump arena for each request. Nothing here is `unsafe`.
//!
//! | file | what |
//! |---|---|
//! | `pool.rs` | what users call: [`ArenaPool`], [`Arena`] |
//! | `builder.rs` `diagnostics.rs` | the settings |
//! | `factory.rs` | the two pools that an arena pool is made of |
//! | `pooled_bump.rs` | the objects of that pool: bump allocators, and their reset |
//! | `sizes.rs` | how large an arena is: the policy, without side effects |
//! | `registry.rs` | adding an arena pool to the registry of named pools |

mod builder;
mod diagnostics;
mod factory;
mod pool;
mod pooled_bump;
mod registry;
mod sizes;

pub use self::builder::ArenaPoolBuilder;
pub use self::pool::{Arena, ArenaPool};
