//! The owner of a cache and a visitor exclude each other on this processor, with the pool as it
//! ships.
//!
//! Whenever the owner enters its cache, it has stores to cold memory in flight. Its flag waits in
//! the store buffer behind them and becomes visible hundreds of nanoseconds late. A visitor without
//! the heavy fence would find the cache free in that time, and both would use the lists: the owner
//! would get an object that the visitor drops. (`ci/stress.sh` removes the fence and checks that
//! this test fails. The loom models and Miri check the orderings for other processors.)
#![cfg(not(any(miri, target_family = "wasm")))]

use repool::{Pool, Recycle};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const ALIVE: u64 = 0xA11F_E0B9_EC7A_11FE;

static BORN: AtomicU64 = AtomicU64::new(0);
static DIED: AtomicU64 = AtomicU64::new(0);

/// Records whether it is alive and held. The flags lie behind the bytes that an allocator writes into
/// free blocks.
struct Thing {
    _first: [u64; 6],
    alive: AtomicU64,
    held: AtomicBool,
}

impl Thing {
    fn new() -> Self {
        BORN.fetch_add(1, Relaxed);
        Self {
            _first: [0; 6],
            alive: AtomicU64::new(ALIVE),
            held: AtomicBool::new(false),
        }
    }

    fn work(&self) {
        met(self.alive.load(Relaxed) == ALIVE, "a dead object is used");
        met(!self.held.swap(true, Relaxed), "an object is held twice");
        self.held.store(false, Relaxed);
    }
}

impl Recycle for Thing {
    fn recycle(&mut self) {}
}

impl Drop for Thing {
    fn drop(&mut self) {
        let alive = self.alive.swap(0, Relaxed);
        met(alive == ALIVE, "an object is dropped twice");
        met(!self.held.load(Relaxed), "a held object is dropped");
        DIED.fetch_add(1, Relaxed);
    }
}

/// Ends the process if `right` is false: after that nothing can be relied on.
fn met(right: bool, what: &str) {
    if !right {
        eprintln!("owner and visitor have met: {what}");
        std::process::exit(7);
    }
}

/// In bytes: more than the processor's caches hold of it while other threads use them too.
const COLD: usize = 64 << 20;
/// A few more stores than a processor keeps in flight.
const STORES: usize = 24;

fn own(pool: &Pool<Thing>, stop: &AtomicBool, seed: u64) -> u64 {
    let mut cold = vec![0_u8; COLD];
    let (mut at, mut pairs) = (seed, 0);
    while !stop.load(Relaxed) {
        for _ in 0..STORES {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            cold[(at >> 20) as usize % COLD] = 1;
        }
        let one = pool.get();
        one.work();
        drop(one);
        pairs += 1;
    }
    std::hint::black_box(&cold);
    pairs
}

#[test]
fn owners_with_stores_under_way_never_meet_a_visitor() {
    let seconds = std::env::var("REPOOL_GATE_SECONDS").map_or(2, |s| s.parse().expect("seconds"));
    let pool = Pool::<Thing>::builder(Thing::new).trim_manually().build();
    let stop = AtomicBool::new(false);
    let (pairs, visits) = thread::scope(|scope| {
        let owners: Vec<_> = (1..3)
            .map(|seed| {
                scope.spawn({
                    let (pool, stop) = (&pool, &stop);
                    move || own(pool, stop, seed)
                })
            })
            .collect();
        let start = Instant::now();
        let mut visits = 0_u64;
        while start.elapsed() < Duration::from_secs(seconds) {
            let _ = pool.clear();
            visits += 1;
        }
        stop.store(true, Relaxed);
        let pairs = owners
            .into_iter()
            .map(|owner| owner.join().expect("no panic"));
        (pairs.sum::<u64>(), visits)
    });
    println!("{pairs} gets and drops, {visits} visits");
    assert!(pairs > 0 && visits > 0);
    let stats = pool.stats();
    assert_eq!((stats.created, stats.in_use), (BORN.load(Relaxed), 0));
    drop(pool);
    assert_eq!(BORN.load(Relaxed), DIED.load(Relaxed));
}
