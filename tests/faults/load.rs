//! Loads in which threads and pools only come and go.

use super::ledger::Live;
use super::scale::n;
use super::{alone, balanced, eventually};
use repool::{ArenaPool, BufferPool, Pool};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::spawn;
use std::time::Duration;

/// Each thread has caches in all pools, and hands them over when it ends. 100,000 threads at scale
/// 50.
#[test]
fn short_lived_threads_leave_nothing_behind() {
    let _turn = alone();
    let objects: Pool<Vec<u8>> = Pool::builder(|| Vec::with_capacity(200))
        .trim_manually()
        .build();
    let (buffers, arenas) = (BufferPool::builder(), ArenaPool::builder());
    let pools = Arc::new((
        objects,
        buffers.trim_manually().build(),
        arenas.trim_manually().build(),
    ));
    let mut settled = None;
    let threads = n(2_000, 24);
    for wave in 0..threads / 8 {
        let wave_of: Vec<_> = (0..8)
            .map(|_| {
                let pools = pools.clone();
                spawn(move || {
                    let held: Vec<_> = (0..3).map(|_| pools.0.get()).collect();
                    let mut buffer = pools.1.get(500);
                    buffer.extend_from_slice(b"hello");
                    let view = buffer.freeze();
                    pools.2.get().alloc_str("hello");
                    drop((held, view));
                })
            })
            .collect();
        for thread in wave_of {
            thread.join().expect("no panic");
        }
        if wave == 20 {
            settled = Some(Live::now());
        }
    }
    let (stats, live) = (pools.0.stats(), Live::now());
    balanced(&stats);
    assert_eq!(stats.in_use, 0, "{stats:?}");
    // Eight threads have 24 objects in use at the same time. (A thread that cannot lock the depot
    // in time creates its own.)
    let waves = if cfg!(miri) { 1 } else { 10 };
    assert!(stats.created * waves < stats.reused, "{stats:?}");
    if let Some(settled) = settled {
        println!(
            "{threads} threads: {} bytes more than after 160",
            live.bytes - settled.bytes
        );
        assert!(
            live.bytes - settled.bytes < 64 << 10,
            "{settled:?} {live:?}"
        );
    }
}

/// Each thread leaves a lent buffer that has to be checked when its parts are gone. The next thread
/// checks those that it needs, and leaves the others to other threads.
#[test]
fn buffers_that_short_lived_threads_split_serve_the_next_threads() {
    let _turn = alone();
    let pool = BufferPool::builder().trim_manually().build();
    let mut settled = 0;
    let all_have_one = std::sync::Barrier::new(8);
    let (warm, waves) = if cfg!(miri) { (2, 10) } else { (20, n(400, 0)) };
    for wave in 0..waves {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut buffer = pool.get(500);
                    all_have_one.wait();
                    buffer.extend_from_slice(b"hello");
                    let head = buffer.split_to(2);
                    drop((buffer.freeze(), head));
                });
            }
        });
        if wave == warm {
            settled = pool.stats().created;
        }
    }
    let stats = pool.stats();
    println!(
        "{settled} created after {warm} waves, {} after {waves}",
        stats.created
    );
    assert!(stats.created <= settled + 40, "{settled} {stats:?}");
}

/// Short-lived threads freeze, and one thread drops the views of all. A thread that looks for a buffer
/// does not hide others from the threads that start after it.
#[test]
fn buffers_that_short_lived_threads_freeze_serve_the_next_threads() {
    let _turn = alone();
    let pool = BufferPool::builder().trim_manually().build();
    for _ in 0..n(1_000, 10) {
        let frozen = std::thread::scope(|scope| {
            let freeze = || {
                let mut buffer = pool.get(1_000);
                buffer.extend_from_slice(&[1; 800]);
                buffer.freeze().slice(5..9)
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(freeze)).collect();
            let views = threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            views.collect::<Vec<_>>()
        });
        drop(frozen);
    }
    let stats = pool.stats();
    assert!(stats.created <= 24, "{stats:?}");
}

/// Pools are created and dropped while other threads are inside them. A thousand at scale 5.
#[test]
fn pools_made_and_dropped_under_load_leave_nothing_behind() {
    let _turn = alone();
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    struct Object(Box<u64>);
    impl Object {
        fn new() -> Self {
            ALIVE.fetch_add(1, SeqCst);
            Self(Box::new(7))
        }
    }
    impl Drop for Object {
        fn drop(&mut self) {
            assert_eq!(*self.0, 7);
            ALIVE.fetch_sub(1, SeqCst);
        }
    }
    let make = |i: usize| {
        let builder = Pool::builder(Object::new).reset(|_| true);
        Arc::new(if i % 2 == 0 {
            builder.trim_manually().build()
        } else {
            builder.trim_every(Duration::from_millis(1)).build()
        })
    };
    let pool = Arc::new(std::sync::Mutex::new(make(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (pool, stop) = (pool.clone(), stop.clone());
            spawn(move || {
                let mut late = Vec::new();
                while !stop.load(SeqCst) {
                    let mine = pool.lock().expect("no panic").clone();
                    let held: Vec<_> = (0..20).map(|_| mine.get()).collect();
                    late.push(mine.get());
                    late.truncate(3);
                    drop(mine);
                    drop(held);
                }
            })
        })
        .collect();
    for i in 1..n(200, 6) {
        let next = make(i);
        drop((0..5).map(|_| next.get()).collect::<Vec<_>>());
        let before = std::mem::replace(&mut *pool.lock().expect("no panic"), next);
        drop(before);
    }
    stop.store(true, SeqCst);
    for thread in threads {
        thread.join().expect("no panic");
    }
    drop(pool);
    // The janitor empties a cache whose owner was inside it when the pool was dropped.
    eventually("all objects are dropped", || ALIVE.load(SeqCst) == 0);
}
