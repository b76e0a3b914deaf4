//! Tests of commons-pool, Netty, .NET (`ArrayPool`, Kestrel's memory pool,
//! `RecyclableMemoryStream`), libp2p, grpc-go, bytebufferpool, the Solaris slab allocator, tcmalloc
//! and snmalloc. Left out are double releases (dropping a guard moves it), leak reports, returns to
//! the wrong pool (a guard knows its own), and waiting for an object (a pool never waits). Class
//! boundaries, sizes near the largest number, underuse and the rules of passes have their own tests
//! (`buffers/shapes.rs`, `it/trimming.rs`).

use super::{Census, Numbered, n};
use bytes::{BufMut, Bytes};
use repool::{ArenaPool, BufferPool, Level, Pool, Pooled};
use std::cell::RefCell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::{scope, spawn};

fn numbers(held: &[Pooled<Numbered>]) -> HashSet<usize> {
    held.iter().map(|one| one.number).collect()
}

// ---------------------------------------------------------------- commons-pool

/// `testNoInstanceOverlap`.
#[test]
fn commons_no_instance_overlap() {
    let census = Census::default();
    let pool = census.pool();
    let in_use: Vec<AtomicUsize> = (0..1_000).map(|_| AtomicUsize::new(0)).collect();
    scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..n(5_000, 30) {
                    let one = pool.get();
                    assert_eq!(
                        in_use[one.number].fetch_add(1, SeqCst),
                        0,
                        "two have {}",
                        one.number
                    );
                    in_use[one.number].fetch_sub(1, SeqCst);
                }
            });
        }
    });
    assert!(census.made() < 1_000);
}

/// `testErrorFactoryDoesNotBlockThreads`: a factory that fails takes up no room for good.
#[test]
fn commons_error_factory_does_not_block_threads() {
    let pool = Pool::builder(|| -> String { std::panic::resume_unwind(Box::new("no")) })
        .max_idle(1)
        .trim_manually()
        .build();
    for _ in 0..10 {
        assert!(catch_unwind(AssertUnwindSafe(|| pool.get())).is_err());
    }
    assert_eq!(
        pool.try_get_with(|| Err::<String, _>("no")).err(),
        Some("no")
    );
    let one = pool
        .try_get_with(|| Ok::<_, ()>(String::from("yes")))
        .expect("it is");
    drop(one);
    let stats = pool.stats();
    assert_eq!((stats.created, stats.idle, stats.in_use), (1, 1, 0));
}

/// `testValidationFailureOnReturnFreesCapacity`.
#[test]
fn commons_validation_failure_on_return_frees_capacity() {
    let pool = Pool::builder(|| 0_u32)
        .reset(|n| *n != 7)
        .max_idle(1)
        .trim_manually()
        .build();
    for _ in 0..10 {
        *pool.get() = 7;
        assert_eq!(pool.stats().idle, 0);
        *pool.get() = 8;
        assert_eq!(pool.stats().idle, 1);
        let _ = Pooled::into_inner(pool.get());
    }
}

/// `testMinIdle`, `testEvictionSoftMinIdle`.
#[test]
fn commons_min_idle() {
    let census = Census::default();
    let of_pool = census.clone();
    let pool = Pool::builder(move || of_pool.make())
        .min_idle(5)
        .trim_manually()
        .build();
    drop((0..20).map(|_| pool.get()).collect::<Vec<_>>());
    for _ in 0..10 {
        let _ = pool.trim();
    }
    assert_eq!((census.alive(), pool.stats().idle), (5, 5));
}

/// `testConcurrentBorrowAndEvict`.
#[test]
fn commons_concurrent_borrow_and_evict() {
    let census = Census::default();
    let pool = census.pool();
    scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..n(2_000, 30) {
                    drop([pool.get(), pool.get()]);
                }
            });
        }
        scope.spawn(|| (0..n(200, 10)).for_each(|_| _ = (pool.trim(), pool.stats())));
    });
    let stats = pool.stats();
    assert_eq!(stats.in_use, 0);
    assert_eq!(stats.created, census.made() as u64);
    assert_eq!(
        stats.idle,
        census.alive() as u64,
        "created is what lives and what was dropped"
    );
}

// ---------------------------------------------------------------- Netty

/// `testMaxCapacity`, `testMaxCapacityWithRecycleAtDifferentThread`, `testDiscardingExceedingElements…`.
#[test]
fn netty_max_capacity_with_recycle_at_different_thread() {
    for most in [1, 2, n(100, 10), n(300, 20)] {
        let census = Census::default();
        let of_pool = census.clone();
        let pool = Pool::builder(move || of_pool.make())
            .max_idle(most)
            .trim_manually()
            .build();
        drop((0..3 * most).map(|_| pool.get()).collect::<Vec<_>>());
        assert!(census.alive() <= most);
        let held: Vec<_> = (0..3 * most).map(|_| pool.get()).collect();
        spawn(move || drop(held)).join().expect("no panic");
        assert!(
            census.alive() <= most && census.alive() > 0,
            "{} of {most}",
            census.alive()
        );
    }
}

/// `testRecycleDisable`, and `verySmallRecycler`.
#[test]
fn netty_recycle_disable() {
    for (most, reused) in [(0, false), (1, true)] {
        let census = Census::default();
        let of_pool = census.clone();
        let pool = Pool::builder(move || of_pool.make())
            .max_idle(most)
            .trim_manually()
            .build();
        let first = pool.get().number;
        assert_eq!(pool.get().number == first, reused);
    }
}

/// `testRecycleAtDifferentThread`, `testRecycleAtTwoThreadsMulti`.
#[test]
fn netty_recycle_at_two_threads_multi() {
    let census = Census::default();
    let pool = Arc::new(census.pool());
    let held: Vec<_> = (0..128).map(|_| pool.get()).collect();
    let all = numbers(&held);
    let (mut one, mut two) = (held, Vec::new());
    two.extend(one.drain(64..));
    for half in [one, two] {
        spawn(move || drop(half)).join().expect("no panic");
    }
    let again: Vec<_> = (0..128).map(|_| pool.get()).collect();
    assert_eq!(numbers(&again), all);
    assert_eq!(census.made(), 128);
}

/// `testThreadCanBeCollectedEvenIfHandledObjectIsReferenced`: a guard outlives its thread.
#[test]
fn netty_thread_can_be_collected_even_if_handled_object_is_referenced() {
    let census = Census::default();
    let pool = Arc::new(census.pool());
    let there = pool.clone();
    let late = spawn(move || there.get()).join().expect("no panic");
    assert_eq!(late.number, 0);
    drop(late);
    assert_eq!(pool.get().number, 0, "it is kept all the same");
}

/// `testThreadCacheDestroyedAfterExitRun`.
#[test]
fn netty_thread_cache_destroyed_after_exit_run() {
    let census = Census::default();
    let pool = Arc::new(census.pool());
    let there = pool.clone();
    spawn(move || drop((0..40).map(|_| there.get()).collect::<Vec<_>>()))
        .join()
        .expect("no panic");
    assert_eq!(pool.stats().idle, 40, "handed over");
    let held: Vec<_> = (0..40).map(|_| pool.get()).collect();
    assert_eq!(census.made(), 40);
    drop(held);
    drop(Arc::into_inner(pool).expect("the only one"));
    assert_eq!(census.alive(), 0);
}

/// `testTrim`: the result says whether there was anything to trim.
#[test]
fn netty_trim() {
    let pool = Census::default().pool();
    assert_eq!(pool.trim().objects, 0);
    drop(pool.get());
    let sum: u64 = (0..4).map(|_| pool.trim().objects).sum();
    assert_eq!(sum, 1);
    assert_eq!(pool.trim().objects, 0);
}

/// netty#8941, mimalloc#537: a thread that is parked with a full cache.
#[test]
fn netty_idle_threads_are_trimmed() {
    let census = Census::default();
    let pool = Arc::new(census.pool());
    let there = pool.clone();
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let (ready, filled) = std::sync::mpsc::channel();
    let parked = spawn(move || {
        drop((0..60).map(|_| there.get()).collect::<Vec<_>>());
        ready.send(()).expect("received below");
        let _ = wait.recv();
    });
    filled.recv().expect("sent above");
    for _ in 0..4 {
        let _ = pool.trim();
    }
    // (Without a process-wide barrier nothing is in the cache.)
    assert_eq!(census.alive(), 0);
    drop(end);
    parked.join().expect("no panic");
}

// ---------------------------------------------------------------- .NET

/// `RentingMultipleArraysGivesBackDifferentInstances`.
#[test]
fn dotnet_renting_multiple_arrays_gives_back_different_instances() {
    let pool = BufferPool::builder().trim_manually().build();
    for _ in 0..3 {
        let held: Vec<_> = (0..50).map(|_| pool.get(100)).collect();
        let places: HashSet<_> = held.iter().map(|one| one.as_ptr()).collect();
        assert_eq!(places.len(), 50);
    }
}

/// `RentingAfterPoolExhaustionReturnsSizeForCorrespondingBucket`.
#[test]
fn dotnet_renting_after_pool_exhaustion_returns_size_for_corresponding_bucket() {
    let pool = BufferPool::builder().trim_manually().build();
    let held: Vec<_> = (0..300).map(|_| pool.get(64)).collect();
    assert!(held.iter().all(|one| one.capacity() == 64));
}

/// `CallingReturnBufferWithClearing…`: the next one sees nothing of the last, cleared or not.
#[test]
fn dotnet_a_rented_array_shows_nothing_of_its_last_user() {
    let pool = BufferPool::builder().trim_manually().build();
    for byte in 1..20 {
        let mut one = pool.get(256);
        assert!(one.is_empty());
        one.resize(200, 0);
        assert!(
            one.iter().all(|&byte| byte == 0),
            "zeros where zeros are asked for"
        );
        one.fill(byte);
    }
}

/// `ThreadLocalIsCollectedUnderHighPressure`.
#[test]
fn dotnet_thread_local_is_collected_under_high_pressure() {
    let census = Census::default();
    let pool = Arc::new(census.pool());
    let there = pool.clone();
    scope(|scope| {
        scope.spawn(move || drop((0..30).map(|_| there.get()).collect::<Vec<_>>()));
    });
    drop(pool.get());
    let _ = pool.trim_under(Level::Critical);
    assert_eq!(census.alive(), 0);
}

/// Kestrel: `CanEvictBlocks`, `EvictsBlocksGraduallyWhenIdle`: monotone, and zero within three
/// passes.
#[test]
fn kestrel_evicts_blocks_when_idle() {
    let census = Census::default();
    let pool = census.pool();
    const MANY: usize = n(1_000, 150);
    drop((0..MANY).map(|_| pool.get()).collect::<Vec<_>>());
    let left: Vec<usize> = (0..3)
        .map(|_| {
            let _ = pool.trim();
            census.alive()
        })
        .collect();
    assert_eq!(left[0], MANY, "the first pass drops nothing");
    assert!(left.is_sorted_by(|a, b| a >= b) && left[2] == 0, "{left:?}");
}

/// Kestrel: `DoesNotEvictBlocksWhenActive`, `EvictsSmallAmountOfBlocksWhenTrafficIsTheSame`: this
/// pool drops none.
#[test]
fn kestrel_does_not_evict_blocks_when_active() {
    let census = Census::default();
    let pool = census.pool();
    for pass in 0..n(100, 6) {
        drop((0..50).map(|_| pool.get()).collect::<Vec<_>>());
        let trimmed = pool.trim();
        assert!(pass < 1 || trimmed.objects == 0, "pass {pass}: {trimmed:?}");
    }
    assert_eq!(census.made(), 50);
}

/// Kestrel: `DisposeWithActiveBlocksWorks`.
#[test]
fn kestrel_dispose_with_active_blocks_works() {
    let pool = BufferPool::builder().trim_manually().build();
    let mut out = pool.get(4096);
    drop(pool);
    out.put_slice(b"still here");
    let view = out.freeze();
    assert_eq!(view, "still here");
}

/// `RecyclableMemoryStream`: `OldBuffersAreKeptInStreamUntilDispose`.
#[test]
fn rms_old_buffers_are_kept_until_dispose() {
    let pool = BufferPool::builder().trim_manually().build();
    let mut views: Vec<Bytes> = Vec::new();
    let mut buffer = pool.get(64);
    for round in 0..50_u8 {
        buffer.put_bytes(round, 1 << (round % 12));
        views.push(buffer.split().freeze());
    }
    drop(buffer);
    // Other requests use the existing buffers.
    for _ in 0..n(10, 2) {
        let mut others: Vec<_> = (0..20).map(|_| pool.get(4096)).collect();
        others.iter_mut().for_each(|one| one.put_bytes(0xff, 4096));
        drop(others);
        let _ = pool.trim();
    }
    for (round, view) in views.iter().enumerate() {
        assert_eq!(view[..], vec![round as u8; 1 << (round % 12)]);
    }
}

/// `RecyclableMemoryStream` issue 176: figures beyond 32 bits.
#[test]
#[cfg_attr(miri, ignore = "buffers of 4 MiB")]
fn rms_in_use_returns_to_zero_after_more_than_4_gib() {
    let builder = BufferPool::builder().trim_manually();
    #[cfg(feature = "zeroize")]
    let builder = builder.zeroize(false); // 4.3 GiB of volatile writes
    let pool = builder.build();
    for _ in 0..1_100 {
        drop(pool.get(4 << 20)); // 4.3 GiB together
    }
    let stats = pool.stats();
    assert_eq!(
        (stats.in_use, stats.idle, stats.idle_bytes),
        (0, 1, 4 << 20)
    );
}

// ---------------------------------------------------------------- Go's others

/// libp2p `TestPool`, `TestBufferPoolIgnoresShortBuffers`: a buffer that is put serves what it can
/// hold, and no more.
#[test]
fn libp2p_buffer_pool_ignores_short_buffers() {
    let pool = BufferPool::builder().trim_manually().build();
    pool.put(bytes::BytesMut::with_capacity(1023));
    assert!(pool.get(1023).capacity() >= 1023, "created");
    pool.put(bytes::BytesMut::with_capacity(63));
    for size in [64, 100, 512, 1000, 1024] {
        assert!(pool.get(size).capacity() >= size);
    }
}

/// libp2p `TestPoolStressByteSlicePool`.
#[test]
fn libp2p_pool_stress_byte_slice_pool() {
    let pool = BufferPool::builder().trim_manually().build();
    scope(|scope| {
        for me in 0..4_usize {
            let pool = &pool;
            scope.spawn(move || {
                let mut size = me + 1;
                for i in 0..n(3_000, 10) {
                    size = size.wrapping_mul(0x9e37_79b9).wrapping_add(i) % n(50_000, 5_000);
                    let mut one = pool.get(size);
                    assert!(one.is_empty() && one.capacity() >= size);
                    one.put_bytes(me as u8, size);
                    assert!(one.first() == one.last());
                    if i % n(500, 5) == 0 {
                        let _ = pool.trim();
                    }
                }
            });
        }
    });
    assert_eq!(pool.stats().in_use, 0);
}

/// grpc-go `mem`: the root comes back once, after its last part.
#[test]
fn grpc_split_buffers_return_their_root_once() {
    let pool = BufferPool::builder().trim_manually().build();
    let mut buffer = pool.get(1000);
    buffer.put_bytes(7, 1000);
    let whole = buffer.freeze();
    let parts: Vec<_> = (0..10)
        .map(|i| whole.slice(100 * i..100 * (i + 1)))
        .collect();
    drop(whole);
    for part in parts {
        let _ = pool.trim();
        assert_eq!((pool.stats().idle, pool.stats().in_use), (0, 1));
        drop(part);
    }
    let _ = pool.trim();
    assert_eq!((pool.stats().idle, pool.stats().in_use), (1, 0));
}

/// bytebufferpool issue 15, golang#23199: sizes are not learned from one buffer for another.
#[test]
fn bytebufferpool_rare_large_ones_make_no_others_large() {
    let pool = BufferPool::builder().trim_manually().build();
    for i in 0..n(2_000, 200) {
        let mut one = pool.get(512);
        one.put_bytes(1, if i % 100 == 0 { 1 << 20 } else { 400 });
    }
    let held: Vec<_> = (0..100).map(|_| pool.get(512)).collect();
    let bytes: usize = held.iter().map(|one| one.capacity()).sum();
    assert!(bytes <= (1 << 20) + 100 * 640 + (1 << 20), "{bytes}");
}

// ---------------------------------------------------------------- allocators

/// Bonwick's working set, tcmalloc's `StressSizeClassResize`: created equals alive plus dropped.
#[test]
fn kmem_a_burst_goes_and_the_working_set_stays() {
    let census = Census::default();
    let pool = census.pool();
    const BURST: usize = n(2_000, 300);
    drop((0..BURST).map(|_| pool.get()).collect::<Vec<_>>());
    for _ in 0..8 {
        for _ in 0..n(10, 2) {
            drop((0..70).map(|_| pool.get()).collect::<Vec<_>>());
        }
        let _ = pool.trim();
    }
    let (made, alive) = (census.made(), census.alive());
    assert_eq!(made, BURST, "the working set is never dropped");
    // A thread that uses more than a list at once may keep nearly one more list.
    assert!((70..70 + 64).contains(&alive), "{alive}");
    let stats = pool.stats();
    assert_eq!(stats.created, stats.idle + stats.trimmed + stats.discarded);
}

/// snmalloc `multi_threadatexit`, `multi_setspecific`: used by thread-local destructors, before and
/// after the thread's caches are handed over.
#[test]
fn snmalloc_use_at_thread_exit() {
    static POOL: Pool<Vec<u8>> = Pool::new(Vec::new);
    struct AtExit;
    impl Drop for AtExit {
        fn drop(&mut self) {
            let mut held: Vec<_> = (0..70).map(|_| POOL.get()).collect();
            held.iter_mut().for_each(|one| one.push(1));
        }
    }
    thread_local! {
        static BEFORE: RefCell<Option<AtExit>> = const { RefCell::new(None) };
        static AFTER: RefCell<Option<AtExit>> = const { RefCell::new(None) };
    }
    for _ in 0..10 {
        let thread = spawn(|| {
            BEFORE.set(Some(AtExit));
            POOL.get().push(1);
            AFTER.set(Some(AtExit));
        });
        thread.join().expect("no panic");
    }
    let stats = POOL.stats();
    assert_eq!(stats.in_use, 0);
    assert!(stats.created < 200, "{stats:?}");
}

/// snmalloc `lotsofthreads`: an arena that another thread drops than the one that filled it.
#[test]
fn arenas_are_released_on_other_threads() {
    let pool = ArenaPool::builder().trim_manually().build();
    for i in 0..n(200, 20) as u32 {
        let arena = pool.get();
        let all = arena.alloc_slice_fill_copy(100, i);
        assert!(all.iter().all(|&n| n == i));
        if i % 4 == 0 {
            spawn(move || drop(arena)).join().expect("no panic");
        }
    }
    let stats = pool.stats();
    assert!(stats.in_use == 0 && stats.created <= 2, "{stats:?}");
}
