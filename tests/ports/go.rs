//! Go's `src/sync/pool_test.go` and `example_pool_test.go`. A pass takes the place of a garbage
//! collection, but needs two more quiet intervals before it drops; `TestNilPool` has no
//! counterpart.

use super::{Census, n};
use repool::{Pool, Pooled};
use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::scope;

#[test]
fn test_pool() {
    let pool: Pool<String> = Pool::builder(String::new).trim_manually().build();
    assert!(pool.try_get().is_none(), "an empty one has none");
    // A reset would clear them; their addresses distinguish them.
    let (a, b) = (String::with_capacity(10), String::with_capacity(20));
    let expected = [b.as_ptr(), a.as_ptr()];
    pool.put(a);
    pool.put(b);
    let got = [pool.try_get().expect("b"), pool.try_get().expect("a")];
    assert_eq!(got.each_ref().map(|one| one.as_ptr()), expected);
    assert!(pool.try_get().is_none());
    got.into_iter()
        .for_each(|one| drop(Pooled::into_inner(one)));
    // More than a thread keeps to itself.
    for _ in 0..200 {
        pool.put("c".into());
    }
    // Still there after a pass, gone after a few.
    let _ = pool.trim();
    let got = pool
        .try_get()
        .expect("one pass drops nothing that was just put");
    drop(Pooled::into_inner(got));
    for _ in 0..3 {
        let _ = pool.trim();
    }
    assert!(
        pool.try_get().is_none(),
        "three passes drop all that is idle"
    );
}

#[test]
fn test_pool_new() {
    let count = AtomicUsize::new(0);
    let next = || count.fetch_add(1, SeqCst) + 1;
    let pool = Pool::builder(|| 0_usize)
        .reset(|_| true)
        .trim_manually()
        .build();
    let get = || Pooled::into_inner(pool.get_or_else(next));
    assert_eq!((get(), get()), (1, 2));
    pool.put(42);
    assert_eq!(get(), 42);
    assert_eq!(get(), 3);
}

/// `TestPoolGC`: a pool that was drained holds nothing.
#[test]
fn test_pool_gc() {
    for _ in 0..3 {
        let census = Census::default();
        let pool = census.pool();
        (0..100).for_each(|_| pool.put(census.make()));
        for _ in 0..100 {
            drop(Pooled::into_inner(pool.try_get().expect("100 were put")));
        }
        // All of them, where Go accepts all but one.
        assert_eq!(census.alive(), 0);
        assert!(pool.try_get().is_none());
    }
}

/// `TestPoolRelease`: passes drop what is idle.
#[test]
fn test_pool_release() {
    for _ in 0..3 {
        let census = Census::default();
        let pool = census.pool();
        (0..100).for_each(|_| pool.put(census.make()));
        for _ in 0..3 {
            let _ = pool.trim();
        }
        assert_eq!(census.alive(), 0);
    }
}

#[test]
fn test_pool_stress() {
    const ROUNDS: usize = n(20_000, 10);
    let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
    scope(|scope| {
        for me in 0..10_u8 {
            let pool = &pool;
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let mut one = pool.get();
                    assert!(one.is_empty());
                    one.push(me);
                    assert_eq!(one[..], [me]);
                }
            });
        }
    });
    let stats = pool.stats();
    assert_eq!(stats.created + stats.reused, 10 * ROUNDS as u64);
}

/// `TestPoolDequeue` and `TestPoolChain`: one thread puts, and takes one in ten itself; nine other
/// threads take. Each object is seen exactly once.
fn exactly_once(objects: usize) {
    let census = Census::default();
    let pool = census.pool();
    let seen = Mutex::new(HashSet::new());
    let (taken, own) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let note = |mine: Vec<usize>| {
        let mut seen = seen.lock().expect("no panic");
        mine.iter()
            .for_each(|&number| assert!(seen.insert(number), "{number} twice"));
    };
    let take = |mine: &mut Vec<usize>| {
        let Some(one) = pool.try_get() else {
            return false;
        };
        mine.push(Pooled::into_inner(one).number);
        taken.fetch_add(1, SeqCst);
        true
    };
    scope(|scope| {
        for _ in 0..n(9, 2) {
            scope.spawn(|| {
                let mut mine = Vec::new();
                while taken.load(SeqCst) < objects {
                    if !take(&mut mine) {
                        std::thread::yield_now();
                    }
                }
                note(mine);
            });
        }
        let mut mine = Vec::new();
        for i in 0..objects {
            pool.put(census.make());
            if i % 10 == 0 && take(&mut mine) {
                own.fetch_add(1, SeqCst);
            }
        }
        // The others cannot reach what is in this thread's cache until a pass, or until it takes it
        // itself.
        while taken.load(SeqCst) < objects {
            if !take(&mut mine) {
                std::thread::yield_now();
            }
        }
        note(mine);
    });
    assert_eq!(seen.into_inner().expect("no panic").len(), objects);
    assert!(own.into_inner() > 0);
    assert_eq!(census.alive(), 0);
}

#[test]
fn test_pool_dequeue() {
    exactly_once(n(20_000, 50));
}

#[test]
fn test_pool_chain() {
    // Close to where a list ends.
    let objects = [1, 63, 64, 65, 127, 128, 129];
    for objects in objects.into_iter().take(n(objects.len(), 3)) {
        exactly_once(objects);
    }
}

#[test]
fn example_pool() {
    static BUFFERS: Pool<String> = Pool::new(String::new);
    let log = |time: &str, key: &str, value: &str| {
        let mut line = BUFFERS.get();
        write!(line, "{time} {key}={value}").expect("a string takes it");
        line.to_string()
    };
    let line = log("2006-01-02T15:04:05Z", "path", "/search?q=flowers");
    assert_eq!(line, "2006-01-02T15:04:05Z path=/search?q=flowers");
}

/// `BenchmarkPoolStarvation`: two thirds of the objects got at once come back.
#[test]
fn benchmark_pool_starvation() {
    let census = Census::default();
    let pool = census.pool();
    let rounds = n(100, 3);
    for _ in 0..rounds {
        let mut held: Vec<_> = (0..100).map(|_| pool.get()).collect();
        held.drain(67..)
            .for_each(|one| drop(Pooled::into_inner(one)));
    }
    assert_eq!(census.made(), 100 + (rounds - 1) * 33);
}
