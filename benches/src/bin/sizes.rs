//! Sizes in bytes: of what a user holds, and of what the pool allocates for it.
//!
//! What is private to the library is measured from outside, by an allocator that adds up what is
//! requested. `ci/gates.sh` compares each line with its baseline.

use repool::{Arena, ArenaPool, Buffer, BufferPool, Pool, Pooled};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Barrier;
use std::thread;

/// Threads that are alive at the same time for the size of a cache.
const THREADS: usize = 32;

struct Adding;

#[global_allocator]
static ALLOCATOR: Adding = Adding;

thread_local! {
    /// Bytes that this thread has allocated and not freed.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn add(bytes: isize) {
    // Gone at the end of a thread, where nothing is measured.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: every call is forwarded to `System` unchanged; adding up does not allocate.
unsafe impl GlobalAlloc for Adding {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size() as isize);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Returns what `run` leaves allocated, in bytes; its result stays alive.
fn cost<R>(run: impl FnOnce() -> R) -> (isize, R) {
    let before = LIVE.get();
    let result = run();
    (LIVE.get() - before, result)
}

fn pool() -> Pool<u64> {
    Pool::builder(|| 0).trim_manually().build()
}

fn main() {
    println!("guard {}", size_of::<Pooled<Vec<u8>>>());
    println!("buffer {}", size_of::<Buffer>());
    println!("arena {}", size_of::<Arena>());
    println!("pool.handle {}", size_of::<Pool<Vec<u8>>>());
    println!("bufferpool.handle {}", size_of::<BufferPool>());
    println!("arenapool.handle {}", size_of::<ArenaPool>());

    // The first pool of a process also pays for what all pools share.
    let first = pool();
    drop(first.get());
    let (unused, second) = cost(pool);
    println!("pool.unused {unused}");
    let (used, _) = cost(|| drop(second.get()));
    let (node, _guard) = cost(|| {
        let held = second.get();
        (held, second.get())
    });
    println!("node.u64 {node}");
    println!("pool.first_use {}", used - node);

    // A cache in each of 64 pools, on a separate thread: what the thread adds per pool.
    let pools: Vec<_> = (0..64).map(|_| pool()).collect();
    for pool in &pools {
        drop(pool.get());
    }
    let barrier = Barrier::new(THREADS);
    let total: isize = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let (bytes, ()) = cost(|| pools.iter().for_each(|pool| drop(pool.get())));
                    // All threads are alive at the same time: each has its own caches.
                    barrier.wait();
                    bytes
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a thread that only gets and drops"))
            .sum()
    });
    let caches = total / (THREADS * pools.len()) as isize - node;
    println!("cache {caches}");
}
