//! One parameter grows, everything else stays: the cost of a get, a write of 64 bytes and a drop.

use crate::clock::{Spread, nanoseconds};
use repool::Pool;
use repool_bench::{CAPACITY, fresh, work};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long one contender runs per round.
const WINDOW: Duration = Duration::from_millis(8);
/// Threads need several of the scheduler's time slices.
const THREADS_WINDOW: Duration = Duration::from_millis(60);

pub(crate) struct Curve {
    pub(crate) what: &'static str,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, Spread)>,
}

/// One point of one line: nanoseconds of processor time per object.
type Contender = Box<dyn FnMut() -> f64>;

pub(crate) fn curves(rounds: usize) -> Vec<Curve> {
    let curve = |what, names: &[&'static str], points: Vec<(f64, Vec<Contender>)>| {
        eprintln!("{what} ...");
        let mut lines: Vec<Line> = names
            .iter()
            .map(|&name| Line {
                name,
                points: Vec::new(),
            })
            .collect();
        for (x, mut contenders) in points {
            let spreads = in_turns(rounds, &mut contenders);
            for (line, spread) in lines.iter_mut().zip(spreads) {
                line.points.extend(spread.map(|spread| (x, spread)));
            }
        }
        Curve { what, lines }
    };
    let threads = [1, 2, 4, 8, 16, 32, 64];
    let pools = [1, 4, 16, 64, 256, 1024, 4096];
    let held = [1, 4, 16, 64, 256, 1024, 4096, 16384];
    let sizes = [
        64,
        256,
        1 << 10,
        4 << 10,
        16 << 10,
        64 << 10,
        256 << 10,
        1 << 20,
        4 << 20,
    ];
    let both = ["repool", "plain, glibc"];
    let all = [
        "repool",
        "plain, glibc",
        "repool, all written",
        "plain, all written",
    ];
    vec![
        curve("threads of one pool", &both, of(&threads, with_threads)),
        curve(
            "pools used in turn by one thread",
            &both,
            of(&pools, with_pools),
        ),
        curve("objects held by one thread", &both, of(&held, with_held)),
        curve("bytes of an object", &all, of(&sizes, with_size)),
    ]
}

fn of(numbers: &[usize], make: impl Fn(usize) -> Vec<Contender>) -> Vec<(f64, Vec<Contender>)> {
    numbers
        .iter()
        .map(|&number| (number as f64, make(number)))
        .collect()
}

fn in_turns(rounds: usize, contenders: &mut [Contender]) -> Vec<Option<Spread>> {
    let mut times = vec![Vec::new(); contenders.len()];
    // The first round warms up.
    for round in 0..=rounds {
        for step in 0..contenders.len() {
            let at = (step + round) % contenders.len();
            let time = contenders[at]();
            if round > 0 {
                times[at].push(time);
            }
        }
    }
    times.into_iter().map(Spread::of).collect()
}

/// Until the window is over.
fn timed(window: Duration, objects: usize, once: impl FnMut()) -> f64 {
    // So that reading the clock costs each object next to nothing.
    timed_by(window, (512 / objects).max(1), objects, once)
}

/// The same, reading the clock after this many times.
fn timed_by(window: Duration, times: usize, objects: usize, mut once: impl FnMut()) -> f64 {
    let (start, from) = (Instant::now(), nanoseconds());
    let mut done = 0;
    while start.elapsed() < window {
        (0..times).for_each(|_| once());
        done += times * objects;
    }
    (nanoseconds() - from) / done as f64
}

fn with_threads(threads: usize) -> Vec<Contender> {
    fn run(threads: usize, pairs: impl Fn() + Sync) -> f64 {
        let (stop, barrier) = (AtomicBool::new(false), Barrier::new(threads + 1));
        let all: Vec<(f64, f64)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        pairs();
                        barrier.wait();
                        let (from, mut done) = (nanoseconds(), 0.0);
                        while !stop.load(Relaxed) {
                            pairs();
                            done += 512.0;
                        }
                        (nanoseconds() - from, done)
                    })
                })
                .collect();
            barrier.wait();
            std::thread::sleep(THREADS_WINDOW);
            stop.store(true, Relaxed);
            workers
                .into_iter()
                .map(|worker| worker.join().expect("it only gets and drops"))
                .collect()
        });
        let sum = |of: fn(&(f64, f64)) -> f64| all.iter().map(of).sum::<f64>();
        sum(|one| one.0) / sum(|one| one.1).max(1.0)
    }
    vec![
        Box::new(move || run(threads, || repool_bench::repool_bench_vec(512))),
        Box::new(move || run(threads, || repool_bench::repool_bench_plain(512))),
    ]
}

fn with_pools(count: usize) -> Vec<Contender> {
    let pools: Vec<Pool<Vec<u8>>> = (0..count).map(|_| Pool::new(fresh)).collect();
    vec![
        Box::new(move || {
            timed(WINDOW, count, || {
                for pool in &pools {
                    work(&mut pool.get());
                }
            })
        }),
        Box::new(move || timed(WINDOW, count, || plain(count, CAPACITY))),
    ]
}

fn plain(count: usize, bytes: usize) {
    for _ in 0..count {
        work(&mut Vec::with_capacity(bytes));
    }
}

fn with_held(count: usize) -> Vec<Contender> {
    let pool = Pool::new(fresh);
    let mut guards = Vec::with_capacity(count);
    let mut vectors = Vec::with_capacity(count);
    vec![
        Box::new(move || {
            timed(WINDOW, count, || {
                for _ in 0..count {
                    let mut bytes = pool.get();
                    work(&mut bytes);
                    guards.push(bytes);
                }
                guards.clear();
            })
        }),
        Box::new(move || {
            timed(WINDOW, count, || {
                for _ in 0..count {
                    let mut bytes = fresh();
                    work(&mut bytes);
                    vectors.push(bytes);
                }
                vectors.clear();
            })
        }),
    ]
}

fn with_size(bytes: usize) -> Vec<Contender> {
    let pool = Pool::builder(move || Vec::with_capacity(bytes)).build();
    let touched = Pool::builder(move || Vec::with_capacity(bytes)).build();
    // Some microseconds of writing.
    let times = ((64 << 10) / bytes).max(1);
    let fill = |bytes: &mut Vec<u8>| {
        bytes.resize(bytes.capacity(), 1);
        black_box(bytes.as_mut_ptr());
    };
    vec![
        Box::new(move || timed(WINDOW, 16, || (0..16).for_each(|_| work(&mut pool.get())))),
        Box::new(move || timed(WINDOW, 16, || plain(16, bytes))),
        Box::new(move || timed_by(WINDOW, times, 1, || fill(&mut touched.get()))),
        Box::new(move || timed_by(WINDOW, times, 1, || fill(&mut Vec::with_capacity(bytes)))),
    ]
}

pub(crate) fn print(curves: &[Curve]) {
    println!("Nanoseconds of processor time for an object: median and quartiles\n");
    for curve in curves {
        print!("{:>12}", "");
        for line in &curve.lines {
            print!("{:>30}", line.name);
        }
        println!("   {}", curve.what);
        for at in 0..curve.lines[0].points.len() {
            print!("{:>12}", curve.lines[0].points[at].0);
            for line in &curve.lines {
                print!("{:>30}", line.points[at].1.to_string());
            }
            println!();
        }
        println!();
    }
}
