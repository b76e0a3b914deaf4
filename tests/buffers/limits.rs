//! Limits, budget, names, figures.

use crate::{assert_balanced, builder, class, lent};
use repool::{Budget, BufferPool, Pool};

#[test]
fn limits_hold_over_all_classes() {
    let pool = builder().max_idle(10).max_idle_bytes(16 << 10).build();
    let many: Vec<_> = (1..100).map(|n| pool.get(n * 64)).collect();
    drop(many);
    let stats = pool.stats();
    assert!(
        stats.idle <= 10 && stats.idle_bytes <= 16 << 10,
        "{stats:?}"
    );
    assert!(stats.idle > 0 && stats.discarded_by.full > 0, "{stats:?}");
    pool.clear();
    // All of it is free again.
    for n in 1..4 {
        drop(pool.get(n * 1024));
    }
    assert_eq!(pool.stats().idle, 3);
    assert_balanced(&pool);
}

#[test]
fn a_pool_that_keeps_nothing_does_not_wait_for_frozen_bytes_either() {
    for pool in [
        builder().max_idle(0).build(),
        builder().max_idle_bytes(0).build(),
        builder().budget(Budget::new(0)).build(),
    ] {
        for _ in 0..3 {
            let mut buffer = pool.get(4096);
            buffer.extend_from_slice(b"gone with its last view");
            drop(buffer.freeze());
        }
        let stats = pool.stats();
        assert_eq!((stats.created, stats.reused, stats.in_use), (3, 0, 0));
        assert_balanced(&pool);
    }
}

#[test]
fn a_budget_is_shared() {
    let budget = Budget::new(1 << 20);
    let pool = builder().budget(budget.clone()).build();
    let plain = Pool::builder(|| Vec::<u8>::with_capacity(512 << 10))
        .budget(budget.clone())
        .trim_manually()
        .build();
    drop(plain.get());
    let many: Vec<_> = (0..10).map(|_| pool.get(128 << 10)).collect();
    drop(many);
    let stats = pool.stats();
    assert!(stats.idle_bytes <= 512 << 10 && stats.idle > 0, "{stats:?}");
    assert!(stats.discarded_by.budget > 0);
    assert!(budget.used() <= 1 << 20);
    drop((pool, plain));
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_is_lent_is_charged_when_it_is_back() {
    let budget = Budget::new(1 << 20);
    let pool = builder().budget(budget.clone()).build();
    let mut buffer = pool.get(64 << 10);
    buffer.resize(64 << 10, 1);
    let bytes = buffer.freeze();
    pool.trim();
    assert_eq!(budget.used(), 0);
    drop(bytes);
    pool.trim();
    assert!(budget.used() >= 64 << 10);
    pool.clear();
    assert_eq!(budget.used(), 0);
}

#[test]
fn max_object_bytes_below_the_top() {
    let pool = builder().max_object_bytes(1000).build();
    drop(pool.get(4096));
    drop(pool.get(500));
    assert_eq!(
        (pool.stats().idle, pool.stats().discarded_by.oversize),
        (1, 1)
    );
}

#[test]
fn names() {
    assert_eq!(builder().name("frames").build().name(), Some("frames"));
    assert_eq!(BufferPool::new().name(), None);
    let shown = format!("{:?}", builder().name("frames").build());
    assert!(
        shown.contains("frames") && !shown.contains("idle"),
        "{shown}"
    );
}

#[test]
fn figures_of_a_class() {
    let pool = builder().build();
    for _ in 0..10 {
        drop(pool.get(1000));
    }
    let held = pool.get(1000);
    let figures = class(&pool, 1024);
    assert_eq!(
        (figures.requests, figures.created, figures.reused),
        (11, 1, 10)
    );
    assert_eq!((figures.idle, figures.in_use, figures.lent), (0, 1, 0));
    drop(held);
    let figures = class(&pool, 1024);
    assert_eq!((figures.idle, figures.idle_bytes), (1, 1024));
    assert_eq!(pool.stats().hit_rate(), 10.0 / 11.0);
}

#[test]
fn limits_below_a_class_are_limits_on_what_waits() {
    let freeze = |pool: &BufferPool| {
        let mut buffer = pool.get(4096);
        buffer.resize(4096, 1);
        drop(buffer.freeze());
        assert_eq!(lent(pool), 0);
        drop(pool.get(4096));
        pool.stats()
    };
    let few = builder().max_idle_bytes(4095).build();
    assert_eq!(freeze(&few).discarded_by.full, 2);
    let light = builder().max_object_bytes(4095).build();
    assert_eq!(freeze(&light).discarded_by.oversize, 2);
    let poor = builder().budget(Budget::new(4095)).build();
    assert_eq!(freeze(&poor).discarded_by.budget, 2);
    for pool in [few, light, poor] {
        assert_eq!(pool.stats().reused, 0);
        assert_balanced(&pool);
    }
}

#[test]
fn memory_that_was_exchanged_is_kept_by_neither_class_that_it_does_not_fit() {
    let pool = builder().build();
    let (mut large, mut small) = (pool.get(5 << 20), pool.get(4096));
    std::mem::swap(&mut *large, &mut *small);
    drop((large, small));
    assert_eq!((pool.stats().idle, pool.stats().idle_bytes), (0, 0));
    assert_eq!(pool.stats().discarded_by.oversize, 2);
    let (mut large, mut small) = (pool.get(1 << 20), pool.get(4096));
    std::mem::swap(&mut *large, &mut *small);
    drop((large, small));
    // The one has less than it promises.
    assert_eq!((pool.stats().idle, pool.stats().idle_bytes), (1, 1 << 20));
    assert_eq!(pool.get(4096).capacity(), 1 << 20);
    assert_balanced(&pool);
}
