//! How a case is timed: in many short rounds, each with new contenders.
//!
//! A pool's buffer and a local one are allocated once, and their addresses decide much of the cost
//! of a short write: whether it is aligned, and whether it crosses a page. Kept for a whole run,
//! they would compare two addresses. So each round has its own contenders at other addresses, and
//! the median over all rounds is one over many addresses.

use crate::cases::{Case, Loop};
use std::time::{Duration, Instant};

/// The times of each contender in ns per buffer, one per round.
pub fn measure(case: &Case, rounds: usize, slice: Duration, random: &mut Random) -> Vec<Vec<f64>> {
    let mut first = Draw::new(case, random);
    let lengths: Vec<u64> = first
        .loops
        .iter_mut()
        .map(|run| calibrate(run, slice))
        .collect();
    drop(first);
    let mut times = vec![Vec::new(); lengths.len()];
    for round in 0..rounds {
        let mut draw = Draw::new(case, random);
        for step in 0..lengths.len() {
            // Each round starts with a different one; every other round runs backwards.
            let step = if round % 2 == 0 {
                step
            } else {
                lengths.len() - 1 - step
            };
            let which = (step + round / 2) % lengths.len();
            let (run, n) = (&mut draw.loops[which], lengths[which]);
            // A new contender is slow, and the others may have evicted its cache lines.
            run(n);
            let ns = timed(run, n).as_secs_f64() * 1e9;
            times[which].push(ns / (n * case.buffers as u64) as f64);
        }
    }
    times
}

/// Runs each contender once, each in its own memory.
struct Draw {
    loops: Vec<Loop>,
    /// What lies between them.
    _gaps: Vec<Vec<u8>>,
}

impl Draw {
    fn new(case: &Case, random: &mut Random) -> Self {
        let mut gaps = Vec::new();
        let loops = case
            .contenders
            .iter()
            .map(|contender| {
                // Odd sizes, for an allocator that places blocks one behind the other, larger than
                // what glibc keeps for its next call, or they would get the old addresses. And
                // blocks of the measured size, for an allocator with a region per size.
                gaps.extend((0..=random.below(6)).map(|_| block(1033 + random.below(4096))));
                gaps.extend((0..random.below(3)).map(|_| block(case.size)));
                // And small blocks: in a real process the memory around a buffer is not the first
                // of its size either. An allocator with pages per size would otherwise place all of
                // it at their start.
                let small = random.below(200);
                gaps.extend((0..small).map(|_| block(16 + random.below(1000))));
                let mut run = (contender.make)();
                // A pool allocates when it is first used.
                run(1);
                run
            })
            .collect();
        Self { loops, _gaps: gaps }
    }
}

fn block(size: usize) -> Vec<u8> {
    Vec::with_capacity(size)
}

fn timed(run: &mut Loop, n: u64) -> Duration {
    let start = Instant::now();
    run(n);
    start.elapsed()
}

/// Returns how many runs fit into a slice.
fn calibrate(run: &mut Loop, slice: Duration) -> u64 {
    let mut n = 1;
    loop {
        let time = (0..3).map(|_| timed(run, n)).min().unwrap_or_default();
        if time * 2 >= slice {
            let fits = n as f64 * slice.as_secs_f64() / time.as_secs_f64();
            return (fits as u64).max(1);
        }
        n *= 2;
    }
}

/// xorshift: the same numbers in every run.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    pub fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.fraction() * end as f64) as usize
    }
}
