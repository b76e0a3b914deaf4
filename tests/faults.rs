//! Faults, one at a time and at every place: the n-th allocation fails, the n-th callback panics,
//! the process is forked while a thread is at its n-th allocation or inside any callback, the
//! kernel forbids the barrier. And loads in which threads and pools only come and go.
//!
//! One test at a time: most fork, and some count what is allocated.
#![cfg(all(target_os = "linux", feature = "bumpalo", feature = "bytes"))]

#[cfg(not(miri))] // children of this process
#[path = "faults/allocation.rs"]
mod allocation;
#[cfg(not(miri))]
#[path = "faults/child.rs"]
mod child;
#[cfg(not(miri))] // children
#[path = "faults/fork.rs"]
mod fork;
#[path = "support/ledger.rs"]
mod ledger;
#[path = "faults/load.rs"]
mod load;
#[path = "faults/panics.rs"]
mod panics;
#[path = "support/scale.rs"]
mod scale;
#[cfg(not(miri))] // filters of the kernel
#[path = "faults/seccomp.rs"]
mod seccomp;

use repool::Stats;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// `allocation.rs` has the one that also fails.
#[cfg(miri)]
#[global_allocator]
static ALLOCATOR: ledger::Ledger = ledger::Ledger;

static TURN: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The counters always add up.
#[track_caller]
fn balanced(stats: &Stats) {
    let came = stats.created + stats.adopted;
    let went = stats.discarded + stats.trimmed + stats.taken;
    assert_eq!(came, stats.in_use + stats.idle + went, "{stats:?}");
    assert_eq!(stats.discarded, stats.discarded_by.total(), "{stats:?}");
}

/// Waits for another thread to do something; fails after twenty seconds.
#[track_caller]
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
