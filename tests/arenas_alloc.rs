//! The allocator calls of arenas, counted by a counting allocator.
#![cfg(feature = "bumpalo")]

#[path = "support/counting.rs"]
mod counting;

use bumpalo::Bump;
use counting::{Counting, calls};
use repool::{Arena, ArenaPool};
use std::alloc::Layout;
use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: Counting = Counting(|_, _| {
    if STOPS.replace(false) {
        stop_slow();
    }
});

thread_local! {
    static STOPS: Cell<bool> = const { Cell::new(false) };
}

/// How far the thread that stops in its next allocator call has come.
static STOPPED: AtomicU8 = AtomicU8::new(GOING);
const GOING: u8 = 0;
const STANDING: u8 = 1;
const RELEASED: u8 = 2;

#[cold]
fn stop_slow() {
    STOPPED.store(STANDING, SeqCst);
    while STOPPED.load(SeqCst) != RELEASED {
        thread::yield_now();
    }
}

const fn n(full: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { full }
}

fn manual() -> ArenaPool {
    ArenaPool::builder().trim_manually().build()
}

/// Allocates this many bytes, and does not write them, which takes Miri long.
fn fill(arena: &Bump, bytes: usize) {
    arena.alloc_layout(Layout::array::<u8>(bytes).expect("not too large"));
}

type Request = fn(&Bump);

/// Requests of all kinds. What they allocate lives until their end, except where noted.
const REQUESTS: [(&str, Request); 9] = [
    ("nothing", |_| {}),
    ("one byte", |arena| {
        arena.alloc(1_u8);
    }),
    ("a hundred small ones", |arena| {
        for size in 0..100 {
            fill(arena, size * 7 % 64 * 4);
        }
    }),
    ("many chunks", |arena| {
        for size in 0..n(20_000, 700) {
            arena.alloc(size);
        }
    }),
    ("a small one and a huge one", |arena| {
        arena.alloc(1_u8);
        fill(arena, 64 << 20);
    }),
    ("a huge one and small ones", |arena| {
        fill(arena, 1 << 20);
        for size in 0..n(1_000, 100) {
            arena.alloc(size);
        }
    }),
    ("every alignment", |arena| {
        for log in (0..14).chain(0..14).chain((0..14).rev()) {
            arena.alloc_layout(Layout::from_size_align(3, 1 << log).expect("fine"));
        }
    }),
    ("a vector that grows beside others", |arena| {
        let mut numbers = bumpalo::collections::Vec::new_in(arena);
        for number in 0..n(20_000, 700) {
            numbers.push(number);
            if number % 100 == 0 {
                arena.alloc(number);
            }
        }
        numbers.into_bump_slice();
    }),
    // The end of the request finds everything returned: its peak shows only in the chunks.
    ("a vector that grows alone and is dropped", |arena| {
        let mut numbers = bumpalo::collections::Vec::new_in(arena);
        numbers.extend(0..n(20_000, 700));
    }),
];

#[test]
fn the_second_identical_request_makes_no_allocator_call() {
    for (name, request) in REQUESTS {
        let pool = manual();
        request(&pool.get());
        assert_eq!(calls(|| request(&pool.get())), 0, "{name}");
        assert_eq!(calls(|| pool.with(|_| ())), 0, "{name}");
    }
}

#[test]
fn the_second_identical_request_makes_no_allocator_call_whatever_came_before() {
    // Whatever arena the earlier requests have left behind, once it has settled.
    let pool = manual();
    for _ in 0..n(2, 1) {
        for (name, request) in REQUESTS {
            request(&pool.get());
            assert_eq!(calls(|| request(&pool.get())), 0, "{name}");
            (0..n(20, 3)).for_each(|_| request(&pool.get()));
        }
    }
}

#[test]
fn a_const_pool_makes_no_allocator_call_either() {
    static ARENAS: ArenaPool = ArenaPool::new();
    REQUESTS[3].1(&ARENAS.get());
    assert_eq!(calls(|| REQUESTS[3].1(&ARENAS.get())), 0);
}

#[test]
fn a_steady_load_makes_no_allocator_call() {
    // Sizes between 3 and 13 KiB in any order, two arenas at a time.
    let pool = manual();
    let request = |seed: usize| {
        let outer = pool.get();
        for at in 0..100 {
            fill(&outer, 32 + (seed + at * 7) % 100);
        }
        let inner = pool.get();
        fill(&inner, seed * 37 % 3_000);
    };
    let rounds = n(5_000, 10);
    (0..rounds).for_each(request);
    assert_eq!(calls(|| (0..rounds).for_each(request)), 0);
}

#[test]
fn requests_that_give_everything_back_cost_next_to_nothing_in_the_long_run() {
    // An arena that looks empty at each end: the pool cuts it, is wrong, and learns.
    let pool = manual();
    let request = |arena: &Bump| {
        bumpalo::collections::Vec::new_in(arena).extend(0..n(3_000, 1_200) as u32);
    };
    let rounds = n(20_000, 30);
    let calls = calls(|| (0..rounds).for_each(|_| request(&pool.get())));
    assert!(calls <= n(120, 20), "{calls} calls for {rounds} requests");
}

#[test]
fn a_growing_request_pays_each_size_once() {
    // Each request is a little larger than the previous one: the arena grows ahead of them.
    let pool = manual();
    drop(pool.get());
    let mut paid = 0;
    for size in (1..=1_000).step_by(n(1, 20)) {
        let calls = calls(|| fill(&pool.get(), size * 100));
        paid += usize::from(calls > 0);
    }
    assert!(paid <= 12, "{paid} of 1000 requests paid");
}

#[test]
fn a_reset_costs_the_same_after_many_requests() {
    // Nothing is kept per request: no bytes and no calls, in the pool or in the arena.
    let pool = manual();
    let (_, request) = REQUESTS[2];
    (0..n(1_000, 20)).for_each(|_| request(&pool.get()));
    let before = pool.stats();
    let spent = calls(|| (0..n(10_000, 20)).for_each(|_| request(&pool.get())));
    assert_eq!(spent, 0);
    let after = pool.stats();
    assert_eq!(
        (after.idle, after.idle_bytes),
        (before.idle, before.idle_bytes)
    );
}

#[test]
fn a_new_arena_costs_its_node_and_its_chunk() {
    for first in [0, 500, 4032, 100_000] {
        let pool = ArenaPool::builder()
            .first_chunk(first)
            .trim_manually()
            .build();
        let held = [pool.get(), pool.get()];
        let mut fresh = None;
        // The table of a thread's cache exists already.
        let expected = if first == 0 { 1 } else { 2 };
        assert_eq!(calls(|| fresh = Some(pool.get())), expected);
        let fresh = fresh.expect("just made");
        let fits = calls(|| fill(&fresh, first));
        assert_eq!(fits, 0, "{first}");
        drop(held);
    }
}

#[test]
fn a_request_that_grows_an_arena_pays_once_for_each_size() {
    // The cost of a request of 1 MiB in a new arena: doubling chunks, and one in their place.
    let pool = manual();
    let request = |arena: &Bump| {
        for _ in 0..1_024 {
            fill(arena, 1_024);
        }
    };
    drop(pool.get());
    let first = calls(|| request(&pool.get()));
    assert!(first <= 2 * 9 + 2, "{first}");
    assert_eq!(calls(|| request(&pool.get())), 0);
}

#[test]
fn a_limit_makes_no_allocator_call() {
    let pool = manual();
    drop(pool.get());
    for limit in [0, 100, 1_000, 4_032, 100_000] {
        let calls = calls(|| {
            let arena = pool.get();
            arena.set_allocation_limit(Some(limit));
            arena
                .try_alloc_slice_fill_copy(limit.min(1_000), 1_u8)
                .is_ok()
        });
        assert_eq!(calls, 0, "{limit}");
    }
}

#[test]
fn off_makes_the_allocator_calls_of_a_plain_bump() {
    for first in [0, 4_032, 400, 50_000].into_iter().take(n(4, 2)) {
        let pool = ArenaPool::builder().first_chunk(first).build();
        pool.set_enabled(false);
        // The first use creates the nodes.
        let hold = || [(); 3].map(|()| pool.get());
        drop(hold());
        for (name, request) in REQUESTS {
            let plain = calls(|| request(&Bump::with_capacity(first)));
            for _ in 0..n(3, 1) {
                assert_eq!(calls(|| request(&pool.get())), plain, "{name}, {first}");
            }
            let plain = calls(|| {
                [(); 3]
                    .map(|()| Bump::with_capacity(first))
                    .map(|bump| request(&bump))
            });
            assert_eq!(
                calls(|| hold().map(|arena| request(&arena))),
                plain,
                "{name}, {first}"
            );
        }
        assert_eq!(pool.stats().idle_bytes, 0);
    }
}

#[test]
fn off_keeps_no_memory_that_counts() {
    let pool = manual();
    pool.set_enabled(false);
    drop((0..100).map(|_| pool.get()).collect::<Vec<Arena>>());
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.idle_bytes, stats.created), (0, 0, 100));
}

#[test]
fn a_first_use_that_gets_stuck_does_not_hold_up_other_threads() {
    // Like a thread that does not exist in a forked child.
    static ARENAS: ArenaPool = ArenaPool::new();
    let stuck = thread::spawn(|| {
        STOPS.set(true);
        *ARENAS.get().alloc(7)
    });
    while STOPPED.load(SeqCst) != STANDING {
        thread::yield_now();
    }
    let (sender, receiver) = mpsc::channel();
    let other = thread::spawn(move || {
        let seven = *ARENAS.get().alloc(7);
        sender.send(seven).expect("the test waits");
    });
    let seven = receiver.recv_timeout(Duration::from_secs(60));
    STOPPED.store(RELEASED, SeqCst);
    assert_eq!(seven, Ok(7), "it waits for the first use of another thread");
    assert_eq!(stuck.join().expect("no panic"), 7);
    other.join().expect("no panic");
    // The core that came too late is gone; the pool has one.
    let stats = ARENAS.stats();
    assert_eq!((stats.created + stats.reused, stats.in_use), (2, 0));
}
