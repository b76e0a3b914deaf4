//! `BufferPool` against a reused local buffer, plain `BytesMut` on three allocators, and peers, as
//! ratios of times taken within the same millisecond; see `ratios` for the method.
//!
//! One process, one run: the global allocator passes each call on to the one that the contender
//! wants, at the price of a load and a branch. A contender frees what it allocates before the next
//! one starts, and the pools live on the system's allocator.
//!
//! Usage: `cargo bench --bench buffers [-- ROUNDS [MICROSECONDS]]`: rounds (101) and the time of one
//! contender in one (300).

use bytes::{BufMut, Bytes, BytesMut};
use repool::BufferPool;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Which allocator is used at the moment.
static MODE: AtomicU8 = AtomicU8::new(GLIBC);
const GLIBC: u8 = 0;
const MIMALLOC: u8 = 1;
const JEMALLOC: u8 = 2;

struct Switched;

#[global_allocator]
static ALLOCATOR: Switched = Switched;

// SAFETY: every call goes to an allocator; whoever switches sees to it that memory goes back to
// where it came from.
unsafe impl GlobalAlloc for Switched {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe {
            match MODE.load(Relaxed) {
                MIMALLOC => mimalloc::MiMalloc.alloc(layout),
                JEMALLOC => tikv_jemallocator::Jemalloc.alloc(layout),
                _ => System.alloc(layout),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe {
            match MODE.load(Relaxed) {
                MIMALLOC => mimalloc::MiMalloc.dealloc(at, layout),
                JEMALLOC => tikv_jemallocator::Jemalloc.dealloc(at, layout),
                _ => System.dealloc(at, layout),
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe {
            match MODE.load(Relaxed) {
                MIMALLOC => mimalloc::MiMalloc.realloc(at, layout, size),
                JEMALLOC => tikv_jemallocator::Jemalloc.realloc(at, layout, size),
                _ => System.realloc(at, layout, size),
            }
        }
    }
}

static BLOCK: [u8; 512] = [0xA5; 512];

/// A pool without a janitor, who would free memory while another allocator is in use.
fn pool() -> &'static BufferPool {
    Box::leak(Box::new(BufferPool::builder().trim_manually().build()))
}

/// The work on a buffer: 512 bytes, or a byte in each page.
#[derive(Clone, Copy)]
enum Fill {
    Block,
    Pages,
}

impl Fill {
    #[inline(always)]
    fn run(self, bytes: &mut BytesMut, size: usize) {
        match self {
            Fill::Block => bytes.put_slice(black_box(&BLOCK)),
            Fill::Pages => {
                // Every page is written, and the length says so; not every byte.
                // SAFETY: the pool's and the local buffers were filled once with `resize`; the plain
                // ones are only written to, and what is read back is what was written.
                unsafe { bytes.set_len(size) };
                for page in (0..size).step_by(4096) {
                    // Not always the same cache set.
                    bytes[page + (page >> 6) % 4096] = 1;
                }
            }
        }
        black_box(bytes.as_mut_ptr());
    }
}

/// A round of `n` of one contender.
type Loop = Box<dyn FnMut(u64)>;

struct Contender {
    name: &'static str,
    mode: u8,
    run: Loop,
}

fn contender(name: &'static str, mode: u8, run: impl FnMut(u64) + 'static) -> Contender {
    Contender {
        name,
        mode,
        run: Box::new(run),
    }
}

fn plain(mut one: impl FnMut() + Copy + 'static) -> [Contender; 3] {
    [
        ("glibc", GLIBC),
        ("mimalloc", MIMALLOC),
        ("jemalloc", JEMALLOC),
    ]
    .map(|(name, mode)| {
        contender(name, mode, move |n| {
            for _ in 0..n {
                one();
            }
        })
    })
}

/// get, fill, drop.
fn fill(size: usize, fill: Fill) -> Vec<Contender> {
    let pool = pool();
    let mut local = BytesMut::zeroed(size);
    drop({
        let mut warm = pool.get(size);
        warm.resize(size, 0);
        warm
    });
    let mut all = vec![
        contender("pool", GLIBC, move |n| {
            for _ in 0..n {
                let mut buffer = pool.get(size);
                fill.run(&mut buffer, size);
            }
        }),
        contender("reused local", GLIBC, move |n| {
            for _ in 0..n {
                local.clear();
                fill.run(&mut local, size);
            }
        }),
    ];
    all.extend(plain(move || {
        let mut bytes = BytesMut::with_capacity(size);
        fill.run(&mut bytes, size);
    }));
    all
}

/// get, fill, freeze, clone, drop both.
fn freeze(size: usize, fill: Fill) -> Vec<Contender> {
    let pool = pool();
    let share = |bytes: Bytes| {
        let clone = bytes.clone();
        drop(black_box(bytes));
        drop(black_box(clone));
    };
    let mut all = vec![contender("pool", GLIBC, move |n| {
        for _ in 0..n {
            let mut buffer = pool.get(size);
            fill.run(&mut buffer, size);
            share(buffer.freeze());
        }
    })];
    // What `bytes` itself takes: nothing that keeps a handle to the memory can be faster.
    let mut kept = BytesMut::from(Bytes::from(vec![0; size]));
    kept.clear();
    all.push(contender("bare bytes", GLIBC, move |n| {
        for _ in 0..n {
            fill.run(&mut kept, size);
            share(kept.split().freeze());
            assert!(kept.try_reclaim(size));
        }
    }));
    all.extend(plain(move || {
        let mut bytes = BytesMut::with_capacity(size);
        fill.run(&mut bytes, size);
        share(bytes.freeze());
    }));
    all
}

/// Sizes as a service sees them: many small ones, few large ones (Zipf, exponent 1, over 64 B to
/// 1 MiB), in an order that repeats after 4096.
fn zipf() -> Vec<usize> {
    let weights: Vec<f64> = (0..15).map(|rank| 1.0 / f64::from(rank + 1)).collect();
    let total: f64 = weights.iter().sum();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..4096)
        .map(|_| {
            let mut left = random() * total;
            let rank = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            let base = 64usize << rank.unwrap_or(0);
            base / 2 + (random() * base as f64 / 2.0) as usize + 1
        })
        .collect()
}

/// A few bytes, and a length that says that all is used: the sizes differ, and filling would hide
/// everything else.
#[inline(always)]
fn touch(bytes: &mut BytesMut, size: usize) {
    bytes.put_slice(black_box(&BLOCK[..32]));
    // SAFETY: only what was written is read.
    unsafe { bytes.set_len(size) };
    black_box(bytes.as_mut_ptr());
}

/// A stream of mixed sizes: get, touch, drop.
fn mixed() -> Vec<Contender> {
    let sizes: &'static [usize] = Box::leak(zipf().into_boxed_slice());
    let stream = |mut one: Box<dyn FnMut(usize)>| {
        let mut at = 0;
        move |n: u64| {
            for _ in 0..n {
                one(sizes[at % sizes.len()]);
                at += 1;
            }
        }
    };
    let pool = pool();
    let mut reclaimed = BytesMut::with_capacity(64 << 10);
    let zero = zeropool::ZeroPool::new();
    let blocks = bytesbuf::mem::GlobalPool::new();
    let mut all = vec![
        contender(
            "pool",
            GLIBC,
            stream(Box::new(move |size| touch(&mut pool.get(size), size))),
        ),
        contender(
            "try_reclaim loop",
            GLIBC,
            stream(Box::new(move |size| {
                if !reclaimed.try_reclaim(size) {
                    reclaimed = BytesMut::with_capacity(size.max(64 << 10));
                }
                touch(&mut reclaimed, size);
                drop(reclaimed.split());
            })),
        ),
        contender(
            "zeropool",
            GLIBC,
            stream(Box::new(move |size| {
                let buffer = zero.alloc_uninit(size);
                black_box(&buffer);
            })),
        ),
        contender(
            "bytesbuf",
            GLIBC,
            stream(Box::new(move |size| {
                let mut buffer = blocks.reserve(size);
                buffer.put_slice(*black_box(&[0xA5u8; 32]));
                black_box(&buffer);
            })),
        ),
    ];
    for (name, mode) in [
        ("glibc", GLIBC),
        ("mimalloc", MIMALLOC),
        ("jemalloc", JEMALLOC),
    ] {
        let one = |size| touch(&mut BytesMut::with_capacity(size), size);
        all.push(contender(name, mode, stream(Box::new(one))));
    }
    all
}

fn main() {
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let rounds = numbers.first().copied().unwrap_or(101);
    let slice = Duration::from_micros(numbers.get(1).copied().unwrap_or(300));
    println!("{rounds} rounds of {slice:?} for each contender; pool / contender\n");
    report(
        "4 KiB, 512 B filled, dropped",
        fill(4 << 10, Fill::Block),
        rounds,
        slice,
    );
    report(
        "64 KiB, every page, dropped",
        fill(64 << 10, Fill::Pages),
        rounds,
        slice,
    );
    report(
        "1 MiB, every page, dropped",
        fill(1 << 20, Fill::Pages),
        rounds,
        slice,
    );
    report(
        "4 KiB, 512 B filled, frozen",
        freeze(4 << 10, Fill::Block),
        rounds,
        slice,
    );
    report(
        "64 KiB, every page, frozen",
        freeze(64 << 10, Fill::Pages),
        rounds,
        slice,
    );
    report(
        "1 MiB, every page, frozen",
        freeze(1 << 20, Fill::Pages),
        rounds,
        slice,
    );
    report("sizes by Zipf, dropped", mixed(), rounds, slice);
}

fn timed(contender: &mut Contender, n: u64) -> f64 {
    MODE.store(contender.mode, Relaxed);
    let start = Instant::now();
    (contender.run)(n);
    let time = start.elapsed();
    MODE.store(GLIBC, Relaxed);
    time.as_secs_f64() * 1e9 / n as f64
}

/// The first contender against each of the others: the median of the ratios within a round.
fn report(title: &str, mut all: Vec<Contender>, rounds: u64, slice: Duration) {
    let lengths: Vec<u64> = all
        .iter_mut()
        .map(|contender| {
            timed(contender, 100);
            let one = (0..5)
                .map(|_| timed(contender, 100))
                .fold(f64::MAX, f64::min);
            ((slice.as_nanos() as f64 / one) as u64).max(1)
        })
        .collect();
    let mut times = vec![Vec::new(); all.len()];
    for round in 0..rounds as usize {
        for step in 0..all.len() {
            // Another one starts each round.
            let which = (step + round) % all.len();
            times[which].push(timed(&mut all[which], lengths[which]));
        }
    }
    println!("{title}");
    for (which, contender) in all.iter().enumerate() {
        let ns = quartiles(times[which].clone());
        let ratios = times[0].iter().zip(&times[which]).map(|(a, b)| a / b);
        let [low, median, high] = quartiles(ratios.collect());
        println!(
            "  {:<18} {:>10.1} ns   {median:>6.3}  ({low:.3} - {high:.3})",
            contender.name, ns[1]
        );
    }
    println!();
}

fn quartiles(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|share| figures[(share * (figures.len() - 1) as f64).round() as usize])
}
