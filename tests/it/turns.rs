//! Threads that take turns under a limit: each gets objects and drops them itself. A limit as high as
//! what is in use at once is enough, however many threads there are: what idles in the cache of one
//! thread does not keep the others from having objects.

use super::support::{Census, Tag, Worker, manual, n, some};
use repool::{Budget, Builder};
use std::sync::Arc;

/// What takes turns.
#[derive(Clone, Copy, Debug)]
struct Load {
    threads: usize,
    /// How many objects one thread has at once.
    at_once: usize,
    /// How many threads have objects at once.
    together: usize,
    in_order: bool,
}

/// Returns the share of gets that created nothing, from 0.0 to 1.0, after a warm-up.
fn hit_rate<P: Send + Sync + 'static, G: Send + 'static>(
    pool: P,
    load: Load,
    get: fn(&P) -> G,
    created: impl Fn(&P) -> u64,
) -> f64 {
    let pool = Arc::new(pool);
    let workers: Vec<_> = (0..load.threads).map(|_| Worker::new()).collect();
    let mut random = 12_345_u32;
    let turns = n(40 * load.threads.max(8), 12);
    let warm = turns / 5;
    let mut before = 0;
    for turn in 0..warm + turns {
        if turn == warm {
            before = created(&pool);
        }
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let first = match load.in_order {
            true => turn,
            false => (random >> 16) as usize,
        };
        let all: Vec<_> = (first..first + load.together)
            .map(|at| &workers[at % load.threads])
            .collect();
        let held: Vec<_> = all
            .iter()
            .map(|worker| {
                let pool = pool.clone();
                worker.run(move || (0..load.at_once).map(|_| get(&pool)).collect::<Vec<_>>())
            })
            .collect();
        for (worker, held) in all.into_iter().zip(held) {
            worker.run(move || drop(held));
        }
    }
    let gets = turns * load.together * load.at_once;
    let rate = 1.0 - (created(&pool) - before) as f64 / gets as f64;
    workers.into_iter().for_each(Worker::end);
    rate
}

#[track_caller]
fn assert_enough(what: &str, load: Load, rate: f64) {
    // Miri runs too few turns for a rate.
    let least = if cfg!(miri) { 0.0 } else { 0.95 };
    assert!(
        rate >= least,
        "{what}, {load:?}: {:.1} % hits",
        100.0 * rate
    );
}

fn loads() -> Vec<Load> {
    let mut all = Vec::new();
    for threads in some([2, 5, 16], 1) {
        for at_once in some([1, 4, 16, 100], 1) {
            for together in [1, 2] {
                all.push(Load {
                    threads,
                    at_once,
                    together,
                    in_order: all.len() % 3 != 0,
                });
            }
        }
    }
    all
}

fn tags(limit: impl Fn(Builder<Tag>) -> Builder<Tag>, load: Load) -> f64 {
    let census = Census::new();
    let pool = limit(manual(census.create())).build();
    hit_rate(pool, load, |pool| pool.get(), move |_| census.born() as u64)
}

#[test]
fn a_limit_on_objects_is_enough_for_threads_that_take_turns() {
    for load in loads() {
        let in_use = load.at_once * load.together;
        for limit in [in_use, 2 * in_use] {
            let rate = tags(|builder| builder.max_idle(limit), load);
            assert_enough(&format!("max_idle({limit})"), load, rate);
        }
    }
}

fn kib() -> Vec<u8> {
    Vec::with_capacity(1 << 10)
}

#[test]
fn a_limit_on_bytes_is_enough_for_threads_that_take_turns() {
    for load in loads().into_iter().step_by(2) {
        let bytes = load.at_once * load.together * (size_of::<Vec<u8>>() + (1 << 10));
        let pool = manual(kib).max_idle_bytes(bytes).build();
        let rate = hit_rate(pool, load, |pool| pool.get(), |pool| pool.stats().created);
        assert_enough(&format!("{bytes} bytes"), load, rate);
        let pool = manual(kib).budget(Budget::new(bytes)).build();
        let rate = hit_rate(pool, load, |pool| pool.get(), |pool| pool.stats().created);
        assert_enough(&format!("a budget of {bytes} bytes"), load, rate);
    }
}

#[test]
#[cfg(all(feature = "bytes", feature = "bumpalo"))]
fn limits_of_buffers_and_arenas_are_enough_for_threads_that_take_turns() {
    use repool::{ArenaPool, BufferPool};

    for load in loads().into_iter().step_by(3) {
        let in_use = load.at_once * load.together;
        let pool = BufferPool::builder().max_idle(in_use).trim_manually();
        let rate = hit_rate(
            pool.build(),
            load,
            |pool| pool.get(1_000),
            |pool| pool.stats().created,
        );
        assert_enough(&format!("buffers, max_idle({in_use})"), load, rate);
        let pool = ArenaPool::builder().max_idle(in_use).trim_manually();
        let rate = hit_rate(
            pool.build(),
            load,
            |pool| {
                let arena = pool.get();
                arena.alloc([1_u8; 100]);
                arena
            },
            |pool| pool.stats().created,
        );
        assert_enough(&format!("arenas, max_idle({in_use})"), load, rate);
    }
}

/// Threads take turns with `at_once` objects under a limit of as many, and there is a pass every `interval` turns.
fn turns_with_passes(threads: usize, at_once: usize, interval: usize) {
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).max_idle(at_once).build());
    let workers: Vec<_> = (0..threads).map(|_| Worker::new()).collect();
    let turns = 2_000;
    let mut random = 1_u32;
    for turn in 0..turns {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let pool = pool.clone();
        let work = {
            let pool = pool.clone();
            move || drop((0..at_once).map(|_| pool.get()).collect::<Vec<_>>())
        };
        workers[(random >> 16) as usize % threads].run(work);
        if turn % interval == 0 {
            let _ = pool.trim();
        }
    }
    let rate = 1.0 - census.born() as f64 / (turns * at_once) as f64;
    assert!(
        rate >= 0.95,
        "{threads} threads, {at_once} objects, a pass every {interval} turns: {:.1} % hits",
        100.0 * rate
    );
    assert!(census.alive() <= at_once, "{}", census.alive());
    workers.into_iter().for_each(Worker::end);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of objects")]
fn passes_in_between_do_not_bring_the_starvation_back() {
    for (threads, at_once) in [(2, 1), (3, 4), (8, 16), (17, 1)] {
        for interval in [1, 3, 10] {
            turns_with_passes(threads, at_once, interval);
        }
    }
}
