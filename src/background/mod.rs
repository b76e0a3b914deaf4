//! The janitor: one background thread per process that runs passes. It has no policy of its own;
//! what a pass does is in `trim.rs`, how short memory is in `sys/memory.rs`.
//!
//! # Life
//! It is started by the first object that becomes idle in a pool with automatic trimming, sleeps
//! without a timeout while every pool is quiescent, and ends with the last of those pools.
//!
//! # How it can sleep
//! Nothing tells it of a hit-path return, so a pool is only left alone (*unwatched*) when no
//! such return can happen: a pass found every cache unused and empty, and left it so that the next
//! return takes the slow path (`Cache::drain` leaves no room). The slow path looks at
//! `Core::is_watched`, and calls `worker::watch_slow` if the pool is not. `watch_list::janitor_passes` has
//! the order that keeps a return from falling between the two.
//!
//! It is the process's thread and not its starter's: it blocks the program's signals, and has the
//! process's scheduling and affinity (`sys/spawn.rs`).
//!
//! # Where there is no thread
//! Where it can never be (wasm, `REPOOL_JANITOR=off`), threads are given no place, so that every
//! operation takes the slow path, and each return runs a pass itself when one is due. Where it could
//! not be started this time (limits), the pool stays unwatched: what returns take the slow path do
//! the same, and once a second one tries to start it again. Under Miri it is only started if
//! `REPOOL_JANITOR=on`; without it, threads are given a place all the same, so that Miri sees the hit path.
//!
//! # Fork
//! A forked child has no janitor, and an [`generation`](crate::sys::generation::generation) of its own, in which no
//! pool is watched: the first return on a slow path starts a new thread. Where the C library makes
//! the child, `fork.rs` sees to it that each thread's next return is one, and that no thread is inside
//! the watch list. A child by the bare system call may have hits only for a while; and should the
//! watch list have been locked at that moment, the child replaces it (`worker.rs`).
//!
//! # Files
//! `watch_list.rs` has who watches which pool, and what the thread does from one sleep to the next:
//! everything that threads could get wrong between them, without a clock, so that the models run
//! it. `worker.rs` is the rest: the one watch list of the process, how the thread is started, and what
//! it is told about time and memory.

mod fork;
pub(crate) mod hook;
pub(crate) mod manual;
pub(crate) mod watch_list;
pub(crate) mod source;
#[cfg(all(test, not(repool_loom)))]
mod tests;
#[cfg_attr(any(repool_loom, not(feature = "tracing")), path = "trace_off.rs")]
mod trace;
mod trim;
pub(crate) mod worker;

/// In the models, which have several janitors, and no clock.
#[cfg(repool_loom)]
pub(crate) use crate::models::janitor::{self as worker, hook};
