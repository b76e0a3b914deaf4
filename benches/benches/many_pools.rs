//! A hit in turn over many pools, compared with `regex-automata`'s own pool on the same objects.
//!
//! A program with a thousand regexes has a thousand pools, and each search gets from a different
//! one. The cost of a hit is then the cache lines that it touches, none of which the previous hit
//! has touched. Both sides take turns within one process, in a different order each round, over the
//! same permutation of their pools; a ratio is taken within each round.
//!
//! Usage: `cargo bench --bench many_pools`

use regex_automata::util::pool::Pool as RegexPool;
use repool::{Pool, Recycle};
use repool_bench::report;
use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUNDS: usize = 201;
/// Hits of one side in one round, at least.
const HITS: usize = 50_000;

/// The scratch memory of a search, as far as a hit touches it.
struct Cache {
    slots: Vec<usize>,
    searches: usize,
}

fn cache() -> Cache {
    Cache {
        slots: Vec::with_capacity(64),
        searches: 0,
    }
}

impl Recycle for Cache {
    fn recycle(&mut self) {
        self.slots.clear();
    }
}

/// What a search does with it.
#[inline(always)]
fn search(cache: &mut Cache) {
    cache.slots.clear();
    cache.slots.push(black_box(7));
    cache.searches += 1;
}

/// Nanoseconds per hit.
fn time(order: &[usize], hit: impl Fn(usize)) -> f64 {
    let turns = HITS.div_ceil(order.len());
    let start = Instant::now();
    for _ in 0..turns {
        order.iter().for_each(|at| hit(*at));
    }
    start.elapsed().as_nanos() as f64 / (turns * order.len()) as f64
}

/// Every pool once, in an order without locality.
fn order(pools: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..pools).collect();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for at in (1..pools).rev() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        order.swap(at, (random >> 33) as usize % (at + 1));
    }
    order
}

fn compare(count: usize) {
    // In turn, so that neither side has the better memory.
    let (mut ours, mut theirs, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let pool = Pool::builder(cache).trim_every(Duration::from_secs(3600));
        ours.push(
            pool.reset(|cache| {
                cache.slots.clear();
                true
            })
            .build(),
        );
        theirs.push(RegexPool::new(cache as fn() -> Cache));
        plain.push(
            Pool::builder(cache)
                .trim_every(Duration::from_secs(3600))
                .build(),
        );
    }
    let order = order(count);
    let with_reset = |at: usize| search(&mut ours[at].get());
    let by_type = |at: usize| search(&mut plain[at].get());
    let regex = |at: usize| search(&mut theirs[at].get());
    let mut times: [Vec<f64>; 3] = Default::default();
    type Side<'a> = &'a dyn Fn(&[usize]) -> f64;
    let sides: [Side<'_>; 3] = [
        &|order| time(order, by_type),
        &|order| time(order, with_reset),
        &|order| time(order, regex),
    ];
    for round in 0..ROUNDS + 2 {
        for turn in 0..sides.len() {
            let side = (round + turn) % sides.len();
            let took = sides[side](&order);
            // The first rounds create the objects.
            if round >= 2 {
                times[side].push(took);
            }
        }
    }
    let ratios = |side: usize| {
        let pairs = times[side].iter().zip(&times[2]);
        pairs
            .map(|(ours, theirs)| ours / theirs)
            .collect::<Vec<_>>()
    };
    report::line(
        &format!("{count:>6} pools, repool / regex-automata"),
        ratios(0),
        "",
    );
    report::line(
        &format!("{count:>6} pools, the same with a closure"),
        ratios(1),
        "",
    );
    report::line(
        &format!("{count:>6} pools, regex-automata, ns"),
        times[2].clone(),
        "",
    );
}

fn main() {
    let args: Vec<_> = std::env::args().collect();
    report::print_setting(&args);
    for count in [1, 10, 100, 1_000, 5_000, 10_000] {
        compare(count);
    }
}
