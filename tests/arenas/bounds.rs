//! The bounds that [`ArenaPool`] states, for any sequence of requests and passes.

use crate::{fill, manual};
use proptest::collection::vec;
use proptest::prelude::*;
use repool::{Arena, ArenaPool};

/// The most bytes of a new arena.
const FIRST: usize = 4 << 10;
/// An arena is at most this many times larger than what a request needed.
const TIMES: usize = 8;
/// After this many quiet requests of the pool every arena is cut, whatever happened before.
const MOST: usize = 5_120;

#[derive(Clone, Debug)]
enum Op {
    Get,
    Alloc(usize, usize),
    Drop(usize),
    /// This many requests, one after the other, each of which allocates little.
    Small(usize),
    Pass,
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![8 => 1_usize..2_000, 3 => 2_000_usize..60_000, 1 => Just(1_usize << 20)];
    let at = || 0_usize..8;
    prop_oneof![
        6 => Just(Op::Get),
        8 => (at(), size).prop_map(|(at, size)| Op::Alloc(at, size)),
        6 => at().prop_map(Op::Drop),
        2 => (1_usize..30).prop_map(Op::Small),
        1 => Just(Op::Pass),
    ]
}

/// Returns the largest size of an arena if no request so far needed more than `most`.
fn bound(most: usize) -> usize {
    FIRST.max(TIMES * most)
}

fn run(ops: Vec<Op>) {
    let pool: ArenaPool = manual();
    let mut in_use: Vec<(Arena, usize)> = Vec::new();
    let (mut most_needed, mut most_in_use) = (0, 0);
    let get = |most_needed: usize| {
        let arena = pool.get();
        let (is, bound) = (arena.chunk_capacity(), bound(most_needed));
        assert!(is <= bound, "{is} bytes, bound {bound}");
        arena
    };
    for op in ops {
        let at_once = in_use.len().max(1);
        match op {
            Op::Get => in_use.push((get(most_needed), 0)),
            Op::Alloc(at, bytes) => {
                if let Some((arena, needed)) = in_use.get_mut(at % at_once) {
                    fill(arena, bytes);
                    *needed += bytes;
                    most_needed = most_needed.max(*needed);
                }
            }
            Op::Drop(at) if !in_use.is_empty() => drop(in_use.swap_remove(at % at_once)),
            Op::Drop(_) => {}
            Op::Small(times) => {
                most_in_use = most_in_use.max(in_use.len() as u64 + 1);
                (0..times).for_each(|_| fill(&get(most_needed), 100));
            }
            Op::Pass => drop(pool.trim()),
        }
        let stats = pool.stats();
        most_in_use = most_in_use.max(stats.in_use).max(1);
        assert!(stats.idle <= most_in_use, "{stats}");
        assert!(
            stats.idle_bytes <= stats.idle * bound(most_needed) as u64,
            "{stats}"
        );
    }
    drop(in_use);
    // Whatever happened before, quiet requests of the pool bring each arena back to its first size.
    let at_once = pool.stats().idle as usize;
    let rounds = MOST / at_once.max(1) + 20;
    for _ in 0..rounds {
        let all: Vec<_> = (0..at_once).map(|_| pool.get()).collect();
        all.iter().for_each(|arena| fill(arena, 100));
    }
    let stats = pool.stats();
    assert!(stats.idle_bytes <= stats.idle * FIRST as u64, "{stats}");
    for _ in 0..3 {
        let _ = pool.trim();
    }
    assert_eq!((pool.stats().idle, pool.stats().idle_bytes), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 128 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    #[cfg_attr(miri, ignore = "thousands of requests")]
    fn idle_bytes_follow_use_and_an_arena_follows_the_last_requests(
        ops in vec(op(), 1..300),
    ) {
        run(ops);
    }
}
