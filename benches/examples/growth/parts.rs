//! The parts of a machine with many cores, measured with two.
//!
//! Where needed, every exchange with the depot is forced: a pool whose objects claim to weigh as
//! much as a whole list keeps one object per list, so nearly every get and every drop takes the
//! depot's lock. Two threads run, each pinned to a processor; a round in which one of them did not
//! run for a tenth of the time does not count.

use crate::clock::{Spread, nanoseconds};
use repool::{Pool, Pooled};
use std::hint::{black_box, spin_loop};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Objects in a list, and the bytes of it: see DESIGN.md.
pub(crate) const LIST: usize = 64;
const LIST_BYTES: usize = 128 << 10;

/// Short, so that two threads may run through one without being interrupted.
const WINDOW: Duration = Duration::from_millis(3);
/// Objects that a thread holds at a time if each has to go to the depot.
const HELD: usize = 32;
/// Nanoseconds of other work between two exchanges.
pub(crate) const BETWEEN: [f64; 6] = [0.0, 50.0, 100.0, 200.0, 400.0, 1600.0];

pub(crate) struct Parts {
    /// Nanoseconds to read a cache line that another core has written.
    pub(crate) line: Option<Spread>,
    /// How the pool waits for a lock: a pause of the processor, and a yield to the system.
    pub(crate) pause: Spread,
    pub(crate) yielded: Spread,
    /// Get and drop of an object that stays on its thread.
    pub(crate) pair: Spread,
    /// Moving a whole list out of the depot or into it, with no other thread there.
    pub(crate) exchange: Spread,
    /// The same with lists of one object, from [`BETWEEN`]'s work on: alone, beside a thread with
    /// its own depot, and beside one that uses the same depot.
    pub(crate) contended: Vec<Contended>,
    /// What an object that one thread gets and another drops costs both threads together, and what
    /// it costs if it is handed back directly instead of through the pool.
    pub(crate) crossing: Option<[Spread; 2]>,
    /// A thread's own get and drop: beside a thread that touches no pool, beside one that drops
    /// objects of another pool, and beside one that drops those that this thread got.
    pub(crate) beside: [Option<Spread>; 3],
}

pub(crate) struct Contended {
    pub(crate) between: f64,
    pub(crate) alone: Spread,
    pub(crate) apart: Option<Spread>,
    pub(crate) shared: Option<Spread>,
    /// Objects created per 1000 gets at the shared depot, because its lock was not available in
    /// time.
    pub(crate) created: f64,
}

pub(crate) fn measure(rounds: usize) -> Parts {
    eprintln!("parts ...");
    let spread = |of: &dyn Fn() -> f64| {
        // A new pool is slow.
        of();
        Spread::of((0..rounds).map(|_| of()).collect()).expect("there is a round")
    };
    let light: Pool<u64> = Pool::builder(|| 0).trim_manually().build();
    let pair = spread(&|| held(&light, LIST));
    // Between these two are four more lists, and no other difference.
    let exchange = spread(&|| {
        let (few, many) = (256.0 * held(&light, 256), 512.0 * held(&light, 512));
        (many - few - 256.0 * held(&light, LIST)) / 8.0
    });
    Parts {
        line: transfers(rounds),
        pause: spread(&|| each(1000, spin_loop)),
        yielded: spread(&|| each(100, std::thread::yield_now)),
        pair,
        exchange,
        contended: BETWEEN
            .iter()
            .map(|&between| contended(rounds, between))
            .collect(),
        crossing: crossing(rounds),
        beside: beside(rounds),
    }
}

/// Nanoseconds per call.
fn each(calls: u32, call: impl Fn()) -> f64 {
    let from = nanoseconds();
    (0..calls).for_each(|_| call());
    (nanoseconds() - from) / f64::from(calls)
}

/// Nanoseconds of a get and a drop, with this many objects held at a time.
fn held(pool: &Pool<u64>, objects: usize) -> f64 {
    let mut guards = Vec::with_capacity(objects);
    let start = Instant::now();
    let (from, mut done) = (nanoseconds(), 0);
    while start.elapsed() < WINDOW {
        for _ in 0..8 {
            guards.extend((0..objects).map(|_| pool.get()));
            guards.clear();
            done += objects;
        }
    }
    (nanoseconds() - from) / done as f64
}

/// Pins this thread to one processor; returns whether that worked.
fn pin(processor: usize) -> bool {
    // SAFETY: all zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes only to the given set; 0 and 1 are within it.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: only reads the given set.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) == 0 }
}

/// Runs both at the same time, each on its own processor; returns their results if both ran all the
/// time.
fn both<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> Option<(A, B)> {
    fn watched<R>(barrier: &Barrier, processor: usize, run: impl FnOnce() -> R) -> (bool, R) {
        let pinned = pin(processor);
        barrier.wait();
        let (wall, from) = (Instant::now(), nanoseconds());
        let result = run();
        let (wall, ran) = (wall.elapsed().as_nanos() as f64, nanoseconds() - from);
        (pinned && ran > 0.9 * wall, result)
    }
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| watched(&barrier, 0, one));
        let second = scope.spawn(|| watched(&barrier, 1, other));
        let (first, second) = (first.join().ok()?, second.join().ok()?);
        (first.0 && second.0).then_some((first.1, second.1))
    })
}

/// A round that does not count is repeated, many times.
fn counting<R>(rounds: usize, run: impl Fn() -> Option<R>) -> Vec<R> {
    let mut results = Vec::new();
    for _ in 0..10 * rounds {
        results.extend(run());
        if results.len() == rounds {
            break;
        }
    }
    results
}

/// One cache line goes back and forth.
fn transfers(rounds: usize) -> Option<Spread> {
    const TIMES: usize = 20_000;
    let times = counting(rounds, || {
        let ball = AtomicUsize::new(0);
        // Release and Acquire: each side continues from what the other has written.
        let play = |mine: usize| {
            let start = Instant::now();
            for turn in 0..TIMES {
                while ball.load(Ordering::Acquire) != 2 * turn + mine {
                    spin_loop();
                }
                ball.store(2 * turn + mine + 1, Ordering::Release);
            }
            start.elapsed().as_nanos() as f64 / (2 * TIMES) as f64
        };
        both(|| play(0), || play(1)).map(|(one, _)| one)
    });
    Spread::of(times)
}

/// Iterations of [`work`] per nanosecond.
fn speed() -> f64 {
    const TIMES: u64 = 200_000;
    let from = nanoseconds();
    work(TIMES);
    TIMES as f64 / (nanoseconds() - from)
}

/// Work that touches no memory.
#[inline(never)]
fn work(times: u64) {
    let mut sum = times;
    for _ in 0..times {
        sum = black_box(sum.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    }
}

fn heavy() -> Pool<u64> {
    Pool::builder(|| 0)
        .retained_bytes(|_| LIST_BYTES)
        .trim_manually()
        .build()
}

/// Nanoseconds of one exchange, with this many iterations of work before each. Adds the number of
/// gets to `gets`.
fn exchanges(pool: &Pool<u64>, times: u64, gets: &AtomicUsize) -> f64 {
    let mut guards: Vec<Pooled<u64>> = Vec::with_capacity(HELD);
    let (start, from, mut done) = (Instant::now(), nanoseconds(), 0.0);
    while start.elapsed() < WINDOW {
        for _ in 0..HELD {
            work(times);
            guards.push(pool.get());
        }
        for guard in guards.drain(..) {
            work(times);
            drop(guard);
        }
        done += (2 * HELD) as f64;
    }
    let spent = nanoseconds() - from;
    // Relaxed: read when the threads have ended.
    gets.fetch_add(done as usize / 2, Ordering::Relaxed);
    spent / done
}

fn contended(rounds: usize, between: f64) -> Contended {
    let times = (between * speed()) as u64;
    let (one, other, shared) = (heavy(), heavy(), heavy());
    let gets = &AtomicUsize::new(0);
    let run = |pool| exchanges(pool, times, gets);
    // The first objects are created here.
    run(&one);
    let alone = (0..rounds).map(|_| run(&one)).collect();
    let mean = |(one, other)| f64::midpoint(one, other);
    let apart = counting(rounds, || both(|| run(&one), || run(&other)).map(mean));
    let twice = || both(|| run(&shared), || run(&shared)).map(mean);
    twice();
    gets.store(0, Ordering::Relaxed);
    let before = shared.stats().created;
    let together = counting(rounds, twice);
    let created = (shared.stats().created - before) as f64;
    Contended {
        between: times as f64 / speed(),
        alone: Spread::of(alone).expect("there is a round"),
        apart: Spread::of(apart),
        shared: Spread::of(together),
        created: 1000.0 * created / gets.load(Ordering::Relaxed).max(1) as f64,
    }
}

/// Batches of [`LIST`] vectors go over, and their empty batch comes back. `make` fills a batch and
/// `take` empties it.
fn over<T: Send>(
    make: impl Fn(&mut Vec<T>) + Send,
    take: impl Fn(&mut Vec<T>) + Send,
) -> Option<f64> {
    let (full, filled) = crossbeam_channel::bounded::<Vec<T>>(4);
    let (back, empty) = crossbeam_channel::bounded::<Vec<T>>(8);
    for _ in 0..4 {
        back.send(Vec::with_capacity(LIST)).ok()?;
    }
    let getter = move || {
        let (start, from, mut done) = (Instant::now(), nanoseconds(), 0.0);
        while start.elapsed() < WINDOW {
            // Polls: a thread that sleeps would not count as one that runs.
            let Ok(mut batch) = empty.try_recv() else {
                spin_loop();
                continue;
            };
            make(&mut batch);
            done += LIST as f64;
            if full.send(batch).is_err() {
                break;
            }
        }
        (
            start.elapsed().as_nanos() as f64,
            nanoseconds() - from,
            done,
        )
    };
    let dropper = move || {
        loop {
            match filled.try_recv() {
                Ok(mut batch) => {
                    take(&mut batch);
                    let _ = back.try_send(batch);
                }
                Err(crossbeam_channel::TryRecvError::Empty) => spin_loop(),
                Err(crossbeam_channel::TryRecvError::Disconnected) => break,
            }
        }
    };
    let ((_, ran, done), ()) = both(getter, dropper)?;
    // Two processors for as long as the getter ran.
    Some(2.0 * ran / done)
}

fn crossing(rounds: usize) -> Option<[Spread; 2]> {
    let pool: Pool<Vec<u8>> = Pool::new(repool_bench::fresh);
    let pooled = counting(rounds, || {
        let get = |batch: &mut Vec<Pooled<Vec<u8>>>| {
            batch.extend((0..LIST).map(|_| {
                let mut bytes = pool.get();
                repool_bench::work(&mut bytes);
                bytes
            }));
        };
        over(get, Vec::clear)
    });
    let by_hand = counting(rounds, || {
        let get = |batch: &mut Vec<Vec<u8>>| {
            batch.resize_with(LIST, repool_bench::fresh);
            batch.iter_mut().for_each(repool_bench::work);
        };
        over(get, |batch| batch.iter_mut().for_each(Vec::clear))
    });
    Some([Spread::of(pooled)?, Spread::of(by_hand)?])
}

/// What the other thread does meanwhile.
#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    DropsOfAnotherPool,
    DropsOfThis,
}

fn beside(rounds: usize) -> [Option<Spread>; 3] {
    const OBJECTS: usize = 20_000;
    let (pool, another) = (
        Pool::new(repool_bench::fresh),
        Pool::new(repool_bench::fresh),
    );
    let round = |what: Beside| {
        let (send, receive) = crossbeam_channel::bounded::<Vec<Pooled<Vec<u8>>>>(1);
        let ended = &AtomicBool::new(false);
        let (pool, another) = (&pool, &another);
        let owner = move || {
            let of = match what {
                Beside::DropsOfAnotherPool => another,
                Beside::Nothing | Beside::DropsOfThis => pool,
            };
            // They come from here, wherever they were before.
            let all: Vec<_> = (0..OBJECTS).map(|_| of.get()).collect();
            let kept = match what {
                Beside::Nothing => Some(all),
                Beside::DropsOfAnotherPool | Beside::DropsOfThis => {
                    send.send(all).ok()?;
                    None
                }
            };
            drop(send);
            let (from, mut pairs) = (nanoseconds(), 0.0);
            while !ended.load(Ordering::Relaxed) {
                for _ in 0..500 {
                    repool_bench::work(&mut pool.get());
                }
                pairs += 500.0;
            }
            let time = (nanoseconds() - from) / pairs;
            drop(kept);
            Some(time)
        };
        let other = move || {
            loop {
                match receive.try_recv() {
                    Ok(all) => break drop(all),
                    Err(crossbeam_channel::TryRecvError::Empty) => spin_loop(),
                    Err(crossbeam_channel::TryRecvError::Disconnected) => break work(200_000),
                }
            }
            ended.store(true, Ordering::Relaxed);
        };
        both(owner, other).and_then(|(time, ())| time)
    };
    [
        Beside::Nothing,
        Beside::DropsOfAnotherPool,
        Beside::DropsOfThis,
    ]
    .map(|what| Spread::of(counting(rounds, || round(what))))
}

impl Parts {
    pub(crate) fn print(&self) {
        println!("Parts, in nanoseconds: median and quartiles\n");
        let shown = |spread: Option<Spread>| {
            spread.map_or("no round counts".to_owned(), |spread| spread.to_string())
        };
        println!(
            "  a line from core to core                   {}",
            shown(self.line)
        );
        println!(
            "  a pause; a yield                           {}; {}",
            self.pause, self.yielded
        );
        println!("  get and drop on one thread                 {}", self.pair);
        println!(
            "  a list of {LIST} to or from the depot, alone   {}",
            self.exchange
        );
        let crossing = |at: usize| shown(self.crossing.map(|both| both[at]));
        println!(
            "  an object that crosses, both threads       {}",
            crossing(0)
        );
        println!(
            "  the same, sent back by hand without a pool {}",
            crossing(1)
        );
        if let (Some([pooled, by_hand]), Some(line)) = (self.crossing, self.line) {
            println!(
                "  the pool's part of that                    {:.1}, as much as {:.2} lines that are waited for",
                pooled.median - by_hand.median,
                (pooled.median - by_hand.median) / line.median
            );
        }
        println!("\n  a thread's own get, write and drop, beside a thread that");
        for (what, time) in [
            "touches no pool                          ",
            "drops objects of another pool            ",
            "drops objects that this one got          ",
        ]
        .iter()
        .zip(self.beside)
        {
            println!("    {what}{}", shown(time));
        }
        if let [Some(alone), _, Some(same)] = self.beside {
            println!(
                "    the last to the first                    {:.2}",
                same.median / alone.median
            );
        }
        println!(
            "\n  an exchange with the depot, lists of one object, and other work of some ns before each:\n"
        );
        println!(
            "{:>10}{:>22}{:>28}{:>24}{:>10}",
            "work", "alone", "two threads, two depots", "the same depot", "created"
        );
        for one in &self.contended {
            println!(
                "{:>10.0}{:>22}{:>28}{:>24}{:>10.2}",
                one.between,
                one.alone.to_string(),
                shown(one.apart),
                shown(one.shared),
                one.created
            );
        }
        println!("  (created: objects in 1000 gets, because the lock was not to be had in time)\n");
    }
}
