//! tokio tasks that hold an object across an await, and wake on any worker.
//!
//! `yield_now` alone would leave a task on its worker. So a task puts its waker into a queue that
//! all workers share and wakes the one that has waited longest, which then runs where it is woken.
//! The number of objects that came back on another worker than the one that got them is counted and
//! printed.

use crate::work::{Turn, cores};
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

const TASKS: usize = 64;
/// How many of them wait.
const WAITING: usize = 32;

/// What the tasks of one turn share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    waiting: Mutex<VecDeque<Waker>>,
}

impl Shared {
    /// Waits until another task wakes this one.
    async fn swap(&self) {
        let mut waits = false;
        poll_fn(|context| {
            if waits || self.stop.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            waits = true;
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push_back(context.waker().clone());
            let first = (waiting.len() > WAITING)
                .then(|| waiting.pop_front())
                .flatten();
            drop(waiting);
            if let Some(first) = first {
                first.wake();
            }
            Poll::Pending
        })
        .await;
    }

    fn wake_all(&self) {
        let all = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        all.into_iter().for_each(Waker::wake);
    }
}

/// A number unique to this thread.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(0) };
    }
    if NUMBER.get() == 0 {
        NUMBER.set(NEXT.fetch_add(1, Ordering::Relaxed));
    }
    NUMBER.get()
}

pub fn run<T: Send + 'static>(
    workers: usize,
    window: Duration,
    get: impl Fn() -> T + Send + Sync + Copy + 'static,
    give: impl Fn(T) + Send + Sync + Copy + 'static,
) -> Turn {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .build()
        .expect("threads can be started");
    let shared: &'static Shared = Box::leak(Box::default());
    let start = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            runtime.spawn(async move {
                let (mut gets, mut crossed) = (0_u64, 0_u64);
                while !shared.stop.load(Ordering::Relaxed) {
                    let (object, got_on) = (get(), thread_number());
                    shared.swap().await;
                    give(object);
                    gets += 1;
                    crossed += u64::from(thread_number() != got_on);
                }
                (gets, crossed)
            })
        })
        .collect();
    std::thread::sleep(window);
    shared.stop.store(true, Ordering::Relaxed);
    // One may have checked `stop` before that, and wait from now on.
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        shared.wake_all();
        std::thread::yield_now();
    }
    let wall = start.elapsed();
    let done = tasks
        .into_iter()
        .map(|task| runtime.block_on(task).expect("it only gets and gives"));
    let (gets, crossed) = done.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    Turn {
        gets,
        wall,
        cores: cores(workers),
        crossed: Some(crossed as f64 / gets.max(1) as f64),
    }
}
