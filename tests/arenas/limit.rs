//! `Arena::set_allocation_limit` limits what the current request allocates, and ends with it. The
//! first tests are bumpalo's own tests of its limit, under their names there.

use super::{Arena, ArenaPool, fill, manual};
use proptest::prelude::*;
use std::alloc::Layout;

/// Returns an arena that has served a request of this many bytes; none for 0.
fn used_before(pool: &ArenaPool, bytes: usize) -> Arena {
    if bytes > 0 {
        fill(&pool.get(), bytes);
    }
    pool.get()
}

fn try_fill(arena: &Arena, bytes: usize) -> bool {
    let layout = Layout::array::<u8>(bytes).expect("not too large");
    arena.try_alloc_layout(layout).is_ok()
}

/// Allocates pieces of this size until one is refused; returns the allocated bytes.
fn all_of(arena: &Arena, piece: usize) -> usize {
    let mut got = 0;
    while try_fill(arena, piece) {
        got += piece;
        assert!(got < 64 << 20, "no limit at all");
    }
    got
}

/// Bytes of the request that an arena has served before.
const HISTORIES: [usize; 5] = [0, 100, 10_000, 100_000, 1 << 20];

/// The size of the smallest piece that the tests allocate.
const PIECE: usize = if cfg!(miri) { 500 } else { 8 };

#[test]
fn allocation_limit_trivial() {
    for before in HISTORIES {
        let pool = manual();
        let arena = used_before(&pool, before);
        arena.set_allocation_limit(Some(0));
        assert!(arena.try_alloc(5).is_err());
        assert!(arena.allocation_limit().expect("just set") >= arena.allocated_bytes());
        arena.set_allocation_limit(None);
        assert!(arena.try_alloc(5).is_ok());
    }
}

#[test]
fn change_allocation_limit_with_live_allocations() {
    for before in HISTORIES {
        let pool = manual();
        let arena = used_before(&pool, before);
        arena.set_allocation_limit(Some(512));
        let ten = arena.alloc(10);
        assert!(arena.try_alloc([0; 2048]).is_err());
        arena.set_allocation_limit(Some(32_768 + before));
        assert!(arena.try_alloc([0; 2048]).is_ok());
        assert!(arena.allocation_limit().expect("just set") >= arena.allocated_bytes());
        assert_eq!(*ten, 10);
    }
}

#[test]
fn remove_allocation_limit_with_live_allocations() {
    for before in HISTORIES {
        let pool = manual();
        let arena = used_before(&pool, before);
        arena.set_allocation_limit(Some(512));
        arena.alloc(10);
        assert!(arena.try_alloc([0; 2048]).is_err());
        assert!(arena.allocation_limit().expect("just set") >= arena.allocated_bytes());
        arena.set_allocation_limit(None);
        assert!(arena.try_alloc([0; 2048]).is_ok());
    }
}

/// bumpalo's `reset_preserves_allocation_limits`, reversed: here a reset starts another request.
#[test]
fn reset_ends_allocation_limits() {
    for before in HISTORIES {
        let pool = manual();
        let arena = used_before(&pool, before);
        arena.set_allocation_limit(Some(512));
        drop(arena);
        let arena = pool.get();
        assert_eq!(arena.allocation_limit(), None);
        assert!(try_fill(&arena, 64 << 20));
        assert_eq!(pool.stats().created, 1);
    }
}

#[test]
fn small_allocation_limit() {
    for before in HISTORIES {
        let pool = manual();
        let arena = used_before(&pool, before);
        arena.set_allocation_limit(Some(64));
        assert!(arena.try_alloc([0_u8; 1]).is_ok());
    }
}

proptest! {
    #![proptest_config(super::ledger::config(100))]

    #[test]
    fn limit_is_never_exceeded(limit in 0_usize..16 << 10, before in 0_usize..100_000) {
        let pool = manual();
        let arena = used_before(&pool, before);
        let there = arena.allocated_bytes();
        arena.set_allocation_limit(Some(limit));
        let layout = Layout::array::<u8>(limit / 16).expect("small");
        for _ in 0..32 {
            let _ = arena.try_alloc_layout(layout);
        }
        prop_assert!(arena.allocation_limit().expect("just set") >= arena.allocated_bytes());
        prop_assert!(arena.allocated_bytes() <= limit.max(there));
    }

    /// Whatever limits a request sets, and whatever it allocates between them.
    #[test]
    fn each_limit_of_a_request_counts_all_that_it_has_allocated(
        before in prop::sample::select(&HISTORIES[..]),
        steps in prop::collection::vec((0_usize..40_000, 1_usize..4_000), 1..6),
    ) {
        let pool = manual();
        let arena = used_before(&pool, before);
        let mut got = 0;
        for (limit, piece) in steps {
            arena.set_allocation_limit(Some(limit));
            let more = all_of(&arena, piece);
            got += more;
            prop_assert!(more == 0 || got <= limit, "{got} bytes under a limit of {limit}");
        }
        drop(arena);
        prop_assert_eq!(pool.get().allocation_limit(), None);
    }
}

#[test]
fn a_limit_below_the_first_chunk_is_a_limit() {
    let limits = [0, 1, 64, 1000, 1024, 4000, 5000, 100_000];
    // Under Miri every third.
    for limit in limits.into_iter().step_by(if cfg!(miri) { 3 } else { 1 }) {
        for before in HISTORIES {
            let pool = manual();
            let arena = used_before(&pool, before);
            let there = arena.allocated_bytes();
            arena.set_allocation_limit(Some(limit));
            assert!(!try_fill(&arena, 64 << 20));
            let got = all_of(&arena, PIECE);
            assert!(got <= limit, "{got} of {limit}");
            let beyond = arena.allocated_bytes() - there;
            assert!(beyond <= limit, "{beyond} beyond what is there, of {limit}");
        }
    }
}

#[test]
fn a_limit_leaves_the_request_what_it_says() {
    // Where the arena already has the memory. Beyond that, bumpalo requests whole chunks.
    let pool = manual();
    for limit in [1000, 4000, 60_000] {
        let arena = used_before(&pool, 100_000);
        arena.set_allocation_limit(Some(limit));
        assert_eq!(all_of(&arena, PIECE), limit);
    }
}

#[test]
fn a_limit_is_the_same_whatever_the_arena_has_served_before() {
    let most = |before: usize| {
        let pool = manual();
        let arena = used_before(&pool, before);
        arena.set_allocation_limit(Some(2_000));
        all_of(&arena, 100)
    };
    assert!(HISTORIES.iter().all(|before| most(*before) == 2_000));
}

#[test]
fn what_was_allocated_before_the_limit_stays_and_counts() {
    let pool = manual();
    let arena = used_before(&pool, 100_000);
    let text = arena.alloc_str("before");
    let bytes = arena.alloc_slice_fill_copy(1_000, 7_u8);
    arena.set_allocation_limit(Some(500));
    assert!(arena.try_alloc(1_u8).is_err());
    // Memory that was put out of reach stays out of reach: this is a new chunk.
    arena.set_allocation_limit(Some(4_006));
    let got = all_of(&arena, 100);
    assert!((1_000..=3_000).contains(&got), "{got}");
    assert_eq!(
        (text as &str, bytes.iter().all(|byte| *byte == 7)),
        ("before", true)
    );
}

#[test]
fn a_request_under_a_limit_does_not_grow_the_arena_for_the_next() {
    let pool = manual();
    let there = {
        let arena = used_before(&pool, 100_000);
        arena.allocated_bytes()
    };
    for _ in 0..3 {
        let arena = pool.get();
        arena.set_allocation_limit(Some(1_000));
        let _ = all_of(&arena, 10);
    }
    assert_eq!(pool.get().allocated_bytes(), there);
    // And it is a quiet one.
    for _ in 0..3 {
        pool.get().set_allocation_limit(Some(1_000));
    }
    assert!(pool.get().allocated_bytes() < 5_000);
}

#[test]
fn through_a_bump_the_limit_is_bumpalos() {
    // It counts the existing chunk, and has no effect below that.
    let pool = manual();
    pool.with(|bump| {
        bump.set_allocation_limit(Some(bump.allocated_bytes() + 10_000));
        assert!(bump.try_alloc([0_u8; 20_000]).is_err());
    });
    assert_eq!(pool.get().allocation_limit(), None);
}
