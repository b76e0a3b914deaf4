//! What buffers really hold, by an allocator that counts the bytes of each thread: sizes follow
//! use, one outlier does not enlarge other buffers, limits see the real memory.
#![cfg(feature = "bytes")]

#[path = "support/counting.rs"]
mod counting;

use bytes::{Buf, BufMut, Bytes};
use counting::{Counting, calls};
use repool::{Budget, Buffer, BufferPool, BufferPoolBuilder, Level};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting(|freed, allocated| {
    let live = LIVE.get().wrapping_add_unsigned(allocated);
    LIVE.set(live.wrapping_sub_unsigned(freed));
});

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Fewer rounds where each takes long.
const fn rounds(many: usize) -> usize {
    n(many, if many < 4_000 { 20 } else { many / 200 })
}

/// How often; under Miri, `miri` times.
const fn n(full: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { full }
}

/// Returns a builder of pools that do not wipe: `buffers_wiped.rs` has those that do. They keep their own nodes while
/// they are off, and in a debug build they take minutes for what these tests allocate.
fn builder() -> BufferPoolBuilder {
    let builder = BufferPool::builder().trim_manually();
    #[cfg(feature = "zeroize")]
    let builder = builder.zeroize(false);
    builder
}

fn manual() -> BufferPool {
    builder().build()
}

/// Returns how many more bytes this thread holds after `f` than before, and the result of `f`.
fn held<R>(f: impl FnOnce() -> R) -> (usize, R) {
    let before = LIVE.get();
    let result = f();
    ((LIVE.get() - before).max(0) as usize, result)
}

fn use_for(pool: &BufferPool, capacity: usize, used: usize) {
    pool.get(capacity).resize(used, 7);
}

fn idle(pool: &BufferPool) -> u64 {
    pool.stats().idle
}

#[test]
fn a_use_that_grew_does_not_make_the_next_buffer_larger() {
    for pool in [manual(), builder().max_class(1 << 30).build()] {
        type Use = fn(&mut Buffer);
        for grow in [(|buffer| buffer.resize(5000, 1)) as Use, |buffer| {
            buffer.reserve(5000)
        }] {
            for _ in 0..2 {
                let mut buffer = pool.get(1000);
                grow(&mut buffer);
                buffer.clear();
            }
        }
        let _held = pool.get(1000);
        let next = pool.get(1000).capacity();
        assert!((1000..1300).contains(&next), "{next}");
    }
}

#[test]
fn two_outliers_do_not_enlarge_other_buffers() {
    let (bytes, _pool) = held(|| {
        let pool = manual();
        let both = [(); 2].map(|()| {
            let mut buffer = pool.get(512);
            buffer.resize(MIB, 1);
            buffer
        });
        drop(both);
        (0..10).for_each(|_| _ = pool.trim());
        let many: Vec<_> = (0..n(200, 40)).map(|_| pool.get(512)).collect();
        assert!(many.iter().all(|buffer| buffer.capacity() <= 640));
        (pool, many)
    });
    assert!(bytes < 300 * KIB, "{bytes} bytes");
}

#[test]
fn two_outliers_far_apart_do_not_enlarge_other_buffers() {
    let (bytes, _all) = held(|| {
        let pool = manual();
        for _ in 0..2 {
            use_for(&pool, 64, 4 * MIB);
            (0..n(100_000, 100)).for_each(|_| use_for(&pool, 64, 20));
        }
        (0..3).for_each(|_| _ = pool.trim());
        let many: Vec<_> = (0..n(1000, 100)).map(|_| pool.get(64)).collect();
        (pool, many)
    });
    assert!(bytes < MIB, "{bytes} bytes");
}

#[test]
fn limits_do_not_starve_a_class_in_which_two_grew() {
    let budget = Budget::new(MIB);
    for pool in [
        builder().max_object_bytes(64 * KIB).build(),
        builder().budget(budget).build(),
        builder().max_idle_bytes(MIB).build(),
    ] {
        for _ in 0..2 {
            use_for(&pool, 64, 4 * MIB);
            (0..rounds(1000)).for_each(|_| use_for(&pool, 64, 20));
        }
        let before = pool.stats().created;
        (0..rounds(1000)).for_each(|_| use_for(&pool, 64, 20));
        assert_eq!(pool.stats().created, before);
    }
}

#[test]
fn one_in_use_at_a_time_is_one_idle() {
    let pool = manual();
    for _ in 0..n(100, 10) {
        use_for(&pool, 512, MIB);
        (0..5).for_each(|_| use_for(&pool, 512, 400));
    }
    assert!(idle(&pool) <= 4, "{}", pool.stats());
    // And with rare ones.
    let pool = manual();
    for n in 0..rounds(20_000) {
        use_for(&pool, 512, if n % 50 == 0 { MIB } else { 400 });
    }
    assert!(pool.stats().idle_bytes <= MIB as u64, "{}", pool.stats());
    assert_eq!(idle(&pool), 1);
}

#[test]
fn many_at_once_some_of_which_grow() {
    let pool = manual();
    let mut count = 0;
    for _ in 0..n(200, 8) {
        let many: Vec<_> = (0..64)
            .map(|_| {
                count += 1;
                let mut buffer = pool.get(512);
                buffer.resize(if count % 50 == 0 { MIB } else { 400 }, 1);
                buffer
            })
            .collect();
        drop(many);
    }
    assert_eq!(idle(&pool), 64);
    // A plain `Pool<Vec<u8>>` keeps 13 MiB.
    let bytes = pool.stats().idle_bytes as usize;
    assert!(bytes <= 15 * MIB, "{bytes} bytes");
}

#[test]
fn requests_without_a_size_find_what_grew() {
    let pool = manual();
    for _ in 0..rounds(10_000) {
        let mut buffer = pool.get(0);
        buffer.put_bytes(1, 1000);
    }
    assert!((1..=2).contains(&idle(&pool)), "{}", pool.stats());
    let calls = calls(|| (0..100).for_each(|_| pool.get(0).put_bytes(1, 1000)));
    assert_eq!(calls, 0);
    // Also if nothing else is requested and the pool was not used before.
    let fresh = BufferPool::new();
    (0..20).for_each(|_| fresh.get(0).put_bytes(1, 1000));
    assert_eq!((idle(&fresh), fresh.stats().created), (1, 1));
}

#[test]
fn a_cycle_of_sizes_is_served_without_the_allocator() {
    for (often, rarely) in [(100 * KIB, MIB), (20 * KIB, 400 * KIB)] {
        let pool = manual();
        let cycle = |requests| {
            for n in 0..requests {
                use_for(&pool, 4096, if n % 6 == 5 { rarely } else { often });
            }
        };
        cycle(n(120, 60));
        let calls = calls(|| cycle(rounds(2000)));
        assert!(calls < n(350, 12), "{calls}");
        assert!(idle(&pool) <= 3, "{}", pool.stats());
    }
}

#[test]
fn what_is_consumed_does_not_pile_up() {
    for advances in [true, false] {
        let pool = manual();
        for n in 0..rounds(20_000) {
            let mut buffer = pool.get(1000);
            let len = if n % 10 == 0 { MIB } else { 900 };
            buffer.put_bytes(1, len);
            if advances {
                buffer.advance(len - 10);
            } else {
                drop(buffer.split_to(len - 10));
            }
        }
        let stats = pool.stats();
        assert!(stats.idle_bytes <= 3 * MIB as u64, "{stats}");
        assert!(stats.idle <= 3, "{stats}");
    }
}

#[test]
fn a_read_window_is_never_made_anew() {
    let pool = manual();
    let through = |bytes: usize| {
        let mut window = pool.get(64 * KIB);
        for _ in 0..bytes / (16 * KIB) {
            window.put_bytes(1, 16 * KIB);
            let len = window.len();
            window.advance(len - 7);
        }
        window.put_bytes(1, 20);
    };
    let rows = || {
        let mut window = pool.get(64 * KIB);
        for _ in 0..4 {
            window.clear();
            window.put_bytes(1, 60 * KIB);
        }
        window.clear();
        window.put_bytes(1, 20);
    };
    (0..10).for_each(|_| through(MIB));
    (0..10).for_each(|_| rows());
    let before = pool.stats().created;
    let calls = calls(|| {
        (0..rounds(1000)).for_each(|_| through(MIB));
        (0..rounds(1000)).for_each(|_| rows());
        (0..rounds(1000)).for_each(|_| pool.get(64 * KIB).clear());
    });
    assert_eq!((pool.stats().created - before, calls), (0, 0));
}

#[test]
fn a_request_that_fails_names_what_was_requested() {
    if cfg!(miri) {
        return; // which ends at an allocation that fails
    }
    let pool = BufferPool::builder().max_class(1 << 30).build();
    for requested in [
        isize::MAX as usize,
        usize::MAX,
        (isize::MAX as usize) - 4096,
    ] {
        let error = pool.try_with_capacity(requested).expect_err("too much");
        assert_eq!((error.requested, error.asked()), (requested, requested));
        assert!(
            error.to_string().contains(&requested.to_string()),
            "{error}"
        );
        assert_eq!(pool.try_get(requested).expect_err("too much"), error);
    }
}

/// On an allocator that grows blocks in place, or not.
fn grown_and_cut_back(pool: &BufferPool, keep: Option<usize>) -> (Buffer, bytes::BytesMut) {
    let mut buffer = pool.get(4 * KIB);
    let full = buffer.capacity();
    buffer.resize(n(20, 5) * MIB, 1); // above the largest class
    let tail = buffer.split_off(full);
    match keep {
        Some(len) => buffer.truncate(len),
        None => drop(buffer.split()),
    }
    (buffer, tail)
}

#[test]
fn limits_see_memory_that_hides_behind_a_capacity() {
    for keep in [Some(4 * KIB), Some(0), Some(100), None] {
        for (pool, limit) in [
            (manual(), 4 * MIB),
            (builder().max_idle_bytes(MIB).build(), MIB),
            (builder().budget(Budget::new(MIB)).build(), MIB),
            (builder().max_object_bytes(64 * KIB).build(), 64 * KIB),
        ] {
            let (bytes, ()) = held(|| {
                let many: Vec<_> = (0..n(17, 3))
                    .map(|_| grown_and_cut_back(&pool, keep))
                    .collect();
                let (buffers, tails): (Vec<_>, Vec<_>) = many.into_iter().unzip();
                drop(buffers);
                drop(tails);
                (0..2).for_each(|_| _ = pool.trim());
            });
            assert!(bytes <= limit + 64 * KIB, "{bytes} bytes kept, {keep:?}");
        }
    }
}

fn frozen(pool: &BufferPool, size: usize) -> Bytes {
    let mut buffer = pool.get(size);
    buffer.put_bytes(1, size);
    buffer.freeze()
}

/// In a pool with a limit, lent buffers without views are let go while there is traffic.
fn frozen_ones_that_are_back(pool: BufferPool, limit: usize, traffic: fn(&BufferPool)) {
    let (bytes, pool) = held(|| {
        let bodies: Vec<_> = (0..n(1000, 36)).map(|_| frozen(&pool, 64 * KIB)).collect();
        drop(bodies);
        (0..n(2000, 100)).for_each(|_| traffic(&pool));
        pool
    });
    assert!(
        bytes <= 2 * limit + 128 * KIB,
        "{bytes} bytes: {}",
        pool.stats()
    );
}

#[test]
fn frozen_ones_that_are_back_are_let_go_of_above_a_limit() {
    let limited = || builder().max_idle_bytes(MIB).build();
    let budget = || builder().budget(Budget::new(MIB)).build();
    let few = || builder().max_idle(16).build();
    let traffics: [fn(&BufferPool); 3] = [
        |pool| drop(frozen(pool, 64 * KIB)),
        |pool| use_for(pool, 64 * KIB, 100),
        // Several at once, so that gets alone do not find all of them.
        |pool| drop([frozen(pool, 64 * KIB), frozen(pool, 64 * KIB)]),
    ];
    for (kind, pool) in [limited, budget, few].into_iter().enumerate() {
        for (at, traffic) in traffics.into_iter().enumerate() {
            // Under Miri another one for each kind.
            if cfg!(not(miri)) || at == kind {
                frozen_ones_that_are_back(pool(), MIB, traffic);
            }
        }
    }
}

#[test]
fn idle_buffers_still_go_by_passes_and_pressure() {
    let (bytes, _pool) = held(|| {
        let pool = manual();
        use_for(&pool, 0, 10 * KIB);
        use_for(&pool, 512, MIB);
        pool.trim_under(Level::High);
        assert_eq!(idle(&pool), 0);
        pool
    });
    assert!(bytes < 64 * KIB, "{bytes}");
}

#[test]
fn put_takes_in_what_was_made_elsewhere() {
    let pool = manual();
    pool.put(bytes::BytesMut::with_capacity(8192));
    pool.put(bytes::BytesMut::with_capacity(10));
    pool.put(bytes::BytesMut::with_capacity(5 * MIB));
    let mut shared = bytes::BytesMut::zeroed(8192);
    let part = shared.split_to(100);
    pool.put(shared);
    drop(part);
    let stats = pool.stats();
    assert_eq!((stats.adopted, stats.idle, stats.idle_bytes), (1, 1, 8192));
    // Like a buffer that went out, with the read content consumed.
    let mut buffer = pool.get(8000).into_inner();
    buffer.put_bytes(1, 8000);
    drop(buffer.split_to(5000));
    pool.put(buffer);
    assert_eq!(pool.stats().idle_bytes, 8192);
    assert_eq!(calls(|| assert_eq!(pool.get(8192).capacity(), 8192)), 0);
}

#[test]
fn switched_off_it_calls_the_allocator_as_plain_code_does() {
    const TIMES: usize = n(50, 10);
    let pool = manual();
    let plain = |capacity| bytes::BytesMut::with_capacity(capacity);
    pool.set_enabled(false);
    drop(pool.get(10));
    for capacity in [1, 64, 256, 1000, 4096, 100 * KIB] {
        let drops = calls(|| (0..TIMES).for_each(|_| plain(capacity).put_u8(1)));
        assert_eq!(
            calls(|| (0..TIMES).for_each(|_| pool.get(capacity).put_u8(1))),
            drops
        );
        let freezes = calls(|| {
            for _ in 0..TIMES {
                let mut bytes = plain(capacity);
                bytes.put_u8(1);
                drop(bytes.freeze());
            }
        });
        let pooled = calls(|| {
            for _ in 0..TIMES {
                let mut bytes = pool.get(capacity);
                bytes.put_u8(1);
                drop(bytes.freeze());
            }
        });
        assert_eq!(pooled, freezes, "{capacity}");
        assert_eq!(pool.get(capacity).capacity(), plain(capacity).capacity());
    }
    // Several at once, after a warm-up.
    let many = || drop((0..20).map(|_| pool.get(100)).collect::<Vec<_>>());
    many();
    let plain_many = || drop((0..20).map(|_| plain(100)).collect::<Vec<_>>());
    assert_eq!(calls(many), calls(plain_many));
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.idle, stats.reused), (0, 0, 0));
    assert_eq!(stats.created, stats.discarded_by.switched_off);
    assert!(stats.created > 12 * TIMES as u64, "{stats}");
}

/// What the process holds, whatever it counts: outliers of 1 MiB among requests, with janitor
/// passes in between.
#[test]
#[cfg_attr(miri, ignore = "there is no janitor")]
fn a_running_process_with_rare_outliers_keeps_one_buffer() {
    use std::time::{Duration, Instant};
    for pool in [
        BufferPool::new(),
        BufferPool::builder()
            .trim_every(Duration::from_millis(20))
            .build(),
    ] {
        let start = Instant::now();
        let mut requests = 0;
        while start.elapsed() < Duration::from_millis(600) {
            for _ in 0..5 {
                requests += 1;
                use_for(&pool, 512, if requests % 50 == 0 { MIB } else { 400 });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        // A pass may be handling one.
        let stats = pool.stats();
        assert!(
            stats.idle <= 2 && stats.idle_bytes <= 2 * MIB as u64,
            "{stats}"
        );
        assert!(stats.created <= 20, "{stats}");
    }
}
