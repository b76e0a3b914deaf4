//! Every figure has a test that changes it, and checks by how much.

use super::support::{Census, Worker, balanced, join_all, manual, n, panics};
use repool::{Pool, Pooled, Stats};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

fn bytes() -> Pool<Vec<u8>> {
    manual(|| Vec::with_capacity(10)).build()
}

#[test]
fn created_and_reused_count_misses_and_hits() {
    let pool = bytes();
    let (a, b) = (pool.get(), pool.get());
    assert_eq!((pool.stats().created, pool.stats().reused), (2, 0));
    drop((a, b));
    let (_a, _b, _c) = (pool.get(), pool.try_get(), pool.get());
    assert_eq!((pool.stats().created, pool.stats().reused), (3, 2));
    assert!(pool.try_get().is_none());
    assert_eq!(
        pool.stats().reused,
        2,
        "a `try_get` that finds nothing is neither"
    );
    assert_eq!(pool.stats().hit_rate(), 0.4);
    assert_eq!(Stats::default().hit_rate(), 0.0);
}

#[test]
fn hits_are_counted_wherever_they_come_from() {
    // From a cache, a spare list, the depot, and what another thread left behind.
    let pool = Arc::new(bytes());
    for k in [1, 33, 65, 300] {
        let before = pool.stats();
        for _ in 0..4 {
            drop((0..k).map(|_| pool.get()).collect::<Vec<_>>());
        }
        let now = pool.stats();
        let requests = now.created + now.reused - before.created - before.reused;
        assert_eq!(requests, 4 * k, "{now:?}");
        assert_eq!(now.returned - before.returned, 4 * k, "{now:?}");
    }
    let guards: Vec<_> = (0..100).map(|_| pool.get()).collect();
    let before = pool.stats();
    let (worker, other) = (Worker::new(), pool.clone());
    worker.run(move || {
        drop(guards);
        drop((0..100).map(|_| other.get()).collect::<Vec<_>>());
    });
    let now = pool.stats();
    assert_eq!(now.returned - before.returned, 200);
    assert_eq!(
        now.created + now.reused - before.created - before.reused,
        100
    );
    assert_eq!(now.created, before.created);
}

#[test]
fn counters_do_not_go_back_when_a_thread_ends() {
    // Figures that live in a thread's cache and vanish with it. Hits and returns are permanent.
    let pool = Arc::new(bytes());
    let (worker, other) = (Worker::new(), pool.clone());
    worker.run(move || (0..10).for_each(|_| drop(other.get())));
    let before = pool.stats();
    assert_eq!((before.created, before.reused, before.returned), (1, 9, 10));
    worker.end();
    let after = pool.stats();
    assert_eq!((after.created, after.reused, after.returned), (1, 9, 10));
    // Nor when the next thread takes its ID, nor after passes.
    let (worker, other) = (Worker::new(), pool.clone());
    worker.run(move || (0..5).for_each(|_| drop(other.get())));
    for _ in 0..4 {
        let _ = pool.trim();
    }
    worker.end();
    let last = pool.stats();
    assert_eq!(
        (last.created, last.reused, last.returned, last.trimmed),
        (1, 14, 15, 1)
    );
}

#[test]
fn returned_counts_what_was_taken_back() {
    // Returned objects are taken back; at the limit the coldest ones are dropped for them.
    let pool = manual(|| Vec::<u8>::with_capacity(10)).max_idle(2).build();
    drop((pool.get(), pool.get(), pool.get()));
    pool.put(Vec::new());
    let stats = pool.stats();
    assert_eq!((stats.returned, stats.discarded, stats.idle), (4, 2, 2));
}

#[test]
fn adopted_counts_what_was_put_and_taken_what_was_taken_out() {
    let pool = bytes();
    pool.put(Vec::new());
    pool.put(Vec::new());
    drop(Pooled::into_inner(pool.get()));
    let stats = pool.stats();
    assert_eq!(
        (stats.adopted, stats.taken, stats.created, stats.idle),
        (2, 1, 0, 1)
    );
    balanced(&stats);
}

#[test]
fn in_use_counts_guards() {
    let pool = bytes();
    let mut held: Vec<_> = (0..50).map(|_| pool.get()).collect();
    assert_eq!(pool.stats().in_use, 50);
    held.truncate(20);
    assert_eq!(pool.stats().in_use, 20);
    drop(Pooled::into_inner(held.pop().expect("twenty")));
    assert_eq!(pool.stats().in_use, 19);
    std::thread::spawn(move || drop(held))
        .join()
        .expect("no panic");
    assert_eq!(pool.stats().in_use, 0);
}

#[test]
fn idle_and_idle_bytes_follow_every_object() {
    // Weights as they were at the return, in caches and in the depot.
    let pool = bytes();
    let mut sum = 0;
    let held: Vec<_> = (0..n(200, 100))
        .map(|extra| {
            let mut buf = pool.get();
            buf.reserve_exact(100 + extra);
            sum += size_of::<Vec<u8>>() + buf.capacity();
            buf
        })
        .collect();
    let count = held.len();
    for (gone, buf) in held.into_iter().enumerate() {
        assert_eq!(pool.stats().idle as usize, gone);
        drop(buf);
    }
    let stats = pool.stats();
    assert_eq!(
        (stats.idle as usize, stats.idle_bytes as usize),
        (count, sum)
    );
    let one = pool.get();
    let stats = pool.stats();
    assert_eq!(
        stats.idle_bytes as usize,
        sum - size_of::<Vec<u8>>() - one.capacity()
    );
    let _ = pool.clear();
    assert_eq!((pool.stats().idle, pool.stats().idle_bytes), (0, 0));
}

#[test]
fn a_custom_weigher_sets_idle_bytes() {
    // For `Builder::retained_bytes`; without it the pool weighs the types that it knows.
    let pool = manual(|| 0u8).reset(|_| true).retained_bytes(|_| 7).build();
    drop((pool.get(), pool.get()));
    assert_eq!(pool.stats().idle_bytes, 2 * (1 + 7));
    let pool = manual(|| Vec::<u8>::with_capacity(30))
        .reset(|_| true)
        .build();
    drop(pool.get());
    assert_eq!(pool.stats().idle_bytes as usize, size_of::<Vec<u8>>() + 30);
}

#[test]
fn trimmed_counts_passes_and_clears() {
    let pool = bytes();
    drop((pool.get(), pool.get()));
    for _ in 0..3 {
        let _ = pool.trim();
    }
    assert_eq!(pool.stats().trimmed, 2);
    drop(pool.get());
    let _ = pool.clear();
    assert_eq!((pool.stats().trimmed, pool.stats().discarded), (3, 0));
}

#[test]
fn every_reason_to_discard_is_counted_by_itself() {
    // Oversize, full, reset, panic, switched off: each changes its own figure and the sum.
    let pool = manual(Vec::<u8>::new)
        .reset(|buf| buf.first() != Some(&1))
        .max_object_bytes(100)
        .max_idle(1)
        .build();
    let expect = |what: &str, [oversize, full, reset, panic, off]: [u64; 5]| {
        let stats = pool.stats();
        balanced(&stats);
        let by = stats.discarded_by;
        let found = [by.oversize, by.full, by.reset, by.panic, by.switched_off];
        assert_eq!(found, [oversize, full, reset, panic, off], "{what}");
        assert_eq!((by.budget, by.closed), (0, 0));
        assert_eq!(stats.discarded, oversize + full + reset + panic + off);
        assert_eq!(by.total(), stats.discarded);
    };
    expect("at first", [0, 0, 0, 0, 0]);
    pool.get().reserve(1_000);
    expect("oversize", [1, 0, 0, 0, 0]);
    drop((pool.get(), pool.get()));
    expect("full", [1, 1, 0, 0, 0]);
    pool.get().push(1);
    expect("reset", [1, 1, 1, 0, 0]);
    let message = panics(|| {
        let _guard = pool.get();
        panic!("while in use");
    });
    assert_eq!(message, "while in use");
    expect("panic", [1, 1, 1, 1, 0]);
    pool.set_enabled(false);
    drop(pool.get());
    expect("switched off", [1, 1, 1, 1, 1]);
}

#[test]
fn looking_changes_nothing() {
    // A `stats` that counts as use, and so keeps what is not needed, or that moves objects.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let (worker, other) = (Worker::new(), pool.clone());
    worker.run(move || drop((0..40).map(|_| other.get()).collect::<Vec<_>>()));
    for _ in 0..3 {
        assert_eq!(pool.stats(), pool.stats());
        let _ = pool.trim();
        assert_eq!(pool.stats(), pool.stats());
    }
    assert_eq!(census.alive(), 0);
}

/// Figures read while objects move must not leave a count that is too high.
#[test]
fn reuses_are_exact_once_all_is_quiet_however_often_figures_were_read() {
    let pool = Arc::new(manual(Vec::<u8>::new).build());
    let stop = Arc::new(AtomicBool::new(false));
    let (read, until) = (pool.clone(), stop.clone());
    let reader = std::thread::spawn(move || {
        while !until.load(SeqCst) {
            let _ = read.stats();
        }
    });
    for round in 1..=n(20_000, 10) as u64 {
        // Objects arrive and leave in batches.
        assert_eq!(pool.prefill(64), 64);
        drop(pool.get());
        let _ = pool.clear();
        let stats = pool.stats();
        if stats.reused != round {
            stop.store(true, SeqCst);
        }
        assert_eq!(stats.reused, round, "{stats:?}");
    }
    stop.store(true, SeqCst);
    join_all([reader]);
}
