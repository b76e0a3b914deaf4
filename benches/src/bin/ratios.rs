//! How repool compares, as ratios of times taken within the same millisecond.
//!
//! All contenders run in one process, in turn, in many short rounds; the order changes from round
//! to round. A ratio is taken within each round, and the median of the ratios is reported with its
//! quartiles: a machine that changes speed, or is busy for a while, affects both sides.
//!
//! Usage: `ratios [ROUNDS [MICROSECONDS]]`: rounds (201) and the time of one contender in one round
//! (200).

use repool_bench as bench;
use repool_bench::report::{line, print_setting};
use std::alloc::System;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

#[unsafe(no_mangle)]
#[inline(never)]
fn malloc_jemalloc(n: u64) {
    bench::malloc_pairs(&tikv_jemallocator::Jemalloc, n);
}

#[unsafe(no_mangle)]
#[inline(never)]
fn malloc_mimalloc(n: u64) {
    bench::malloc_pairs(&mimalloc::MiMalloc, n);
}

#[unsafe(no_mangle)]
#[inline(never)]
fn malloc_system(n: u64) {
    bench::malloc_pairs(&System, n);
}

type Loop = fn(u64);

#[derive(Clone, Copy)]
struct Contender {
    name: &'static str,
    run: Loop,
    /// How many threads run it at the same time.
    threads: usize,
}

const fn contender(name: &'static str, run: Loop, threads: usize) -> Contender {
    Contender { name, run, threads }
}

const REPOOL: usize = 0;
const CELL: usize = 1;
const CELL_CLEAN: usize = 2;
const REPOOL_CALLED: usize = 3;
const CELL_CALLED: usize = 4;
const JEMALLOC: usize = 5;
const SYSTEM: usize = 6;
const MIMALLOC: usize = 7;
const REPOOL_TWICE: usize = 8;
const CELL_TWICE: usize = 9;

const CONTENDERS: [Contender; 10] = [
    contender("repool", bench::repool_bench_vec, 1),
    contender("cell", bench::repool_bench_cell, 1),
    contender("cell cleared on return", bench::repool_bench_cell_clean, 1),
    contender("repool, called work", bench::repool_bench_vec_called, 1),
    contender("cell, called work", bench::repool_bench_cell_called, 1),
    contender("jemalloc", malloc_jemalloc, 1),
    contender("system malloc", malloc_system, 1),
    contender("mimalloc", malloc_mimalloc, 1),
    contender("repool, 2 threads", bench::repool_bench_vec, 2),
    contender("cell, 2 threads", bench::repool_bench_cell, 2),
];

/// What is compared with what, and the target.
const PAIRS: [(usize, usize, Option<f64>); 8] = [
    (REPOOL, CELL, Some(1.30)),
    (REPOOL, CELL_CLEAN, Some(1.30)),
    (REPOOL_CALLED, CELL_CALLED, Some(1.30)),
    (REPOOL, JEMALLOC, Some(0.85)),
    (REPOOL, SYSTEM, None),
    (REPOOL, MIMALLOC, None),
    (REPOOL_TWICE, REPOOL, Some(1.15)),
    // The cost of two busy cores on this machine, whatever runs there.
    (CELL_TWICE, CELL, None),
];

/// Two threads whose runs overlap less than this did not run at the same time: no figure.
const OVERLAP: f64 = 0.8;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize, default: u64| args.get(at).map_or(Ok(default), |arg| arg.parse());
    let (Ok(rounds), Ok(micros)) = (number(1, 201), number(2, 200)) else {
        eprintln!("usage: ratios [ROUNDS [MICROSECONDS]]");
        return ExitCode::FAILURE;
    };
    let slice = Duration::from_micros(micros);
    print_setting(&args);

    let times = thread::scope(|scope| {
        let second = Second::spawn(scope);
        measure(rounds, slice, &second)
    });

    println!("{rounds} rounds of {micros} us for each contender; ns per pair and thread\n");
    println!("{:<40} {:>8} {:>17}", "", "median", "quartiles");
    for (contender, times) in CONTENDERS.iter().zip(&times) {
        line(
            contender.name,
            times.iter().flatten().copied().collect(),
            "",
        );
    }
    println!();
    for (one, other, target) in PAIRS {
        let ratios: Vec<f64> = times[one]
            .iter()
            .zip(&times[other])
            .filter_map(|(one, other)| Some((*one)? / (*other)?))
            .collect();
        let mut note = target.map_or_else(String::new, |target| format!("  target <= {target}"));
        if ratios.len() < times[one].len() {
            note += &format!("  ({} of {} rounds)", ratios.len(), times[one].len());
        }
        let name = format!("{} / {}", CONTENDERS[one].name, CONTENDERS[other].name);
        line(&name, ratios, &note);
    }
    ExitCode::SUCCESS
}

/// The times of each contender, one per round.
fn measure(rounds: u64, slice: Duration, second: &Second) -> Vec<Vec<Option<f64>>> {
    let lengths = CONTENDERS.map(|contender| calibrate(contender.run, slice));
    let mut times = vec![Vec::new(); CONTENDERS.len()];
    for round in 0..rounds as usize {
        for step in 0..CONTENDERS.len() {
            // Each round starts with a different one; every other round runs backwards.
            let step = if round % 2 == 0 {
                step
            } else {
                CONTENDERS.len() - 1 - step
            };
            let which = (step + round / 2) % CONTENDERS.len();
            let Contender { run, threads, .. } = CONTENDERS[which];
            let n = lengths[which];
            // The others may have evicted this one's cache lines.
            run(n / 16);
            let time = match threads {
                1 => Some(Span::of(run, n).length()),
                _ => second.together(run, n),
            };
            times[which].push(time.map(|time| time.as_secs_f64() * 1e9 / n as f64));
        }
    }
    times
}

/// Returns how many pairs take about one slice.
fn calibrate(run: Loop, slice: Duration) -> u64 {
    let mut n = 1_000;
    loop {
        let time = (0..5)
            .map(|_| Span::of(run, n).length())
            .min()
            .unwrap_or_default();
        if time * 2 >= slice {
            return (n as f64 * slice.as_secs_f64() / time.as_secs_f64()) as u64;
        }
        n *= 2;
    }
}

/// When a run started and ended.
#[derive(Clone, Copy)]
struct Span {
    start: Instant,
    end: Instant,
}

impl Span {
    fn of(run: Loop, n: u64) -> Self {
        let start = Instant::now();
        run(n);
        Self {
            start,
            end: Instant::now(),
        }
    }

    fn length(self) -> Duration {
        self.end - self.start
    }

    fn overlap(self, other: Self) -> Duration {
        let start = self.start.max(other.start);
        self.end.min(other.end).saturating_duration_since(start)
    }
}

/// The second thread: asleep except in rounds of two.
struct Second {
    jobs: mpsc::Sender<(Loop, u64)>,
    spans: mpsc::Receiver<Span>,
    gate: &'static Gate,
}

/// Where the two spin until both are ready, so that they start together.
struct Gate {
    ready: AtomicBool,
    open: AtomicU64,
}

impl Second {
    fn spawn<'scope>(scope: &'scope thread::Scope<'scope, '_>) -> Self {
        static GATE: Gate = Gate {
            ready: AtomicBool::new(false),
            open: AtomicU64::new(0),
        };
        let (jobs, inbox) = mpsc::channel::<(Loop, u64)>();
        let (outbox, spans) = mpsc::channel();
        scope.spawn(move || {
            for (round, (run, n)) in (1..).zip(inbox) {
                run(n / 16);
                GATE.ready.store(true, Ordering::Release);
                while GATE.open.load(Ordering::Acquire) < round {
                    std::hint::spin_loop();
                }
                if outbox.send(Span::of(run, n)).is_err() {
                    return;
                }
            }
        });
        Self {
            jobs,
            spans,
            gate: &GATE,
        }
    }

    /// Runs a loop on both threads; returns the time of one, or `None` if they did not run at the
    /// same time.
    fn together(&self, run: Loop, n: u64) -> Option<Duration> {
        self.jobs.send((run, n)).ok()?;
        while !self.gate.ready.swap(false, Ordering::Acquire) {
            thread::yield_now();
        }
        self.gate.open.fetch_add(1, Ordering::Release);
        let mine = Span::of(run, n);
        let other = self.spans.recv().ok()?;
        let shorter = mine.length().min(other.length());
        let at_once = mine.overlap(other).as_secs_f64() >= OVERLAP * shorter.as_secs_f64();
        at_once.then(|| (mine.length() + other.length()) / 2)
    }
}
