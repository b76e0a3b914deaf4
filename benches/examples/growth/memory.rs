//! Bytes that pools and threads allocate: counted by the global allocator, fitted to a formula.

use repool::Pool;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

pub(crate) struct Adding;

/// Off while times are taken, because adding up would slow down plain allocation.
static ON: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);

fn add(bytes: isize) {
    if ON.load(Relaxed) {
        LIVE.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: every call is forwarded to `System` unchanged; adding up does not allocate.
unsafe impl GlobalAlloc for Adding {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(block, layout) }
    }
}

const THREADS: [usize; 4] = [1, 4, 16, 64];
const POOLS: [usize; 4] = [1, 16, 256, 1024];

/// Returns what is left allocated after each thread has used each pool once, in bytes, without the
/// objects; threads and pools still exist.
fn bytes(threads: usize, pools: usize) -> isize {
    let (used, left) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let before = LIVE.load(Relaxed);
    let pools: Vec<Pool<u64>> = (0..pools)
        .map(|_| Pool::builder(|| 0).trim_manually().build())
        .collect();
    let mut live = 0;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    for pool in &pools {
                        drop(pool.get());
                    }
                    used.wait();
                    left.wait();
                })
            })
            .collect();
        used.wait();
        for pool in &pools {
            pool.clear();
        }
        live = LIVE.load(Relaxed);
        left.wait();
        // The scope alone would not wait for their thread-locals, which keep memory of the pools.
        for worker in workers {
            worker.join().expect("it only gets and drops");
        }
    });
    live - before
}

/// Returns the bytes of a thread that uses no pool.
fn bytes_of_thread() -> isize {
    bytes(64, 0) / 64
}

pub(crate) fn print() {
    ON.store(true, Relaxed);
    println!("Bytes that all pools and threads together have allocated, objects not counted\n");
    print!("{:>10}", "threads");
    for pools in POOLS {
        print!("{:>14}", format!("{pools} pools"));
    }
    println!();
    let thread = bytes_of_thread();
    // The first pool of a process also pays for what all share.
    bytes(1, 1);
    let mut all = Vec::new();
    for threads in THREADS {
        print!("{threads:>10}");
        for pools in POOLS {
            let found = bytes(threads, pools) - thread * threads as isize;
            all.push((threads as f64, pools as f64, found as f64));
            print!("{found:>14}");
        }
        println!();
    }
    ON.store(false, Relaxed);
    let [pool, cache, thread] = fit(&all);
    let error = |&(threads, pools, found): &(f64, f64, f64)| {
        (pool * pools + cache * threads * pools + thread * threads - found).abs() / found
    };
    println!(
        "\nfitted: {pool:.0} for each pool, {cache:.0} for each thread in each pool, {thread:.0} for each \
         thread once (least squares; largest error {:.0} %)\n",
        100.0 * all.iter().map(error).fold(0.0, f64::max)
    );
}

/// Returns the factors of `pools`, `threads * pools` and `threads` with the least squares of
/// relative errors.
fn fit(all: &[(f64, f64, f64)]) -> [f64; 3] {
    let mut rows = [[0.0; 4]; 3];
    for (threads, pools, found) in all {
        let terms = [pools / found, threads * pools / found, threads / found, 1.0];
        for (row, one) in rows.iter_mut().zip(terms) {
            for (cell, other) in row.iter_mut().zip(terms) {
                *cell += one * other;
            }
        }
    }
    // Gauss-Jordan; the sums of squares on the diagonal are not zero.
    for at in 0..3 {
        let by = rows[at][at];
        rows[at].iter_mut().for_each(|cell| *cell /= by);
        let from = rows[at];
        for other in (0..3).filter(|other| *other != at) {
            let by = rows[other][at];
            for (cell, from) in rows[other].iter_mut().zip(from) {
                *cell -= by * from;
            }
        }
    }
    rows.map(|row| row[3])
}
