//! Classes and capacities.

use crate::{assert_balanced, builder, class, manual};
use bytes::BytesMut;
use repool::BufferPool;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

#[test]
fn every_boundary() {
    let pool = manual();
    // As documented: four steps from each power of two to the next.
    let mut sizes = vec![64];
    let mut power = 64;
    while power < 4 * MIB {
        sizes.extend((5..=8).map(|quarters| power / 4 * quarters));
        power *= 2;
    }
    assert_eq!((sizes.len(), sizes.last()), (65, Some(&(4 * MIB))));
    let mut before = 0;
    for &size in &sizes {
        for asked in [before + 1, (before + size) / 2, size] {
            if asked <= before {
                continue;
            }
            let buffer = pool.get(asked);
            assert!(buffer.is_empty());
            assert_eq!(buffer.capacity(), size, "asked for {asked}");
        }
        before = size;
    }
    // One buffer per class: all three requests had the same one.
    assert_eq!(pool.stats().created, sizes.len() as u64);
    assert_balanced(&pool);
}

#[test]
fn a_step_above_a_power_does_not_cost_the_next_one() {
    let pool = manual();
    assert_eq!(pool.get(32 * KIB + 1).capacity(), 40 * KIB);
}

#[test]
fn one_class_up_before_creating() {
    let pool = manual();
    drop(pool.get(1280));
    // 1,024 is the class below 1,280.
    let buffer = pool.get(1000);
    assert_eq!(buffer.capacity(), 1280);
    assert_eq!(class(&pool, 1280).requests, 2);
    // It goes back to its class afterwards; two classes up is too far.
    drop(buffer);
    assert_eq!(class(&pool, 1280).idle, 1);
    assert_eq!(pool.get(896).capacity(), 896);
    assert_balanced(&pool);
}

#[test]
fn nothing_asked_nothing_kept() {
    let pool = manual();
    drop(pool.get(0));
    let buffer = pool.get(0);
    assert_eq!((buffer.capacity(), buffer.len()), (0, 0));
    drop(buffer);
    drop(pool.get(0).freeze());
    assert_eq!(pool.stats().idle, 0);
    // A buffer that had no memory and was written to serves the next such request.
    drop(pool.get(64));
    let mut buffer = pool.get(0);
    buffer.extend_from_slice(&[1; 1024]);
    drop(buffer);
    assert_eq!((pool.stats().idle, class(&pool, 0).idle), (2, 1));
    assert_eq!(pool.get(0).capacity(), 1024);
    assert_eq!((pool.stats().created, pool.stats().adopted), (2, 0));
    assert_balanced(&pool);
}

#[test]
fn above_the_top_served_and_not_kept() {
    let pool = builder().max_class(64 * KIB).build();
    let mut large = pool.get(64 * KIB + 1);
    assert!(large.capacity() > 64 * KIB);
    large.resize(64 * KIB + 1, 7);
    drop(large);
    assert_eq!(pool.stats().idle, 0);
    assert_eq!(pool.stats().discarded_by.oversize, 1);
    assert_eq!(class(&pool, usize::MAX).requests, 1);
    drop(pool.get(64 * KIB));
    assert_eq!(pool.stats().idle, 1);
    // Frozen: the bytes are correct, and nothing is kept.
    let mut large = pool.get(65 * KIB);
    large.resize(65 * KIB, 7);
    assert_eq!(large.freeze().len(), 65 * KIB);
    pool.trim();
    assert_eq!(pool.stats().idle, 1);
    assert_balanced(&pool);
}

#[test]
fn near_the_end_of_the_numbers() {
    let pool = manual();
    for asked in [
        usize::MAX,
        usize::MAX - 1,
        usize::MAX - 63,
        isize::MAX as usize + 1,
    ] {
        let error = pool.try_get(asked).unwrap_err();
        assert_eq!((error.requested, error.max), (asked, isize::MAX as usize));
        assert!(error.to_string().contains("capacity overflow"), "{error}");
        let panic = std::panic::catch_unwind(|| drop(pool.get(asked))).unwrap_err();
        let text = panic.downcast_ref::<String>().expect("a text");
        assert!(text.contains("capacity overflow"), "{text}");
    }
    // As large as possible, and larger. (Miri stops at an allocation that fails.)
    if cfg!(not(miri)) {
        let error = pool.try_get(isize::MAX as usize).unwrap_err();
        assert!(error.to_string().contains("no memory"), "{error}");
    }
    assert!(pool.try_get(100).is_ok());
    assert_eq!(pool.stats().in_use, 0);
    assert_balanced(&pool);
}

#[test]
fn a_grown_buffer_goes_back_to_the_class_that_was_asked_for() {
    let pool = manual();
    let mut buffer = pool.get(100);
    buffer.resize(50_000, 1);
    let grown = buffer.capacity();
    drop(buffer);
    assert_eq!(pool.stats().idle_bytes as usize, grown);
    assert_eq!(class(&pool, 112).idle, 1);
    let again = pool.get(100);
    assert_eq!((again.capacity(), pool.stats().created), (grown, 1));
    // No other request gets it or a similar one.
    assert_eq!(pool.get(48 * KIB).capacity(), 48 * KIB);
    assert_eq!(pool.get(100).capacity(), 112);
    assert_balanced(&pool);
}

#[test]
fn a_shrunk_one_never_serves_a_class_it_is_too_small_for() {
    let pool = manual();
    // Another `BytesMut` in its place.
    let mut buffer = pool.get(8 * KIB);
    *buffer = BytesMut::with_capacity(300);
    drop(buffer);
    assert_eq!(pool.stats().idle, 0);
    assert_eq!(pool.get(8 * KIB).capacity(), 8 * KIB);
    // Nothing in its place.
    let mut buffer = pool.get(8 * KIB);
    let mine = std::mem::take(&mut *buffer);
    drop(buffer);
    drop(mine);
    assert_eq!(pool.stats().idle, 0);
    assert_eq!(pool.get(8 * KIB).capacity(), 8 * KIB);
    assert_balanced(&pool);
}

#[test]
fn consumed_buffers_come_back_whole() {
    use bytes::Buf;
    let pool = manual();
    for _ in 0..20 {
        let mut buffer = pool.get(4 * KIB);
        assert_eq!(buffer.capacity(), 4 * KIB);
        buffer.resize(3000, 1);
        buffer.advance(1000);
        drop(buffer);
    }
    assert_eq!(pool.stats().created, 1);
    assert_balanced(&pool);
}

#[test]
fn ten_huge_requests_then_small_ones() {
    // golang/go#23199, reduced to a sixteenth: the memory of ten 16 MiB buffers is really touched.
    const HUGE: usize = if cfg!(miri) { MIB } else { 16 * MIB };
    let pool = builder().max_class(HUGE).build();
    let huge: Vec<_> = (0..10)
        .map(|_| {
            let mut buffer = pool.get(HUGE);
            buffer.resize(HUGE, 1);
            buffer
        })
        .collect();
    drop(huge);
    assert!(pool.stats().idle_bytes >= 10 * HUGE as u64);
    for _ in 0..3 {
        for _ in 0..10 {
            pool.get(KIB).resize(KIB, 1);
        }
        pool.trim();
    }
    assert!(pool.stats().idle_bytes < MIB as u64, "{:?}", pool.stats());
    assert!(class(&pool, KIB).idle == 1, "the small ones stay");
    assert_balanced(&pool);
}

#[test]
fn one_that_grew_for_small_requests() {
    // The same, with requests that do not say how large the buffers get.
    const HUGE: usize = if cfg!(miri) { MIB } else { 16 * MIB };
    let pool = builder().max_class(2 * HUGE).build();
    for _ in 0..10 {
        pool.get(KIB).resize(HUGE, 1);
    }
    for _ in 0..10 {
        pool.get(KIB).resize(KIB, 1);
    }
    for _ in 0..3 {
        pool.get(KIB).resize(KIB, 1);
        pool.trim();
    }
    assert!(pool.stats().idle_bytes < MIB as u64, "{:?}", pool.stats());
    assert!(pool.get(KIB).capacity() < 2 * KIB);
    assert_balanced(&pool);
}

fn uses(pool: &BufferPool, capacity: usize, used: usize, times: usize) {
    for _ in 0..times {
        pool.get(capacity).resize(used, 1);
    }
}

#[test]
fn the_fifth_underused_return_in_a_row_cuts_it_back() {
    let pool = manual();
    uses(&pool, KIB, 64 * KIB, 1);
    uses(&pool, KIB, 16 * KIB - 1, 4);
    assert_eq!(pool.stats().idle_bytes, 64 << 10);
    uses(&pool, KIB, 16 * KIB - 1, 1);
    let cut = (pool.stats().idle, pool.stats().idle_bytes);
    assert_eq!(cut, (1, KIB as u64));
    // A good use in between starts the count again.
    uses(&pool, KIB, KIB, 10);
    uses(&pool, KIB, 64 * KIB, 1);
    uses(&pool, KIB, 1, 4);
    uses(&pool, KIB, 16 * KIB, 1);
    uses(&pool, KIB, 1, 4);
    assert_eq!(pool.stats().idle_bytes, 64 << 10);
    assert_eq!((pool.stats().created, pool.stats().discarded), (1, 0));
    assert_balanced(&pool);
}

#[test]
fn what_is_as_large_as_requested_is_never_cut() {
    let pool = manual();
    uses(&pool, 4 * KIB, 1, 100);
    uses(&pool, 64 * KIB, 1, 100);
    uses(&pool, 64 * KIB, 0, 100);
    for _ in 0..10 {
        let mut buffer = pool.get(64 * KIB);
        buffer.resize(60 * KIB, 1);
        drop(buffer.split_to(60 * KIB));
    }
    let stats = pool.stats();
    assert_eq!((stats.created, stats.discarded), (2, 0));
    assert_eq!(stats.idle_bytes as usize, 68 * KIB);
}

#[test]
fn frozen_buffers_count_as_underused_as_well() {
    let pool = manual();
    uses(&pool, KIB, 64 * KIB, 1);
    for _ in 0..5 {
        let mut buffer = pool.get(KIB);
        buffer.resize(100, 1);
        drop(buffer.freeze());
        pool.trim();
    }
    let stats = pool.stats();
    assert_eq!((stats.idle_bytes, stats.in_use), (KIB as u64, 0));
    assert_balanced(&pool);
}

#[test]
fn drifting_sizes_are_followed() {
    let pool = manual();
    // Requests that say little and write more and more: soon nothing has to grow.
    let mut grew = 0;
    let rounds = if cfg!(miri) { 20 } else { 200 };
    for round in 0..rounds {
        let used = KIB + round * 512;
        for _ in 0..10 {
            let mut buffer = pool.get(KIB);
            let before = buffer.capacity();
            buffer.resize(used, 1);
            grew += usize::from(buffer.capacity() != before);
        }
        pool.trim();
    }
    assert!(grew < rounds / 2, "{grew} of {} had to grow", 10 * rounds);
    // And down again: the kept buffers follow.
    for _ in 0..rounds / 10 {
        uses(&pool, KIB, KIB, 10);
        pool.trim();
    }
    assert!(
        pool.stats().idle_bytes < 8 * KIB as u64,
        "{:?}",
        pool.stats()
    );
    assert_balanced(&pool);
}
