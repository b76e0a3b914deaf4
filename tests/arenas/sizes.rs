//! How large arenas are: what is requested is what is made, and what a spike left behind goes.

use super::{Arena, ArenaPool, MIB, fill, manual, trim};
use repool::{Budget, Stats};

/// A page minus what bumpalo and the allocator add.
const FIRST: u64 = 4096 - 64;

const fn n(full: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { full }
}

/// A request that allocates this many bytes, in pieces.
fn serve(pool: &ArenaPool, bytes: usize) {
    use_up(&pool.get(), bytes);
}

fn use_up(arena: &Arena, bytes: usize) {
    let piece = n(1_000, 100_000);
    for _ in 0..bytes / piece {
        fill(arena, piece);
    }
    fill(arena, bytes % piece);
}

/// Serves this many requests at the same time, of this many bytes each; returns what their arenas
/// have reserved.
fn at_once(pool: &ArenaPool, requests: usize, bytes: usize) -> u64 {
    let arenas: Vec<Arena> = (0..requests).map(|_| pool.get()).collect();
    arenas.iter().for_each(|arena| use_up(arena, bytes));
    arenas
        .iter()
        .map(|arena| arena.allocated_bytes() as u64)
        .sum()
}

/// Makes the pool wait longer before it cuts an arena, by a spike after each cut.
fn make_patient(pool: &ArenaPool, cuts: usize) {
    for _ in 0..cuts {
        serve(pool, 1 << 20);
        for _ in 0..20_000 {
            if pool.stats().idle_bytes <= FIRST {
                break;
            }
            serve(pool, 100);
        }
    }
}

// ------------------------------------------------------------------------- new arenas

#[test]
fn a_new_arena_has_the_first_size_whatever_requests_have_used() {
    for bytes in [900, 20_000, 1 << 20, 16 << 20] {
        let pool = manual();
        for _ in 0..20 {
            serve(&pool, bytes);
        }
        let _held = pool.get();
        assert_eq!(pool.get().allocated_bytes() as u64, FIRST, "{bytes}");
    }
}

#[test]
fn the_first_size_is_the_builders() {
    for bytes in [0, 1, 500, 5_000, 100_000, 3 << 20] {
        let pool = ArenaPool::builder()
            .first_chunk(bytes)
            .trim_manually()
            .build();
        let [one, other] = [pool.get(), pool.get()];
        for arena in [&one, &other] {
            let made = arena.chunk_capacity();
            assert!(
                made >= bytes && made < 2 * bytes.max(500),
                "{made} for {bytes}"
            );
        }
    }
}

#[test]
fn an_arena_is_never_cut_below_the_first_size() {
    let pool = ArenaPool::builder()
        .first_chunk(100_000)
        .trim_manually()
        .build();
    let first = pool.get().allocated_bytes() as u64;
    serve(&pool, 1 << 20);
    for _ in 0..100 {
        serve(&pool, 10);
    }
    assert_eq!(pool.stats().idle_bytes, first);
}

#[test]
fn the_first_size_is_at_most_what_the_pool_may_keep() {
    let pool = ArenaPool::builder()
        .first_chunk(1 << 20)
        .max_object_bytes(100_000)
        .trim_manually()
        .build();
    serve(&pool, 10);
    let stats = pool.stats();
    assert!(stats.idle == 1 && stats.idle_bytes <= 100_000, "{stats}");
}

#[test]
fn rare_large_requests_do_not_make_small_ones_large() {
    // One request in `one_in` is large, then 200 small ones at the same time.
    for (one_in, large) in [
        (100, 1 << 20),
        (30, 1 << 20),
        (40, 4 << 20),
        (200, 16 << 20),
    ] {
        let pool = manual();
        for at in 0..n(20, 1) * one_in {
            serve(&pool, if at % one_in == 0 { large } else { 500 });
        }
        let reserved = at_once(&pool, n(200, 40), 500);
        assert!(
            reserved <= n(200, 40) as u64 * FIRST + 10_000,
            "{reserved} after 1 in {one_in}"
        );
    }
}

#[test]
fn large_requests_at_a_pools_start_do_not_make_small_ones_large() {
    for (count, large) in [(2, 16 << 20), (1, 64 << 20), (5, 3 << 20)] {
        let pool = manual();
        let _ = at_once(&pool, count, large);
        let reserved = at_once(&pool, n(300, 60), 500);
        // The large arenas that have just come back, and small ones.
        assert!(
            reserved <= 3 * (count * large) as u64 + n(300, 60) as u64 * FIRST,
            "{reserved}"
        );
        assert!(reserved < 200 * MIB);
    }
}

// ------------------------------------------------------------------------- spikes

/// Runs requests, this many at the same time, until the spike's memory is gone; returns their
/// number.
fn until_gone(pool: &ArenaPool, at_a_time: usize, arenas: u64) -> usize {
    let mut requests = 0;
    while pool.stats().idle_bytes > arenas * FIRST {
        let _ = at_once(pool, at_a_time, 100);
        requests += at_a_time;
        assert!(requests < 100_000, "{}", pool.stats());
    }
    requests
}

#[test]
fn a_spike_on_several_arenas_is_gone_after_a_bounded_number_of_requests_of_the_pool() {
    for (spikes, arenas, bytes) in [
        (2, 3, 4 << 20),
        (1, 3, 4 << 20),
        (2, 8, 1 << 20),
        (3, 20, 300_000),
    ] {
        let pool = manual();
        for _ in 0..spikes {
            let _ = at_once(&pool, arenas, bytes);
            let _ = at_once(&pool, arenas, 100);
        }
        let requests = until_gone(&pool, arenas, arenas as u64);
        // The patience, however many arenas there are, and one request per arena to be cut.
        assert!(
            requests <= [5, 20, 80][spikes - 1] + 2 * arenas,
            "{requests} for {spikes} on {arenas}"
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of requests")]
fn a_spike_is_gone_after_a_bounded_number_of_requests_however_patient_the_pool_is() {
    let pool = manual();
    make_patient(&pool, 8);
    let _ = at_once(&pool, 3, 4 << 20);
    let requests = until_gone(&pool, 3, 3);
    assert!((1_000..=5_120 + 6).contains(&requests), "{requests}");
}

#[test]
fn requests_in_other_arenas_count_for_the_spikes_end() {
    // The large arena serves one request in 200.
    const MANY: usize = n(200, 30);
    let pool = manual();
    let small: Vec<Arena> = (0..MANY).map(|_| pool.get()).collect();
    serve(&pool, 4 << 20);
    let mut small = small;
    for _ in 0..2 {
        let large = pool.get();
        drop(small);
        small = (0..MANY).map(|_| pool.get()).collect();
        drop(large);
    }
    drop(small);
    assert!(
        pool.stats().idle_bytes <= (MANY as u64 + 1) * FIRST,
        "{}",
        pool.stats()
    );
}

#[test]
fn a_spike_on_many_arenas_is_gone_after_two_passes() {
    for (arenas, bytes) in [(16, 4 << 20), (16, 100_000), (40, 1 << 20)] {
        let pool = manual();
        for _ in 0..3 {
            let _ = at_once(&pool, arenas, bytes);
        }
        for _ in 0..2 {
            let _ = at_once(&pool, arenas, 100);
            trim(&pool, 1);
        }
        let stats = pool.stats();
        assert!(stats.idle_bytes <= stats.idle * FIRST, "{stats}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of requests")]
fn passes_make_a_patient_pool_quick_again() {
    let pool = manual();
    make_patient(&pool, 8);
    for _ in 0..5 {
        serve(&pool, 100);
        trim(&pool, 1);
    }
    serve(&pool, 4 << 20);
    for _ in 0..5 {
        serve(&pool, 100);
    }
    assert!(pool.stats().idle_bytes <= FIRST, "{}", pool.stats());
}

// ------------------------------------------------------------------------- limits

#[test]
fn requests_above_a_budget_cost_their_own_misses_and_no_others() {
    for (budget, large, one_in) in [
        (1 << 20, 2 << 20, 10),
        (1 << 20, 20 << 20, 8),
        (200_000, 1 << 20, 20),
    ] {
        let pool = ArenaPool::builder()
            .budget(Budget::new(budget))
            .trim_manually()
            .build();
        for at in 0..n(1_000, 40) {
            serve(&pool, if at % one_in == 0 { large } else { 500 });
        }
        let Stats {
            created, reused, ..
        } = pool.stats();
        let misses = n(1_000, 40).div_ceil(one_in) as u64 + 1;
        assert!(created <= misses, "{created} created, {reused} reused");
    }
}

#[test]
fn requests_above_max_object_bytes_cost_their_own_misses_and_no_others() {
    for (limit, large, one_in) in [(1 << 20, 2 << 20, 10), (100_000, 200_000, 7)] {
        let pool = ArenaPool::builder()
            .max_object_bytes(limit)
            .trim_manually()
            .build();
        for at in 0..n(1_000, 40) {
            serve(&pool, if at % one_in == 0 { large } else { 500 });
        }
        assert!(
            pool.stats().created <= n(1_000, 40).div_ceil(one_in) as u64 + 1,
            "{}",
            pool.stats()
        );
    }
}
