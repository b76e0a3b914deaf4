//! What buffers cost in allocator calls, with a counting allocator; that their memory is freed,
//! with a ledger; and that a first use that never finishes does not block other threads.
#![cfg(feature = "bytes")]

#[path = "support/counting.rs"]
mod counting;

use bytes::{BufMut, Bytes};
use counting::{Counting, calls};
use repool::{Buffer, BufferPool};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting(|freed, allocated| {
    if (freed == LEDGER) != (allocated == LEDGER) {
        ENTRIES.fetch_add(if freed == LEDGER { -1 } else { 1 }, SeqCst);
    }
    let stops = STOPS.get();
    if stops != 0 {
        STOPS.set(stops - 1);
        if stops == 1 {
            stop_slow();
        }
    }
});

thread_local! {
    /// The thread stops in this many calls from now; 0: never.
    static STOPS: Cell<usize> = const { Cell::new(0) };
}

/// How far the thread that stops has come.
static STOPPED: AtomicU8 = AtomicU8::new(GOING);
const GOING: u8 = 0;
const STANDING: u8 = 1;
const RELEASED: u8 = 2;

#[cold]
fn stop_slow() {
    STOPPED.store(STANDING, SeqCst);
    while STOPPED.load(SeqCst) != RELEASED {
        thread::yield_now();
    }
}

/// A size that only the ledger's test uses, and how much of that memory is alive.
const LEDGER: usize = 7 << 10;
static ENTRIES: AtomicIsize = AtomicIsize::new(0);

const TIMES: usize = if cfg!(miri) { 30 } else { 10_000 };
const SIZES: [usize; 5] = [64, 512, 4096, 5000, 64 << 10];

fn pool() -> BufferPool {
    BufferPool::builder().trim_manually().build()
}

#[test]
fn capacity_zero_allocates_nothing() {
    let unused = BufferPool::new();
    let used = pool();
    drop(used.get(100));
    for pool in [&unused, &used] {
        let calls = calls(|| {
            drop(pool.get(0));
            assert!(pool.get(0).freeze().is_empty());
        });
        assert_eq!(calls, 0);
        let calls = calls_of_looking(pool);
        assert_eq!(calls, 0, "a look at what is not there");
    }
}

fn calls_of_looking(pool: &BufferPool) -> usize {
    calls(|| {
        let buffer = pool.get(0);
        assert_eq!((buffer.capacity(), buffer.len()), (0, 0));
    })
}

/// Stops at each of its allocator calls, like a thread that does not exist in a forked child.
#[test]
fn a_first_use_that_gets_stuck_holds_up_no_other_thread() {
    let mut places = 0;
    loop {
        STOPPED.store(GOING, SeqCst);
        let pool = Arc::new(BufferPool::new());
        let first = |stops| {
            let pool = Arc::clone(&pool);
            move || {
                STOPS.set(stops);
                let buffer = pool.get(4096);
                STOPS.set(0);
                buffer.capacity()
            }
        };
        let stuck = thread::spawn(first(places + 1));
        while STOPPED.load(SeqCst) != STANDING && !stuck.is_finished() {
            thread::yield_now();
        }
        if STOPPED.load(SeqCst) != STANDING {
            assert_eq!(stuck.join().expect("no panic"), 4096);
            break; // there are no more
        }
        let (sender, receiver) = mpsc::channel();
        let second = first(0);
        let other = thread::spawn(move || sender.send(second()));
        let capacity = receiver.recv_timeout(Duration::from_secs(60));
        STOPPED.store(RELEASED, SeqCst);
        assert_eq!(capacity, Ok(4096), "stuck in call {places}");
        assert_eq!(stuck.join().expect("no panic"), 4096);
        other.join().expect("no panic").expect("the test waits");
        // The core that came too late is gone; the pool has one.
        let stats = pool.stats();
        assert_eq!((stats.created + stats.reused, stats.in_use), (2, 0));
        let classes = pool.class_stats();
        assert_eq!((classes.len(), classes[0].requests), (1, 2));
        places += 1;
    }
    // At least the pool's inside, the memory, a class, its core, and a thread's cache.
    assert!(places >= 5, "{places}");
}

#[test]
fn get_fill_drop() {
    let pool = pool();
    let round = |times| {
        for n in 0..times {
            let mut buffer = pool.get(SIZES[n % SIZES.len()]);
            let capacity = buffer.capacity();
            buffer.put_bytes(n as u8, capacity);
        }
    };
    round(10);
    assert_eq!(calls(|| round(TIMES)), 0);
    // What was consumed is whole again.
    let consume = |times| {
        for n in 0..times {
            let mut buffer = pool.get(SIZES[n % SIZES.len()]);
            let capacity = buffer.capacity();
            buffer.put_bytes(n as u8, capacity);
            bytes::Buf::advance(&mut buffer, capacity / 2);
        }
    };
    consume(10);
    assert_eq!(calls(|| consume(TIMES)), 0);
}

/// The last few views, oldest first.
struct Flight {
    views: [(Bytes, Bytes); 8],
    at: usize,
}

impl Flight {
    fn new() -> Self {
        Self {
            views: Default::default(),
            at: 0,
        }
    }

    fn push(&mut self, view: Bytes) {
        self.views[self.at] = (view.clone(), view);
        self.at = (self.at + 1) % 8;
    }
}

#[test]
fn get_fill_freeze_clone_drop_eight_in_flight() {
    for size in SIZES {
        let pool = pool();
        let mut flight = Flight::new();
        let mut round = |times| {
            for n in 0..times {
                let mut buffer = pool.get(size);
                buffer.put_bytes(n as u8, size);
                flight.push(buffer.freeze());
            }
        };
        round(TIMES.min(100));
        assert_eq!(calls(|| round(TIMES)), 0, "{size}");
        let stats = pool.stats();
        assert!(stats.created < 30, "{size}: {stats:?}");
    }
}

/// A steady load of frozen buffers: passes and the figures take the ring away, and it is back
/// afterwards.
#[test]
fn frozen_with_passes_in_between() {
    let pool = pool();
    let mut flight = Flight::new();
    let mut round = |times| {
        for n in 0..times {
            let mut buffer = pool.get(4096);
            buffer.put_bytes(n as u8, 4096);
            flight.push(buffer.freeze());
        }
    };
    round(TIMES.min(100));
    for pass in 0..if cfg!(miri) { 4 } else { 50 } {
        pool.trim();
        assert_eq!(calls(|| round(TIMES.min(50))), 0, "after pass {pass}");
        assert!(pool.class_stats()[0].lent >= 8);
        assert_eq!(
            calls(|| round(TIMES.min(50))),
            0,
            "after the figures, {pass}"
        );
    }
}

#[test]
fn parts_split_off() {
    let pool = pool();
    let round = |times| {
        for n in 0..times {
            let mut buffer = pool.get(4096);
            buffer.put_bytes(n as u8, 4000);
            let head = buffer.split_to(1000).freeze();
            let rest = buffer.split().freeze();
            drop(buffer);
            drop((head, rest));
        }
    };
    round(TIMES.min(100));
    assert_eq!(calls(|| round(TIMES)), 0);
}

/// Eight views between two threads, without an allocation.
struct Belt {
    views: Mutex<[Option<Bytes>; 8]>,
    moved: Condvar,
    over: AtomicBool,
}

impl Belt {
    fn put(&self, view: Bytes) {
        let mut views = self.views.lock().expect("no panic");
        loop {
            if let Some(free) = views.iter_mut().find(|slot| slot.is_none()) {
                *free = Some(view);
                self.moved.notify_all();
                return;
            }
            views = self.moved.wait(views).expect("no panic");
        }
    }

    fn take(&self) -> Option<Bytes> {
        let mut views = self.views.lock().expect("no panic");
        loop {
            if let Some(view) = views.iter_mut().find_map(Option::take) {
                self.moved.notify_all();
                return Some(view);
            }
            if self.over.load(SeqCst) {
                return None;
            }
            views = self.moved.wait(views).expect("no panic");
        }
    }
}

#[test]
fn consumers_on_another_thread() {
    let pool = pool();
    let belt = Belt {
        views: Mutex::default(),
        moved: Condvar::new(),
        over: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            let mut last = belt.take();
            calls(|| {
                while let Some(view) = belt.take() {
                    // Clones, slices and drops happen here.
                    last = Some(view.clone().slice(1..));
                    drop(view);
                }
                drop(last);
            })
        });
        let round = |times| {
            for n in 0..times {
                let mut buffer = pool.get(4096);
                buffer.put_bytes(n as u8, 4096);
                belt.put(buffer.freeze());
            }
        };
        // As many as can ever be in flight: eight here, one held by each thread, one that is being
        // looked at.
        let warm: Vec<_> = (0..24)
            .map(|_| {
                let mut buffer = pool.get(4096);
                buffer.put_u8(1);
                buffer.freeze()
            })
            .collect();
        drop(warm);
        round(TIMES.min(1000));
        let calls = calls(|| round(TIMES));
        belt.over.store(true, SeqCst);
        belt.moved.notify_all();
        assert_eq!(consumer.join().expect("no panic"), 0, "the consumer");
        assert_eq!(calls, 0, "the producer");
    });
}

/// Freezes and drops on four threads, with passes, `clear` and figures at the same time, and the
/// pool dropped in between: every buffer's memory is freed once, when its last view and the pool
/// are gone.
#[test]
fn the_ledger_is_empty_in_the_end() {
    for _ in 0..if cfg!(debug_assertions) { 2 } else { 30 } {
        let pool = BufferPool::builder()
            .trim_every(Duration::from_millis(1))
            .build();
        let over = AtomicBool::new(false);
        let left: Vec<(Buffer, Vec<Bytes>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut views = Vec::new();
                        for n in 0..if cfg!(miri) { 20 } else { 1000 } {
                            let mut buffer = pool.get(LEDGER);
                            buffer.put_bytes(n as u8, LEDGER / 2 + n % 100);
                            let view = buffer.freeze();
                            if n % 3 == 0 {
                                views.push(view);
                                views.truncate(n % 16);
                            }
                        }
                        (pool.get(LEDGER), views)
                    })
                })
                .collect();
            scope.spawn(|| {
                while !over.load(SeqCst) {
                    drop((pool.trim(), pool.class_stats(), pool.clear()));
                    std::thread::yield_now();
                }
            });
            let left = workers.into_iter().map(|worker| worker.join());
            let left = left.map(|left| left.expect("no panic")).collect();
            over.store(true, SeqCst);
            left
        });
        assert!(ENTRIES.load(SeqCst) > 0);
        // The pool is dropped while these are frozen.
        std::thread::scope(|scope| {
            for (mut buffer, views) in left {
                scope.spawn(move || {
                    buffer.put_u8(1);
                    drop((buffer.freeze(), views));
                });
            }
            drop(pool);
        });
        // A janitor pass that is under way drops what it has taken.
        let start = Instant::now();
        while ENTRIES.load(SeqCst) != 0 && start.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        assert_eq!(ENTRIES.load(SeqCst), 0);
    }
}
