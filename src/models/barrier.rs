//! Models in which the owner's light fence is nothing, and `membarrier` works as in the kernel: a visitor's heavy fence
//! also runs in the owner's thread, wherever that thread happens to be.
//!
//! loom cannot interrupt a thread. So a model says where its owner can be interrupted ([`Owner::interrupt`]), and a
//! visitor waits until the owner has come to such a point, or has ended.

use super::{Guard, Pool, lock, run_model};
use crate::sys::fence;
use crate::sys::thread_id::ThreadId;
use crate::thread::register;
use loom::sync::atomic::{AtomicUsize, Ordering, fence as real};
use loom::thread;
use std::sync::{Arc, Mutex};

/// The owner of the present iteration, in a model of this file.
static OWNER: Mutex<Option<Arc<Owner>>> = Mutex::new(None);

struct Owner {
    /// The number of barriers that visitors have requested. Visitors take turns.
    asked: AtomicUsize,
    /// The last barrier that has run in the owner's thread.
    passed: AtomicUsize,
}

/// Whether the light fence is nothing.
pub(crate) fn is_on() -> bool {
    lock(&OWNER).is_some()
}

/// The part of a heavy fence that runs in the owner's thread: requests it, and waits for it.
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

/// Forgets what a failed model has left, which must not be touched in another model.
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

    /// A point where the owner can be interrupted: runs the barrier if a visitor has requested it.
    fn interrupt(&self) {
        let turn = self.asked.load(Ordering::Acquire);
        if turn > self.passed.load(Ordering::Relaxed) {
            real(Ordering::SeqCst);
            self.passed.store(turn, Ordering::Release);
        }
    }

    /// The owner's thread ends, or does not run again before the visitor is done.
    fn end(&self) {
        real(Ordering::SeqCst);
        self.passed.store(usize::MAX, Ordering::Release);
    }
}

/// The barrier interrupts the owner inside, after it has seen the gate open and before it touches the lists. In its
/// next operation the owner turns back at the shut gate. A visitor that then finds the owner outside sees what it did
/// inside. Fails if the owner turns back without Release.
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
            // SAFETY: this thread has the ID. Its fence is nothing, and the barrier runs in this thread.
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
