//! The janitor: one background thread per process that runs passes. It has no policy: `trim.rs` decides what a pass
//! drops, and `sys/memory.rs` how short memory is.
//!
//! # Life of the thread
//! The first object that becomes idle in a pool with automatic trimming starts the thread. It sleeps without a timeout
//! while every pool is quiescent, and ends with the last of those pools.
//!
//! # When it may sleep
//! A return on the hit path does not notify the janitor. So the janitor stops watching a pool only if no such return
//! can happen in it: a pass has found every cache unused and empty, and has left it without room (`ListsMut::drain`).
//! The next return then takes the slow path, which checks `Core::is_watched`, and calls `worker::watch_slow` if the
//! pool is not watched. `watch_list::janitor_passes` describes the order of these steps, in which no return is lost.
//!
//! The thread blocks the program's signals, and has the scheduling and affinity of the process (`sys/spawn.rs`).
//!
//! # Without the thread
//! On a target without threads (wasm), and with `REPOOL_JANITOR=off`, application threads have no caches. So every
//! operation takes the slow path, and a returning thread runs a pass when one is due. Miri starts the janitor only with
//! `REPOOL_JANITOR=on`; without it, threads have caches nevertheless, so that Miri checks the hit path.
//!
//! If the system refuses the thread (a limit), the pool stays unwatched. Returns on the slow path run the passes that
//! are due, and try again to start the thread, once a second.
//!
//! # Fork
//! A forked child has no janitor. It has its own [`generation`](crate::sys::generation::generation), in which no pool
//! is watched, so the first return on the slow path starts a new thread. If the C library makes the child, `fork.rs`
//! ensures that the next return of each thread is such a return, and that no thread holds the watch list during the
//! fork. A child of the bare system call may have only hits for a while. If the watch list was locked during the
//! system call, the child replaces the list (`worker.rs`).
//!
//! # Files
//! `watch_list.rs` knows which pools the janitor watches, and has the loop of the thread: all the logic that threads
//! could race in, without a clock, so that the models run it. `worker.rs` has the rest: the watch list of the process,
//! the start of the thread, time, and memory pressure.

mod fork;
pub(crate) mod hook;
pub(crate) mod manual;
pub(crate) mod source;
#[cfg(all(test, not(repool_loom)))]
mod tests;
#[cfg_attr(any(repool_loom, not(feature = "tracing")), path = "trace_off.rs")]
mod trace;
pub(crate) mod trim;
pub(crate) mod watch_list;
pub(crate) mod worker;

// The models have several janitors, and no clock.
#[cfg(repool_loom)]
pub(crate) use crate::models::janitor::{self as worker, hook};
