//! One contender's turn: the threads, and how long they took.

use crate::scenario::{IDLE, SHORT, Scenario};
use crate::{crossing, tasks};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long creating takes in [`Scenario::Expensive`].
const EXPENSIVE: Duration = Duration::from_millis(1);
/// How often a collecting pool collects there. Go's pool does with its garbage collector, about as
/// often.
const PASSES: Duration = Duration::from_millis(10);

/// The result of one turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub gets: u64,
    /// From the first operation to the last; on one thread its own processor time, which other
    /// processes do not lengthen.
    pub wall: Duration,
    /// How many threads could run at the same time.
    pub cores: usize,
    /// The share of objects that another thread returned than the one that got them, if only
    /// counting shows it.
    pub crossed: Option<f64>,
}

impl Turn {
    /// Nanoseconds of one core per object.
    pub fn ns(&self) -> f64 {
        self.wall.as_nanos() as f64 * self.cores as f64 / self.gets.max(1) as f64
    }
}

/// What some contenders can do in addition to get and return.
pub struct Extra<T> {
    /// Loses an object: it does not come back.
    pub discard: Option<fn(T)>,
    /// Returns to the allocator what has been idle.
    pub pass: Option<&'static (dyn Fn() + Sync)>,
}

// Not derived: that would require `T: Copy`.
impl<T> Clone for Extra<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Extra<T> {}

/// Whether creating takes long at the moment.
static SLOW: AtomicBool = AtomicBool::new(false);

/// Every contender that creates vectors does so here.
pub fn create(size: usize) -> Vec<u8> {
    // Relaxed: switched between turns.
    if SLOW.load(Ordering::Relaxed) {
        std::thread::sleep(EXPENSIVE);
    }
    Vec::with_capacity(size)
}

/// Returns how many threads can run at the same time on this machine.
pub fn cores(threads: usize) -> usize {
    threads.min(std::thread::available_parallelism().map_or(1, usize::from))
}

/// Returns the processor time of this thread.
pub fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes only to the given place.
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
    let objects = match scenario {
        Scenario::Held { objects, .. } => objects,
        Scenario::Sized { .. } => 1,
        _ => unreachable!("asked for on one thread only"),
    };
    let mut held = Vec::with_capacity(objects);
    single(window, |window| {
        rounds(window, objects, &mut held, get, give)
    })
}

/// Runs on this thread. The first eighth is not counted, so that this contender does not pay for
/// what the others have done to the processor's caches.
pub fn single(window: Duration, mut work: impl FnMut(Duration) -> u64) -> Turn {
    work(window / 8);
    let start = processor_time();
    let gets = work(window);
    Turn {
        gets,
        wall: processor_time() - start,
        cores: 1,
        crossed: None,
    }
}

/// Gets and returns until the window is over; returns how often.
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

/// Repeats this until the window is over; returns the number of objects.
fn until(window: Duration, objects: u64, mut once: impl FnMut()) -> u64 {
    let start = Instant::now();
    let mut gets = 0;
    while start.elapsed() < window {
        once();
        gets += objects;
    }
    gets
}

/// A turn of any scenario.
pub fn run<T: Send + 'static>(
    scenario: Scenario,
    window: Duration,
    get: impl Fn() -> T + Send + Sync + Copy + 'static,
    give: impl Fn(T) + Send + Sync + Copy + 'static,
    extra: Extra<T>,
) -> Turn {
    match scenario {
        Scenario::Held { threads: 1, .. } | Scenario::Sized { .. } => {
            run_single(scenario, window, &get, &give)
        }
        Scenario::Held { threads, objects } => together(threads, window, |window| {
            let mut held = Vec::with_capacity(objects);
            rounds(window, objects, &mut held, &get, &give)
        }),
        Scenario::Miss => {
            let discard = extra.discard.expect("asked of those that can only");
            single(window, |window| {
                until(window, 64, || (0..64).for_each(|_| discard(get())))
            })
        }
        Scenario::Starvation { threads } => {
            let discard = extra.discard.expect("asked of those that can only");
            together(threads, window, |window| {
                let mut held = Vec::with_capacity(100);
                until(window, 100, || {
                    held.extend((0..100).map(|_| get()));
                    held.drain(67..).for_each(discard);
                    held.drain(..).for_each(give);
                })
            })
        }
        Scenario::Expensive { threads } => expensive(threads, window, get, give, extra.pass),
        Scenario::Collection => {
            let pass = extra.pass.expect("asked of those that can only");
            let objects: Vec<T> = (0..IDLE).map(|_| get()).collect();
            objects.into_iter().for_each(give);
            let start = processor_time();
            pass();
            Turn {
                gets: 1,
                wall: processor_time() - start,
                cores: 1,
                crossed: None,
            }
        }
        Scenario::First => unreachable!("it is about pools, and not about one"),
        Scenario::ShortLived => {
            let start = Instant::now();
            let gets = until(window, SHORT as u64, || {
                let short = move || (0..SHORT).for_each(|_| give(get()));
                std::thread::spawn(short)
                    .join()
                    .expect("it only gets and gives");
            });
            Turn {
                gets,
                wall: start.elapsed(),
                cores: 1,
                crossed: None,
            }
        }
        Scenario::Crossing { getters, droppers } => {
            crossing::run(getters, droppers, window, get, give)
        }
        Scenario::Pipeline => crossing::pipeline(window, get, give),
        Scenario::Tasks { workers } => tasks::run(workers, window, get, give),
    }
}

/// Go's benchmark of the same name: 100 objects held, and memory allocated for each in addition,
/// while idle objects are collected now and then.
fn expensive<T>(
    threads: usize,
    window: Duration,
    get: impl Fn() -> T + Send + Sync + Copy,
    give: impl Fn(T) + Send + Sync + Copy,
    pass: Option<&'static (dyn Fn() + Sync)>,
) -> Turn {
    SLOW.store(true, Ordering::Relaxed);
    let stop = &AtomicBool::new(false);
    let turn = std::thread::scope(|scope| {
        if let Some(pass) = pass {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(PASSES);
                    pass();
                }
            });
        }
        let turn = together(threads, window, |window| {
            let mut held = Vec::with_capacity(100);
            until(window, 100, || {
                for _ in 0..100 {
                    held.push(get());
                    black_box(Vec::<u8>::with_capacity(32 << 10));
                }
                held.drain(..).for_each(give);
            })
        });
        stop.store(true, Ordering::Relaxed);
        turn
    });
    SLOW.store(false, Ordering::Relaxed);
    turn
}

/// All threads start and end together: each warms up, waits for the others, and runs for the whole
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
        crossed: None,
    }
}
