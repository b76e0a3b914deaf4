//! Giving memory back. The tests run all passes, so nothing waits for a clock.

use super::support::{Census, Tag, Worker, clear, join_all, manual, n, some, trim};
use repool::{Pool, Pooled, Recycle, Trimmed};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

/// Gets this many objects at the same time, then returns them.
fn use_at_once<T: Send>(pool: &Pool<T>, objects: usize) {
    drop((0..objects).map(|_| pool.get()).collect::<Vec<_>>());
}

#[test]
fn the_first_pass_after_a_fill_removes_nothing() {
    // A pass right after a burst that drops the burst.
    for k in some([1, 31, 32, 33, 64, 65, 200], 3) {
        let census = Census::new();
        let pool = manual(census.create()).build();
        use_at_once(&pool, k);
        assert_eq!(pool.trim(), Trimmed::default(), "{k} objects");
        assert_eq!(pool.stats().idle as usize, k);
    }
}

#[test]
fn an_idle_object_is_gone_after_three_passes() {
    // Memory that never comes back, wherever the object is: in the cache of the thread that runs
    // the passes, of a parked thread, of an ended one, or in the depot.
    for k in some([1, 2, 31, 32, 33, 63, 64, 65, 200], 3) {
        for place in ["own", "parked", "ended"] {
            let census = Census::new();
            let pool = Arc::new(manual(census.create()).build());
            let worker = Worker::new();
            let other = pool.clone();
            match place {
                "own" => use_at_once(&pool, k),
                _ => worker.run(move || use_at_once(&other, k)),
            }
            let _parked = (place == "parked").then_some(worker);
            let trimmed: u64 = (0..3).map(|_| pool.trim().objects).sum();
            assert_eq!((trimmed as usize, census.alive()), (k, 0), "{k} {place}");
        }
    }
}

#[test]
fn an_idle_pool_shrinks_monotonically() {
    // Idle figures that rise without a return, or a remainder that stays.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let workers: Vec<_> = (0..3).map(|_| Worker::new()).collect();
    for (index, worker) in workers.iter().enumerate() {
        let pool = pool.clone();
        worker.run(move || use_at_once(&pool, 30 * (index + 1)));
    }
    let mut idle = pool.stats().idle;
    for _ in 0..3 {
        let _ = pool.trim();
        let now = pool.stats().idle;
        assert!(now <= idle);
        idle = now;
    }
    assert_eq!((idle, census.alive()), (0, 0));
    assert_eq!(pool.trim(), Trimmed::default());
}

#[test]
fn a_parked_thread_is_emptied_without_ever_running() {
    // Go solves this by stopping the world; other pools do not solve it.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let parked: Vec<_> = (0..4).map(|_| Worker::new()).collect();
    for worker in &parked {
        let pool = pool.clone();
        worker.run(move || use_at_once(&pool, 64));
    }
    for _ in 0..3 {
        let _ = pool.trim();
    }
    assert_eq!(census.alive(), 0);
    // Its cache still works.
    for worker in &parked {
        let pool = pool.clone();
        worker.run(move || {
            use_at_once(&pool, 3);
            let again: Vec<_> = std::iter::from_fn(|| pool.try_get()).collect();
            assert_eq!(again.len(), 3);
        });
    }
}

#[test]
fn a_parked_threads_object_reaches_another_thread() {
    // An object that only the thread of its last user can ever get again.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let (one, two) = (Worker::new(), Worker::new());
    let source = pool.clone();
    one.run(move || use_at_once(&source, 1));
    // One pass notices that thread 1 was active, the next that it no longer is.
    assert_eq!(pool.trim().objects + pool.trim().objects, 0);
    let other = pool.clone();
    let id = two.run(move || other.try_get().map(|tag| tag.id));
    assert_eq!(id, Some(0));
    assert_eq!(census.born(), 1);
}

#[test]
fn trim_says_what_it_removed() {
    // Figures that are not computed where the objects are dropped.
    let pool = manual(|| Vec::<u8>::with_capacity(100)).build();
    let size = (size_of::<Vec<u8>>() + 100) as u64;
    use_at_once(&pool, 70);
    let passes: Vec<_> = (0..4).map(|_| pool.trim()).collect();
    let objects: u64 = passes.iter().map(|trimmed| trimmed.objects).sum();
    let bytes: u64 = passes.iter().map(|trimmed| trimmed.bytes).sum();
    assert_eq!((objects, bytes), (70, 70 * size));
    assert_eq!(pool.stats().trimmed, 70);
    use_at_once(&pool, 5);
    let cleared = pool.clear();
    assert_eq!((cleared.objects, cleared.bytes), (5, 5 * size));
    assert_eq!(pool.stats().trimmed, 75);
}

#[test]
fn every_trimmed_object_is_destroyed_once() {
    // N of N objects, not N - 1, and none twice.
    for k in [1, 7, 32, 64, 100, n(5_000, 130)] {
        let census = Census::new();
        let pool = manual(census.create()).build();
        let kept = pool.get();
        use_at_once(&pool, k);
        for _ in 0..3 {
            let _ = pool.trim();
        }
        assert_eq!(census.died(), k);
        drop(kept);
        for _ in 0..3 {
            let _ = pool.trim();
        }
        assert_eq!((census.born(), census.died()), (k + 1, k + 1));
    }
}

/// Uses `k` objects at the same time, `times` times, with `passes` passes after each: none is
/// created twice.
fn assert_never_creates(k: usize, times: usize, passes: usize) {
    let pool = manual(|| 0u8).reset(|_| true).build();
    for _ in 0..times {
        use_at_once(&pool, k);
        (0..passes).for_each(|_| trim(&pool));
    }
    assert_eq!(pool.stats().created as usize, k, "{:?}", pool.stats());
}

#[test]
fn a_steady_load_in_the_caches_never_creates() {
    // A policy that drops a part of the working set each time.
    for k in some([1, 2, 5, 31, 32, 33, 40, 63, 64], 3) {
        assert_never_creates(k, n(100, 8), 1);
    }
}

#[test]
fn a_steady_load_in_the_depot_never_creates() {
    // The same for more objects than a cache holds.
    for k in some([65, 96, 100, 300], 1) {
        assert_never_creates(k, n(100, 8), 1);
    }
}

#[test]
fn a_steady_load_on_several_threads_never_creates() {
    // Passes that move one thread's working set to another.
    let pool = Arc::new(manual(|| 0u8).reset(|_| true).build());
    let workers: Vec<_> = (0..4).map(|_| Worker::new()).collect();
    let mut created = Vec::new();
    for _ in 0..n(100, 5) {
        for (index, worker) in workers.iter().enumerate() {
            let pool = pool.clone();
            worker.run(move || use_at_once(&pool, 10 + n(30, 10) * index));
        }
        let _ = pool.trim();
        created.push(pool.stats().created);
    }
    assert_eq!(created.first(), created.last());
}

/// Intervals until such a load is steady: until the consumer's cache has withheld as many objects
/// as it ever does.
const WARM: usize = 100;
/// The most objects that a cache withholds: two lists.
const WITHHELD: usize = 128;

/// One thread gets `k` objects and another drops them in each interval: once the load is steady,
/// none is created.
fn assert_handing_over_never_creates(k: usize) {
    let pool = Arc::new(manual(|| 0u8).reset(|_| true).build());
    let (producer, consumer) = (Worker::new(), Worker::new());
    let created: Vec<_> = (0..WARM + n(100, 5))
        .map(|_| {
            let source = pool.clone();
            let held = producer.run(move || (0..k).map(|_| source.get()).collect::<Vec<_>>());
            consumer.run(move || drop(held));
            let _ = pool.trim();
            pool.stats().created
        })
        .collect();
    assert_eq!(
        created.get(WARM - 1),
        created.last(),
        "{k} at once: {created:?}"
    );
    assert!(
        created
            .last()
            .is_some_and(|&created| created as usize <= k + WITHHELD)
    );
}

#[test]
#[cfg_attr(miri, ignore = "a hundred intervals of a hundred objects")]
fn a_steady_load_from_one_thread_to_another_never_creates() {
    // One thread gets and another drops, so every object passes the depot. What the consumer's
    // cache withholds is created once at the start, and never again.
    for k in some([100, 300, 1_000], 1) {
        assert_handing_over_never_creates(k);
    }
}

#[test]
#[cfg_attr(miri, ignore = "a hundred intervals")]
fn a_trickle_from_one_thread_to_another_never_creates() {
    // The same for no more objects than the consumer's cache holds, so only passes move them on.
    for k in some([1, 10, 40, 64], 1) {
        assert_handing_over_never_creates(k);
    }
}

#[test]
fn a_load_every_other_interval_never_creates() {
    // What was needed during the last two intervals is not surplus.
    for k in some([1, 40, 64, 300], 2) {
        assert_never_creates(k, n(50, 6), 2);
    }
}

#[test]
fn under_a_growing_load_nothing_is_trimmed() {
    // Dropping a surplus that does not exist.
    let pool = manual(|| 0u8).reset(|_| true).build();
    let most = n(300, 20);
    for k in 1..most {
        use_at_once(&pool, k);
        assert_eq!(pool.trim().objects, 0, "at {k}");
    }
    assert_eq!(pool.stats().created as usize, most - 1);
}

#[test]
fn after_a_burst_only_the_working_set_stays() {
    // A burst of 500, then a steady 10: passes drop the surplus and nothing that is needed.
    let pool = manual(|| 0u8).reset(|_| true).build();
    let burst = n(500, 150);
    use_at_once(&pool, burst);
    for _ in 0..6 {
        use_at_once(&pool, 10);
        let _ = pool.trim();
    }
    let stats = pool.stats();
    assert_eq!(
        stats.created, burst as u64,
        "the working set was never re-created: {stats:?}"
    );
    assert!((10..=16).contains(&stats.idle), "{stats:?}");
}

#[test]
fn what_an_active_thread_does_not_use_leaves_within_three_passes() {
    // For a thread that goes on with a part of what it had: exactly, as long as it uses at most one
    // list (64) at once. Beyond that it works with the depot a list at a time, and may keep one.
    const LIST: usize = 64;
    for k in some([2, 5, 32, 33, 40, 64, 65, 100, 128, 129, 200, 400], 3) {
        for used in some([1, 2, 3, 8, 31, 40, 63, 64, 65, 80, 150], 2)
            .into_iter()
            .filter(|&used| used < k)
        {
            let pool = manual(|| 0u8).reset(|_| true).build();
            use_at_once(&pool, k);
            for _ in 0..3 {
                use_at_once(&pool, used);
                let _ = pool.trim();
            }
            let stats = pool.stats();
            let most = if used <= LIST { used } else { used + LIST - 1 };
            assert!(
                (used as u64..=most as u64).contains(&stats.idle),
                "{k} at first, then {used}: {stats:?}"
            );
            assert_eq!(stats.created, k as u64, "{k} at first, then {used}");
        }
    }
}

/// Records which objects have died.
struct Mortal {
    tag: Tag,
    deaths: Arc<Mutex<BTreeSet<usize>>>,
}

impl Recycle for Mortal {
    fn recycle(&mut self) {}
}

impl Drop for Mortal {
    fn drop(&mut self) {
        assert!(self.deaths.lock().expect("no panic").insert(self.tag.id));
    }
}

#[test]
fn the_coldest_go_first() {
    // A pass drops nothing that was used since the previous pass, and the coldest of the rest.
    let census = Census::new();
    let deaths = Arc::new(Mutex::new(BTreeSet::new()));
    let (create, tell) = (census.create(), deaths.clone());
    let pool = manual(move || Mortal {
        tag: create(),
        deaths: tell.clone(),
    })
    .build();
    use_at_once(&pool, n(300, 150));
    for round in 0..n(40, 8) {
        let size = [10, 40, 70, 5][round % 4];
        let held: Vec<_> = (0..size).map(|_| pool.get()).collect();
        let used: BTreeSet<_> = held.iter().map(|mortal| mortal.tag.id).collect();
        drop(held);
        let before = deaths.lock().expect("no panic").clone();
        let trimmed = pool.trim();
        let after = deaths.lock().expect("no panic").clone();
        assert_eq!(after.len() - before.len(), trimmed.objects as usize);
        assert!(after.is_disjoint(&used), "round {round}: {used:?}");
    }
    assert!(!deaths.lock().expect("no panic").is_empty());
}

/// Waits in its destructor until it is released.
struct Slow {
    entered: Sender<()>,
    leave: Arc<Mutex<Receiver<()>>>,
    armed: bool,
}

impl Recycle for Slow {
    fn recycle(&mut self) {}
}

impl Drop for Slow {
    fn drop(&mut self) {
        if self.armed {
            self.entered.send(()).expect("the test is there");
            self.leave
                .lock()
                .expect("no panic")
                .recv()
                .expect("the test is there");
        }
    }
}

#[test]
fn a_slow_destructor_in_a_pass_blocks_no_other_thread() {
    // Destructors that run under the pool's lock, or with caches shut. The other threads do all
    // their work while the pass is inside a destructor.
    for visit in [
        (|pool: &Pool<Slow>| (0..3).for_each(|_| trim(pool))) as fn(&Pool<Slow>),
        |pool| clear(pool),
    ] {
        let (entered, has_entered) = channel();
        let (go, leave) = channel();
        let leave = Arc::new(Mutex::new(leave));
        let pool = manual(move || Slow {
            entered: entered.clone(),
            leave: leave.clone(),
            armed: false,
        });
        let pool = Arc::new(pool.build());
        let mut guard = pool.get();
        guard.armed = true;
        drop(guard);
        let visitor = spawn({
            let pool = pool.clone();
            move || visit(&pool)
        });
        has_entered.recv().expect("in the destructor");
        let others = (0..2).map(|_| {
            let pool = pool.clone();
            spawn(move || {
                for _ in 0..n(200, 3) {
                    use_at_once(&pool, n(100, 20));
                    drop(pool.try_get());
                    let _ = (pool.trim(), pool.stats(), pool.clear());
                    pool.put(Pooled::into_inner(pool.get()));
                }
            })
        });
        join_all(others.collect::<Vec<_>>());
        go.send(()).expect("it waits");
        join_all([visitor]);
        assert_eq!(pool.stats().in_use, 0);
    }
}

#[test]
fn passes_of_many_threads_at_once_count_each_object_once() {
    // Under contention: the sum of what all passes report is what has died.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let sum = Arc::new(Mutex::new(0));
    join_all((0..4).map(|_| {
        let (pool, sum) = (pool.clone(), sum.clone());
        spawn(move || {
            for round in 0..n(300, 6) {
                use_at_once(&pool, 1 + round % 50);
                let trimmed = if round % 5 == 0 {
                    pool.clear()
                } else {
                    pool.trim()
                };
                *sum.lock().expect("no panic") += trimmed.objects;
            }
        })
    }));
    let stats = pool.stats();
    assert_eq!(stats.trimmed, *sum.lock().expect("no panic"));
    assert_eq!(stats.trimmed + stats.discarded, census.died() as u64);
    census.agrees_with(&stats, 0);
}

/// Threads that take turns: each keeps at most what it had, and all of it is gone three passes later.
#[test]
fn idle_objects_are_at_most_what_each_thread_had_in_use() {
    let counts = some([1_usize, 40, 64, 100, 130, 300], 2);
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let workers: Vec<_> = counts.iter().map(|_| Worker::new()).collect();
    for round in 0..n(20, 2) {
        for (worker, &objects) in workers.iter().zip(&counts) {
            let pool = pool.clone();
            worker.run(move || use_at_once(&pool, objects));
        }
        let most: usize = counts.iter().sum();
        assert!(census.alive() <= most, "round {round}: {}", census.alive());
        trim(&pool);
    }
    (0..3).for_each(|_| trim(&pool));
    assert_eq!(census.alive(), 0);
    workers.into_iter().for_each(Worker::end);
}
