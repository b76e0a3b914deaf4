//! `membarrier` as it works, for models in which the owner's light fence is nothing: a visitor's heavy fence runs in
//! the owner's thread as well, wherever that thread happens to be.
//!
//! loom cannot interrupt a thread, so a model says where its owner can be interrupted ([`Owner::interrupt`]); a
//! visitor waits until the owner has come to such a place, or has ended.

use super::{Guard, Pool, lock, run_model};
use crate::sys::fence;
use crate::sys::thread_id::ThreadId;
use crate::thread::register;
use loom::sync::atomic::{AtomicUsize, Ordering, fence as real};
use loom::thread;
use std::sync::{Arc, Mutex};

/// The owner of the iteration that runs, in a model of this file.
static OWNER: Mutex<Option<Arc<Owner>>> = Mutex::new(None);

struct Owner {
    /// Barriers that visitors have asked for. They take turns.
    asked: AtomicUsize,
    /// The last one that has run in the owner's thread.
    passed: AtomicUsize,
}

/// Whether the light fence is nothing.
pub(crate) fn is_on() -> bool {
    lock(&OWNER).is_some()
}

/// The other half of a heavy fence.
pub(crate) fn run_in_owner() {
    let Some(owner) = lock(&OWNER).clone() else {
        return;
    };
    let turn = owner.asked.load(Ordering::Relaxed) + 1;
    owner.asked.store(turn, Ordering::Release);
    while owner.passed.load(Ordering::Acquire) < turn {
        thread::yield_now();
    }
    real(Ordering::SeqCst);
}

/// What a model that failed has left must not be touched in another one.
pub(super) fn forget() {
    std::mem::forget(lock(&OWNER).take());
}

impl Owner {
    fn new() -> Arc<Self> {
        let owner = Arc::new(Self {
            asked: AtomicUsize::new(0),
            passed: AtomicUsize::new(0),
        });
        *lock(&OWNER) = Some(owner.clone());
        owner
    }

    /// The owner can be interrupted here: if a visitor has asked for it, the barrier runs.
    fn interrupt(&self) {
        let turn = self.asked.load(Ordering::Acquire);
        if turn > self.passed.load(Ordering::Relaxed) {
            real(Ordering::SeqCst);
            self.passed.store(turn, Ordering::Release);
        }
    }

    /// The owner's thread ends, or will not run again before a visitor is done.
    fn end(&self) {
        real(Ordering::SeqCst);
        self.passed.store(usize::MAX, Ordering::Release);
    }
}

/// The barrier interrupts the owner inside, when it has seen the gate open and has not touched the lists yet; then it
/// turns back at the shut gate. A visitor that finds it out there sees what it did inside. Fails when the owner turns
/// back without Release.
#[test]
fn an_owner_that_turns_back_shows_what_it_did_before() {
    run_model("an_owner_that_turns_back_shows_what_it_did_before", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let running = Owner::new();
        let owner = running.clone();
        let thread = thread::spawn(move || {
            let cache = register::cache_of(pool.core(), ThreadId(0)).expect("registered");
            let inside = |link| {
                owner.interrupt();
                std::mem::forget(Guard(link).touch());
            };
            // SAFETY: this thread has the number; the fence is nothing, and the barrier runs in it.
            let _ = unsafe { cache.with_top(fence::light, inside) };
            // SAFETY: as above.
            let link = unsafe { cache.pop_slow() }.unwrap_or(std::ptr::null_mut());
            owner.end();
            (!link.is_null()).then_some(Guard(link))
        });
        let _ = pool.core().clear();
        let held = thread.join().unwrap();
        if let Some(held) = held {
            held.give_back(Some(0));
        }
        drop(running);
        drop(lock(&OWNER).take());
        pool.close();
    });
}
