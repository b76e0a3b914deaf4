//! What `ArenaPool::builder` sets, one claim per test. `max_object_bytes` is with the outliers.

use super::{Arena, ArenaPool, MIB, fill, manual};
use repool::{Budget, Pressure, Trimmed};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Gets this many arenas at the same time, uses this many bytes in each, then returns all.
fn burst(pool: &ArenaPool, arenas: usize, bytes: usize) {
    let arenas: Vec<Arena> = (0..arenas).map(|_| pool.get()).collect();
    arenas.iter().for_each(|arena| fill(arena, bytes));
}

/// Waits until it is so. The deadline only ends a failing test; it measures nothing.
fn becomes_true(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "never: {what}");
        thread::sleep(Duration::from_millis(1)); // polls
    }
}

// ------------------------------------------------------------------------- max_idle

#[test]
fn max_idle_is_how_many_arenas_are_kept() {
    let pool = ArenaPool::builder().max_idle(3).trim_manually().build();
    burst(&pool, 10, 100);
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.discarded_by.full), (3, 7));
    burst(&pool, 10, 100);
    assert_eq!(pool.stats().reused, 3);
}

#[test]
fn max_idle_holds_for_all_threads_together() {
    let pool = ArenaPool::builder().max_idle(3).trim_manually().build();
    for _ in 0..if cfg!(miri) { 1 } else { 3 } {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    burst(&pool, 10, 100);
                    assert!(pool.stats().idle <= 3);
                });
            }
        });
    }
    assert!((1..=3).contains(&pool.stats().idle));
}

#[test]
fn max_idle_of_zero_keeps_nothing() {
    let pool = ArenaPool::builder().max_idle(0).trim_manually().build();
    for _ in 0..3 {
        assert_eq!(*pool.get().alloc(7), 7);
    }
    let stats = pool.stats();
    assert_eq!((stats.created, stats.idle), (3, 0));
}

// ------------------------------------------------------------------------- max_idle_bytes

#[test]
fn max_idle_bytes_is_how_much_the_idle_arenas_hold_together() {
    let limit = 100_000;
    let pool = ArenaPool::builder()
        .max_idle_bytes(limit)
        .trim_manually()
        .build();
    for bytes in [100, 20_000, 60_000, 200_000, 3_000] {
        burst(&pool, 10, bytes);
        assert!(pool.stats().idle_bytes <= limit as u64, "{}", pool.stats());
    }
}

#[test]
fn an_arena_is_not_made_too_large_for_max_idle_bytes() {
    let pool = ArenaPool::builder()
        .max_idle_bytes(100_000)
        .trim_manually()
        .build();
    // The needs of requests exceed what the pool may keep.
    burst(&pool, 10, 200_000);
    assert_eq!(pool.stats().idle, 0);
    burst(&pool, 1, 3_000);
    burst(&pool, 1, 3_000);
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.reused), (1, 1));
}

#[test]
fn max_idle_bytes_of_zero_keeps_nothing_that_has_a_chunk() {
    let pool = ArenaPool::builder()
        .max_idle_bytes(0)
        .trim_manually()
        .build();
    burst(&pool, 3, 100);
    assert_eq!(pool.stats().idle_bytes, 0);
}

// ------------------------------------------------------------------------- budget

#[test]
fn a_budget_counts_the_idle_arenas() {
    let budget = Budget::new(MIB as usize);
    let pool = ArenaPool::builder()
        .budget(budget.clone())
        .trim_manually()
        .build();
    let arena = pool.get();
    assert_eq!(budget.used(), 0, "what is in use does not count");
    fill(&arena, 100_000);
    drop(arena);
    assert!(budget.used() as u64 >= pool.stats().idle_bytes);
    assert!(pool.stats().idle_bytes >= 100_000);
}

#[test]
fn a_budget_that_is_used_up_lets_arenas_be_dropped() {
    let pool = ArenaPool::builder()
        .budget(Budget::new(50_000))
        .trim_manually()
        .build();
    burst(&pool, 10, 20_000);
    let stats = pool.stats();
    assert!(stats.idle_bytes <= 50_000 && stats.discarded_by.budget > 0);
}

#[test]
fn a_pool_that_goes_gives_the_budget_back() {
    let budget = Budget::new(MIB as usize);
    let pool = ArenaPool::builder()
        .budget(budget.clone())
        .trim_manually()
        .build();
    burst(&pool, 10, 20_000);
    assert!(budget.used() > 0);
    drop(pool);
    assert_eq!(budget.used(), 0);
}

// ------------------------------------------------------------------------- trim_every

#[test]
#[cfg_attr(miri, ignore = "no janitor")]
fn with_trim_every_idle_arenas_leave_by_themselves() {
    let pool = ArenaPool::builder()
        .trim_every(Duration::from_millis(20))
        .build();
    burst(&pool, 10, 20_000);
    becomes_true("all idle arenas are gone", || pool.stats().idle == 0);
    let stats = pool.stats();
    assert_eq!((stats.trimmed, stats.idle_bytes), (10, 0));
}

#[test]
#[cfg_attr(miri, ignore = "no janitor")]
fn with_trim_every_an_idle_arena_stays_for_two_intervals_and_leaves_with_the_third() {
    // Counted in passes of a second pool, run by the test, because a clock means little on a busy
    // machine: the janitor's passes are passes of the same kind.
    let by_hand = manual();
    burst(&by_hand, 1, 100);
    assert_eq!([(); 3].map(|()| by_hand.trim().objects), [0, 0, 1]);
    // Regardless of the machine's memory pressure.
    Pressure::manual().install();
    let interval = Duration::from_millis(200);
    let pool = ArenaPool::builder().trim_every(interval).build();
    let started = Instant::now();
    burst(&pool, 1, 100);
    becomes_true("the idle arena is gone", || pool.stats().idle == 0);
    assert!(started.elapsed() >= 2 * interval, "{:?}", started.elapsed());
}

#[test]
#[cfg_attr(miri, ignore = "no janitor")]
fn with_trim_every_an_arena_of_a_thread_that_never_runs_again_leaves_as_well() {
    let pool = ArenaPool::builder()
        .trim_every(Duration::from_millis(20))
        .build();
    let end = Barrier::new(2);
    thread::scope(|scope| {
        let (sender, is_parked) = std::sync::mpsc::channel();
        let (pool, end) = (&pool, &end);
        scope.spawn(move || {
            burst(pool, 10, 20_000);
            sender.send(()).expect("the test waits");
            end.wait();
        });
        is_parked.recv().expect("the thread sends");
        becomes_true("the parked thread has none", || pool.stats().idle == 0);
        end.wait();
    });
    assert_eq!(pool.stats().trimmed, 10);
}

#[test]
#[should_panic(expected = "must not be zero")]
fn trim_every_refuses_zero() {
    let _ = ArenaPool::builder().trim_every(Duration::ZERO);
}

#[test]
#[cfg_attr(miri, ignore = "no janitor")]
fn with_trim_manually_nothing_leaves_by_itself() {
    let pool = manual();
    burst(&pool, 1, 100);
    // For twice as long as automatic trimming needs.
    let other = ArenaPool::builder()
        .trim_every(Duration::from_millis(20))
        .build();
    for _ in 0..2 {
        burst(&other, 1, 100);
        becomes_true("the other pool is empty", || other.stats().idle == 0);
    }
    assert_eq!((pool.stats().idle, pool.stats().trimmed), (1, 0));
}

// ------------------------------------------------------------------------- set_enabled

#[test]
fn an_unused_pool_can_be_switched_off() {
    let pool = ArenaPool::new();
    pool.set_enabled(false);
    burst(&pool, 3, 100);
    let stats = pool.stats();
    assert_eq!((stats.created, stats.idle), (3, 0));
}

#[test]
fn a_new_arena_is_as_large_while_pooling_is_off_as_while_it_is_on() {
    let of = |first, limit: Option<usize>| {
        let pool = ArenaPool::builder().first_chunk(first).trim_manually();
        let pool = match limit {
            Some(limit) => pool.max_object_bytes(limit).build(),
            None => pool.build(),
        };
        let on = pool.get().allocated_bytes();
        pool.set_enabled(false);
        (on, pool.get().allocated_bytes())
    };
    for first in [0, 1, 400, 4_096, 100_000] {
        for limit in [None, Some(1), Some(400), Some(5_000), Some(200_000)] {
            let (on, off) = of(first, limit);
            assert_eq!(on, off, "{first}, {limit:?}");
            assert!(off <= limit.unwrap_or(usize::MAX), "{first}, {limit:?}");
        }
    }
}

#[test]
fn what_is_idle_when_pooling_is_switched_off_stays_until_clear() {
    let pool = manual();
    burst(&pool, 3, 100);
    pool.set_enabled(false);
    burst(&pool, 2, 100);
    assert_eq!((pool.stats().idle, pool.stats().created), (3, 5));
    assert_eq!(pool.clear().objects, 3);
    assert_eq!(pool.clear(), Trimmed::default());
}

#[test]
fn an_arena_that_is_out_when_pooling_is_switched_off_is_dropped_when_it_comes_back() {
    let pool = manual();
    // A settled arena, so that its return would take the fast path.
    (0..20).for_each(|_| burst(&pool, 1, 1_000));
    let arena = pool.get();
    fill(&arena, 1_000);
    pool.set_enabled(false);
    drop(arena);
    let stats = pool.stats();
    assert_eq!((stats.discarded_by.switched_off, stats.idle), (1, 0));
}

#[test]
fn switched_on_again_the_pool_pools() {
    let pool = manual();
    pool.set_enabled(false);
    burst(&pool, 1, 100);
    pool.set_enabled(true);
    burst(&pool, 1, 100);
    burst(&pool, 1, 100);
    let stats = pool.stats();
    assert_eq!((stats.created, stats.reused), (2, 1));
}

// ------------------------------------------------------------------------- names

#[test]
fn a_pool_has_the_name_that_the_builder_was_given() {
    let pool = ArenaPool::builder().name("requests").build();
    assert_eq!(pool.name(), Some("requests"));
    burst(&pool, 1, 100);
    assert_eq!(pool.name(), Some("requests"));
    assert!(format!("{pool:?}").contains("requests"));
}

#[test]
fn a_pool_without_a_name_has_none() {
    let pools = [
        ArenaPool::new(),
        ArenaPool::default(),
        ArenaPool::builder().build(),
    ];
    assert!(pools.iter().all(|pool| pool.name().is_none()));
}

// ------------------------------------------------------------------------- the first use

#[test]
fn a_const_pool_whose_first_use_is_on_many_threads_at_once_is_one_pool() {
    const THREADS: usize = 8;
    for _ in 0..if cfg!(miri) { 2 } else { 100 } {
        let pool = ArenaPool::new();
        let start = Barrier::new(THREADS);
        let arenas: Vec<Arena> = thread::scope(|scope| {
            let get = || {
                start.wait();
                let arena = pool.get();
                fill(&arena, 1_000);
                arena
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(get)).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, Arena>| thread.join().expect("fine");
            threads.into_iter().map(join).collect()
        });
        let stats = pool.stats();
        assert_eq!(
            (stats.created, stats.in_use),
            (THREADS as u64, THREADS as u64)
        );
        drop(arenas);
        assert_eq!(pool.stats().idle, THREADS as u64);
        assert_eq!(pool.clear().objects, THREADS as u64);
    }
}
