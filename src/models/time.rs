//! Parked threads and the clock of the models.
//!
//! Time stands still: whatever may become due is due now, and a sleep with a timeout ends at once. The scheduler
//! explores later ends of it. This file keeps the park tokens, because loom loses an `unpark` of a thread that yields.

use loom::sync::{Condvar, Mutex};
use std::cell::RefCell;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// A point in time, of which there is only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant;

impl Instant {
    pub(crate) fn now() -> Self {
        Self
    }

    #[expect(clippy::unnecessary_wraps, reason = "as std's")]
    pub(crate) fn checked_sub(self, _: Duration) -> Option<Self> {
        Some(self)
    }

    pub(crate) fn saturating_duration_since(self, _: Self) -> Duration {
        Duration::ZERO
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, _: Duration) -> Self {
        self
    }
}

/// Whether a thread sleeps without a timeout and has not been woken.
pub(super) static ASLEEP: AtomicBool = AtomicBool::new(false);

loom::thread_local! {
    static CURRENT: RefCell<Option<Thread>> = RefCell::new(None);
}

/// A thread that can be woken. In a model at most one thread sleeps at a time.
#[derive(Clone, Debug)]
pub(crate) struct Thread(Arc<Token>);

#[derive(Debug)]
struct Token {
    there: Mutex<bool>,
    comes: Condvar,
}

/// Starts a thread that may sleep.
pub(super) fn spawn(f: impl FnOnce() + 'static) -> (Thread, loom::thread::JoinHandle<()>) {
    let thread = Thread(Arc::new(Token {
        there: Mutex::new(false),
        comes: Condvar::new(),
    }));
    let current = thread.clone();
    let handle = loom::thread::spawn(move || {
        CURRENT.with(|this| *this.borrow_mut() = Some(current));
        f();
    });
    (thread, handle)
}

impl Thread {
    pub(crate) fn unpark(&self) {
        let mut there = self.0.there.lock().unwrap();
        *there = true;
        ASLEEP.store(false, SeqCst);
        drop(there);
        self.0.comes.notify_one();
    }
}

fn current() -> Thread {
    CURRENT.with(|this| this.borrow().clone().expect("one that may sleep"))
}

pub(crate) fn park() {
    let token = current().0;
    let mut there = token.there.lock().unwrap();
    while !*there {
        ASLEEP.store(true, SeqCst);
        there = token.comes.wait(there).unwrap();
    }
    *there = false;
}

pub(crate) fn park_timeout(_: Duration) {
    let token = current().0;
    if !std::mem::take(&mut *token.there.lock().unwrap()) {
        loom::thread::yield_now();
    }
}
