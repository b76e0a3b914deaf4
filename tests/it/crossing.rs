//! Objects that one thread gets and another drops, with and without limits.

use super::support::{Census, Tag, Worker, manual, n};
use repool::{Budget, BufferPool, Builder, Pool};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

/// One thread gets objects and keeps `in_flight` of them on their way; `droppers` threads drop them
/// in turn. Returns the share of `objects` gets that created nothing, from 0.0 to 1.0, after a
/// warm-up of a tenth.
fn hit_rate<T: Send + 'static>(
    get: impl Fn() -> T,
    created: impl Fn() -> u64,
    droppers: usize,
    in_flight: usize,
    objects: usize,
) -> f64 {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..droppers)
            .map(|_| {
                // A dropper reports when it is done, so that the number in flight is known.
                let (send, receive) = mpsc::sync_channel::<T>(0);
                let (done, dropped) = mpsc::sync_channel::<()>(1);
                scope.spawn(move || {
                    for object in receive {
                        drop(object);
                        if done.send(()).is_err() {
                            break;
                        }
                    }
                });
                (send, dropped)
            })
            .collect();
        let mut held = VecDeque::new();
        let warm = objects / 10;
        let mut before = 0;
        for round in 0..warm + objects {
            if round == warm {
                before = created();
            }
            held.push_back(get());
            if held.len() == in_flight {
                let (send, dropped) = &threads[round % droppers];
                let oldest = held.pop_front().expect("as many as are in flight");
                send.send(oldest).expect("the dropper is there");
                dropped.recv().expect("the dropper is there");
            }
        }
        1.0 - (created() - before) as f64 / objects as f64
    })
}

fn assert_crosses(what: &str, rate: f64) {
    assert!(rate >= 0.95, "{what}: {:.1} % hits", 100.0 * rate);
}

fn crosses(what: &str, pool: &Pool<Tag>, census: &Census, droppers: usize, in_flight: usize) {
    let (source, born) = (pool, census.clone());
    let rate = hit_rate(
        || source.get(),
        || born.born() as u64,
        droppers,
        in_flight,
        n(20_000, 400),
    );
    assert_crosses(what, rate);
}

/// A pool of counted tags with the limits that `limit` sets.
fn tags(limit: impl Fn(Builder<Tag>) -> Builder<Tag>) -> (Pool<Tag>, Census) {
    let census = Census::new();
    (limit(manual(census.create())).build(), census)
}

#[test]
#[cfg_attr(miri, ignore = "thousands of objects, one at a time")]
fn a_limit_on_objects_does_not_part_the_getting_thread_from_the_dropping_one() {
    for limit in [10, 12, 16, 24, 32, 48, 64, 96, 256] {
        for droppers in [1, 2, 8] {
            let (pool, census) = tags(|builder| builder.max_idle(limit));
            let what = format!("max_idle({limit}) and {droppers} droppers");
            crosses(&what, &pool, &census, droppers, 10);
            assert!(census.alive() <= limit + 10, "{what}: {}", census.alive());
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of objects, one at a time")]
fn one_object_at_a_time_crosses_under_any_limit() {
    for limit in [1, 2, 8] {
        for droppers in [1, 8] {
            let (pool, census) = tags(|builder| builder.max_idle(limit));
            let what = format!("max_idle({limit}), one in flight, {droppers} droppers");
            crosses(&what, &pool, &census, droppers, 1);
        }
    }
}

/// A vector of 1 KiB, for limits on bytes.
fn kib() -> Vec<u8> {
    Vec::with_capacity(1 << 10)
}

#[test]
#[cfg_attr(miri, ignore = "thousands of objects, one at a time")]
fn a_limit_on_bytes_does_not_part_threads() {
    for limit in [16 << 10, 64 << 10, 256 << 10] {
        for droppers in [1, 8] {
            let pool = manual(kib).max_idle_bytes(limit).build();
            let rate = hit_rate(
                || pool.get(),
                || pool.stats().created,
                droppers,
                10,
                n(20_000, 400),
            );
            assert_crosses(&format!("{limit} bytes, {droppers} droppers"), rate);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of objects, one at a time")]
fn a_budget_does_not_part_threads() {
    for droppers in [1, 8] {
        let budget = Budget::new(32 << 10);
        let pool = manual(kib).budget(budget.clone()).build();
        let rate = hit_rate(
            || pool.get(),
            || pool.stats().created,
            droppers,
            10,
            n(20_000, 400),
        );
        assert_crosses(&format!("a budget, {droppers} droppers"), rate);
        assert!(budget.used() <= budget.limit());
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of objects, one at a time")]
fn limits_of_a_buffer_pool_do_not_part_threads() {
    for droppers in [1, 8] {
        let pool = BufferPool::builder().max_idle(16).trim_manually().build();
        let rate = hit_rate(
            || pool.get(1000),
            || pool.stats().created,
            droppers,
            10,
            n(20_000, 400),
        );
        assert_crosses(&format!("buffers, {droppers} droppers"), rate);
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of objects, one at a time")]
fn a_limit_as_large_as_what_crosses_at_once_is_enough_between_passes_too() {
    let (pool, census) = tags(|builder| builder.max_idle(16));
    for _ in 0..20 {
        crosses("between passes", &pool, &census, 1, 10);
        let _ = pool.trim();
    }
}

/// One thread gets objects, `droppers` others drop them in turn, with a pass every `interval` gets.
fn slow_crossing(droppers: usize, in_flight: usize, limit: usize, interval: usize) {
    let (pool, census) = tags(|builder| builder.max_idle(limit));
    let workers: Vec<_> = (0..droppers).map(|_| Worker::new()).collect();
    let mut held = VecDeque::new();
    let gets = 2_000;
    for get in 0..gets {
        held.push_back(pool.get());
        if held.len() == in_flight {
            let oldest = held.pop_front();
            workers[get % droppers].run(move || drop(oldest));
        }
        if get % interval == 0 {
            let _ = pool.trim();
        }
    }
    let rate = 1.0 - census.born() as f64 / gets as f64;
    let what =
        format!("max_idle({limit}), {droppers} droppers, {in_flight} in flight, every {interval}");
    assert_crosses(&what, rate);
    workers.into_iter().for_each(Worker::end);
}

#[test]
#[cfg_attr(miri, ignore = "thousands of objects, one at a time")]
fn a_limit_is_enough_for_a_load_that_gets_few_objects_between_two_passes() {
    for (in_flight, limit) in [(1, 1), (1, 4), (4, 4), (10, 10), (10, 16)] {
        for droppers in [1, 3] {
            for interval in [1, 3, 10] {
                slow_crossing(droppers, in_flight, limit, interval);
            }
        }
    }
}

#[test]
fn without_limits_a_million_objects_cross_with_few_created() {
    let objects = n(1_000_000, 256);
    let pool = Arc::new(manual(kib).build());
    let (send, receive) = mpsc::sync_channel::<Vec<repool::Pooled<Vec<u8>>>>(2);
    let consumer = thread::spawn(move || receive.into_iter().for_each(drop));
    for _ in 0..objects / 64 {
        let batch = (0..64).map(|_| pool.get()).collect();
        send.send(batch).expect("the consumer is there");
    }
    drop(send);
    consumer.join().expect("no panic");
    assert!(pool.stats().created < 1_000, "{:?}", pool.stats());
}

#[test]
fn no_limit_is_exceeded_while_objects_cross_by_an_independent_count() {
    // The census counts living objects; the test knows how many guards hold.
    let (pool, census) = tags(|builder| builder.max_idle(20));
    for round in 0..n(200, 5) {
        let held: Vec<_> = (0..n(300, 30)).map(|_| pool.get()).collect();
        let mut parts: [Vec<_>; 4] = Default::default();
        for (at, guard) in held.into_iter().enumerate() {
            parts[(at + round) % 4].push(guard);
        }
        thread::scope(|scope| {
            for part in parts {
                scope.spawn(move || drop(part));
            }
        });
        assert!(
            census.alive() <= 20,
            "round {round}: {} alive",
            census.alive()
        );
    }
}
