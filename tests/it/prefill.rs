//! Objects created before they are needed, and those that passes leave.

use super::support::{Census, Worker, balanced, manual, n, panics, some, trim};
use repool::{Level, Pool};
use std::sync::Arc;

#[test]
fn what_was_made_ahead_serves_any_thread() {
    // Objects that stay in the cache of the thread that created them in advance.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    assert_eq!(pool.prefill(100), 100);
    census.agrees_with(&pool.stats(), 0);
    assert_eq!((pool.stats().idle, pool.stats().created), (100, 100));
    for _ in 0..3 {
        let pool = pool.clone();
        let worker = Worker::new();
        worker.run(move || drop((0..100).map(|_| pool.get()).collect::<Vec<_>>()));
        worker.end();
    }
    assert_eq!(census.born(), 100);
    balanced(&pool.stats());
}

#[test]
fn making_ahead_stops_at_each_limit() {
    let of = |bytes: usize| move || Vec::<u8>::with_capacity(bytes - size_of::<Vec<u8>>());
    for (pool, expected) in [
        (manual(of(100)).max_idle(7).build(), 7),
        (manual(of(100)).max_idle_bytes(1_000).build(), 10),
        (manual(of(100)).budget(repool::Budget::new(999)).build(), 9),
        (manual(of(100)).max_object_bytes(10).build(), 0),
        (manual(of(100)).reset(|_| false).build(), 0),
        (manual(of(100)).build(), 50),
    ] {
        assert_eq!(pool.prefill(50), expected);
        let stats = pool.stats();
        assert_eq!(stats.idle as usize, expected, "{stats:?}");
        // One object is created to see that it does not fit.
        assert!(stats.discarded <= 1);
        balanced(&stats);
    }
    let pool = manual(of(100)).build();
    pool.set_enabled(false);
    assert_eq!((pool.prefill(5), pool.stats().created), (0, 0));
}

#[test]
fn a_panic_while_making_ahead_keeps_what_was_made() {
    let census = Census::new();
    let create = census.create();
    let pool = manual(move || {
        let tag = create();
        assert!(tag.id != 3, "the fourth");
        tag
    })
    .build();
    assert_eq!(
        panics(|| {
            pool.prefill(10);
        }),
        "the fourth"
    );
    assert_eq!(pool.stats().idle, 3);
    let broken = manual(census.create())
        .reset(|_| panic!("in reset"))
        .build();
    assert_eq!(
        panics(|| {
            broken.prefill(10);
        }),
        "in reset"
    );
    let stats = broken.stats();
    assert_eq!((stats.idle, stats.discarded_by.panic), (0, 1));
    drop((pool, broken));
    assert_eq!(census.alive(), 0);
}

#[test]
fn passes_leave_the_minimum_at_any_level_of_pressure() {
    // The first use of an expensive object after 15 quiet seconds.
    for level in [Level::Normal, Level::Elevated, Level::Critical] {
        for (made, minimum) in some([(100, 5), (3, 5), (1, 1), (100, 64), (200, 0)], 2) {
            let census = Census::new();
            let pool = manual(census.create()).min_idle(minimum).build();
            drop((0..made).map(|_| pool.get()).collect::<Vec<_>>());
            for _ in 0..10 {
                let _ = pool.trim_under(level);
            }
            let stats = pool.stats();
            assert_eq!(
                stats.idle as usize,
                made.min(minimum),
                "{level:?}: {stats:?}"
            );
            census.agrees_with(&stats, 0);
            // They are not lost.
            let held: Vec<_> = (0..made.min(minimum)).map(|_| pool.get()).collect();
            assert_eq!(census.born(), made);
            drop(held);
            assert_eq!(pool.clear().objects as usize, made.min(minimum));
        }
    }
}

#[test]
fn what_threads_at_work_hold_counts_towards_the_minimum() {
    let pool = Arc::new(manual(|| Box::new([0u64; 4])).min_idle(10).build());
    drop((0..40).map(|_| pool.get()).collect::<Vec<_>>());
    for _ in 0..n(20, 8) {
        drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
        trim(&pool);
        assert!(pool.stats().idle >= 10, "{:?}", pool.stats());
    }
    assert_eq!(pool.stats().idle, 10);
    let created = pool.stats().created;
    drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!(pool.stats().created, created);
}

#[test]
fn a_minimum_makes_nothing_by_itself_and_limits_win() {
    let pool = manual(Vec::<u8>::new).min_idle(10).max_idle(4).build();
    drop((0..20).map(|_| pool.get()).collect::<Vec<_>>());
    trim(&pool);
    assert_eq!(pool.stats().idle, 4);
    let never: Pool<Vec<u8>> = manual(Vec::new).min_idle(10).build();
    trim(&never);
    assert_eq!(never.stats().created, 0);
}

/// The first thread that needs one does not take them all.
#[test]
fn prefilled_objects_serve_as_many_threads() {
    for threads in [2, 8, 20] {
        let pool = Pool::builder(|| vec![0_u8; 100]).trim_manually().build();
        assert_eq!(pool.prefill(threads), threads);
        let all_have_one = std::sync::Barrier::new(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let object = pool.get();
                    all_have_one.wait();
                    drop(object);
                });
            }
        });
        assert_eq!(pool.stats().created, threads as u64);
    }
}
