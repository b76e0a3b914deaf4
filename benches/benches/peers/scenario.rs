//! What is done with objects, and by how many threads.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Objects that go to another thread at a time.
pub const BATCH: usize = 64;
/// Gets of one short-lived thread.
pub const SHORT: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// So many threads, each with so many objects at once, first in, first out.
    Held { threads: usize, objects: usize },
    /// Get 100, give 67 back and lose the rest.
    Starvation { threads: usize },
    /// Threads that get ten objects and end, one after the other.
    ShortLived,
    /// So many threads get, and so many others drop.
    Crossing { getters: usize, droppers: usize },
    /// One gets, one passes on, one drops.
    Pipeline,
    /// tokio tasks that hold an object across an await, on two workers.
    Tasks,
}

/// What one turn was.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub gets: u64,
    /// From the first operation to the last; on one thread its own processor time, which others on
    /// the machine do not lengthen.
    pub wall: Duration,
    /// How many threads could run at once.
    pub cores: usize,
}

impl Turn {
    /// Nanoseconds of one core for each object.
    pub fn ns(&self) -> f64 {
        self.wall.as_nanos() as f64 * self.cores as f64 / self.gets.max(1) as f64
    }
}

fn cores(threads: usize) -> usize {
    threads.min(std::thread::available_parallelism().map_or(1, usize::from))
}

impl Scenario {
    pub fn all() -> Vec<Self> {
        let held = |threads, objects| Self::Held { threads, objects };
        vec![
            held(1, 1),
            held(1, 8),
            held(1, 40),
            held(1, 1000),
            held(2, 1),
            held(8, 1),
            held(32, 1),
            held(8, 100),
            Self::Starvation { threads: 2 },
            Self::ShortLived,
            Self::Crossing {
                getters: 1,
                droppers: 1,
            },
            Self::Crossing {
                getters: 1,
                droppers: 3,
            },
            Self::Crossing {
                getters: 3,
                droppers: 1,
            },
            Self::Pipeline,
            Self::Tasks,
        ]
    }

    /// Go's own benchmarks of `sync.Pool` are named where a scenario does the same.
    pub fn name(&self) -> String {
        match *self {
            Self::Held {
                threads: 1,
                objects: 1,
            } => "hit, 1 thread".to_owned(),
            Self::Held {
                threads: 2,
                objects: 1,
            } => "hit, 2 threads (BenchmarkPool)".to_owned(),
            Self::Held {
                threads,
                objects: 1,
            } => format!("hit, {threads} threads"),
            Self::Held {
                threads: 1,
                objects,
            } => format!("held {objects}, 1 thread"),
            Self::Held {
                threads,
                objects: 100,
            } => format!(
                "held 100, {threads} threads (BenchmarkPoolOverflow, BenchmarkPoolExpensiveNew)"
            ),
            Self::Held { threads, objects } => format!("held {objects}, {threads} threads"),
            Self::Starvation { threads } => {
                format!("get 100, give 67, {threads} threads (BenchmarkPoolStarvation)")
            }
            Self::ShortLived => format!("short-lived threads, {SHORT} gets each"),
            Self::Crossing { getters, droppers } => format!("crossing {getters} to {droppers}"),
            Self::Pipeline => "crossing, pipeline of 3".to_owned(),
            Self::Tasks => "tokio tasks, 2 workers".to_owned(),
        }
    }

    /// More than one thread at a time.
    pub fn is_parallel(&self) -> bool {
        !matches!(self, Self::Held { threads: 1, .. } | Self::ShortLived)
    }

    /// Only operations that stay on the thread.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Held { threads: 1, .. })
    }

    pub fn needs_discard(&self) -> bool {
        matches!(self, Self::Starvation { .. })
    }
}

/// That this thread has had.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes to the given place only.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(result, 0, "the clock is there on every Unix");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A turn of a scenario on one thread, also for pools that cannot leave it.
pub fn run_single<T>(
    scenario: Scenario,
    window: Duration,
    get: &impl Fn() -> T,
    give: &impl Fn(T),
) -> Turn {
    let Scenario::Held { objects, .. } = scenario else {
        unreachable!("asked for on one thread only");
    };
    let mut held = Vec::with_capacity(objects);
    // Warm: what the other contenders have done to the caches is not on this one's bill.
    rounds(window / 8, objects, &mut held, get, give);
    let start = processor_time();
    let gets = rounds(window, objects, &mut held, get, give);
    Turn {
        gets,
        wall: processor_time() - start,
        cores: 1,
    }
}

/// Gets and gives until the window is over; how often.
fn rounds<T>(
    window: Duration,
    objects: usize,
    held: &mut Vec<T>,
    get: &impl Fn() -> T,
    give: &impl Fn(T),
) -> u64 {
    let start = Instant::now();
    let turns = (512 / objects).max(1);
    let mut gets = 0;
    while start.elapsed() < window {
        for _ in 0..turns {
            if objects == 1 {
                give(get());
                continue;
            }
            for _ in 0..objects {
                held.push(get());
            }
            held.drain(..).for_each(give);
        }
        gets += (turns * objects) as u64;
    }
    gets
}

/// A turn of any scenario.
pub fn run<T: Send + 'static>(
    scenario: Scenario,
    window: Duration,
    get: impl Fn() -> T + Send + Sync + Copy + 'static,
    give: impl Fn(T) + Send + Sync + Copy + 'static,
    discard: Option<fn(T)>,
) -> Turn {
    match scenario {
        Scenario::Held { threads: 1, .. } => run_single(scenario, window, &get, &give),
        Scenario::Held { threads, objects } => together(threads, window, |window| {
            let mut held = Vec::with_capacity(objects);
            rounds(window, objects, &mut held, &get, &give)
        }),
        Scenario::Starvation { threads } => {
            let discard = discard.expect("asked of those that can only");
            together(threads, window, |window| {
                let mut held = Vec::with_capacity(100);
                let start = Instant::now();
                let mut gets = 0;
                while start.elapsed() < window {
                    held.extend((0..100).map(|_| get()));
                    held.drain(67..).for_each(discard);
                    held.drain(..).for_each(give);
                    gets += 100;
                }
                gets
            })
        }
        Scenario::ShortLived => {
            let start = Instant::now();
            let mut gets = 0;
            while start.elapsed() < window {
                let short = move || (0..SHORT).for_each(|_| give(get()));
                std::thread::spawn(short)
                    .join()
                    .expect("it only gets and gives");
                gets += SHORT as u64;
            }
            Turn {
                gets,
                wall: start.elapsed(),
                cores: 1,
            }
        }
        Scenario::Crossing { getters, droppers } => crossing(getters, droppers, window, get, give),
        Scenario::Pipeline => pipeline(window, get, give),
        Scenario::Tasks => tasks(window, get, give),
    }
}

/// All threads begin and end together: each warms up, waits for the others, and runs for the whole
/// window.
fn together(threads: usize, window: Duration, work: impl Fn(Duration) -> u64 + Sync) -> Turn {
    let barrier = Barrier::new(threads + 1);
    let mut wall = Duration::ZERO;
    let gets = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    work(window / 16);
                    barrier.wait();
                    work(window)
                })
            })
            .collect();
        barrier.wait();
        let start = Instant::now();
        let all = workers
            .into_iter()
            .map(|worker| worker.join().expect("it only gets and gives"))
            .sum();
        wall = start.elapsed();
        all
    });
    Turn {
        gets,
        wall,
        cores: cores(threads),
    }
}

/// Batches go over, and their empty vectors come back, so the channel costs a 64th for each object.
struct Lines<T> {
    full: (Sender<Vec<T>>, Receiver<Vec<T>>),
    empty: (Sender<Vec<T>>, Receiver<Vec<T>>),
}

impl<T> Lines<T> {
    fn new(threads: usize) -> Self {
        let lines = Self {
            full: bounded(2 * threads),
            empty: bounded(8 * threads),
        };
        for _ in 0..4 * threads {
            lines
                .empty
                .0
                .send(Vec::with_capacity(BATCH))
                .expect("there is room");
        }
        lines
    }
}

fn crossing<T: Send + 'static>(
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
                    // Full only when no getter wants it.
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
        // Or the droppers would wait for ever.
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

fn pipeline<T: Send + 'static>(
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
                // Looked at on the way.
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
        }
    })
}

fn tasks<T: Send + 'static>(
    window: Duration,
    get: impl Fn() -> T + Send + Sync + Copy + 'static,
    give: impl Fn(T) + Send + Sync + Copy + 'static,
) -> Turn {
    static STOP: AtomicBool = AtomicBool::new(false);
    const TASKS: usize = 64;
    STOP.store(false, Ordering::Relaxed);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("threads can be started");
    let start = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            runtime.spawn(async move {
                let mut gets = 0_u64;
                while !STOP.load(Ordering::Relaxed) {
                    let object = get();
                    tokio::task::yield_now().await;
                    give(object);
                    gets += 1;
                }
                gets
            })
        })
        .collect();
    std::thread::sleep(window);
    STOP.store(true, Ordering::Relaxed);
    let gets = tasks
        .into_iter()
        .map(|task| runtime.block_on(task).expect("it only gets and gives"))
        .sum();
    Turn {
        gets,
        wall: start.elapsed(),
        cores: cores(2),
    }
}
