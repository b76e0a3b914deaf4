//! Arenas as a user sees them. `arenas_alloc.rs` counts their allocator calls; the documentation of
//! `Arena` has what the compiler rejects.
#![cfg(feature = "bumpalo")]

#[path = "arenas/bounds.rs"]
mod bounds;
#[path = "arenas/bumpalo.rs"]
mod bumpalo_claims;
#[path = "arenas/ledger.rs"]
mod ledger;
#[path = "arenas/limit.rs"]
mod limit;
#[path = "arenas/tokio.rs"]
#[cfg(not(miri))]
mod on_tokio;
#[path = "arenas/settings.rs"]
mod settings;
#[path = "arenas/sizes.rs"]
mod sizes;

use bumpalo::Bump;
use repool::{Arena, ArenaPool, Budget, Pool, Recycle};
use static_assertions::{assert_impl_all, assert_not_impl_any, const_assert_eq};
use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

const MIB: u64 = 1 << 20;

const_assert_eq!(size_of::<Arena>(), size_of::<usize>());
const_assert_eq!(size_of::<Option<Arena>>(), size_of::<usize>());
assert_impl_all!(Arena: Send, std::fmt::Debug, std::ops::Deref<Target = Bump>);
assert_not_impl_any!(Arena: Sync, Clone);
assert_impl_all!(ArenaPool: Send, Sync, Default, std::fmt::Debug);

fn manual() -> ArenaPool {
    ArenaPool::builder().trim_manually().build()
}

fn fill(arena: &Bump, bytes: usize) {
    arena.alloc_layout(Layout::array::<u8>(bytes).expect("not too large"));
}

fn trim(pool: &ArenaPool, passes: usize) {
    for _ in 0..passes {
        let _ = pool.trim();
    }
}

// ------------------------------------------------------------------------- names and figures

#[test]
fn the_global_pool_a_static_one_and_a_built_one_work_alike() {
    static ARENAS: ArenaPool = ArenaPool::new();
    let built = ArenaPool::builder().name("built").build();
    for pool in [ArenaPool::global(), &ARENAS, &built, &ArenaPool::default()] {
        let arena = pool.get();
        assert_eq!(*arena.alloc(7), 7);
        drop(arena);
        assert_eq!(pool.with(|bump| bump.alloc_str("seven").len()), 5);
        assert!(pool.stats().reused >= 1);
    }
    assert_eq!(built.name(), Some("built"));
    assert_eq!(ARENAS.name(), None);
    assert!(format!("{built:?}").contains("built"));
    assert!(format!("{:?}", built.get()).starts_with("Arena"));
}

#[test]
fn an_unused_pool_has_nothing_to_say() {
    let pool = ArenaPool::new();
    assert_eq!(pool.stats(), repool::Stats::default());
    assert_eq!(pool.trim(), repool::Trimmed::default());
    assert_eq!(pool.clear(), repool::Trimmed::default());
}

#[test]
fn an_arena_is_empty_again_when_it_comes_back() {
    let pool = manual();
    let arena = pool.get();
    arena.alloc_str("one user's state");
    drop(arena);
    let arena = pool.get();
    assert_eq!(arena.chunk_capacity(), arena.allocated_bytes());
    assert_eq!(pool.stats().reused, 1);
}

#[test]
fn a_limit_that_one_request_sets_does_not_bind_the_next() {
    // bumpalo's own reset keeps it.
    let pool = manual();
    pool.get().set_allocation_limit(Some(0));
    let arena = pool.get();
    assert_eq!(arena.allocation_limit(), None);
    assert_eq!(pool.stats().reused, 1);
    fill(&arena, 1 << 20);
}

#[test]
fn switched_off_each_get_creates_and_each_drop_drops() {
    let pool = manual();
    pool.set_enabled(false);
    for _ in 0..3 {
        pool.get().alloc(1);
    }
    let stats = pool.stats();
    assert_eq!((stats.created, stats.discarded, stats.idle), (3, 3, 0));
    pool.set_enabled(true);
    drop(pool.get());
    drop(pool.get());
    assert_eq!(pool.stats().reused, 1);
}

#[test]
fn an_arena_that_is_got_while_the_pool_is_off_is_dropped_however_it_ends() {
    let pool = manual();
    pool.set_enabled(false);
    assert!(!pool.is_enabled());
    let [there, later, last] = [pool.get(), pool.get(), pool.get()];
    // Created and discarded at once, as far as the pool knows.
    assert_eq!((pool.stats().created, pool.stats().in_use), (3, 0));
    fill(&there, 100_000);
    thread::spawn(move || {
        assert_eq!(there.alloc_str("text"), "text");
    })
    .join()
    .expect("no panic");
    pool.set_enabled(true);
    assert!(pool.is_enabled());
    drop(later);
    let stats = pool.stats();
    assert_eq!((stats.created, stats.idle, stats.in_use), (3, 0, 0));
    assert_eq!((stats.discarded, stats.discarded_by.switched_off), (3, 3));
    drop(pool);
    assert_eq!(last.alloc_str("text"), "text");
}

#[test]
fn debug_shows_name_and_state_and_does_not_look_at_figures() {
    let pool = ArenaPool::builder().name("requests").build();
    assert_eq!(
        format!("{pool:?}"),
        "ArenaPool { name: Some(\"requests\"), enabled: true, .. }"
    );
    pool.set_enabled(false);
    assert!(format!("{pool:?}").contains("enabled: false"));
}

#[test]
fn an_arena_outlives_its_pool() {
    let pool = manual();
    let arena = pool.get();
    let text = arena.alloc_str("still there");
    drop(pool);
    assert_eq!(text, "still there");
    fill(&arena, 100_000);
}

#[test]
fn an_arena_that_a_panic_went_through_is_freed() {
    let pool = manual();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let arena = pool.get();
        arena.alloc_with(|| -> u8 { panic!("in the middle of an allocation") });
    }));
    assert!(panicked.is_err());
    let stats = pool.stats();
    assert_eq!((stats.discarded_by.panic, stats.idle), (1, 0));
    // An arena held outside of the panic goes on and is as good as before.
    let arena = pool.get();
    let before = arena.alloc(1_u64);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        arena.alloc_with(|| -> [u8; 9000] { panic!("again") });
    }));
    assert!(panicked.is_err());
    assert_eq!((*before, *arena.alloc(2)), (1, 2));
}

#[test]
fn destructors_do_not_run_except_for_what_bumpalo_boxes_and_collections_own() {
    use bumpalo::collections::Vec as BumpVec;
    use std::sync::Arc;
    let pool = manual();
    let counted = Arc::new(());
    {
        let arena = pool.get();
        let mut owners = BumpVec::new_in(&arena);
        owners.push(Arc::clone(&counted));
    }
    assert_eq!(Arc::strong_count(&counted), 1);
    // Owns no heap memory, so that leak checkers find none.
    struct Counts<'a>(&'a std::cell::Cell<u32>);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = std::cell::Cell::new(0);
    {
        let arena = pool.get();
        arena.alloc(Counts(&dropped));
    }
    assert_eq!(dropped.get(), 0, "what is allocated directly is forgotten");
}

#[test]
fn a_bump_in_a_pool_of_ones_own_is_reset_as_well() {
    let pool: Pool<Bump> = Pool::builder(Bump::new).trim_manually().build();
    let bump = pool.get();
    bump.set_allocation_limit(Some(1 << 20));
    fill(&bump, 10_000);
    drop(bump);
    let bump = pool.get();
    assert_eq!(bump.allocation_limit(), None);
    assert!(bump.retained_bytes() >= 10_000);
    assert_eq!(bump.chunk_capacity(), bump.allocated_bytes());
}

#[test]
fn a_bump_in_a_pool_of_ones_own_that_is_an_outlier_is_dropped() {
    for outlier in [100 << 10, 3 << 20] {
        let pool: Pool<Bump> = Pool::builder(Bump::new).trim_manually().build();
        fill(&pool.get(), outlier);
        for little_used in 1..=5 {
            assert!(pool.stats().idle_bytes >= outlier as u64, "{little_used}");
            fill(&pool.get(), 500);
        }
        let stats = pool.stats();
        assert_eq!((stats.idle, stats.discarded_by.underused), (0, 1));
        fill(&pool.get(), 500);
        assert!(pool.stats().idle_bytes < 4096);
    }
    // One that is well used now and then stays.
    let pool: Pool<Bump> = Pool::builder(Bump::new).trim_manually().build();
    for request in 0..40 {
        fill(&pool.get(), if request % 5 == 0 { 1 << 20 } else { 500 });
    }
    assert_eq!((pool.stats().created, pool.stats().discarded), (1, 0));
}

// ------------------------------------------------------------------------- outliers

#[test]
fn an_outlier_is_gone_after_ten_small_requests() {
    let pool = manual();
    fill(&pool.get(), 64 << 20);
    assert!(pool.stats().idle_bytes >= 64 * MIB);
    for _ in 0..10 {
        fill(&pool.get(), 100);
    }
    assert!(pool.stats().idle_bytes < MIB, "{}", pool.stats());
    assert_eq!(pool.stats().created, 1);
}

#[test]
fn an_outlier_among_small_requests_is_gone_after_ten() {
    for outliers in [1, 2, 7] {
        let pool = manual();
        for _ in 0..if cfg!(miri) { 50 } else { 500 } {
            fill(&pool.get(), 2_000);
        }
        for _ in 0..outliers {
            let arena = pool.get();
            for _ in 0..64 {
                fill(&arena, 1 << 20);
            }
        }
        for _ in 0..10 {
            fill(&pool.get(), 2_000);
        }
        assert!(pool.stats().idle_bytes < MIB, "{}", pool.stats());
    }
}

#[test]
fn an_outlier_is_gone_after_three_passes() {
    let pool = manual();
    fill(&pool.get(), 64 << 20);
    trim(&pool, 3);
    assert_eq!(pool.stats().idle_bytes, 0);
}

#[test]
fn an_outlier_that_gave_its_memory_back_to_the_arena_is_gone_as_well() {
    // The end of its request does not show its size.
    let pool = manual();
    let bytes = if cfg!(miri) { 1 << 20 } else { 64 << 20 };
    pool.with(|bump| {
        drop(bumpalo::collections::Vec::<u8>::with_capacity_in(
            bytes, bump,
        ))
    });
    for _ in 0..10 {
        fill(&pool.get(), 100);
    }
    assert!(pool.stats().idle_bytes < MIB, "{}", pool.stats());
}

#[test]
fn the_pool_is_quick_again_once_a_smaller_arena_has_done_for_a_while() {
    // Requests for which the first replacement was too small make the pool patient.
    let pool = manual();
    for _ in 0..10 {
        pool.with(|bump| {
            drop(bumpalo::collections::Vec::<u8>::with_capacity_in(
                100_000, bump,
            ))
        });
    }
    for _ in 0..80 + 63 + 7 {
        fill(&pool.get(), 100);
    }
    fill(&pool.get(), 64 << 20);
    for _ in 0..10 {
        fill(&pool.get(), 100);
    }
    assert!(pool.stats().idle_bytes < MIB, "{}", pool.stats());
}

#[test]
fn an_outlier_below_another_arena_is_gone_after_three_passes() {
    // It is never on top, so no request sees that it is too large; but no request needs it either.
    let pool = manual();
    let [top, big] = [pool.get(), pool.get()];
    fill(&big, 64 << 20);
    drop(big);
    drop(top);
    for _ in 0..3 {
        for _ in 0..10 {
            fill(&pool.get(), 100);
        }
        trim(&pool, 1);
    }
    for _ in 0..10 {
        fill(&pool.get(), 100);
    }
    assert!(pool.stats().idle_bytes < MIB, "{}", pool.stats());
}

#[test]
fn an_arena_larger_than_the_limit_is_dropped() {
    let pool = ArenaPool::builder()
        .max_object_bytes(100_000)
        .trim_manually()
        .build();
    fill(&pool.get(), 50_000);
    assert_eq!(pool.stats().discarded, 0);
    fill(&pool.get(), 200_000);
    let stats = pool.stats();
    assert_eq!((stats.discarded_by.oversize, stats.idle), (1, 0));
    // The next arena is not made larger than the limit because of it.
    drop(pool.get());
    let stats = pool.stats();
    assert_eq!((stats.discarded, stats.idle), (1, 1));
    assert!(stats.idle_bytes <= 100_000);
}

#[test]
fn arenas_work_with_any_limit() {
    // bumpalo rounds up: an arena must not be larger than its own limit.
    for limit in (0..=20_000).step_by(if cfg!(miri) { 4_999 } else { 101 }) {
        let pool = ArenaPool::builder()
            .max_object_bytes(limit)
            .trim_manually()
            .build();
        for bytes in [0, 100, limit / 2, limit, limit + 1, 0, 0] {
            fill(&pool.get(), bytes);
            assert!(pool.stats().idle_bytes <= limit as u64, "{limit}");
        }
        assert_eq!(pool.stats().idle, 1, "{limit}");
    }
}

// ------------------------------------------------------------------------- idle bytes

#[test]
fn idle_bytes_are_those_of_the_idle_arenas() {
    let pool = manual();
    let arenas: Vec<Arena> = (0..5).map(|_| pool.get()).collect();
    for (n, arena) in arenas.iter().enumerate() {
        fill(arena, 10_000 * n);
    }
    assert_eq!(pool.stats().idle_bytes, 0);
    drop(arenas);
    let stats = pool.stats();
    let again: Vec<Arena> = (0..5).map(|_| pool.get()).collect();
    let held: usize = again.iter().map(|arena| arena.allocated_bytes()).sum();
    assert_eq!(stats.idle_bytes, held as u64);
    assert_eq!((stats.idle, stats.in_use), (5, 0));
    drop(again);
    assert_eq!(pool.clear().bytes, held as u64);
    assert_eq!(pool.stats().idle_bytes, 0);
}

#[test]
fn idle_bytes_stay_within_a_shared_budget() {
    let budget = Budget::new(1 << 20);
    let pools: Vec<ArenaPool> = (0..3)
        .map(|_| {
            ArenaPool::builder()
                .trim_manually()
                .budget(budget.clone())
                .build()
        })
        .collect();
    let check = || {
        let idle: u64 = pools.iter().map(|pool| pool.stats().idle_bytes).sum();
        assert!(idle <= MIB && idle <= budget.used() as u64 && budget.used() <= 1 << 20);
        idle
    };
    for bytes in [1_000, 300_000, 600_000, 2 << 20, 10] {
        for pool in &pools {
            let arenas: Vec<Arena> = (0..4).map(|_| pool.get()).collect();
            arenas.iter().for_each(|arena| fill(arena, bytes));
            drop(arenas);
            check();
        }
    }
    assert!(
        pools
            .iter()
            .any(|pool| pool.stats().discarded_by.budget > 0)
    );
    for pool in &pools {
        let _ = pool.clear();
    }
    assert_eq!((check(), budget.used()), (0, 0));
}

// ------------------------------------------------------------------------- odd layouts

#[test]
fn every_alignment_holds() {
    let pool = manual();
    for _ in 0..3 {
        let arena = pool.get();
        for log in (0..=16).chain((0..=16).rev()) {
            for size in [0, 1, 3, 1 << log, (1 << log) + 1] {
                let layout = Layout::from_size_align(size, 1 << log).expect("fine");
                let at = arena.alloc_layout(layout).addr().get();
                assert_eq!(at % layout.align(), 0, "{layout:?}");
            }
        }
    }
}

#[test]
fn a_size_of_zero_costs_nothing() {
    let pool = manual();
    for _ in 0..3 {
        let arena = pool.get();
        let before = arena.chunk_capacity();
        for _ in 0..if cfg!(miri) { 100 } else { 1_000 } {
            arena.alloc(());
            arena.alloc_str("");
            arena.alloc_slice_copy::<u64>(&[]);
        }
        assert!(before - arena.chunk_capacity() < 8);
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri ends at an allocation that fails")]
fn a_size_that_cannot_be_had_is_an_error_and_the_arena_goes_on() {
    let pool = manual();
    for _ in 0..2 {
        let arena = pool.get();
        let before = arena.alloc(1);
        for bytes in [isize::MAX as usize - 4096, isize::MAX as usize / 2] {
            let layout = Layout::array::<u8>(bytes).expect("not too large for a layout");
            assert!(arena.try_alloc_layout(layout).is_err());
        }
        let after = arena.alloc(2);
        assert_eq!((*before, *after), (1, 2));
    }
    assert_eq!(pool.stats().reused, 1);
    assert!(pool.stats().idle_bytes < MIB);
}

// ------------------------------------------------------------------------- threads

#[test]
fn an_arena_is_filled_and_dropped_on_any_thread() {
    let pool = manual();
    let arena = pool.get();
    let text = arena.alloc_str("from one thread").to_owned();
    let arena = thread::scope(|scope| {
        let there = scope.spawn(|| {
            assert_eq!(arena.alloc_str(&text), "from one thread");
            fill(&arena, 100_000);
            arena
        });
        // Not `&Arena`: the closure takes the arena with it.
        there.join().expect("no panic")
    });
    // Not a scope, which does not wait for the thread's destructors.
    thread::spawn(move || drop(arena)).join().expect("no panic");
    // The thread is gone, but its arena is not.
    let arena = pool.get();
    assert!(arena.chunk_capacity() >= 100_000);
    assert_eq!(arena.chunk_capacity(), arena.allocated_bytes());
    assert_eq!((pool.stats().created, pool.stats().reused), (1, 1));
}

#[test]
fn a_producer_and_a_consumer_share_a_few_arenas() {
    let requests: usize = if cfg!(miri) { 100 } else { 20_000 };
    let pool = manual();
    let (sender, receiver) = mpsc::sync_channel::<Arena>(4);
    thread::scope(|scope| {
        scope.spawn(|| {
            let sender = sender;
            for n in 0..requests {
                let arena = pool.get();
                fill(&arena, n % 1_000);
                sender.send(arena).expect("the consumer is there");
            }
        });
        receiver.iter().for_each(drop);
    });
    let stats = pool.stats();
    assert_eq!(stats.in_use, 0);
    // Two lists and a few more on each side.
    assert!(stats.created <= 4 * 32 + 8, "{stats}");
}
