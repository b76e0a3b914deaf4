//! The janitor as it ships (`janitor/registry.rs`), against pools that come, go, fall quiet and
//! wake up again.
//!
//! A model that never ends is one that fails: loom sees a thread that nobody will ever wake as
//! a deadlock, and one that goes round for ever as too many branches.

use super::time::{self, ASLEEP};
use super::{NODES, Pool, lock, run_model};
use crate::core::Core;
use crate::janitor::{Registry, forget_in, run, watch};
use crate::sync::{Mutex, Thread};
use crate::thread::Number;
use crate::trim::{self, Level};
use loom::thread;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The janitor of the iteration that runs, if it has one.
static JANITOR: std::sync::Mutex<Option<&'static Mutex<Registry>>> = std::sync::Mutex::new(None);
/// Its threads.
static THREADS: std::sync::Mutex<Vec<thread::JoinHandle<()>>> = std::sync::Mutex::new(Vec::new());
/// How often a thread was started.
static STARTED: AtomicUsize = AtomicUsize::new(0);

fn registry() -> Option<&'static Mutex<Registry>> {
    *lock(&JANITOR)
}

pub(crate) fn epoch() -> usize {
    1
}

/// As in `janitor/thread.rs`. In a model without a janitor the call is all there is to see.
pub(crate) fn watch_slow(core: &Core) {
    let Some(registry) = registry() else {
        core.set_watched(true);
        return;
    };
    let interval = core.interval().expect("models have a janitor");
    assert!(
        watch(registry, core, interval, start),
        "a thread is to be had"
    );
}

pub(crate) fn forget(core: &Core) {
    if let Some(registry) = registry() {
        forget_in(registry, core);
    }
}

fn start() -> Option<Thread> {
    STARTED.fetch_add(1, SeqCst);
    let registry = registry()?;
    let (thread, handle) = time::spawn(move || run(registry, || Level::None));
    lock(&THREADS).push(handle);
    Some(thread)
}

/// What a model that failed has left must not be touched in another one.
pub(super) fn forget_all() {
    *lock(&JANITOR) = None;
    std::mem::forget(std::mem::take(&mut *lock(&THREADS)));
}

/// A model with a janitor, which is to end with the last pool.
fn run_janitor(name: &str, f: impl Fn() + Send + Sync + 'static) {
    run_model(name, move || {
        STARTED.store(0, SeqCst);
        ASLEEP.store(false, SeqCst);
        let registry: *mut _ = Box::into_raw(Box::new(Mutex::new(Registry::new())));
        // SAFETY: freed below, when the threads have ended.
        let shared = unsafe { &*registry };
        *lock(&JANITOR) = Some(shared);
        f();
        loop {
            let Some(thread) = lock(&THREADS).pop() else {
                break;
            };
            thread.join().unwrap();
        }
        *lock(&JANITOR) = None;
        let left = shared.try_lock().expect("nobody is there").pools();
        assert_eq!(left, 0, "a pool that is gone is still watched");
        // SAFETY: allocated above, and nobody knows it any more.
        drop(unsafe { Box::from_raw(registry) });
    });
}

/// Always in the registry's order, since loom wants every run to be the same.
fn two_pools() -> (Pool, Pool) {
    let (one, other) = (Pool::new(), Pool::new());
    if one.0.addr() < other.0.addr() {
        (one, other)
    } else {
        (other, one)
    }
}

/// Waits until the janitor sleeps without a timeout. Everything idle has to be gone then.
fn all_quiet() {
    while !ASLEEP.load(SeqCst) {
        thread::yield_now();
    }
    let left = NODES.load(SeqCst);
    assert_eq!(left, 0, "an idle object that nobody looks after");
}
