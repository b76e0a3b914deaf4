//! Programs for Miri: small programs of several threads that use the public API, with nothing but
//! the pools between them. They also run natively, with more rounds.
//!
//! Miri detects undefined behaviour, data races (of the memory model, not of this processor), and
//! leaks. Under Miri the light half of the fence is a real fence (`src/sys/fence.rs`), so the
//! programs run the hit path as it ships; `REPOOL_JANITOR=off` runs the slow path, and `=on` the
//! janitor's thread. `ci/miri.sh` runs this with many seeds: each is another schedule, with other
//! stale values for relaxed loads.
//!
//! The threads share no lock, channel or join while they work: these would order what the pool has
//! to order itself, and hide that it does not.

use repool::{Pool, Pooled};
use std::cell::RefCell;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::AcqRel, Ordering::Relaxed};
use std::thread;

/// Enough repetitions to show something, and few enough to end soon.
const fn n(full: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { full }
}

/// An object whose every use is a write: two users at the same time are a race.
#[derive(Debug, Default)]
struct Tracked(Vec<usize>);

impl Tracked {
    fn work(&mut self, by: usize) {
        self.0.push(by);
        assert!(self.0.iter().all(|&other| other == by));
    }
}

impl repool::Recycle for Tracked {
    fn recycle(&mut self) {
        self.0.clear();
    }

    fn retained_bytes(&self) -> usize {
        self.0.capacity() * size_of::<usize>()
    }
}

/// The owner has only hits, and shares nothing but the gate with the visitor. Without the light
/// fence Miri finds this at once: two threads at the lists.
#[test]
fn one_owner_on_hits_and_one_visitor() {
    let pool = Pool::<Tracked>::builder(Tracked::default)
        .trim_manually()
        .build();
    let ready = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            drop([pool.get(), pool.get()]);
            ready.store(1, Relaxed);
            for round in 0..n(20_000, 60) {
                pool.get().work(round);
            }
        });
        while ready.load(Relaxed) == 0 {
            thread::yield_now();
        }
        for _ in 0..n(200, 6) {
            let _ = pool.stats();
            let _ = pool.trim();
            let _ = pool.clear();
        }
    });
    assert_eq!(pool.stats().in_use, 0);
}

/// Nothing of it is a leak when `main` returns, and its threads need not have ended by then.
#[test]
fn a_static_pool_is_shared_by_threads_that_come_and_go() {
    static POOL: Pool<Vec<u8>> = Pool::new(Vec::new);
    for _ in 0..n(20, 2) {
        thread::scope(|scope| {
            for by in 0..3 {
                scope.spawn(move || {
                    for round in 0..n(500, 8) {
                        let (mut one, mut other) = (POOL.get(), POOL.get());
                        one.extend_from_slice(&[by; 40]);
                        other.push(by);
                        if round % 2 == 0 {
                            drop(one);
                        } else {
                            drop(other);
                        }
                    }
                });
            }
            let _ = (POOL.trim(), POOL.stats());
        });
    }
    drop(POOL.get());
}

/// The first uses of a pool: two threads create its core, and each creates a bucket of caches.
#[test]
fn threads_that_meet_at_a_new_pool() {
    for _ in 0..n(300, 4) {
        let pool = Pool::<Tracked>::new(Tracked::default);
        thread::scope(|scope| {
            for by in 0..3 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut one = pool.get();
                    one.work(by);
                    drop(one);
                    pool.get().work(by);
                });
            }
        });
        assert_eq!(pool.stats().in_use, 0);
    }
}

/// One thread gets, another drops; the pointer between them carries no order but its own.
#[test]
fn objects_that_cross_threads() {
    for limit in [None, Some(4_u8)] {
        let mut builder = Pool::<Tracked>::builder(Tracked::default).trim_manually();
        if let Some(limit) = limit {
            builder = builder.max_idle(limit.into());
        }
        let pool = builder.build();
        let slot = AtomicPtr::<Pooled<Tracked>>::new(std::ptr::null_mut());
        let take = || slot.swap(std::ptr::null_mut(), AcqRel);
        // SAFETY: each pointer in the slot is from a box, and taken out by one thread.
        let unbox = |at: *mut Pooled<Tracked>| unsafe { Box::from_raw(at) };
        thread::scope(|scope| {
            for by in 0..2 {
                let (pool, slot, unbox) = (&pool, &slot, &unbox);
                scope.spawn(move || {
                    for _ in 0..n(2_000, 20) {
                        let mut object = Box::new(pool.get());
                        object.work(by);
                        object.0.clear();
                        let before = slot.swap(Box::into_raw(object), AcqRel);
                        if !before.is_null() {
                            unbox(before).work(7);
                        }
                    }
                });
            }
        });
        let last = take();
        if !last.is_null() {
            drop(unbox(last));
        }
        let stats = pool.stats();
        assert_eq!(stats.in_use, 0);
        assert!(
            limit.is_none_or(|limit| stats.idle <= limit.into()),
            "{stats:?}"
        );
    }
}

/// The pool is dropped while another thread still has guards, and while one has just returned its
/// last.
#[test]
fn the_pool_goes_before_its_guards() {
    for rounds in 0..n(300, 4) {
        let pool = Pool::<Tracked>::new(Tracked::default);
        let kept: Vec<_> = (0..3).map(|_| pool.get()).collect();
        let counter = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for mut object in kept {
                    object.work(1);
                    counter.fetch_add(1, Relaxed);
                }
            });
            while counter.load(Relaxed) < rounds % 4 {
                thread::yield_now();
            }
            drop(pool);
        });
    }
}

/// Returns by the destructor of another thread-local, before or after the thread has left its
/// pools.
#[test]
fn guards_in_thread_locals() {
    static POOL: Pool<Tracked> = Pool::new(Tracked::default);
    thread_local! {
        static EARLY: RefCell<Vec<Pooled<Tracked>>> = const { RefCell::new(Vec::new()) };
        static LATE: RefCell<Vec<Pooled<Tracked>>> = const { RefCell::new(Vec::new()) };
    }
    for _ in 0..n(50, 2) {
        let threads: Vec<_> = (0..2)
            .map(|by| {
                thread::spawn(move || {
                    EARLY.with(|_| ());
                    let mut object = POOL.get();
                    object.work(by);
                    EARLY.with(|early| early.borrow_mut().push(object));
                    LATE.with(|late| late.borrow_mut().extend([POOL.get(), POOL.get()]));
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
    }
    assert_eq!(POOL.stats().in_use, 0);
}

/// Values that leave their pool for good, values that are brought in, and values that a panic
/// drops.
#[test]
fn values_leave_and_come() {
    let pool = Pool::<Vec<u8>>::builder(Vec::new).trim_manually().build();
    let mut one = pool.get();
    one.push(1);
    let value = Pooled::into_inner(one);
    assert_eq!(value, [1]);
    drop(pool.attach(value));
    pool.put(vec![2; 100]);
    Pooled::discard(pool.get());
    assert_eq!(pool.prefill(3), 3);
    let panics = std::panic::AssertUnwindSafe(|| {
        let _held = pool.get();
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    pool.set_enabled(false);
    drop([pool.get(), pool.get()]);
    pool.set_enabled(true);
    let held = pool.get();
    let _ = pool.clear();
    let many: Vec<_> = (0..n(1_000, 150)).map(|_| pool.get()).collect();
    drop((many, held));
    let stats = pool.stats();
    assert_eq!(stats.in_use, 0, "{stats:?}");
}

/// Two pools on one budget, with a limit that both reach.
#[test]
fn pools_that_share_a_budget() {
    let budget = repool::Budget::new(4_000);
    let pools: [Pool<Vec<u8>>; 2] = [600, 900].map(|capacity| {
        Pool::builder(move || Vec::with_capacity(capacity))
            .budget(budget.clone())
            .trim_manually()
            .build()
    });
    thread::scope(|scope| {
        for by in 0..2 {
            let pools = &pools;
            scope.spawn(move || {
                for round in 0..n(500, 6) {
                    let mut held: Vec<_> = (0..4).map(|_| pools[round % 2].get()).collect();
                    held[0].push(by);
                    drop(held);
                }
            });
        }
        for pool in &pools {
            let _ = pool.trim();
        }
    });
    assert!(budget.used() <= budget.limit());
}

#[cfg(feature = "bytes")]
mod buffers {
    use super::n;
    use repool::BufferPool;
    use repool::bytes::Bytes;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::thread;

    /// The owner freezes and gets in place; a visitor takes rings out, and other threads drop
    /// views.
    #[test]
    fn views_go_on_other_threads_while_their_owner_looks() {
        let pool = BufferPool::builder().trim_manually().build();
        let dropped = AtomicUsize::new(0);
        thread::scope(|scope| {
            let mut views = Vec::new();
            for by in 0..n(100, 6) {
                let mut buffer = pool.get(64);
                buffer.extend_from_slice(&[by as u8; 64]);
                views.push(buffer.freeze());
                if views.len() == 3 {
                    let (views, dropped) = (std::mem::take(&mut views), &dropped);
                    scope.spawn(move || {
                        for view in views {
                            let half = view.slice(..32);
                            assert_eq!(half[0], view[63]);
                            drop(view);
                            dropped.fetch_add(1, Relaxed);
                        }
                    });
                    let _ = (pool.stats(), pool.trim());
                }
            }
            let _ = pool.clear();
        });
        assert!(dropped.load(Relaxed) > 0);
        let _ = (pool.trim(), pool.trim());
    }

    /// A view outlives the pool, whatever was done to its buffer before.
    #[test]
    fn views_outlive_their_pool() {
        let pool = BufferPool::new();
        let mut buffer = pool.get(100);
        buffer.extend_from_slice(b"to be split and frozen");
        let front = buffer.split_to(5);
        let view = buffer.freeze();
        let mut grown = pool.get(10);
        grown.extend_from_slice(&[7; 5_000]);
        let grown = grown.freeze();
        let owned: Vec<u8> = Vec::from(pool.copy_from(b"owned").into_inner());
        let mut taken = repool::bytes::BytesMut::with_capacity(64);
        taken.extend_from_slice(b"taken over");
        pool.put(taken);
        let held = pool.get(20);
        let (one, other) = (view.clone(), grown.slice(1..));
        drop(pool);
        let reader = thread::spawn(move || one.len() + other.len());
        drop(held);
        assert_eq!(
            (&front[..], &view[..]),
            (&b"to be"[..], &b" split and frozen"[..])
        );
        assert_eq!(&owned[..], b"owned");
        assert_eq!(reader.join().expect("no panic"), 17 + 4_999);
        drop(Bytes::from(owned));
    }

    #[test]
    fn a_static_buffer_pool_is_no_leak() {
        static POOL: BufferPool = BufferPool::new();
        thread::scope(|scope| {
            for by in 0..2_u8 {
                scope.spawn(move || {
                    for round in 0..n(200, 5) {
                        let mut buffer = POOL.get(32 << (round % 3));
                        buffer.extend_from_slice(&[by; 20]);
                        let view = buffer.freeze();
                        assert!(view.iter().all(|&byte| byte == by));
                    }
                });
            }
        });
        // A view in a static is not a leak either.
        static KEPT: Mutex<Vec<Bytes>> = Mutex::new(Vec::new());
        let mut buffer = POOL.get(64);
        buffer.extend_from_slice(b"kept until the end");
        KEPT.lock().expect("no panic").push(buffer.freeze());
    }
}

#[cfg(feature = "bumpalo")]
mod arenas {
    use super::n;
    use repool::ArenaPool;
    use std::thread;

    #[test]
    fn arenas_of_several_threads() {
        static POOL: ArenaPool = ArenaPool::new();
        let local = ArenaPool::new();
        thread::scope(|scope| {
            for by in 0..2_u8 {
                let local = &local;
                scope.spawn(move || {
                    for round in 0..n(200, 5) {
                        for pool in [&POOL, local] {
                            let arena = pool.get();
                            let bytes = arena.alloc_slice_fill_copy(100 << (2 * round % 7), by);
                            let text = arena.alloc_str("beside it");
                            bytes[0] = by;
                            assert!(bytes.iter().all(|&byte| byte == by));
                            assert_eq!(text, "beside it");
                        }
                    }
                });
            }
            let _ = (local.trim(), local.stats(), local.clear());
        });
        let held = local.get();
        let text = held.alloc_str("the pool is gone");
        drop(local);
        assert_eq!(text, "the pool is gone");
    }
}
