//! Objects that one thread gets and another drops, in batches over a channel.

use crate::work::{Turn, cores};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::hint::black_box;
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

pub fn run<T: Send + 'static>(
    getters: usize,
    droppers: usize,
    window: Duration,
    get: impl Fn() -> T + Send + Sync + Copy,
    give: impl Fn(T) + Send + Sync + Copy,
) -> Turn {
    let lines = Lines::new(getters.max(droppers));
    let barrier = Barrier::new(getters + droppers);
    let mut turn = None;
    std::thread::scope(|scope| {
        for _ in 0..droppers {
            let (full, empty) = (lines.full.1.clone(), lines.empty.0.clone());
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for mut batch in full {
                    batch.drain(..).for_each(give);
                    // Full only if no getter needs it.
                    let _ = empty.try_send(batch);
                }
            });
        }
        let workers: Vec<_> = (0..getters)
            .map(|_| {
                let (full, empty) = (lines.full.0.clone(), lines.empty.1.clone());
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    fill(window / 8, &full, &empty, get);
                    let start = Instant::now();
                    (fill(window, &full, &empty, get), start, Instant::now())
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
            cores: cores(getters + droppers),
            crossed: None,
        });
    });
    turn.expect("there are getters")
}

fn fill<T>(
    window: Duration,
    full: &Sender<Vec<T>>,
    empty: &Receiver<Vec<T>>,
    get: impl Fn() -> T,
) -> u64 {
    let start = Instant::now();
    let mut gets = 0;
    while start.elapsed() < window {
        let mut batch = empty.recv().expect("droppers give them back");
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
        fill(window / 8, &full, &empty, get);
        let start = Instant::now();
        let gets = fill(window, &full, &empty, get);
        Turn {
            gets,
            wall: start.elapsed(),
            cores: cores(3),
            crossed: None,
        }
    })
}
