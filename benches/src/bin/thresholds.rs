//! The counts behind the thresholds of `Stats::advice`: instructions of hits, misses and plain
//! allocation.
//!
//! Usage: `thresholds CASE BYTES HELD`, for `benches/thresholds.sh` to count under callgrind. CASE
//! is `glibc`, `mimalloc` or `jemalloc` (plain blocks of that allocator), `hit`, `refused` (each
//! get creates, each drop discards) or `trimmed` (each object is created, returned, and dropped by
//! a pass). HELD objects are out at the same time.

use repool::{Pool, Pooled};
use repool_bench::BLOCK;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::process::ExitCode;

/// Objects in the counted part.
const OBJECTS: usize = 64_000;
/// Objects before that.
const WARM_UP: usize = 6_400;

/// callgrind collects while this function runs, and nowhere else.
#[unsafe(no_mangle)]
#[inline(never)]
fn thresholds_window(run: &mut dyn FnMut()) {
    run();
}

/// Blocks of an allocator, with the same bytes written as in the objects of pools.
fn blocks(allocator: &impl GlobalAlloc, bytes: usize, all: &mut Vec<*mut u8>) {
    let layout = Layout::array::<u8>(bytes).expect("a size that can be");
    for _ in 0..all.capacity() {
        // SAFETY: not of size 0.
        let block = unsafe { allocator.alloc(layout) };
        assert!(!block.is_null());
        // SAFETY: a block is at least that large.
        unsafe { block.copy_from_nonoverlapping(black_box(&BLOCK).as_ptr(), BLOCK.len()) };
        all.push(black_box(block));
    }
    for block in all.drain(..) {
        // SAFETY: allocated above, with this layout.
        unsafe { allocator.dealloc(block, layout) };
    }
}

fn objects(pool: &Pool<Vec<u8>>, all: &mut Vec<Pooled<Vec<u8>>>) {
    for _ in 0..all.capacity() {
        let mut object = pool.get();
        object.extend_from_slice(black_box(&BLOCK));
        all.push(object);
    }
    all.clear();
}

fn count<T>(held: usize, mut round: impl FnMut(&mut Vec<T>)) {
    let mut all = Vec::with_capacity(held);
    (0..WARM_UP / held).for_each(|_| round(&mut all));
    thresholds_window(&mut || (0..OBJECTS / held).for_each(|_| round(&mut all)));
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [case, bytes, held] = arguments.as_slice() else {
        eprintln!("usage: thresholds CASE BYTES HELD");
        return ExitCode::from(2);
    };
    let (Ok(bytes), Ok(held)) = (bytes.parse::<usize>(), held.parse::<usize>()) else {
        eprintln!("error: BYTES and HELD are numbers");
        return ExitCode::from(2);
    };
    assert!(bytes >= BLOCK.len() && held > 0);
    let pool = |most| {
        Pool::builder(move || Vec::with_capacity(bytes))
            .max_idle(most)
            .trim_manually()
            .build()
    };
    match case.as_str() {
        "glibc" => count(held, |all| blocks(&System, bytes, all)),
        #[cfg(feature = "allocators")]
        "mimalloc" => count(held, |all| blocks(&mimalloc::MiMalloc, bytes, all)),
        #[cfg(feature = "allocators")]
        "jemalloc" => count(held, |all| blocks(&tikv_jemallocator::Jemalloc, bytes, all)),
        "hit" => {
            let pool = pool(usize::MAX);
            count(held, |all| objects(&pool, all));
            assert_eq!(pool.stats().created as usize, held);
        }
        "refused" => {
            let pool = pool(0);
            count(held, |all| objects(&pool, all));
            assert_eq!(pool.stats().reused, 0);
        }
        "trimmed" => {
            let pool = pool(usize::MAX);
            count(held, |all| {
                objects(&pool, all);
                while pool.trim().objects == 0 {}
            });
            assert_eq!(pool.stats().reused, 0);
        }
        _ => {
            eprintln!("error: no case {case}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
