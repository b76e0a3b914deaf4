//! What a pool costs in memory, by a counting allocator: calls per operation, bytes per pool, bytes
//! per thread.

#[path = "support/counting.rs"]
mod counting;
#[path = "support/scale.rs"]
mod scale;

use counting::{Counting, calls};
use repool::{Builder, Pool, Pooled, Recycle};
use scale::n;
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};

#[global_allocator]
static ALLOCATOR: Counting = Counting(note);

/// The bytes of all threads together, and of each thread.
static LIVE: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static BYTES: Cell<isize> = const { Cell::new(0) };
}

fn note(freed: usize, allocated: usize) {
    let bytes = allocated as isize - freed as isize;
    BYTES.set(BYTES.get() + bytes);
    LIVE.fetch_add(bytes, SeqCst);
}

/// Returns the bytes that this thread allocated and did not free during `f`, and the result of `f`.
fn bytes<R>(f: impl FnOnce() -> R) -> (isize, R) {
    let before = BYTES.get();
    let result = f();
    (BYTES.get() - before, result)
}

/// A pool whose trim passes run only when the test calls them: no other thread allocates for it.
fn manual<T: Recycle + Send + 'static>(
    create: impl Fn() -> T + Send + Sync + 'static,
) -> Builder<T> {
    Pool::builder(create).trim_manually()
}

/// All tests share the thread IDs, and with them the sizes below: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_warm_pair_makes_no_allocator_call() {
    // No allocator call in the steady state: for an inlined reset, a called one, and one from the
    // builder.
    let _alone = alone();
    let inlined = manual(|| Vec::<u8>::with_capacity(64)).build();
    let called = manual(|| Vec::<String>::with_capacity(64)).build();
    let custom = manual(|| Vec::<u8>::with_capacity(64))
        .reset(|_| true)
        .build();
    let bounded = manual(|| Vec::<u8>::with_capacity(64))
        .max_idle(9)
        .max_idle_bytes(999)
        .build();
    let rounds = || {
        for _ in 0..n(10_000, 100) {
            inlined.get().push(1);
            drop(called.get());
            drop(custom.get());
            drop(bounded.get());
            drop(inlined.try_get());
        }
    };
    rounds();
    assert_eq!(calls(rounds), 0);
}

#[test]
fn forty_warm_guards_at_once_make_no_allocator_call() {
    // The same beyond one list, so that lists turn over.
    let _alone = alone();
    for at_once in [40, 64, 200] {
        let pool = manual(|| Vec::<u8>::with_capacity(64)).build();
        let mut held = Vec::with_capacity(at_once);
        let mut rounds = || {
            for _ in 0..n(500, 1) {
                held.extend((0..at_once).map(|_| pool.get()));
                held.clear();
            }
        };
        rounds();
        assert_eq!(calls(rounds), 0, "{at_once} at once");
    }
}

#[test]
fn a_warm_pool_makes_no_allocator_call_across_threads() {
    // One thread gets and another drops, in step: 16 in flight, 1,000 rounds to warm up.
    let _alone = alone();
    const FLIGHT: usize = 16;
    let warm = n(1_000, 20);
    let rounds = 2 * warm;
    let pool = Arc::new(manual(|| Vec::<u8>::with_capacity(64)).build());
    let lane: Arc<Mutex<Vec<Pooled<Vec<u8>>>>> = Arc::new(Mutex::new(Vec::with_capacity(FLIGHT)));
    let step = Arc::new(Barrier::new(2));
    let consumer = std::thread::spawn({
        let (lane, step) = (lane.clone(), step.clone());
        move || {
            let mut round = |_| {
                step.wait();
                lane.lock().expect("no panic").clear();
                step.wait();
            };
            (0..warm).for_each(&mut round);
            calls(|| (warm..rounds).for_each(round))
        }
    });
    let mut round = |_| {
        lane.lock()
            .expect("no panic")
            .extend((0..FLIGHT).map(|_| pool.get()));
        step.wait();
        step.wait();
    };
    (0..warm).for_each(&mut round);
    assert_eq!(calls(|| (warm..rounds).for_each(round)), 0, "the producer");
    assert_eq!(consumer.join().expect("no panic"), 0, "the consumer");
    assert!(pool.stats().created < 200);
}

#[test]
fn a_warm_pass_makes_no_allocator_call() {
    // Passes run every few seconds for ever: `trim` and `stats` on a warm pool.
    let _alone = alone();
    let pool = manual(|| Vec::<u8>::with_capacity(64)).build();
    let mut held = Vec::with_capacity(100);
    let mut rounds = || {
        for _ in 0..n(50, 5) {
            held.extend((0..100).map(|_| pool.get()));
            held.clear();
            let _ = (pool.trim(), pool.stats());
        }
    };
    rounds();
    assert_eq!(calls(rounds), 0);
}

#[test]
fn an_untouched_const_pool_costs_nothing_but_itself() {
    // A thousand statics that are hardly ever used.
    let _alone = alone();
    let (heap, pool) = bytes(|| Pool::<Vec<u8>>::new(Vec::new));
    assert_eq!(heap, 0);
    assert!(size_of_val(&pool) <= 64);
}

#[test]
fn an_untouched_pool_from_the_builder_costs_at_most_512_bytes() {
    // Its core exists from the start; heap included.
    let _alone = alone();
    let (heap, pool) = bytes(|| manual(Vec::<u8>::new).build());
    let whole = heap as usize + size_of_val(&pool);
    assert!(whole <= 512, "{whole} bytes");
    let (heap, pool) = bytes(|| manual(Vec::<u8>::new).reset(|_| true).max_idle(9).build());
    let whole = heap as usize + size_of_val(&pool);
    assert!(whole <= 512, "{whole} bytes");
}

#[test]
fn a_threads_cache_costs_at_most_256_bytes() {
    // Amortised: everything that the pools allocate for their threads, except the objects.
    let _alone = alone();
    for thread_count in if cfg!(miri) {
        vec![]
    } else {
        vec![200, 256, 300, 512]
    } {
        const POOLS: usize = 16;
        let pools: Arc<Vec<Pool<Vec<u8>>>> =
            Arc::new((0..POOLS).map(|_| manual(Vec::new).build()).collect());
        let filled = Arc::new(Barrier::new(thread_count));
        let threads: Vec<_> = (0..thread_count)
            .map(|_| {
                let (pools, filled) = (pools.clone(), filled.clone());
                let run = move || {
                    filled.wait();
                    // Objects from elsewhere are dropped; the cache remains.
                    let (sum, ()) = bytes(|| {
                        for pool in pools.iter() {
                            drop(Pooled::into_inner(pool.get()));
                        }
                    });
                    filled.wait();
                    sum
                };
                let thread = std::thread::Builder::new().stack_size(128 << 10);
                thread.spawn(run).expect("a thread")
            })
            .collect();
        let sums = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        let each = sums.sum::<isize>() as usize / (thread_count * POOLS);
        println!("{thread_count} threads: {each} bytes each");
        assert!(each <= 256, "{thread_count} threads: {each} bytes each");
    }
}

#[test]
fn threads_one_after_another_leave_memory_flat() {
    // A hundred thousand threads, one after another. A leak of one cache each would be 12 MB.
    let _alone = alone();
    let pool = Arc::new(manual(|| Vec::<u8>::with_capacity(64)).build());
    let run = |threads: usize| {
        for _ in 0..threads {
            let pool = pool.clone();
            std::thread::spawn(move || drop((pool.get(), pool.get())))
                .join()
                .expect("no panic");
        }
    };
    run(n(1_000, 3));
    let before = LIVE.load(SeqCst);
    run(n(100_000, 10));
    let grown = LIVE.load(SeqCst) - before;
    // The test harness writes its lines meanwhile.
    assert!(grown < 64 << 10, "{grown} bytes");
    assert_eq!(pool.stats().created, 2);
}

#[test]
fn pools_one_after_another_leave_memory_flat() {
    // A thread that sees many pools come and go forgets them.
    let _alone = alone();
    let run = |pools: usize| {
        for _ in 0..pools {
            let pool = manual(|| Vec::<u8>::with_capacity(64)).build();
            drop((0..40).map(|_| pool.get()).collect::<Vec<_>>());
        }
    };
    run(n(100, 3));
    let (grown, ()) = bytes(|| run(n(10_000, 30)));
    assert!(grown < 16 << 10, "{grown} bytes");
}

#[test]
fn a_cleared_pool_holds_no_object_memory() {
    // In bytes: idle objects are the only memory of a pool that grows.
    let _alone = alone();
    let pool = manual(|| Vec::<u8>::with_capacity(1_000)).build();
    let fill = |k: usize| drop((0..k).map(|_| pool.get()).collect::<Vec<_>>());
    let many = if cfg!(miri) { 200 } else { 1_000 };
    fill(many);
    let _ = pool.clear();
    let (held, ()) = bytes(|| fill(many));
    assert!(held >= 1_000 * many as isize);
    let (freed, _) = bytes(|| pool.clear());
    assert!(
        (held + freed).abs() <= 4 << 10,
        "{} bytes stay",
        held + freed
    );
}
