//! Objects that one thread gets and another drops, in batches over a channel.

use crate::work::{Turn, cores};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Objects that are handed over at a time.
const BATCH: usize = 64;
/// Batches that a getter may be ahead. With few, the threads wait for each other most of the time, and may as well run
/// on one core.
const AHEAD: usize = 16;

/// Batches go over, and their empty vectors come back, so the channel costs a 64th per object.
struct Lines<T> {
    full: (Sender<Vec<T>>, Receiver<Vec<T>>),
    empty: (Sender<Vec<T>>, Receiver<Vec<T>>),
}

impl<T> Lines<T> {
    fn new(threads: usize) -> Self {
        let lines = Self {
            full: bounded(AHEAD * threads),
            empty: bounded(4 * AHEAD * threads),
        };
        for _ in 0..2 * AHEAD * threads {
            lines
                .empty
                .0
                .send(Vec::with_capacity(BATCH))
                .expect("there is room");
        }
        lines
    }
}

/// How threads wait for a batch.
#[derive(Clone, Copy)]
enum Wait {
    /// The thread gives its processor up.
    Sleep,
    /// It keeps it. Otherwise the system wakes the other thread on the same processor, and nothing crosses.
    Spin,
}

impl Wait {
    /// Waits for a batch. `None` if no more will come.
    fn next<T>(self, from: &Receiver<T>) -> Option<T> {
        if let Self::Sleep = self {
            return from.recv().ok();
        }
        loop {
            match from.try_recv() {
                Ok(batch) => return Some(batch),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => spin_loop(),
            }
        }
    }
}

/// Keeps this thread on a processor of its own.
fn pin(thread: usize) {
    if let Some(core) = core_affinity::get_core_ids().and_then(|ids| ids.get(thread).copied()) {
        core_affinity::set_for_current(core);
    }
}

/// Threads that find a processor each are pinned there, and spin while they wait.
pub fn run<T: Send + 'static>(
    getters: usize,
    droppers: usize,
    window: Duration,
    get: impl Fn() -> T + Send + Sync + Copy,
    give: impl Fn(T) + Send + Sync + Copy,
) -> Turn {
    let lines = Lines::new(getters.max(droppers));
    let threads = getters + droppers;
    let wait = if threads == cores(threads) {
        Wait::Spin
    } else {
        Wait::Sleep
    };
    let pin = move |thread| {
        if let Wait::Spin = wait {
            pin(thread);
        }
    };
    let barrier = Barrier::new(getters + droppers);
    let mut turn = None;
    std::thread::scope(|scope| {
        for thread in 0..droppers {
            let (full, empty) = (lines.full.1.clone(), lines.empty.0.clone());
            let barrier = &barrier;
            scope.spawn(move || {
                pin(getters + thread);
                barrier.wait();
                while let Some(mut batch) = wait.next(&full) {
                    batch.drain(..).for_each(give);
                    // Full only if no getter needs it.
                    let _ = empty.try_send(batch);
                }
            });
        }
        let workers: Vec<_> = (0..getters)
            .map(|thread| {
                let (full, empty) = (lines.full.0.clone(), lines.empty.1.clone());
                let barrier = &barrier;
                scope.spawn(move || {
                    pin(thread);
                    barrier.wait();
                    fill(wait, window / 8, &full, &empty, get);
                    let start = Instant::now();
                    (
                        fill(wait, window, &full, &empty, get),
                        start,
                        Instant::now(),
                    )
                })
            })
            .collect();
        // Otherwise the droppers would wait for ever.
        drop(lines);
        let done: Vec<_> = workers
            .into_iter()
            .map(|worker| worker.join().expect("it only gets and sends"))
            .collect();
        let start = done.iter().map(|(_, start, _)| *start).min();
        let end = done.iter().map(|(_, _, end)| *end).max();
        turn = start.zip(end).map(|(start, end)| Turn {
            gets: done.iter().map(|(gets, _, _)| gets).sum(),
            wall: end - start,
            cores: cores(threads),
            crossed: None,
        });
    });
    turn.expect("there are getters")
}

fn fill<T>(
    wait: Wait,
    window: Duration,
    full: &Sender<Vec<T>>,
    empty: &Receiver<Vec<T>>,
    get: impl Fn() -> T,
) -> u64 {
    let start = Instant::now();
    let mut gets = 0;
    while start.elapsed() < window {
        let mut batch = wait.next(empty).expect("droppers give them back");
        batch.extend((0..BATCH).map(|_| get()));
        gets += BATCH as u64;
        if full.send(batch).is_err() {
            break;
        }
    }
    gets
}

pub fn pipeline<T: Send + 'static>(
    window: Duration,
    get: impl Fn() -> T + Send + Sync + Copy,
    give: impl Fn(T) + Send + Sync + Copy,
) -> Turn {
    let lines = Lines::new(1);
    let (middle, last) = bounded::<Vec<T>>(2);
    std::thread::scope(|scope| {
        let (full, back) = (lines.full.1.clone(), lines.empty.0.clone());
        scope.spawn(move || {
            for mut batch in full {
                // Checked on the way.
                batch.iter_mut().for_each(|object| {
                    black_box(object);
                });
                if middle.send(batch).is_err() {
                    break;
                }
            }
        });
        scope.spawn(move || {
            for mut batch in last {
                batch.drain(..).for_each(give);
                let _ = back.try_send(batch);
            }
        });
        let (full, empty) = (lines.full.0.clone(), lines.empty.1.clone());
        drop(lines);
        fill(Wait::Sleep, window / 8, &full, &empty, get);
        let start = Instant::now();
        let gets = fill(Wait::Sleep, window, &full, &empty, get);
        Turn {
            gets,
            wall: start.elapsed(),
            cores: cores(3),
            crossed: None,
        }
    })
}
