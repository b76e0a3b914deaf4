//! [`BufferPool`]: reusable byte buffers that speak `bytes`.
//!
//! | file | what |
//! |---|---|
//! | `pool.rs` | what users call: [`BufferPool`], its builder and figures |
//! | `guard.rs` | [`Buffer`]; `io.rs`: its traits |
//! | `class.rs` | size classes |
//! | `inner.rs` | a pool for each class, and the choice between them |
//! | `cell.rs` | what is in those pools; how a buffer comes back |
//! | `lent.rs` | frozen buffers, until their last view is gone: a ring of them for each thread |
//! | `queue.rs` | the order in a ring |

mod cell;
mod class;
mod guard;
mod inner;
mod io;
mod lent;
mod pool;
mod queue;

pub use self::guard::Buffer;
pub use self::pool::{BufferPool, BufferPoolBuilder, CapacityError, ClassStats};
