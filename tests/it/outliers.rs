//! One large use of an object does not slow down or enlarge all later uses.

use super::support::{Worker, balanced, manual, n, trim};
use repool::{Budget, Builder, Pool, Recycle};
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

const LARGE: usize = 64 << 10;

/// Uses one object for much, then this many times for little.
fn little<T: Recycle + Send>(
    pool: &Pool<T>,
    much: impl Fn(&mut T),
    little: impl Fn(&mut T),
    times: usize,
) -> u64 {
    much(&mut pool.get());
    assert!(pool.stats().idle_bytes as usize > LARGE);
    for _ in 0..times {
        little(&mut pool.get());
    }
    balanced(&pool.stats());
    pool.stats().discarded_by.underused
}

/// The fifth return in a row drops the object, and no other return does.
#[track_caller]
fn dropped_by_the_fifth<T: Recycle + Default + Send + 'static>(
    much: impl Fn(&mut T),
    few: impl Fn(&mut T),
) {
    for (times, expected) in [(4, 0), (5, 1), (50, 1)] {
        let pool = manual(T::default).build();
        let dropped = little(&pool, &much, &few, times);
        assert_eq!(dropped, expected, "{times} times");
        let stats = pool.stats();
        assert_eq!(stats.created, 1 + u64::from(times > 5), "{stats:?}");
        if times > 5 {
            assert!((stats.idle_bytes as usize) < LARGE);
        }
    }
}

#[test]
fn a_large_object_of_which_little_is_used_is_dropped_the_fifth_time() {
    // A map that once held a million entries made each later use 390 times slower.
    dropped_by_the_fifth::<HashMap<u64, u64>>(
        |map| map.extend((0..100_000).map(|key| (key, key))),
        |map| map.extend((0..10).map(|key| (key, key))),
    );
    dropped_by_the_fifth::<HashSet<u32>>(|set| set.extend(0..100_000), |set| set.extend(0..10));
    // Types whose reset is inlined, and others.
    dropped_by_the_fifth::<Vec<u8>>(|v| v.resize(1 << 20, 1), |v| v.resize(1_000, 1));
    dropped_by_the_fifth::<Vec<u64>>(|v| v.resize(1 << 20, 1), |v| v.resize(1_000, 1));
    dropped_by_the_fifth::<String>(|s| *s = "x".repeat(1 << 20), |s| s.push('x'));
    dropped_by_the_fifth::<Vec<String>>(
        |v| v.resize(100_000, String::new()),
        |v| v.push("x".to_owned()),
    );
    dropped_by_the_fifth::<VecDeque<u32>>(|v| v.extend(0..100_000), |v| v.push_back(1));
    dropped_by_the_fifth::<BinaryHeap<u32>>(|v| v.extend(0..100_000), |v| v.push(1));
    dropped_by_the_fifth::<(Vec<u8>, Option<String>, u64)>(
        |tuple| tuple.0.resize(1 << 20, 1),
        |tuple| tuple.1 = Some("x".to_owned()),
    );
}

#[test]
fn a_quarter_used_keeps_it_and_starts_the_count_again() {
    const LARGEST: usize = 1 << 20;
    let pool = manual(Vec::<u8>::new).build();
    pool.get().resize(LARGEST, 1);
    for _ in 0..20 {
        for _ in 0..4 {
            pool.get().resize(LARGEST / 4 - 1, 1);
        }
        pool.get().resize(LARGEST / 4, 1);
    }
    assert_eq!((pool.stats().created, pool.stats().discarded), (1, 0));
    for _ in 0..5 {
        pool.get().resize(LARGEST / 4 - 1, 1);
    }
    assert_eq!(
        (pool.stats().idle, pool.stats().discarded_by.underused),
        (0, 1)
    );
}

#[test]
fn what_is_not_large_is_kept_however_little_is_used() {
    let pool = manual(Vec::<u8>::new).build();
    pool.get().reserve_exact(LARGE);
    for _ in 0..100 {
        pool.get().push(1);
    }
    let maps = manual(HashMap::<u8, u8>::new).build();
    maps.get().reserve(1_000);
    for _ in 0..100 {
        drop(maps.get());
    }
    for stats in [pool.stats(), maps.stats()] {
        assert_eq!((stats.created, stats.discarded), (1, 0), "{stats:?}");
    }
}

#[test]
fn what_is_made_large_is_kept_so() {
    // A read buffer: every fifth get would call the allocator.
    let pool = manual(|| Vec::<u8>::with_capacity(1 << 20)).build();
    let maps = manual(|| HashMap::<u64, u64>::with_capacity(100_000)).build();
    for _ in 0..100 {
        pool.get().push(1);
        assert!(maps.get().insert(1, 1).is_none());
    }
    for stats in [pool.stats(), maps.stats()] {
        assert_eq!((stats.created, stats.discarded), (1, 0), "{stats:?}");
    }
    // An object that outgrows its created size is dropped.
    pool.get().resize(8 << 20, 1);
    for _ in 0..5 {
        pool.get().push(1);
    }
    assert_eq!(
        (pool.stats().idle, pool.stats().discarded_by.underused),
        (0, 1)
    );
}

#[test]
fn it_can_be_switched_off() {
    let pool = manual(Vec::<u8>::new).drop_underused(false).build();
    assert_eq!(
        little(&pool, |v| v.resize(1 << 20, 1), |v| v.push(1), 100),
        0
    );
    assert_eq!(pool.stats().created, 1);
}

#[test]
fn pools_with_a_reset_of_their_own_follow_it_where_use_is_known() {
    let with = |builder: Builder<HashMap<u64, u64>>| {
        builder
            .reset(|map| {
                map.clear();
                true
            })
            .build()
    };
    let pool = with(manual(HashMap::new));
    let fill = |map: &mut HashMap<u64, u64>| map.extend((0..100_000).map(|key| (key, key)));
    assert_eq!(little(&pool, fill, |_| (), 5), 1);
    // A closure that keeps the content sees what was used before it.
    let pool = manual(Vec::<u8>::new)
        .reset(|v| {
            v.truncate(1);
            true
        })
        .build();
    assert_eq!(little(&pool, |v| v.resize(1 << 20, 1), |v| v.push(1), 5), 1);
    // The use of such objects is unknown.
    struct Foreign(Vec<u8>);
    let pool = manual(|| Foreign(Vec::new()))
        .reset(|foreign| {
            foreign.0.clear();
            true
        })
        .retained_bytes(|foreign| foreign.0.capacity())
        .build();
    pool.get().0.reserve(1 << 20);
    for _ in 0..100 {
        drop(pool.get());
    }
    assert_eq!(pool.stats().created, 1);
}

#[test]
fn a_type_may_say_what_of_it_is_used() {
    #[derive(Default)]
    struct Table {
        cells: Vec<u8>,
        used: usize,
    }
    impl Recycle for Table {
        fn recycle(&mut self) {
            self.used = 0;
        }
        fn retained_bytes(&self) -> usize {
            self.cells.capacity()
        }
        fn used_bytes(&self) -> usize {
            assert!(self.used != 13, "in used_bytes");
            self.used
        }
    }
    let much = |table: &mut Table| {
        table.cells.resize(1 << 20, 0);
        table.used = 1 << 20;
    };
    let pool = manual(Table::default).build();
    assert_eq!(little(&pool, much, |table| table.used = 7, 5), 1);
    // It is user code, which may panic.
    much(&mut pool.get());
    let message = super::support::panics(|| pool.get().used = 13);
    assert!(message.contains("in used_bytes"), "{message}");
    assert_eq!((pool.stats().idle, pool.stats().discarded_by.panic), (0, 1));
    balanced(&pool.stats());
}

#[test]
fn it_holds_for_many_objects_on_many_threads_and_under_limits() {
    // 16 scratch vectors stayed at 16 MiB. With returns on other threads, limits and passes.
    for bounded in [false, true] {
        let builder = manual(Vec::<u8>::new);
        let pool = Arc::new(if bounded {
            builder.budget(Budget::new(64 << 20)).max_idle(100).build()
        } else {
            builder.build()
        });
        drop({
            let mut all: Vec<_> = (0..16).map(|_| pool.get()).collect();
            all.iter_mut().for_each(|v| v.resize(1 << 20, 1));
            all
        });
        let workers = [Worker::new(), Worker::new()];
        for round in 0..n(40, 20) {
            let from = pool.clone();
            let held = workers[round % 2].run(move || {
                let mut held: Vec<_> = (0..16).map(|_| from.get()).collect();
                held.iter_mut().for_each(|v| v.resize(100, 1));
                held
            });
            workers[round / 2 % 2].run(move || drop(held));
            if round % 10 == 0 {
                trim(&pool);
            }
        }
        let stats = pool.stats();
        balanced(&stats);
        assert!(stats.idle_bytes < 1 << 20, "{stats:?}");
        // All of them, except those that a pass found first.
        let gone = stats.discarded_by.underused + stats.trimmed;
        assert!(stats.discarded_by.underused >= 8 && gone >= 16, "{stats:?}");
        workers.into_iter().for_each(Worker::end);
    }
}
