//! Limits on what a pool keeps. (Limit zero: objects.rs.)

use super::support::{
    Census, Random, Tag, Worker, balanced, clear, join_all, manual, n, some, trim,
};
use repool::{Budget, Pool, Recycle};
use std::collections::HashMap;
use std::panic::{UnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier};
use std::thread::spawn;

/// An object with a weight that the test chooses.
struct Heavy {
    _tag: Tag,
    weight: usize,
}

/// What each object takes in addition to its weight.
const OWN: usize = size_of::<Heavy>();

impl Recycle for Heavy {
    fn recycle(&mut self) {}

    fn retained_bytes(&self) -> usize {
        self.weight
    }
}

fn heavy(census: &Census, weight: usize) -> impl Fn() -> Heavy + Send + Sync + 'static {
    let create = census.create();
    move || Heavy {
        _tag: create(),
        weight,
    }
}

#[test]
fn one_thread_fills_a_limit_on_objects_exactly() {
    // One too many, or one too few, around each list length.
    for limit in some((0..=70).chain([95, 96, 97, 128, 200]), 3) {
        let census = Census::new();
        let pool = manual(census.create()).max_idle(limit).build();
        drop((0..2 * limit + 3).map(|_| pool.get()).collect::<Vec<_>>());
        let stats = pool.stats();
        assert_eq!(stats.idle as usize, limit, "{stats:?}");
        assert_eq!(stats.discarded_by.full as usize, limit + 3);
        census.agrees_with(&stats, 0);
    }
}

#[test]
fn one_thread_fills_a_limit_on_bytes_exactly() {
    // The same for bytes, where all objects weigh the same.
    for weight in some([1, 100, 4_096, 4_097, 200_000], 2) {
        for fit in some([0, 1, 2, 31, 32, 33, 65], 2) {
            let census = Census::new();
            let limit = fit * (OWN + weight) + OWN + weight - 1;
            let pool = manual(heavy(&census, weight)).max_idle_bytes(limit).build();
            drop((0..fit + 40).map(|_| pool.get()).collect::<Vec<_>>());
            let stats = pool.stats();
            assert_eq!(stats.idle as usize, fit, "weight {weight}: {stats:?}");
            assert_eq!(stats.idle_bytes as usize, fit * (OWN + weight));
            census.agrees_with(&stats, 0);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "arrays of 64 KiB")]
fn an_objects_own_size_counts_towards_limits_on_bytes() {
    // 12.5 MiB of 64 KiB inline arrays were kept under 1 MiB.
    type Array = [u8; 64 << 10];
    const LIMIT: usize = 1 << 20;
    let pool = manual(|| [0u8; 64 << 10]).max_idle_bytes(LIMIT).build();
    let budget = Budget::new(LIMIT);
    let other = manual(|| [0u8; 64 << 10]).budget(budget.clone()).build();
    for pool in [&pool, &other] {
        drop((0..200).map(|_| pool.get()).collect::<Vec<_>>());
        let stats = pool.stats();
        assert_eq!(stats.idle as usize, LIMIT / size_of::<Array>(), "{stats:?}");
        assert_eq!(stats.idle_bytes as usize, LIMIT);
    }
    assert_eq!(budget.used(), LIMIT);
    assert_eq!(other.clear().bytes as usize, LIMIT);
    assert_eq!(budget.used(), 0);
}

#[test]
fn objects_without_size_fit_under_any_limit_on_bytes() {
    // A limit on bytes is none on objects.
    let pool = manual(|| ()).max_idle_bytes(0).build();
    drop((0..100).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!(pool.stats().idle, 100);
    let pool = manual(Vec::<u8>::new).max_idle_bytes(0).build();
    drop((0..100).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!(
        (pool.stats().idle, pool.stats().discarded_by.full),
        (0, 100)
    );
}

#[test]
fn a_limit_never_wears_out() {
    // Charges that leak, so that a bounded pool keeps less and less: with passes, clears, returns
    // on other threads, ended threads, rejected and taken objects.
    const LIMIT: usize = 90;
    let census = Census::new();
    let pool = manual(heavy(&census, 10))
        .max_idle(LIMIT)
        .max_idle_bytes(LIMIT * (OWN + 10))
        .build();
    let pool = Arc::new(pool);
    let mut random = Random::new(5);
    for round in 0..n(150, 2) {
        let workers = [Worker::new(), Worker::new()];
        for _ in 0..10 {
            let (worker, other) = (random.below(2), random.below(2));
            let (count, act) = (1 + random.below(n(60, 25)), random.below(8));
            let source = pool.clone();
            let guards = workers[worker].run(move || {
                let mut guards: Vec<_> = (0..count).map(|_| source.get()).collect();
                if act < 3 {
                    guards
                        .iter_mut()
                        .for_each(|heavy| heavy.weight = 1 + count % 40);
                }
                guards
            });
            workers[other].run(move || drop(guards));
            match act {
                0 => trim(&pool),
                1 => clear(&pool),
                2 => drop(pool.try_get().map(repool::Pooled::into_inner)),
                3 => pool.put(Heavy {
                    _tag: census.tag(),
                    weight: 11,
                }),
                _ => (),
            }
            let stats = pool.stats();
            assert!(stats.idle <= LIMIT as u64 && stats.idle_bytes as usize <= LIMIT * (OWN + 10));
        }
        workers.into_iter().for_each(Worker::end);
        let _ = pool.clear();
        let full: Vec<_> = (0..LIMIT + 1).map(|_| pool.get()).collect();
        drop(full);
        let stats = pool.stats();
        assert_eq!(stats.idle as usize, LIMIT, "round {round}: {stats:?}");
        let _ = pool.clear();
    }
    balanced(&pool.stats());
    drop(pool);
    assert_eq!(census.alive(), 0);
}

#[test]
fn many_threads_never_exceed_a_limit_on_objects() {
    // With returns on other threads, under load. Every living object is in use, idle, or being
    // created or dropped by one of the threads: so a limit of 20 always bounds the number of living
    // objects from outside.
    const THREADS: usize = 4;
    const HOLD: usize = 8;
    const LIMIT: usize = 20;
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).max_idle(LIMIT).build());
    let rounds = n(40_000, 12);
    let (outs, ins): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| sync_channel(HOLD)).unzip();
    let mut threads: Vec<_> = ins
        .into_iter()
        .enumerate()
        .map(|(me, inbox)| {
            let (pool, next) = (pool.clone(), outs[(me + 1) % THREADS].clone());
            spawn(move || {
                let mut random = Random::new(me);
                for _ in 0..rounds {
                    let held: Vec<_> = (0..random.below(HOLD)).map(|_| pool.get()).collect();
                    for guard in held {
                        drop(next.try_send(guard));
                    }
                    drop(inbox.try_recv());
                }
            })
        })
        .collect();
    drop(outs);
    let done = Arc::new(AtomicBool::new(false));
    let watcher = spawn({
        let (census, done) = (census.clone(), done.clone());
        move || {
            while !done.load(SeqCst) {
                // Objects held by a thread, in its inbox, and one that it is creating or dropping.
                let most = LIMIT + THREADS * (HOLD + HOLD + 2);
                assert!(census.alive() <= most, "{} alive", census.alive());
                std::thread::yield_now();
            }
        }
    });
    let last = threads.pop().expect("four");
    join_all(threads);
    join_all([last]);
    done.store(true, SeqCst);
    join_all([watcher]);
    let stats = pool.stats();
    assert!(stats.idle <= LIMIT as u64, "{stats:?}");
    census.agrees_with(&stats, 0);
}

#[test]
fn limits_hold_whenever_all_threads_pause() {
    // Objects and bytes, exactly, at many moments: all threads stop at a barrier with some guards
    // out, and one of them checks.
    const THREADS: usize = 4;
    let census = Census::new();
    let pool = manual(heavy(&census, 0))
        .max_idle(50)
        .max_idle_bytes(3_000)
        .build();
    let pool = Arc::new(pool);
    let pause = Arc::new(Barrier::new(THREADS));
    let rounds = n(400, 6);
    join_all((0..THREADS).map(|me| {
        let (pool, pause, census) = (pool.clone(), pause.clone(), census.clone());
        spawn(move || {
            let mut random = Random::new(me + 50);
            let mut held = Vec::new();
            for round in 0..rounds {
                for _ in 0..n(50, 10) {
                    let mut heavy = pool.get();
                    heavy.weight = random.below(if round % 2 == 0 { 100 } else { 1_000 });
                    held.push(heavy);
                    held.truncate(random.below(40));
                }
                held.truncate(5);
                pause.wait();
                if me == round % THREADS {
                    let stats = pool.stats();
                    assert!(stats.idle <= 50 && stats.idle_bytes <= 3_000, "{stats:?}");
                    balanced(&stats);
                    assert_eq!((stats.in_use + stats.idle) as usize, census.alive());
                    if round % 7 == 0 {
                        clear(&pool);
                    } else {
                        trim(&pool);
                    }
                }
                pause.wait();
            }
        })
    }));
    census.agrees_with(&pool.stats(), 0);
}

#[test]
fn a_small_limit_is_shared_not_hoarded() {
    // One idle thread that keeps the whole limit for ever: a pass takes it back.
    let pool = Arc::new(manual(|| 0u8).reset(|_| true).max_idle(4).build());
    let first = Worker::new();
    let source = pool.clone();
    first.run(move || drop((0..4).map(|_| source.get()).collect::<Vec<_>>()));
    drop((0..4).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!(pool.stats().idle, 4);
    for _ in 0..4 {
        drop(pool.get());
        let _ = pool.trim();
    }
    drop((0..4).map(|_| pool.get()).collect::<Vec<_>>());
    drop((0..4).map(|_| pool.get()).collect::<Vec<_>>());
    let created = pool.stats().created;
    drop((0..4).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!(
        pool.stats().created,
        created,
        "all four serve this thread now"
    );
}

#[test]
fn an_object_above_its_own_limit_is_dropped_on_return() {
    // One huge request that pins its memory while small requests go on.
    let pool = manual(|| Vec::<u8>::with_capacity(100))
        .max_object_bytes(1_000)
        .build();
    let mut small = pool.get();
    small.extend_from_slice(&[0; 1_000]);
    assert!(small.capacity() <= 1_000 || small.capacity() > 1_000);
    let fits = small.capacity() <= 1_000;
    drop(small);
    assert_eq!(pool.stats().idle, u64::from(fits));
    let _ = pool.clear();

    for (capacity, kept) in [(1_000, 1), (1_001, 0), (1 << 20, 0)] {
        pool.put(Vec::with_capacity(capacity));
        assert_eq!(pool.clear().objects, kept, "capacity {capacity}");
    }
    // Grown while in use, by an object that had been idle before.
    drop(pool.get());
    let mut guard = pool.get();
    guard.reserve(5_000);
    drop(guard);
    assert_eq!(pool.stats().idle, 0);
    assert!(pool.stats().discarded_by.oversize >= 3);
}

#[test]
fn the_limit_on_one_object_holds_for_custom_resets_too() {
    // As above, for a closure that weighs.
    let pool = manual(|| 0usize)
        .reset(|_| true)
        .retained_bytes(|weight| *weight)
        .max_object_bytes(64)
        .build();
    for (weight, idle) in [(64, 1), (65, 0), (usize::MAX, 0), (0, 1)] {
        let mut guard = pool.get();
        *guard = weight;
        drop(guard);
        assert_eq!(pool.stats().idle, idle, "weight {weight}");
        let _ = pool.clear();
    }
}

#[test]
fn absurd_weights_do_not_overflow() {
    // A `retained_bytes` near `usize::MAX`: sums that wrap around past a limit.
    for weight in [
        usize::MAX,
        usize::MAX - 1,
        isize::MAX as usize,
        isize::MAX as usize / 2,
    ] {
        for bounded in [false, true] {
            let census = Census::new();
            let mut builder = manual(heavy(&census, weight));
            if bounded {
                builder = builder.max_idle_bytes(1 << 30);
            }
            let pool: Pool<Heavy> = builder.build();
            drop((0..3).map(|_| pool.get()).collect::<Vec<_>>());
            if bounded {
                assert_eq!(pool.stats().idle, 0);
            }
            drop(pool.get());
            let _ = pool.trim();
            census.agrees_with(&pool.stats(), 0);
        }
    }
}

#[test]
fn a_heavy_object_leaves_lighter_ones_their_room() {
    // All objects of a cache are charged at the weight of the heaviest of them. That must not
    // outlive the heavy one, whether it was refused (200,000) or fitted and is out again (90,000).
    for heaviest in [90_000, 200_000] {
        let census = Census::new();
        let pool = manual(heavy(&census, 1_000))
            .max_idle_bytes(100_000 + 61 * OWN)
            .build();
        let mut one = pool.get();
        one.weight = heaviest;
        drop(one);
        let out = pool.try_get();
        assert_eq!(out.is_some(), heaviest < 100_000);
        drop((0..60).map(|_| pool.get()).collect::<Vec<_>>());
        let stats = pool.stats();
        assert_eq!(stats.idle, 60, "{heaviest}: {stats:?}");
        drop(out);
    }
}

#[test]
fn a_mixed_load_that_fits_a_limit_on_bytes_creates_no_more() {
    // A cache charges all its objects at the weight of the heaviest, which must not keep out what
    // would fit by exact weights.
    for (limit, heavies, weight) in [
        (120_000, 5, 20_000),
        (1_000_000, 5, 20_000),
        (1_000_000, 1, 100_000),
        (1_280_000, 1, 20_000),
    ]
    .into_iter()
    .take(n(4, 1))
    {
        let census = Census::new();
        let pool = manual(heavy(&census, 100))
            .max_idle_bytes(limit + (64 + heavies) * OWN)
            .build();
        for cycle in 0..n(30, 3) {
            let mut out: Vec<_> = (0..64 + heavies).map(|_| pool.get()).collect();
            // In any order: some heavy objects and many light ones, the heavy ones first or last.
            out.sort_by_key(|object| object.weight);
            out.iter_mut().for_each(|object| object.weight = 100);
            out.iter_mut()
                .rev()
                .take(heavies)
                .for_each(|object| object.weight = weight);
            if cycle % 2 == 0 {
                out.reverse();
            }
            drop(out);
            if cycle % 3 == 0 {
                let _ = pool.trim();
            }
        }
        let stats = pool.stats();
        let all = (64 + heavies) as u64;
        assert_eq!(
            stats.created, all,
            "{limit}, {heavies} of {weight}: {stats:?}"
        );
    }
}

/// A custom reset, where only the bounds of `T` are known.
fn by_hand<T: Default + Send + 'static>(bytes: usize) -> Pool<T> {
    Pool::builder(T::default)
        .trim_manually()
        .max_idle_bytes(bytes)
        .reset(|_| true)
        .build()
}

#[test]
#[cfg_attr(miri, ignore = "fills a hundred maps")]
fn a_reset_of_ones_own_does_not_blind_a_limit_on_bytes() {
    // A pool of maps kept 36 MiB under a limit of 1 MiB, and reported 0 bytes.
    const LIMIT: usize = 1 << 20;
    let pool = Pool::builder(HashMap::<u64, [u8; 56]>::new)
        .max_idle_bytes(LIMIT)
        .reset(|map| {
            map.clear();
            true
        })
        .trim_manually()
        .build();
    let mut maps: Vec<_> = (0..100).map(|_| pool.get()).collect();
    let each = maps
        .iter_mut()
        .map(|map| {
            map.extend((0..1_000).map(|key| (key, [0; 56])));
            size_of_val(&**map) + map.retained_bytes()
        })
        .max()
        .expect("a hundred");
    assert!(each > 100_000);
    drop(maps);
    let stats = pool.stats();
    assert_eq!(stats.idle as usize, LIMIT / each, "{stats:?}");
    assert_eq!(stats.idle_bytes as usize, LIMIT / each * each);
    assert_eq!(stats.discarded_by.full, 100 - stats.idle);

    // The same for limits on one object, and for a budget.
    let budget = Budget::new(LIMIT);
    for pool in [
        manual(|| vec![String::new(); LIMIT / size_of::<String>() + 1])
            .reset(|_| true)
            .max_object_bytes(LIMIT)
            .build(),
        manual(|| vec![String::new(); LIMIT / size_of::<String>() + 1])
            .budget(budget.clone())
            .reset(|_| true)
            .build(),
    ] {
        drop(pool.get());
        assert_eq!(pool.stats().idle, 0);
    }
}

#[test]
fn a_limit_on_bytes_is_refused_where_weights_are_unknown() {
    // It counted 0 instead.
    struct Foreign(Vec<u8>);
    let foreign = || Foreign(vec![0; 1_000]);
    let refused = |build: Box<dyn FnOnce() -> Pool<Foreign> + UnwindSafe>| {
        let panic = catch_unwind(build).expect_err("refused");
        let message = panic.downcast_ref::<String>().expect("formatted").clone();
        for word in ["Foreign", ".retained_bytes(", "max_idle_bytes"] {
            assert!(message.contains(word), "{message}");
        }
    };
    refused(Box::new(move || {
        let builder = Pool::builder(foreign).max_idle_bytes(1_000);
        builder.reset(|_| true).build()
    }));
    refused(Box::new(move || {
        let builder = Pool::builder(foreign).reset(|_| true);
        builder.max_object_bytes(1_000).build()
    }));
    refused(Box::new(move || {
        let builder = Pool::builder(foreign).reset(|_| true);
        builder.budget(Budget::new(1_000)).build()
    }));
    // The weight is given, not needed, or there is nothing to weigh.
    let said = manual(foreign)
        .retained_bytes(|foreign| foreign.0.capacity())
        .reset(|_| true)
        .max_idle_bytes(2 * (1_000 + size_of::<Foreign>()))
        .build();
    drop((said.get(), said.get(), said.get()));
    assert_eq!(said.stats().idle, 2);
    drop(manual(foreign).reset(|_| true).max_idle(3).build());
    drop(by_hand::<[u64; 4]>(100));
    // Generic code knows only its bounds; the pool itself knows some types.
    assert!(catch_unwind(|| by_hand::<HashMap<u8, u8>>(100)).is_err());
    let bytes = by_hand::<Vec<u8>>(10_000);
    bytes.get().reserve(20_000);
    assert_eq!(
        (bytes.stats().idle, bytes.stats().discarded_by.full),
        (0, 1)
    );
}

#[test]
fn weights_can_be_said_without_a_reset_of_ones_own() {
    // `retained_bytes` used to exist only after `reset`.
    #[derive(Default)]
    struct Shared {
        line: String,
        table: Arc<[u64]>,
    }
    impl Recycle for Shared {
        fn recycle(&mut self) {
            self.line.clear();
        }
    }
    let pool = manual(|| Shared {
        line: String::new(),
        table: vec![0; 100].into(),
    })
    .retained_bytes(|shared| size_of_val(&*shared.table))
    .build();
    pool.get().line.push('x');
    assert!(pool.get().line.is_empty(), "its own reset");
    let expected = size_of::<Shared>() + 800;
    assert_eq!(pool.stats().idle_bytes as usize, expected);

    // For a type whose own weight is inlined.
    let pool = manual(Vec::<u8>::new).retained_bytes(|_| 7).build();
    pool.get().extend([1; 100]);
    assert!(pool.get().is_empty() && pool.get().capacity() >= 100);
    let expected = size_of::<Vec<u8>>() + 7;
    assert_eq!(pool.stats().idle_bytes as usize, expected);
}

#[test]
fn a_builder_without_weights_builds_again() {
    // That `build` borrows the builder.
    struct Foreign;
    let builder = manual(|| Foreign).name("twin").reset(|_| true);
    let (one, other) = (builder.build(), builder.build());
    drop(one.get());
    assert_eq!((one.stats().created, other.stats().created), (1, 0));
    assert_eq!((one.name(), other.name()), (Some("twin"), Some("twin")));
}

/// A weigher may return anything. Its result must not leave a charge behind that keeps others out
/// for good.
#[test]
fn weights_beyond_all_memory_leave_nothing_charged() {
    for weight in [
        usize::MAX,
        isize::MAX as usize,
        isize::MAX as usize - 1,
        1 << (usize::BITS - 2),
        1 << (usize::BITS / 2 + 8),
    ] {
        let budget = Budget::new(usize::MAX);
        let pool = manual(|| Vec::<u16>::with_capacity(8))
            .max_idle(100)
            .budget(budget.clone())
            .retained_bytes(move |of| if of.capacity() > 8 { weight } else { 16 })
            .build();
        for count in [1, 3, 7] {
            let mut all = (0..count).map(|_| pool.get()).collect::<Vec<_>>();
            all.iter_mut().for_each(|one| one.reserve(1_000));
            drop(all);
            drop((0..count).map(|_| pool.get()).collect::<Vec<_>>());
        }
        clear(&pool);
        assert_eq!(budget.used(), 0, "{weight:#x}");
        drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
        assert_eq!(pool.stats().idle, 10, "{weight:#x}");
    }
}
