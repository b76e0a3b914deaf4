//! With `zeroize`: no block of memory is freed or handed out again with a user's bytes in it, as
//! long as the pool could reach it. The allocator inspects each block that is freed.
#![cfg(feature = "zeroize")]

#[path = "support/scale.rs"]
mod scale;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use repool::{Budget, Buffer, BufferPool, BufferPoolBuilder};
use scale::some;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

struct Inspector;

#[global_allocator]
static ALLOCATOR: Inspector = Inspector;

const SECRET: u8 = 0xA5;
/// Blocks from this size on are inspected.
const LARGE: usize = 4096;

thread_local! {
    /// Blocks that this thread freed with secrets in them.
    static LEAKS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: forwards every call to the system's allocator. Only blocks of bytes are inspected, which are
// initialised: here, and by each write. (A value with padding would leave some of its block undefined.)
unsafe impl GlobalAlloc for Inspector {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if layout.size() >= LARGE && layout.align() == 1 {
            // SAFETY: the caller gives the block up.
            let bytes = unsafe { std::slice::from_raw_parts(at, layout.size()) };
            if bytes.chunks_exact(8).any(|bytes| bytes == [SECRET; 8]) {
                let _ = LEAKS.try_with(|leaks| leaks.set(leaks.get() + 1));
            }
        }
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Returns the number of blocks freed with secrets in them during `f`.
fn leaks(f: impl FnOnce()) -> usize {
    let before = LEAKS.get();
    f();
    LEAKS.get() - before
}

/// Under Miri less: wiping writes single bytes.
const SIZE: usize = if cfg!(miri) { LARGE } else { 8192 };

fn builder() -> BufferPoolBuilder {
    BufferPool::builder().trim_manually()
}

fn secret(pool: &BufferPool, size: usize) -> Buffer {
    let mut buffer = pool.get(size);
    buffer.put_bytes(SECRET, size);
    buffer
}

fn frozen(pool: &BufferPool) -> Bytes {
    secret(pool, SIZE).freeze()
}

#[test]
fn the_inspector_sees_secrets() {
    let plain = || drop(bytes::BytesMut::from(&[SECRET; SIZE][..]));
    assert_eq!(leaks(plain), 1);
    let careless = builder().zeroize(false).build();
    assert_eq!(leaks(|| drop((secret(&careless, SIZE), careless))), 1);
}

#[test]
fn frozen_ones_whose_views_are_gone_before_the_pool_lets_go() {
    for end in 0..4 {
        let pool = builder().build();
        let leaked = leaks(|| {
            let views = [frozen(&pool), frozen(&pool)];
            drop(views);
            match end {
                0 => drop(pool),
                1 => drop(pool.clear()),
                2 => pool.set_enabled(false),
                _ => {
                    let thread = std::thread::scope(|scope| {
                        let thread = scope.spawn(|| leaks(|| drop(frozen(&pool))));
                        thread.join().expect("no panic")
                    });
                    assert_eq!(thread, 0);
                    drop(pool);
                }
            }
        });
        assert_eq!(leaked, 0, "{end}");
    }
}

#[test]
fn dropped_ones_by_every_way_out() {
    let pools = [
        builder().build(),
        builder().max_class(SIZE / 2).build(),
        builder().max_idle(0).build(),
        builder().max_idle_bytes(100).build(),
        builder().max_object_bytes(100).build(),
        builder().budget(Budget::new(100)).build(),
    ];
    for (n, pool) in pools.into_iter().enumerate() {
        let leaked = leaks(|| {
            drop([secret(&pool, SIZE), secret(&pool, SIZE)]);
            drop([frozen(&pool), frozen(&pool)]);
            let mut buffer = secret(&pool, SIZE);
            let part = buffer.split_to(100);
            drop((part, buffer));
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                let _buffer = secret(&pool, SIZE);
                std::panic::resume_unwind(Box::new(()));
            }));
            assert!(panicked.is_err());
            (0..4).for_each(|_| _ = pool.trim());
            pool.set_enabled(false);
            drop([secret(&pool, SIZE), secret(&pool, SIZE)]);
            drop(frozen(&pool));
            let late = (secret(&pool, SIZE), secret(&pool, SIZE));
            drop(pool);
            drop(late.0.freeze());
            drop(late.1);
        });
        assert_eq!(leaked, 0, "pool {n}");
    }
}

#[test]
fn requests_without_a_size() {
    let pool = builder().build();
    drop(pool.get(SIZE));
    let leaked = leaks(|| {
        for _ in 0..3 {
            let mut buffer = pool.get(0);
            // In one step, so that it does not grow again: the block it grows out of is out of
            // reach.
            buffer.reserve(SIZE);
            buffer.put_bytes(SECRET, SIZE);
        }
        drop(pool);
    });
    assert_eq!(leaked, 0);
}

#[test]
fn frozen_in_a_panic_or_refused_by_the_pool() {
    struct Freezes<'a>(&'a BufferPool);
    impl Drop for Freezes<'_> {
        fn drop(&mut self) {
            drop(frozen(self.0));
        }
    }
    let pool = builder().build();
    let leaked = leaks(|| {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _freezes = Freezes(&pool);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
        // Refused from the start: the view may outlive the pool.
        let small = builder().max_class(SIZE / 2).build();
        let view = frozen(&small);
        drop(small);
        assert!(view.iter().all(|&byte| byte == SECRET));
        drop(view);
    });
    assert_eq!(leaked, 0);
}

#[test]
fn cut_back_and_handed_out_again() {
    let (grown, rounds) = if cfg!(miri) {
        (6 * SIZE, 7)
    } else {
        (100 * SIZE, 20)
    };
    let pool = builder().build();
    let leaked = leaks(|| {
        let mut buffer = pool.get(SIZE);
        buffer.reserve(grown);
        buffer.put_bytes(SECRET, grown);
        drop(buffer);
        for _ in 0..rounds {
            let mut buffer = secret(&pool, 100);
            assert!(buffer.iter().all(|&byte| byte == SECRET));
            buffer.clear();
            drop(buffer);
            secret(&pool, SIZE).truncate(3);
            drop(frozen(&pool));
        }
        let mut again = pool.get(SIZE);
        let len = again.capacity();
        // SAFETY: the allocator initialises all memory, and the pool has written zeros to it.
        unsafe { again.set_len(len) };
        assert!(again.iter().all(|&byte| byte == 0));
    });
    assert_eq!(leaked, 0);
}

/// The first requests for 0 bytes, which a pool serves before it has allocated anything.
#[test]
fn requests_without_a_size_before_the_pools_first_use() {
    static POOL: BufferPool = BufferPool::new();
    let leaked = leaks(|| {
        for n in 0..20 {
            let mut buffer = POOL.get(0);
            buffer.reserve(SIZE);
            buffer.put_bytes(SECRET, SIZE);
            match n % 2 {
                0 => drop(buffer),
                _ => drop(buffer.freeze()),
            }
        }
        let _ = POOL.clear();
    });
    assert_eq!(leaked, 0);
}

/// Memory that has come back, and been wiped, since the request was made.
#[test]
fn requests_without_a_size_that_find_memory_when_they_are_written_to() {
    for end in 0..3 {
        let pool = builder().build();
        drop(pool.get(SIZE));
        let leaked = leaks(|| {
            let [mut first, mut second] = [pool.get(0), pool.get(0)];
            first.reserve(SIZE);
            first.put_bytes(SECRET, SIZE);
            drop(first);
            second.put_bytes(SECRET, SIZE);
            drop(second.freeze());
            match end {
                0 => drop(pool),
                1 => drop(pool.clear()),
                _ => pool.set_enabled(false),
            }
        });
        assert_eq!(leaked, 0, "{end}");
    }
}

/// The part that was split off holds no secret; the rest of the buffer does, and is dropped first.
#[test]
fn the_rest_of_a_buffer_whose_part_lives_on() {
    let split = |buffer: &mut Buffer, end: usize| match end % 3 {
        0 => buffer.split_to(SIZE / 2),
        1 => {
            buffer[SIZE / 2..].fill(1);
            buffer[..SIZE / 2].fill(SECRET);
            buffer.split_off(SIZE / 2)
        }
        // It covers nothing of the buffer, and keeps it in use all the same.
        _ => buffer.split_to(0),
    };
    for end in 0..12 {
        let pool = builder().build();
        let leaked = leaks(|| {
            let mut buffer = secret(&pool, SIZE);
            if end % 3 == 0 {
                buffer[..SIZE / 2].fill(1);
            }
            let part = split(&mut buffer, end);
            match end / 3 {
                0 => (0..5).for_each(|_| _ = pool.trim()),
                1 => drop(pool.clear()),
                2 => pool.set_enabled(false),
                _ => {}
            }
            drop(buffer);
            (0..5).for_each(|_| _ = pool.trim());
            drop(pool);
            assert!(part.iter().all(|&byte| byte == 1));
            drop(part);
        });
        assert_eq!(leaked, 0, "{end}");
    }
}

/// A secret behind the content: the buffer was truncated before it was frozen.
#[test]
fn what_lies_behind_a_view_that_outlives_the_wait() {
    for grown in [false, true] {
        let pool = builder().build();
        let leaked = leaks(|| {
            let mut buffer = pool.get(SIZE);
            if grown {
                buffer.reserve(10 * SIZE);
            }
            buffer.put_bytes(1, 100);
            buffer.put_bytes(SECRET, SIZE - 100);
            buffer.truncate(100);
            let view = buffer.freeze();
            (0..5).for_each(|_| _ = pool.trim());
            drop(pool);
            drop(view);
        });
        assert_eq!(leaked, 0, "{grown}");
    }
}

#[test]
fn what_put_refuses() {
    let filled = |size: usize| {
        let mut bytes = BytesMut::with_capacity(size);
        bytes.put_bytes(SECRET, size);
        bytes
    };
    let pool = builder().max_class(SIZE).build();
    let leaked = leaks(|| {
        pool.put(filled(SIZE));
        pool.put(filled(2 * SIZE));
        let mut shared = filled(SIZE);
        shared[..100].fill(1);
        let part = shared.split_to(100);
        pool.put(shared);
        drop(part);
        pool.set_enabled(false);
        pool.put(filled(SIZE));
        drop(pool);
    });
    assert_eq!(leaked, 0);
}

/// What was consumed lies in front of the content. No handle covers it, but the buffer's memory is all its own.
#[test]
fn what_was_consumed_before_the_end() {
    static FIRST_USES: BufferPool = BufferPool::new();
    // Served before the pool has allocated anything, of no pool, and refused by the pool from the start.
    type Get = fn() -> Buffer;
    let kinds: [(&str, Get); 4] = [
        ("first use", || FIRST_USES.get(0)),
        ("default", Buffer::default),
        ("too large", || {
            builder().max_class(LARGE / 2).build().get(SIZE)
        }),
        ("none idle", || builder().max_idle(0).build().get(SIZE)),
    ];
    for (name, get) in kinds {
        for consumed in some([SIZE / 2, SIZE - 1, SIZE, 1], 2) {
            for frozen in [false, true] {
                let leaked = leaks(|| {
                    let mut buffer = get();
                    buffer.reserve(SIZE);
                    buffer.put_bytes(SECRET, SIZE);
                    buffer.advance(consumed);
                    match frozen {
                        false => drop(buffer),
                        true => assert_eq!(buffer.freeze().len(), SIZE - consumed),
                    }
                });
                assert_eq!(leaked, 0, "{name}, {consumed} consumed, frozen: {frozen}");
            }
        }
    }
}

#[test]
fn what_was_cleared_before_a_freeze() {
    let pool = builder().build();
    let small = builder().max_class(LARGE / 2).build();
    for (n, mut buffer) in [pool.get(SIZE), small.get(SIZE), Buffer::default()]
        .into_iter()
        .enumerate()
    {
        let leaked = leaks(|| {
            buffer.reserve(SIZE);
            buffer.put_bytes(SECRET, SIZE);
            buffer.clear();
            assert!(buffer.freeze().is_empty());
        });
        assert_eq!(leaked, 0, "{n}");
    }
    assert_eq!(leaks(|| drop((pool, small))), 0);
}

/// A copy belongs to no pool if the pool is gone, or if the original belongs to none.
#[test]
fn copies() {
    for frozen in [false, true] {
        let leaked = leaks(|| {
            let gone = builder().build();
            let mut none = Buffer::default();
            none.reserve(SIZE);
            none.put_bytes(SECRET, SIZE);
            for original in [secret(&gone, SIZE), none] {
                gone.set_enabled(false);
                let (copy, another) = (original.clone(), original.clone().clone());
                assert_eq!((&copy[..], &another[..]), (&original[..], &original[..]));
                drop(original);
                drop(another);
                match frozen {
                    false => drop(copy),
                    true => drop(copy.freeze()),
                }
            }
            let orphan = secret(&gone, SIZE);
            drop(gone);
            let copy = orphan.clone();
            drop(orphan);
            match frozen {
                false => drop(copy),
                true => drop(copy.freeze()),
            }
        });
        assert_eq!(leaked, 0, "frozen: {frozen}");
    }
}
