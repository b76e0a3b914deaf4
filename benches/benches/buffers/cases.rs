//! What is timed: the cases, and the contenders in each.

use crate::rounds::Random;
use bytes::{BufMut, Bytes, BytesMut};
use repool::BufferPool;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::LazyLock;

/// Runs it this many times.
pub type Loop = Box<dyn FnMut(u64)>;

pub struct Contender {
    pub name: &'static str,
    /// Creates it. It allocates its memory now, or in its first run.
    pub make: Box<dyn Fn() -> Loop>,
}

pub struct Case {
    pub title: String,
    /// The size of the buffers; for mixed sizes, some size.
    pub size: usize,
    /// The number of buffers per turn of a loop.
    pub buffers: usize,
    /// The pool comes first.
    pub contenders: Vec<Contender>,
    /// The wanted ratios: one contender over another, by name, and the target.
    pub lines: &'static [Line],
}

pub type Line = (&'static str, &'static str, &'static str);

pub const POOL: &str = "pool";
const LOCAL: &str = "reused local";
const PLAIN: &str = "plain";
const BARE: &str = "bare bytes";
const RECLAIM: &str = "try_reclaim loop";
const ZEROPOOL: &str = "zeropool";
const BYTESBUF: &str = "bytesbuf";

const SMALL_DROPPED: &[Line] = &[(POOL, LOCAL, "<= 1.3"), (POOL, PLAIN, "< 1")];
const LARGE_DROPPED: &[Line] = &[(POOL, LOCAL, "<= 1.1")];
const SMALL_FROZEN: &[Line] = &[(POOL, PLAIN, "<= 1"), (BARE, PLAIN, "floor")];
const LARGE_FROZEN: &[Line] = &[(POOL, PLAIN, "<= 0.5"), (BARE, PLAIN, "floor")];
const MIXED: &[Line] = &[
    (POOL, ZEROPOOL, "-"),
    (POOL, BYTESBUF, "-"),
    (POOL, RECLAIM, "-"),
];

/// Returns the cases; if the variable is set, only those with its value in their title.
pub const FILTER: &str = "REPOOL_BENCH_CASES";

pub fn cases() -> Vec<Case> {
    let wanted = std::env::var(FILTER).unwrap_or_default();
    let mut all = all_cases();
    all.retain(|case| case.title.contains(&wanted));
    all
}

fn all_cases() -> Vec<Case> {
    let (small, medium, large) = (4 << 10, 64 << 10, 1 << 20);
    vec![
        dropped("4 KiB, 512 B in one copy", small, block, SMALL_DROPPED),
        dropped("4 KiB, 512 B in 64 words", small, words, SMALL_DROPPED),
        dropped("64 KiB, a byte per page", medium, pages, LARGE_DROPPED),
        dropped("64 KiB, all bytes", medium, all, LARGE_DROPPED),
        dropped("1 MiB, a byte per page", large, pages, LARGE_DROPPED),
        dropped("1 MiB, all bytes", large, all, LARGE_DROPPED),
        frozen("4 KiB, 512 B in one copy", small, block, SMALL_FROZEN),
        frozen("4 KiB, 512 B in 64 words", small, words, SMALL_FROZEN),
        frozen("64 KiB, a byte per page", medium, pages, LARGE_FROZEN),
        frozen("64 KiB, all bytes", medium, all, LARGE_FROZEN),
        frozen("1 MiB, a byte per page", large, pages, LARGE_FROZEN),
        frozen("1 MiB, all bytes", large, all, LARGE_FROZEN),
        mixed(),
    ]
}

// ---------------------------------------------------------------- the work on a buffer

// Functions, not an enum, so that no contender branches on it.

static SOURCE: [u8; 1 << 20] = [0xA5; 1 << 20];

/// 512 bytes at once: the least work, so that the pool weighs most.
#[inline(always)]
fn block(bytes: &mut BytesMut, _: usize) {
    let block: &[u8; 512] = black_box(&SOURCE).first_chunk().expect("it is longer");
    bytes.put_slice(block);
    black_box(bytes.as_mut_ptr());
}

/// The same amount as a serializer writes it.
#[inline(always)]
fn words(bytes: &mut BytesMut, _: usize) {
    let first = black_box(1);
    for word in 0..64 {
        bytes.put_u64_le(first + word);
    }
    black_box(bytes.as_mut_ptr());
}

/// One byte in each page, and a length that covers everything.
#[inline(always)]
fn pages(bytes: &mut BytesMut, size: usize) {
    write_pages(&mut bytes.spare_capacity_mut()[..size]);
    // SAFETY: within the capacity, as the slice above was. Bytes that were never written are never
    // read: they are only moved, shared and dropped.
    unsafe { bytes.set_len(size) };
    black_box(bytes.as_mut_ptr());
}

/// Compiled once: if it is inlined, such a loop differs by a fifth between contenders.
#[inline(never)]
fn write_pages(room: &mut [MaybeUninit<u8>]) {
    // One cache line less than a page: no page is left out, and the bytes are not all in one cache
    // set.
    for page in room.chunks_mut(4096 - 64) {
        page[0].write(1);
    }
}

/// Every byte, as a read from a socket does.
#[inline(always)]
fn all(bytes: &mut BytesMut, size: usize) {
    bytes.put_slice(&black_box(&SOURCE)[..size]);
    black_box(bytes.as_mut_ptr());
}

/// What is written where sizes differ: filling would hide everything else.
#[inline(always)]
fn head() -> &'static [u8; 32] {
    black_box(&SOURCE).first_chunk().expect("it is longer")
}

/// These bytes, and a length that covers everything.
#[inline(always)]
fn touch(bytes: &mut BytesMut, size: usize) {
    bytes.put_slice(head());
    // SAFETY: `size` was requested; bytes that were never written are never read.
    unsafe { bytes.set_len(size) };
    black_box(bytes.as_mut_ptr());
}

// ---------------------------------------------------------------- the contenders

fn contender(name: &'static str, make: impl Fn() -> Loop + 'static) -> Contender {
    Contender {
        name,
        make: Box::new(make),
    }
}

fn looped(mut one: impl FnMut() + 'static) -> Loop {
    Box::new(move |n| {
        for _ in 0..n {
            one();
        }
    })
}

/// Without a janitor, so that no pass falls into a contender's time.
fn pool() -> BufferPool {
    BufferPool::builder().trim_manually().build()
}

/// get, fill, drop.
fn dropped(
    title: &str,
    size: usize,
    fill: impl Fn(&mut BytesMut, usize) + Copy + 'static,
    lines: &'static [Line],
) -> Case {
    let contenders = vec![
        contender(POOL, move || {
            let pool = pool();
            looped(move || {
                let mut buffer = pool.get(size);
                fill(&mut buffer, size);
            })
        }),
        contender(LOCAL, move || {
            let mut local = BytesMut::with_capacity(size);
            looped(move || {
                local.clear();
                fill(&mut local, size);
            })
        }),
        contender(PLAIN, move || {
            looped(move || {
                let mut bytes = BytesMut::with_capacity(size);
                fill(&mut bytes, size);
            })
        }),
    ];
    Case {
        title: format!("dropped: {title}"),
        size,
        buffers: 1,
        contenders,
        lines,
    }
}

/// get, fill, freeze, clone, drop both.
fn frozen(
    title: &str,
    size: usize,
    fill: impl Fn(&mut BytesMut, usize) + Copy + 'static,
    lines: &'static [Line],
) -> Case {
    let share = |bytes: Bytes| {
        let clone = bytes.clone();
        drop(black_box(bytes));
        drop(black_box(clone));
    };
    let contenders = vec![
        contender(POOL, move || {
            let pool = pool();
            looped(move || {
                let mut buffer = pool.get(size);
                fill(&mut buffer, size);
                share(buffer.freeze());
            })
        }),
        // The cost of `bytes` itself: nothing that keeps a handle to the memory can be faster.
        contender(BARE, move || {
            let mut kept = BytesMut::with_capacity(size);
            looped(move || {
                fill(&mut kept, size);
                share(kept.split().freeze());
                assert!(kept.try_reclaim(size));
            })
        }),
        contender(PLAIN, move || {
            looped(move || {
                let mut bytes = BytesMut::with_capacity(size);
                fill(&mut bytes, size);
                share(bytes.freeze());
            })
        }),
    ];
    Case {
        title: format!("frozen:  {title}"),
        size,
        buffers: 1,
        contenders,
        lines,
    }
}

/// Sizes of a typical service: many small ones, few large ones (Zipf, exponent 1, over 64 B to 1
/// MiB).
static SIZES: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let weights: Vec<f64> = (0..15).map(|rank| 1.0 / f64::from(rank + 1)).collect();
    let total: f64 = weights.iter().sum();
    let mut random = Random::new();
    (0..4096)
        .map(|_| {
            let mut left = random.fraction() * total;
            let rank = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            let base = 64 << rank.unwrap_or(0);
            base / 2 + random.below(base / 2) + 1
        })
        .collect()
});

/// A stream of mixed sizes: get, touch, drop. A turn is the whole stream, so that all contenders
/// serve the same sizes, and have served each before they are timed.
fn mixed() -> Case {
    fn stream(mut one: impl FnMut(usize) + 'static) -> Loop {
        let sizes: &[usize] = &SIZES;
        looped(move || sizes.iter().for_each(|&size| one(size)))
    }
    let contenders = vec![
        contender(POOL, || {
            let pool = pool();
            stream(move |size| touch(&mut pool.get(size), size))
        }),
        contender(ZEROPOOL, || {
            let pool = zeropool::ZeroPool::new();
            stream(move |size| {
                let mut buffer = pool.alloc_uninit(size);
                for (to, &byte) in buffer.as_uninit_mut().iter_mut().zip(head()) {
                    to.write(byte);
                }
                black_box(&buffer);
            })
        }),
        contender(BYTESBUF, || {
            let pool = bytesbuf::mem::GlobalPool::new();
            stream(move |size| {
                let mut buffer = pool.reserve(size);
                buffer.put_slice(*head());
                black_box(&buffer);
            })
        }),
        contender(RECLAIM, || {
            let mut bytes = BytesMut::with_capacity(64 << 10);
            stream(move |size| {
                if !bytes.try_reclaim(size) {
                    bytes = BytesMut::with_capacity(size.max(64 << 10));
                }
                touch(&mut bytes, size);
                drop(bytes.split());
            })
        }),
        contender(PLAIN, || {
            stream(|size| touch(&mut BytesMut::with_capacity(size), size))
        }),
    ];
    Case {
        title: "dropped: sizes by Zipf".into(),
        size: 4 << 10,
        buffers: SIZES.len(),
        contenders,
        lines: MIXED,
    }
}
