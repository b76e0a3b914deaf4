//! Times of hits, misses, held guards, threads and hand-over, each next to plain allocation.
//!
//! Absolute times vary with the state of the machine; `ratios` compares within the same
//! millisecond.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use repool::{Pool, Pooled};
use repool_bench::{
    fresh, held, repool_bench_cell, repool_bench_plain, repool_bench_user, repool_bench_vec, work,
};
use std::hint::black_box;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Times a loop that counts its own iterations.
fn timed(run: impl Fn(u64)) -> impl FnMut(u64) -> Duration {
    move |n| {
        let start = Instant::now();
        run(n);
        start.elapsed()
    }
}

/// Get, write 64 bytes, return: the object was idle in the thread's cache.
fn hit(c: &mut Criterion) {
    let mut group = c.benchmark_group("hit");
    group.bench_function("repool", |b| b.iter_custom(timed(repool_bench_vec)));
    group.bench_function("repool-own-type", |b| {
        b.iter_custom(timed(repool_bench_user))
    });
    group.bench_function("cell", |b| b.iter_custom(timed(repool_bench_cell)));
    group.bench_function("plain", |b| b.iter_custom(timed(repool_bench_plain)));
    group.finish();
}

/// Nothing is idle: each get creates, and the object leaves for good.
fn miss(c: &mut Criterion) {
    let mut group = c.benchmark_group("miss");
    group.bench_function("repool", |b| {
        let pool = Pool::new(fresh);
        b.iter(|| {
            let mut bytes = pool.get();
            work(&mut bytes);
            Pooled::into_inner(bytes)
        });
    });
    group.bench_function("repool-switched-off", |b| {
        let pool = Pool::new(fresh);
        pool.set_enabled(false);
        b.iter(|| work(&mut pool.get()));
    });
    group.bench_function("plain", |b| b.iter_custom(timed(repool_bench_plain)));
    group.finish();
}

/// Some objects held at a time, returned in the order they were got. 8 fit into one list of the
/// cache; 40 do not.
fn holding(c: &mut Criterion) {
    fn one<const N: usize>(c: &mut Criterion) {
        let mut group = c.benchmark_group(format!("hold-{N}"));
        group.throughput(Throughput::Elements(N as u64));
        group.bench_function("repool", |b| b.iter_custom(timed(held::<N>)));
        group.bench_function("plain", |b| {
            b.iter(|| {
                let held: [Vec<u8>; N] = std::array::from_fn(|_| {
                    let mut bytes = fresh();
                    work(&mut bytes);
                    bytes
                });
                black_box(&held);
                drop(held);
            });
        });
        group.finish();
    }
    one::<8>(c);
    one::<40>(c);
}

/// The time in which `threads` threads have done `n` pairs each, all started at the same time: from
/// the first start to the last end.
fn at_once(threads: usize, n: u64, run: fn(u64)) -> Duration {
    let barrier = Barrier::new(threads);
    let spans = thread::scope(|scope| {
        let work = || {
            run(64);
            barrier.wait();
            let start = Instant::now();
            run(n);
            (start, Instant::now())
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, _>| worker.join().expect("no panic");
        workers.into_iter().map(join).collect::<Vec<_>>()
    });
    let start = spans.iter().map(|span| span.0).min();
    let end = spans.iter().map(|span| span.1).max();
    end.zip(start)
        .map_or(Duration::ZERO, |(end, start)| end - start)
}

/// A get and a drop in turn on several threads. With more threads than cores, the time rises by the
/// share of a core that each thread has.
fn threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("threads");
    for threads in [1, 2, 8] {
        group.throughput(Throughput::Elements(threads as u64));
        for (name, run) in [
            ("repool", repool_bench_vec as fn(u64)),
            ("cell", repool_bench_cell),
            ("plain", repool_bench_plain),
        ] {
            group.bench_with_input(BenchmarkId::new(name, threads), &threads, |b, &threads| {
                b.iter_custom(|n| at_once(threads, n, run));
            });
        }
    }
    group.finish();
}

/// The time to pass `n` objects from the thread that gets them to one that drops them.
fn hand_over<T: Send>(n: u64, make: impl Fn() -> T + Sync) -> Duration {
    let (sender, receiver) = mpsc::sync_channel(64);
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Moved in, so that the consumer's loop ends with this thread.
            let sender = sender;
            for _ in 0..n {
                sender.send(make()).expect("the consumer is there");
            }
        });
        receiver.iter().for_each(drop);
    });
    start.elapsed()
}

/// One thread gets and writes, the other drops, with a bounded channel between them. The channel
/// takes most of the time: compare the two.
fn cross_thread(c: &mut Criterion) {
    let mut group = c.benchmark_group("cross-thread");
    let pool = Pool::new(fresh);
    group.bench_function("repool", |b| {
        b.iter_custom(|n| {
            hand_over(n, || {
                let mut bytes = pool.get();
                work(&mut bytes);
                bytes
            })
        });
    });
    group.bench_function("plain", |b| {
        b.iter_custom(|n| {
            hand_over(n, || {
                let mut bytes = fresh();
                work(&mut bytes);
                bytes
            })
        });
    });
    group.finish();
    println!("cross-thread/repool: {}", pool.stats());
}

criterion_group!(benches, hit, miss, holding, threads, cross_thread);
criterion_main!(benches);
