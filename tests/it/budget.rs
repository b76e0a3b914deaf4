//! A byte limit across pools.

use super::support::{clear, join_all, manual, n, trim};
use repool::{Budget, Pool};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;

/// A pool of vectors that take this many bytes each, including their own size.
fn pool(budget: &Budget, bytes: usize) -> Pool<Vec<u8>> {
    manual(move || Vec::with_capacity(bytes - size_of::<Vec<u8>>()))
        .budget(budget.clone())
        .build()
}

#[test]
fn a_budget_across_three_pools_is_never_exceeded_under_load() {
    // Charges separated from their objects, by threads that race for what is left.
    const LIMIT: usize = 200_000;
    let budget = Budget::new(LIMIT);
    let pools = Arc::new([
        pool(&budget, 100),
        pool(&budget, 1_000),
        pool(&budget, 20_000),
    ]);
    let (stop, start) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(9)));
    let workers: Vec<_> = (0..8)
        .map(|seed: usize| {
            let (pools, budget) = (pools.clone(), budget.clone());
            let (start, stop) = (start.clone(), stop.clone());
            thread::spawn(move || {
                start.wait();
                for round in 0..n(20_000, 20) {
                    let held: Vec<_> = (0..round % 7)
                        .map(|i| pools[(seed + i) % 3].get())
                        .collect();
                    assert!(budget.used() <= LIMIT);
                    drop(held);
                    assert!(budget.used() <= LIMIT);
                    if stop.load(SeqCst) {
                        break;
                    }
                }
            })
        })
        .collect();
    start.wait();
    for _ in 0..n(50, 2) {
        pools.iter().for_each(trim);
        for pool in pools.iter() {
            assert!(pool.stats().idle_bytes <= LIMIT as u64);
        }
    }
    for worker in workers {
        worker.join().unwrap();
    }
    let idle: u64 = pools.iter().map(|pool| pool.stats().idle_bytes).sum();
    assert!(idle as usize <= budget.used() && budget.used() <= LIMIT);
    pools.iter().for_each(clear);
    assert_eq!(budget.used(), 0, "everything is given back");
}

#[test]
fn an_idle_pool_gives_its_share_back_to_others() {
    // A budget that stays with the first pool that took it.
    let budget = Budget::new(10_000);
    let (first, second) = (pool(&budget, 1_000), pool(&budget, 1_000));
    drop((0..10).map(|_| first.get()).collect::<Vec<_>>());
    drop(second.get());
    assert_eq!((first.stats().idle, second.stats().idle), (10, 0));
    assert_eq!(second.stats().discarded_by.budget, 1);
    for _ in 0..3 {
        trim(&first);
    }
    assert_eq!(budget.used(), 0);
    drop(second.get());
    assert_eq!(second.stats().idle, 1);
}

#[test]
fn dropping_a_pool_gives_its_share_back() {
    // With guards out, and from a thread that has ended.
    let budget = Budget::new(100_000);
    let pool = Arc::new(pool(&budget, 1_000));
    let other = pool.clone();
    thread::spawn(move || drop((0..20).map(|_| other.get()).collect::<Vec<_>>()))
        .join()
        .unwrap();
    let held = pool.get();
    assert!(budget.used() > 0);
    drop(pool);
    assert_eq!(budget.used(), 0);
    drop(held);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_budget_of_nothing_keeps_nothing() {
    // For budgets.
    let budget = Budget::new(0);
    let pool = pool(&budget, size_of::<Vec<u8>>());
    drop(pool.get());
    drop(pool.get());
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.discarded_by.budget), (0, 2));
}

#[test]
fn one_thread_uses_nearly_all_of_a_budget() {
    // A budget spent on charges that no thread uses.
    let budget = Budget::new(100_000);
    let pool = pool(&budget, 1_000);
    drop((0..200).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!(pool.stats().idle, 100, "1,000 bytes each");
}

/// A large object that finds no room, because another pool has it, leaves the small objects where
/// they are.
#[test]
fn an_object_that_cannot_be_kept_drives_no_others_out() {
    let budget = Budget::new(64 << 10);
    let pool = || manual(Vec::<u8>::new).budget(budget.clone()).build();
    let (small, other) = (Arc::new(pool()), pool());
    other.put(Vec::with_capacity(40 << 10));
    let filled = small.clone();
    // A thread that ends leaves its objects to all threads.
    let fill = move || (0..20).for_each(|_| filled.put(Vec::with_capacity(64)));
    join_all([thread::spawn(fill)]);
    assert_eq!(small.stats().idle, 20);
    let created = small.stats().created;
    for _ in 0..50 {
        drop(small.attach(Vec::with_capacity(30 << 10)));
    }
    assert_eq!((small.stats().idle, small.stats().created), (20, created));
    assert_eq!(small.stats().discarded_by.budget, 50);
}
