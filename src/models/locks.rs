//! Locks that time out (`sync/mod.rs`), and callers that go on without them.

use super::{NODES, Pool, run_model};
use crate::background::manual;
use crate::sync::{Mutex, Timeout};
use crate::sys::memory::Level;
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// A cell and its lock.
struct Guarded {
    lock: Mutex<()>,
    cell: UnsafeCell<usize>,
}

// SAFETY: loom checks each access to the cell.
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lock: Mutex::new(()),
            cell: UnsafeCell::new(0),
        })
    }

    /// Counts, unless the lock times out.
    fn count(&self, timeout: Timeout) -> usize {
        let Some(_held) = self.lock.lock_bounded(timeout) else {
            return 0;
        };
        // SAFETY: under the lock; loom checks it.
        self.cell.with_mut(|cell| unsafe { *cell += 1 });
        // Another thread may find the lock taken.
        thread::yield_now();
        1
    }
}

/// A thread times out while another one holds the lock, which unlocks it later. No count is lost, and later waits are
/// as long as before. Fails if a thread that gets the lock leaves the timeouts as they are.
#[test]
fn a_lock_that_timed_out_serves_the_next_thread() {
    run_model("a_lock_that_timed_out_serves_the_next_thread", || {
        let guarded = Guarded::new();
        let others = guarded.clone();
        let other = thread::spawn(move || {
            let first = others.count(Timeout::Short);
            first + others.count(Timeout::Long)
        });
        let mine = guarded.count(Timeout::Short) + guarded.count(Timeout::Short);
        let all = mine + other.join().unwrap();
        assert_eq!(
            guarded.count(Timeout::Short),
            1,
            "timed out without a holder"
        );
        assert!(!guarded.lock.has_timed_out(), "it was just taken");
        // SAFETY: all others are done.
        assert_eq!(guarded.cell.with(|cell| unsafe { *cell }), all + 1);
    });
}

/// Two threads return objects, and the depot's lock may time out. Objects that are not kept are dropped and counted.
#[test]
fn what_the_depot_cannot_take_in_time_is_dropped() {
    run_model("what_the_depot_cannot_take_in_time_is_dropped", || {
        let pool = Pool::new();
        let (one, two) = (pool.create(), pool.create());
        let more = pool.create();
        let other = thread::spawn(move || {
            one.give_back(None);
            more.give_back(None);
        });
        two.give_back(None);
        other.join().unwrap();
        let stats = pool.core().stats();
        assert_eq!(stats.idle as usize, NODES.load(SeqCst));
        assert_eq!(pool.core().depots().objects(), NODES.load(SeqCst));
        // At rest, the lock is free.
        pool.create().give_back(None);
        assert_eq!(pool.core().depots().objects(), stats.idle as usize + 1);
        pool.close();
    });
}

/// The depot's lock times out at a step of a pass. The pass leaves the step out, and later passes make up for it.
#[test]
fn a_pass_that_times_out_at_the_depot_loses_nothing() {
    run_model("a_pass_that_times_out_at_the_depot_loses_nothing", || {
        let pool = Pool::bounded(8);
        let (one, two) = (pool.create(), pool.create());
        one.give_back(None);
        let other = thread::spawn(move || two.give_back(None));
        for _ in 0..2 {
            let _ = manual::pass(pool.core(), Level::Elevated);
        }
        other.join().unwrap();
        let stats = pool.core().stats();
        assert_eq!(
            stats.idle as usize,
            NODES.load(SeqCst),
            "an object was lost"
        );
        assert_eq!(stats.idle + stats.trimmed + stats.discarded, stats.created);
        for _ in 0..3 {
            let _ = manual::pass(pool.core(), Level::Elevated);
        }
        assert_eq!(pool.core().stats().idle, 0, "passes drop unused objects");
        pool.close();
    });
}
