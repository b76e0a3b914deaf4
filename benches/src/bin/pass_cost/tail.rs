//! The slowest operations of two busy threads, with a pass every 10 ms and without.
//!
//! The sides take turns in one process, in a different order each round, and are compared within a
//! round. One side occurs twice: its difference from itself is the noise of the machine.

use hdrhistogram::Histogram;
use repool::{Pool, janitor_stats};
use repool_bench::report::line;
use repool_bench::{fresh, work};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: usize = 2;
const INTERVAL: Duration = Duration::from_millis(10);
const TARGET: f64 = 1.5;
/// Operations between two readings of the clock; the same threads do both, in turn. A single
/// operation is mostly the clock, whose steps may be as long as an operation; sixteen hide a
/// little.
const BATCHES: [u64; 2] = [1, 16];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Passes {
    None,
    /// By the janitor.
    Automatic,
    /// By a third thread, which calls `trim`.
    ByHand,
}

struct Side {
    name: &'static str,
    passes: Passes,
    pool: Pool<Vec<u8>>,
}

/// What is compared with side 0, and the target.
const PAIRS: [(usize, &str, Option<f64>); 3] = [
    (1, "janitor", Some(TARGET)),
    (2, "third thread", None),
    (3, "no passes, again", None),
];

const PERCENTILES: [(&str, f64); 4] = [
    ("p50", 50.0),
    ("p99.9", 99.9),
    ("p99.99", 99.99),
    ("max", 100.0),
];
/// The percentiles whose ratios are reported; the target is for the first.
const COMPARED: [usize; 2] = [1, 2];

/// One side in one round.
struct Turn {
    /// Nanoseconds, by `BATCHES` and `PERCENTILES`.
    at: [[f64; PERCENTILES.len()]; BATCHES.len()],
    /// By `BATCHES`.
    readings: [u64; BATCHES.len()],
    passes: u64,
}

pub(crate) fn run(rounds: u64, length: Duration) {
    let sides = [
        Side::new("no passes", Passes::None),
        Side::new("janitor, every 10 ms", Passes::Automatic),
        Side::new("trim() by a third thread, every 10 ms", Passes::ByHand),
        Side::new("no passes, again", Passes::None),
    ];
    let mut turns: [Vec<Turn>; 4] = Default::default();
    for round in 0..rounds as usize {
        for place in 0..sides.len() {
            // Each round starts with a different one; every other round runs backwards.
            let place = if round % 2 == 0 {
                place
            } else {
                sides.len() - 1 - place
            };
            let which = (place + round / 2) % sides.len();
            settle(&sides);
            turns[which].push(sides[which].turn(length));
        }
    }

    println!(
        "get, write 64 bytes, drop on {THREADS} threads: {rounds} rounds of {} ms for each side; ns,",
        length.as_millis()
    );
    println!(
        "each with one reading of the clock, which takes {:.0} ns",
        clock()
    );
    for (which, batch) in BATCHES.into_iter().enumerate() {
        print_batch(which, batch, &sides, &turns);
    }
}

fn print_batch(which: usize, batch: u64, sides: &[Side], turns: &[Vec<Turn>]) {
    let what = match batch {
        1 => "single operations".to_owned(),
        _ => format!("batches of {batch}"),
    };
    print!("\n{:<40}", format!("{what}, medians of the rounds"));
    for (name, _) in PERCENTILES {
        print!(" {name:>8}");
    }
    println!(" {:>8} {:>7}", "million", "passes");
    for (side, turns) in sides.iter().zip(turns) {
        print!("{:<40}", side.name);
        for at in 0..PERCENTILES.len() {
            print!(
                " {:>8.0}",
                median(turns.iter().map(|turn| turn.at[which][at]))
            );
        }
        let readings: u64 = turns.iter().map(|turn| turn.readings[which]).sum();
        let passes: u64 = turns.iter().map(|turn| turn.passes).sum();
        println!(" {:>8.1} {passes:>7}", readings as f64 / 1e6);
    }
    println!(
        "\n{:<40} {:>8} {:>17}",
        format!("{what}, ratios"),
        "median",
        "quartiles"
    );
    for percentile in COMPARED {
        for (other, name, target) in PAIRS {
            let ratios = turns[other]
                .iter()
                .zip(&turns[0])
                .map(|(with, without)| with.at[which][percentile] / without.at[which][percentile]);
            let note = target
                .filter(|_| percentile == COMPARED[0])
                .map_or_else(String::new, |target| format!("  target <= {target}"));
            let name = format!("{}: {name} / no passes", PERCENTILES[percentile].0);
            line(&name, ratios.collect(), &note);
        }
    }
}

/// Empties the pools, so that each turn starts from the same state, and waits until the janitor is
/// at rest: no passes run during the other sides' turns.
fn settle(sides: &[Side]) {
    for side in sides {
        side.pool.clear();
    }
    let mut passes = u64::MAX;
    while passes != janitor_stats().passes {
        passes = janitor_stats().passes;
        thread::sleep(INTERVAL * 2);
    }
}

impl Side {
    fn new(name: &'static str, passes: Passes) -> Self {
        let pool = Pool::builder(fresh);
        let pool = match passes {
            Passes::Automatic => pool.trim_every(INTERVAL),
            Passes::None | Passes::ByHand => pool.trim_manually(),
        };
        let pool = pool.build();
        Self { name, passes, pool }
    }

    fn turn(&self, length: Duration) -> Turn {
        let barrier = &Barrier::new(THREADS);
        let over = &AtomicBool::new(false);
        let before = janitor_stats().passes;
        let mut times = BATCHES.map(|_| histogram());
        let by_hand = thread::scope(|scope| {
            let workers: [_; THREADS] = std::array::from_fn(|_| {
                scope.spawn(move || time_operations(&self.pool, barrier, length))
            });
            let by_hand = (self.passes == Passes::ByHand)
                .then(|| scope.spawn(|| trim_until(over, &self.pool)));
            for worker in workers {
                let worker = worker.join().expect("a worker panicked");
                for (times, worker) in times.iter_mut().zip(worker) {
                    times.add(worker).expect("of one kind");
                }
            }
            over.store(true, Ordering::Relaxed);
            by_hand.map_or(0, |thread| thread.join().expect("a pass panicked"))
        });
        let readings = [times[0].len(), times[1].len()];
        Turn {
            at: times.map(|times| PERCENTILES.map(|(_, at)| times.value_at_percentile(at) as f64)),
            readings,
            passes: janitor_stats().passes - before + by_hand,
        }
    }
}

/// The times of operations, by `BATCHES`.
fn time_operations(
    pool: &Pool<Vec<u8>>,
    barrier: &Barrier,
    length: Duration,
) -> [Histogram<u64>; BATCHES.len()] {
    let mut times = BATCHES.map(|_| histogram());
    // Twice: first without keeping the figures, to warm up.
    for (length, keep) in [(length / 20, false), (length, true)] {
        barrier.wait();
        let start = Instant::now();
        let mut now = start;
        while now - start < length {
            for (batch, times) in BATCHES.into_iter().zip(&mut times) {
                let before = Instant::now();
                for _ in 0..batch {
                    let mut bytes = pool.get();
                    work(&mut bytes);
                }
                now = Instant::now();
                times.saturating_record((now - before).as_nanos() as u64);
            }
        }
        if !keep {
            times.iter_mut().for_each(Histogram::reset);
        }
    }
    times
}

/// Runs a pass in each interval; returns how many.
fn trim_until(over: &AtomicBool, pool: &Pool<Vec<u8>>) -> u64 {
    let mut passes = 0;
    while !over.load(Ordering::Relaxed) {
        thread::sleep(INTERVAL);
        pool.trim();
        passes += 1;
    }
    passes
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("three digits are possible")
}

/// The median time between two readings of the clock, in ns.
fn clock() -> f64 {
    let readings: Vec<Instant> = (0..100_001).map(|_| Instant::now()).collect();
    let between = readings.windows(2).map(|pair| pair[1] - pair[0]);
    median(between.map(|time| time.as_nanos() as f64))
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
