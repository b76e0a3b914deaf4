//! Many threads at one pool.

use super::support::{Census, Random, Tag, Worker, balanced, clear, join_all, manual, n, trim};
use repool::{Pool, Pooled};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Barrier};
use std::thread::spawn;

#[test]
fn ten_threads_find_their_contents_intact() {
    // Objects torn, shared or handed out dirty under load.
    let pool = Arc::new(manual(Vec::<usize>::new).build());
    let rounds = n(1_000_000, 100);
    join_all((0..10).map(|me| {
        let pool = pool.clone();
        spawn(move || {
            for round in 0..rounds {
                let mut mine = pool.get();
                assert!(mine.is_empty());
                mine.extend([me, round, me ^ round]);
                assert_eq!(mine[..], [me, round, me ^ round]);
            }
        })
    }));
    let stats = pool.stats();
    balanced(&stats);
    assert!(
        stats.created <= 10 && stats.idle == stats.created,
        "{stats:?}"
    );
}

#[test]
fn no_object_is_ever_held_twice() {
    // A double hand-out, with random hold times and guards dropped on other threads, with passes,
    // clears and switching in between.
    const THREADS: usize = 8;
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let rounds = n(40_000, 30);
    let (outs, ins): (Vec<_>, Vec<_>) = (0..THREADS)
        .map(|_| sync_channel::<Pooled<Tag>>(64))
        .unzip();
    let threads: Vec<_> = ins
        .into_iter()
        .enumerate()
        .map(|(me, inbox)| {
            let pool = pool.clone();
            let next = outs[(me + 1) % THREADS].clone();
            spawn(move || {
                let mut random = Random::new(me);
                let mut held = VecDeque::new();
                for round in 0..rounds {
                    match random.below(100) {
                        0..50 => {
                            let mut tag = pool.get();
                            tag.hold();
                            held.push_back(tag);
                        }
                        50..80 => {
                            if let Some(mut tag) = held.pop_front() {
                                tag.release();
                            }
                        }
                        80..90 => {
                            if let Some(tag) = held.pop_back()
                                && let Err(back) = next.try_send(tag)
                            {
                                held.push_back(match back {
                                    std::sync::mpsc::TrySendError::Full(tag)
                                    | std::sync::mpsc::TrySendError::Disconnected(tag) => tag,
                                });
                            }
                        }
                        _ => held.extend(inbox.try_recv()),
                    }
                    while held.len() > random.below(100) {
                        held.pop_front().expect("not empty").release();
                    }
                    if round % 512 == 0 {
                        match (me + round / 512) % 4 {
                            0 => clear(&pool),
                            1 => balanced(&pool.stats()),
                            _ => trim(&pool),
                        }
                    }
                }
                drop(next);
                held.extend(inbox);
                held.iter_mut().for_each(|tag| tag.release());
            })
        })
        .collect();
    drop(outs);
    join_all(threads);
    census.agrees_with(&pool.stats(), 0);
    drop(pool);
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_visitor_and_the_owners_never_get_the_same_object() {
    // The owner/visitor protocol: owners hammer their caches while a visitor empties them. Without
    // the heavy fence, objects are lost and duplicated immediately.
    for visit in [
        (|pool: &Pool<Tag>| pool.clear().objects) as fn(&Pool<Tag>) -> u64,
        |pool| pool.trim().objects,
        |pool| {
            pool.set_enabled(false);
            pool.set_enabled(true);
            0
        },
        |pool| pool.stats().trimmed,
    ] {
        let census = Census::new();
        let pool = Arc::new(manual(census.create()).build());
        let running = Arc::new(AtomicUsize::new(2));
        let rounds = n(150_000, 30);
        let mut threads: Vec<_> = (0..2)
            .map(|_| {
                let (pool, running) = (pool.clone(), running.clone());
                spawn(move || {
                    for round in 0..rounds {
                        let (mut a, mut b) = (pool.get(), pool.get());
                        a.hold();
                        b.hold();
                        a.release();
                        if round % 3 == 0 {
                            drop(a);
                        }
                        b.release();
                    }
                    running.fetch_sub(1, SeqCst);
                })
            })
            .collect();
        threads.push(spawn({
            let pool = pool.clone();
            move || {
                while running.load(SeqCst) != 0 {
                    let _ = visit(&pool);
                    std::thread::yield_now();
                }
            }
        }));
        join_all(threads);
        census.agrees_with(&pool.stats(), 0);
        let idle = pool.stats().idle;
        assert_eq!(pool.clear().objects, idle);
        assert_eq!(census.alive(), 0);
    }
}

#[test]
fn everything_at_once_loses_nothing() {
    // Get, drop, put, take, trim, clear, stats and switching on many threads. The figures always
    // add up, counters never go back, and the final count is exact.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let rounds = n(20_000, 30);
    let taken = Arc::new(AtomicUsize::new(0));
    join_all((0..6).map(|me| {
        let (pool, census, taken) = (pool.clone(), census.clone(), taken.clone());
        spawn(move || {
            let mut random = Random::new(me + 100);
            let mut held = Vec::new();
            let mut before = pool.stats();
            for _ in 0..rounds {
                match random.below(1_000) {
                    0..500 => held.push(pool.get()),
                    500..800 => drop(held.pop()),
                    800..900 => held.extend(pool.try_get()),
                    900..940 => pool.put(census.tag()),
                    940..970 => {
                        if let Some(guard) = held.pop() {
                            drop(Pooled::into_inner(guard));
                            taken.fetch_add(1, SeqCst);
                        }
                    }
                    970..980 => trim(&pool),
                    980..985 => clear(&pool),
                    985..987 => pool.set_enabled(random.below(2) == 0),
                    _ => {
                        let now = pool.stats();
                        balanced(&now);
                        assert!(now.created >= before.created && now.adopted >= before.adopted);
                        assert!(now.taken >= before.taken && now.trimmed >= before.trimmed);
                        assert!(now.discarded >= before.discarded);
                        before = now;
                    }
                }
                held.truncate(random.below(200));
            }
        })
    }));
    let stats = pool.stats();
    // Objects handed out while the pool was off are gone as far as the pool knows.
    let taken = taken.load(SeqCst) as u64;
    assert!(stats.taken <= taken && taken <= stats.taken + stats.discarded_by.switched_off);
    // Objects that were taken out have been dropped by their new owners.
    balanced(&stats);
    assert_eq!(stats.in_use, 0, "{stats:?}");
    assert_eq!(stats.idle as usize, census.alive(), "{stats:?}");
    assert_eq!(pool.clear().objects, stats.idle);
    assert_eq!(census.alive(), 0);
}

#[test]
fn guards_dropped_on_another_thread_are_reused_there() {
    // Returns on another thread that pile up where no thread can reach them.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let guards: Vec<_> = (0..200).map(|_| pool.get()).collect();
    spawn({
        let pool = pool.clone();
        move || {
            drop(guards);
            let again: Vec<_> = (0..200).map(|_| pool.get()).collect();
            let ids: BTreeSet<_> = again.iter().map(|tag| tag.id).collect();
            assert_eq!(ids, (0..200).collect());
        }
    })
    .join()
    .expect("all reused");
    assert_eq!(census.born(), 200);
    census.agrees_with(&pool.stats(), 0);
}

#[test]
fn a_producer_and_a_consumer_share_their_objects() {
    // A producer that always creates, a consumer that only hoards. At most 256 objects in flight.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let (to, from) = sync_channel::<Pooled<Tag>>(if cfg!(miri) { 16 } else { 255 });
    let objects = n(1_000_000, 200);
    let producer = spawn({
        let pool = pool.clone();
        move || {
            for _ in 0..objects {
                let mut tag = pool.get();
                tag.hold();
                to.send(tag).expect("the consumer is there");
            }
        }
    });
    let consumer = spawn(move || from.into_iter().for_each(|mut tag| tag.release()));
    join_all([producer, consumer]);
    let stats = pool.stats();
    assert!(stats.created < 1_000, "{stats:?}");
    census.agrees_with(&stats, 0);
}

#[test]
fn a_guard_outlives_the_thread_that_got_it() {
    // A guard whose return needs memory of the thread that got it.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let guards = spawn({
        let pool = pool.clone();
        move || (0..40).map(|_| pool.get()).collect::<Vec<_>>()
    })
    .join()
    .expect("no panic");
    census.agrees_with(&pool.stats(), 40);
    // A new thread gets the old one's ID, and must not take its guards for its own.
    spawn({
        let pool = pool.clone();
        move || {
            let own = pool.get();
            assert_eq!(own.id, 40);
            drop(guards);
        }
    })
    .join()
    .expect("no panic");
    census.agrees_with(&pool.stats(), 0);
    assert_eq!(census.died(), 0);
    assert_eq!(pool.clear().objects, 41);
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_thread_that_ends_leaves_its_objects_to_others() {
    // Idle objects lost with their thread, or in reach of its successor only.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    for k in [1, 32, 40, 64, 200] {
        spawn({
            let pool = pool.clone();
            move || drop((0..k).map(|_| pool.get()).collect::<Vec<_>>())
        })
        .join()
        .expect("no panic");
        let mine: Vec<_> = std::iter::from_fn(|| pool.try_get()).collect();
        assert_eq!(mine.len(), k, "another thread finds them, without a pass");
        drop(mine);
        assert_eq!(pool.clear().objects as usize, k);
        census.agrees_with(&pool.stats(), 0);
    }
}

#[test]
fn a_thread_that_ends_leaves_its_objects_to_the_passes() {
    // What an ended thread left is trimmed like anything else.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    spawn({
        let pool = pool.clone();
        move || drop((0..100).map(|_| pool.get()).collect::<Vec<_>>())
    })
    .join()
    .expect("no panic");
    let trimmed: u64 = (0..3).map(|_| pool.trim().objects).sum();
    assert_eq!((trimmed, census.alive()), (100, 0));
}

#[test]
fn short_lived_threads_go_round_with_the_same_objects() {
    // A leak of objects, caches or thread IDs per thread. (Memory: tests/alloc.rs.)
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    for _ in 0..n(3_000, 20) {
        let pool = pool.clone();
        spawn(move || drop([pool.get(), pool.get()]))
            .join()
            .expect("no panic");
    }
    assert_eq!(census.born(), 2);
    census.agrees_with(&pool.stats(), 0);
}

#[test]
fn threads_end_while_others_visit() {
    // A thread that hands its cache over at the moment a visitor empties it.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let ending = Arc::new(AtomicBool::new(false));
    let visitor = spawn({
        let (pool, ending) = (pool.clone(), ending.clone());
        move || {
            while !ending.load(SeqCst) {
                trim(&pool);
                balanced(&pool.stats());
                clear(&pool);
                std::thread::yield_now();
            }
        }
    });
    for _ in 0..n(500, 5) {
        join_all((0..4).map(|_| {
            let pool = pool.clone();
            spawn(move || drop((0..10).map(|_| pool.get()).collect::<Vec<_>>()))
        }));
    }
    ending.store(true, SeqCst);
    join_all([visitor]);
    census.agrees_with(&pool.stats(), 0);
    let _ = pool.clear();
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_thousand_pools_and_a_thousand_threads_at_once() {
    // Tables that are too small, or whose size is the product of both numbers.
    let (pool_count, thread_count, uses) = if cfg!(miri) {
        (10, 6, 4)
    } else {
        (1_000, 1_000, 25)
    };
    let census = Census::new();
    let pools: Arc<Vec<_>> = Arc::new(
        (0..pool_count)
            .map(|_| manual(census.create()).build())
            .collect(),
    );
    let together = Arc::new(Barrier::new(thread_count));
    join_all((0..thread_count).map(|me| {
        let (pools, together) = (pools.clone(), together.clone());
        std::thread::Builder::new()
            .stack_size(256 << 10)
            .spawn(move || {
                together.wait();
                let mine = || (0..uses).map(|use_| &pools[(me * 7 + use_ * 41) % pools.len()]);
                let mut held: Vec<_> = mine().map(Pool::get).collect();
                held.iter_mut().for_each(|tag| tag.hold());
                together.wait();
                held.iter_mut().for_each(|tag| tag.release());
                drop(held);
                drop(mine().map(Pool::get).collect::<Vec<_>>());
            })
            .expect("a thread")
    }));
    let mut sum = 0;
    for pool in pools.iter() {
        let stats = pool.stats();
        balanced(&stats);
        assert_eq!(stats.in_use, 0);
        sum += stats.idle as usize;
    }
    assert_eq!(sum, census.alive());
    drop(pools);
    assert_eq!(census.alive(), 0);
}

#[test]
fn first_use_from_many_threads_makes_one_inside() {
    // A race for the first use of a pool in a static, with objects in a core that lost it.
    for _ in 0..n(300, 5) {
        let pool: Arc<Pool<String>> = Arc::new(Pool::new(String::new));
        let together = Arc::new(Barrier::new(4));
        join_all((0..4).map(|_| {
            let (pool, together) = (pool.clone(), together.clone());
            spawn(move || {
                together.wait();
                drop(pool.get());
            })
        }));
        let stats = pool.stats();
        balanced(&stats);
        assert_eq!((stats.in_use, stats.created), (0, stats.idle));
        assert!((1..=4).contains(&stats.created));
    }
}

#[test]
fn workers_pass_an_object_round_and_round() {
    // An object whose owner changes with every drop.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let workers: Vec<_> = (0..3).map(|_| Worker::new()).collect();
    let mut guard = pool.get();
    guard.hold();
    for round in 0..n(3_000, 12) {
        let pool = pool.clone();
        guard = workers[round % 3].run(move || {
            guard.release();
            drop(guard);
            let mut guard = pool.try_get().expect("just dropped here");
            guard.hold();
            guard
        });
    }
    guard.release();
    drop(guard);
    assert_eq!(census.born(), 1);
    census.agrees_with(&pool.stats(), 0);
}

#[test]
fn guards_travel_while_the_pool_is_dropped() {
    // Under load: late guards on several threads against the end of the pool.
    for _ in 0..n(300, 4) {
        let census = Census::new();
        let pool = manual(census.create()).build();
        let (to, from) = channel::<Pooled<Tag>>();
        let guards: Vec<_> = (0..80).map(|_| pool.get()).collect();
        let dropper = spawn(move || drop(from.into_iter().collect::<VecDeque<_>>()));
        let ender = spawn(move || drop(pool));
        let sender = spawn(move || guards.into_iter().for_each(|guard| drop(to.send(guard))));
        join_all([dropper, ender, sender]);
        assert_eq!((census.born(), census.died()), (80, 80));
    }
}
