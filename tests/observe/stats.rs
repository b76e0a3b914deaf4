//! The figures of one pool: their line, their peaks, and that counters never go back.

use repool::{Pool, Stats};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn manual() -> Pool<Vec<u8>> {
    Pool::builder(|| Vec::with_capacity(76))
        .trim_manually()
        .build()
}

#[test]
fn a_line_has_the_state_the_counters_the_reasons_and_the_peaks() {
    let pool = manual();
    drop((pool.get(), pool.get(), pool.get()));
    let _held = pool.get();
    repool::Pooled::discard(pool.get());
    pool.set_enabled(false);
    drop((pool.get(), pool.get()));
    assert_eq!(
        pool.stats().to_string(),
        "1 in use, 1 idle (100 bytes), 5 created, 2 reused (28.6 % hits), 0 trimmed, 3 discarded \
         (2 switched_off, 1 user), at most 3 in use and 1 idle"
    );
    let quiet = "0 in use, 0 idle (0 bytes), 0 created, 0 reused (0.0 % hits), 0 trimmed, 0 discarded, \
                 at most 0 in use and 0 idle";
    assert_eq!(Stats::default().to_string(), quiet);
}

/// The test reads no figures while the objects are out: the misses do.
#[test]
fn misses_see_how_many_objects_are_in_use_at_most() {
    let all = [1_u64, 2, 7, 63, 64, 65, 500, 3_000];
    for &most in &all[..super::n(all.len(), 6)] {
        let pool = manual();
        drop((0..most).map(|_| pool.get()).collect::<Vec<_>>());
        drop((0..most / 2).map(|_| pool.get()).collect::<Vec<_>>());
        let peak = pool.stats().peak_in_use;
        // Each further object is counted up to 64, and one in 64 after that.
        assert!(peak <= most && peak >= most - most / 64, "{peak} of {most}");
    }
}

#[test]
fn idle_ones_of_other_threads_are_not_in_use() {
    let pool = manual();
    std::thread::scope(|scope| {
        // A thread that lives on, with forty idle objects in its cache.
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let pool = &pool;
        scope.spawn(move || {
            drop((0..40).map(|_| pool.get()).collect::<Vec<_>>());
            tell.send(()).unwrap();
            let _ = wait.recv();
        });
        told.recv().unwrap();
        drop((0..30).map(|_| pool.get()).collect::<Vec<_>>());
        let stats = pool.stats();
        assert_eq!((stats.created, stats.idle), (70, 70));
        assert_eq!(stats.peak_in_use, 40);
        drop(done);
    });
}

#[test]
fn passes_see_how_many_objects_are_idle_at_most() {
    let pool = manual();
    drop((0..200).map(|_| pool.get()).collect::<Vec<_>>());
    while pool.trim().objects == 0 {}
    assert_eq!(pool.stats().idle, 0);
    assert_eq!(pool.stats().peak_idle, 200);
    drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!((pool.stats().idle, pool.stats().peak_idle), (10, 200));
}

/// Every counter, and the peaks, in an order that a later snapshot must not fall below.
fn rising(stats: &Stats) -> Vec<u64> {
    let mut all = vec![
        stats.created,
        stats.reused,
        stats.returned,
        stats.adopted,
        stats.taken,
        stats.discarded,
        stats.trimmed,
        stats.peak_idle,
        stats.peak_in_use,
    ];
    all.extend(stats.discarded_by.by_reason().map(|(_, count)| count));
    all
}

/// Sets the flag, also if a check fails: a scope waits for its threads.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Reads the figures repeatedly while `work` runs on three threads.
fn never_go_back(read: impl Fn() -> Stats, work: impl Fn(usize) + Sync) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        for me in 0..3 {
            let (work, stop) = (&work, &stop);
            scope.spawn(move || {
                let mut round = me;
                while !stop.load(SeqCst) {
                    work(round);
                    round += 1;
                }
            });
        }
        let mut before = Stats::default();
        let started = Instant::now();
        let mut look = 0;
        let enough = Duration::from_millis(super::n(300, 1) as u64);
        while started.elapsed() < enough || before.reused == 0 || before.trimmed == 0 {
            look += 1;
            let most = Duration::from_secs(super::n(60, 600) as u64);
            assert!(started.elapsed() < most, "{before:?}");
            let now = read();
            let pairs = rising(&before).into_iter().zip(rising(&now));
            for (at, (was, is)) in pairs.enumerate() {
                assert!(was <= is, "figure {at}, look {look}: {before:?}\n{now:?}");
            }
            assert_eq!(now.discarded, now.discarded_by.total());
            before = now;
        }
    });
}

#[test]
fn counters_of_a_pool_never_go_back_under_load() {
    let pool = Pool::builder(|| vec![0_u8; 100])
        .max_idle(50)
        .trim_manually()
        .build();
    never_go_back(
        || pool.stats(),
        |round| {
            let held: Vec<_> = (0..round % 60).map(|_| pool.get()).collect();
            match round % 7 {
                0 => drop(pool.trim()),
                1 => pool.put(vec![1]),
                2 => drop(pool.try_get().map(repool::Pooled::into_inner)),
                3 if round % 70 == 3 => drop(pool.clear()),
                _ => {}
            }
            // What one thread got, another drops.
            if round % 5 == 0 {
                std::thread::scope(|scope| {
                    scope.spawn(|| drop(held));
                });
            }
        },
    );
}

#[cfg(feature = "bytes")]
#[test]
fn counters_of_a_buffer_pool_never_go_back_under_load() {
    let pool = repool::BufferPool::builder()
        .max_idle(80)
        .trim_manually()
        .build();
    never_go_back(
        || pool.stats(),
        |round| {
            let mut views = Vec::new();
            for size in [100, 1_000, 1_100] {
                let mut buffer = pool.get(size);
                buffer.extend_from_slice(&[7; 90]);
                views.push(buffer.freeze());
                drop(pool.get(size * (round % 3)));
            }
            match round % 31 {
                0 => drop(pool.trim()),
                1 => drop(pool.clear()),
                _ => {}
            }
        },
    );
}

#[cfg(feature = "bumpalo")]
#[test]
fn counters_of_an_arena_pool_never_go_back_under_load() {
    let pool = repool::ArenaPool::builder()
        .max_idle(20)
        .trim_manually()
        .build();
    never_go_back(
        || pool.stats(),
        |round| {
            let many = round % super::n(30, 4);
            let held: Vec<_> = (0..many).map(|_| pool.get()).collect();
            held.iter()
                .for_each(|arena| arena.alloc([round; 100])[0] = 1);
            match round % super::n(31, 7) {
                0 => drop(pool.trim_under(repool::Level::Critical)),
                1 => pool.set_enabled(false),
                2 => pool.set_enabled(true),
                _ => {}
            }
        },
    );
}

#[cfg(feature = "serde")]
#[test]
fn figures_serialize_with_the_names_of_their_fields() {
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(76))
        .name("json")
        .build();
    drop(pool.get());
    let listed = repool::pools();
    let one = listed
        .iter()
        .find(|pool| pool.name == "json")
        .expect("used and named");
    let json = serde_json::to_value(one).unwrap();
    assert_eq!(json["kind"], "objects");
    assert_eq!(json["name"], "json");
    assert_eq!(json["enabled"], true);
    let stats = &json["stats"];
    assert_eq!(
        (&stats["created"], &stats["idle_bytes"]),
        (&1.into(), &100.into())
    );
    assert_eq!(
        (&stats["peak_idle"], &stats["discarded_by"]["oversize"]),
        (&1.into(), &0.into())
    );
    // As many as `Debug` shows, so none is missing.
    let fields =
        stats.as_object().unwrap().len() + stats["discarded_by"].as_object().unwrap().len();
    assert_eq!(fields, format!("{:?}", one.stats).matches(": ").count());
    let trimmed = serde_json::to_value(pool.clear()).unwrap();
    assert_eq!(
        (&trimmed["objects"], &trimmed["bytes"]),
        (&1.into(), &100.into())
    );
    assert!(serde_json::to_value(repool::janitor_stats()).unwrap()["running"].is_boolean());
}

/// One object each, dropped for one reason, which the figures report.
#[test]
fn every_way_to_be_discarded_has_its_reason() {
    use repool::{Budget, Builder, Pooled};

    let of = |reason: &str, pool: Pool<Vec<u8>>, act: fn(&Pool<Vec<u8>>)| {
        act(&pool);
        let stats = pool.stats();
        let why = stats
            .discarded_by
            .by_reason()
            .filter(|(_, count)| *count > 0);
        assert_eq!(why.collect::<Vec<_>>(), [(reason, 1)], "{stats}");
        assert_eq!(stats.discarded, 1);
        assert!(
            stats
                .to_string()
                .contains(&format!("1 discarded (1 {reason})")),
            "{stats}"
        );
    };
    let builder =
        || -> Builder<Vec<u8>> { Pool::builder(|| Vec::with_capacity(100)).trim_manually() };
    let drop_one = |pool: &Pool<Vec<u8>>| drop(pool.get());

    of("oversize", builder().max_object_bytes(99).build(), drop_one);
    of("full", builder().max_idle(1).build(), |pool| {
        drop([pool.get(), pool.get()])
    });
    of(
        "budget",
        builder().budget(Budget::new(150)).build(),
        |pool| drop([pool.get(), pool.get()]),
    );
    of("reset", builder().reset(|_| false).build(), drop_one);
    of("user", builder().build(), |pool| {
        Pooled::discard(pool.get())
    });
    of("switched_off", builder().build(), |pool| {
        pool.set_enabled(false);
        drop(pool.get());
    });
    of("panic", builder().build(), |pool| {
        let held = pool.get();
        let panicked = std::thread::spawn(move || {
            let _held = held;
            panic!("expected");
        });
        assert!(panicked.join().is_err());
    });
    of("underused", builder().build(), |pool| {
        pool.get().reserve(1 << 20);
        (0..5).for_each(|_| pool.get().push(1));
    });
    // A dropped pool has no figures of its own; a listed pool has.
    let reasons = repool::Discarded::default().by_reason().count();
    assert_eq!(reasons, 9, "and `closed`");
}
