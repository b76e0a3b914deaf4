//! Lent buffers and threads: in whose ring a handle is, and that it is found there.

use crate::{assert_balanced, builder, class, lent, manual};
use bytes::Bytes;
use repool::{Buffer, BufferPool};
use std::cell::RefCell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

const SIZE: usize = 4096;

fn frozen(pool: &BufferPool, byte: u8) -> Bytes {
    let mut buffer = pool.get(SIZE);
    buffer.resize(SIZE, byte);
    buffer.freeze()
}

/// Runs `work` on a thread that then stays parked until `while_parked` returns.
fn parked<R: Send>(work: impl FnOnce() -> R + Send, while_parked: impl FnOnce(R)) {
    let (to, from) = std::sync::mpsc::channel();
    let over = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            to.send(work()).expect("the other lives");
            over.wait();
        });
        while_parked(from.recv().expect("no panic"));
        over.wait();
    });
}

#[test]
fn the_figures_of_direct_reuse_are_exact() {
    let pool = manual();
    for n in 0..100 {
        drop(frozen(&pool, n));
    }
    let stats = pool.stats();
    assert_eq!((stats.created, stats.reused, stats.returned), (1, 99, 99));
    let figures = class(&pool, SIZE);
    assert_eq!((figures.requests, figures.reused), (100, 99));
    assert_eq!((figures.lent, figures.in_use, figures.idle), (1, 1, 0));
    pool.clear();
    assert_eq!(pool.stats().reused, 99);
    assert_balanced(&pool);
}

#[test]
fn a_parked_threads_ring_is_found_by_a_pass() {
    let pool = manual();
    parked(
        || (0..40).map(|n| frozen(&pool, n)).collect::<Vec<_>>(),
        |views| {
            pool.trim();
            assert_eq!((lent(&pool), pool.stats().idle), (40, 0));
            drop(views);
            pool.trim();
            assert_eq!((lent(&pool), pool.stats().idle), (0, 40));
            let again: Vec<_> = (0..40).map(|_| pool.get(SIZE)).collect();
            assert_eq!(pool.stats().created, 40);
            drop(again);
        },
    );
    assert_balanced(&pool);
}

#[test]
fn a_parked_threads_ring_is_cleared_and_counted() {
    let pool = manual();
    parked(
        || [frozen(&pool, 1), frozen(&pool, 2)],
        |[one, two]| {
            drop(one);
            let figures = class(&pool, SIZE);
            assert_eq!((figures.lent, figures.lent_bytes), (2, 2 * SIZE as u64));
            // One has no views left and becomes idle first; the other is let go.
            assert_eq!(pool.clear().objects, 1);
            assert_eq!((lent(&pool), pool.stats().in_use), (0, 0));
            assert_eq!(two, [2; SIZE][..]);
        },
    );
    assert_balanced(&pool);
}

#[test]
fn an_ended_threads_ring_serves_others() {
    let pool = manual();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| (0..8).for_each(|n| drop(frozen(&pool, n))));
        // A scope alone does not wait for a thread's destructors.
        thread.join().expect("no panic");
    });
    drop(frozen(&pool, 1));
    assert_eq!(pool.stats().created, 1);
    assert_balanced(&pool);
}

#[test]
fn frozen_on_one_thread_asked_for_on_another() {
    let pool = manual();
    let (to, from) = std::sync::mpsc::sync_channel::<Buffer>(4);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for buffer in from {
                drop(buffer.freeze());
            }
        });
        for n in 0..if cfg!(miri) { 50 } else { 20_000 } {
            let mut buffer = pool.get(SIZE);
            buffer.extend_from_slice(&[n as u8; 2000]);
            to.send(buffer).expect("the other lives");
        }
        drop(to);
    });
    // One thread never gets, the other never freezes.
    assert!(pool.stats().created < 300, "{:?}", pool.stats());
    assert_balanced(&pool);
}

#[test]
fn a_ring_survives_a_panic() {
    struct Uses<'a>(&'a BufferPool);
    impl Drop for Uses<'_> {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            // A buffer got during a panic is dropped after it; lent buffers continue to wait.
            drop(self.0.get(SIZE));
            drop(frozen(self.0, 9));
            self.0.trim();
        }
    }
    let pool = manual();
    let views = [frozen(&pool, 1), frozen(&pool, 2)];
    let panicked = std::panic::catch_unwind(|| {
        let _uses = Uses(&pool);
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panicked.is_err());
    assert_eq!(lent(&pool), 2);
    drop(views);
    pool.trim();
    assert_eq!((lent(&pool), pool.stats().idle), (0, 2));
    assert_balanced(&pool);
}

#[test]
fn frozen_in_a_thread_local_destructor() {
    static LATE: BufferPool = BufferPool::new();
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            for n in 0..10 {
                assert_eq!(frozen(&LATE, n), [n; SIZE][..]);
                SEEN.fetch_add(1, SeqCst);
            }
        }
    }
    thread_local!(static SLOT: RefCell<Option<Late>> = const { RefCell::new(None) });
    for before in [true, false] {
        std::thread::spawn(move || {
            // Destructors run in the order of first use, or in reverse.
            if before {
                drop(frozen(&LATE, 1));
            }
            SLOT.with(|slot| *slot.borrow_mut() = Some(Late));
            drop(frozen(&LATE, 1));
        })
        .join()
        .expect("no panic");
    }
    assert_eq!(SEEN.load(SeqCst), 20);
    assert!(LATE.stats().created <= 4, "{:?}", LATE.stats());
    assert_balanced(&LATE);
}

#[test]
fn rings_go_when_nothing_is_lent() {
    let pool = builder().name("quiet").build();
    drop(frozen(&pool, 1));
    for _ in 0..6 {
        pool.trim();
    }
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.idle, stats.trimmed), (0, 0, 1));
    // And they come back.
    drop(frozen(&pool, 1));
    assert_eq!(lent(&pool), 1);
}

/// Freezes, drops on several threads, passes, `clear`, figures, switching off and dropping the
/// pool, all at the same time. Leaks are found by the sanitizer and by the ledger in
/// `buffers_alloc.rs`.
#[test]
fn everything_at_once() {
    for round in 0..if cfg!(miri) { 1 } else { 40 } {
        let pool = BufferPool::builder()
            .trim_every(Duration::from_millis(1))
            .build();
        let over = AtomicBool::new(false);
        let (late, kept) = std::thread::scope(|scope| {
            let (to, from) = std::sync::mpsc::sync_channel::<Bytes>(16);
            let workers: Vec<_> = (0..4u8)
                .map(|byte| {
                    let (pool, over, to) = (&pool, &over, to.clone());
                    scope.spawn(move || {
                        let mut views = Vec::new();
                        for n in 0..if cfg!(miri) { 12 } else { 500 } {
                            let view = frozen(pool, byte);
                            assert_eq!(view, vec![byte; view.len()]);
                            match n % 5 {
                                0 => drop(to.try_send(view.slice(1..))),
                                1 | 2 => views.push(view),
                                3 => views.truncate(2),
                                _ => drop(view.clone()),
                            }
                            if over.load(SeqCst) {
                                break;
                            }
                        }
                        // Ends with a buffer out, and views.
                        (pool.get(SIZE), views)
                    })
                })
                .collect();
            drop(to);
            scope.spawn(move || from.into_iter().for_each(drop));
            scope.spawn(|| {
                for n in 0.. {
                    match n % 4 {
                        0 => drop(pool.trim()),
                        1 => drop(pool.clear()),
                        2 => drop((pool.stats(), pool.class_stats())),
                        _ => pool.set_enabled(n % 8 != 7 || round % 2 == 0),
                    }
                    if over.load(SeqCst) {
                        return;
                    }
                    std::thread::yield_now();
                }
            });
            let left: Vec<_> = workers
                .into_iter()
                .map(|worker| worker.join().expect("no panic"))
                .collect();
            over.store(true, SeqCst);
            left.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()
        });
        assert_balanced(&pool);
        // The pool is dropped while its buffers are frozen on other threads.
        std::thread::scope(|scope| {
            for mut buffer in late {
                scope.spawn(move || {
                    buffer.resize(2 * SIZE, 7);
                    assert_eq!(buffer.freeze().len(), 2 * SIZE);
                });
            }
            scope.spawn(move || drop(pool));
        });
        for view in kept.into_iter().flatten() {
            assert!(view.windows(2).all(|pair| pair[0] == pair[1]));
        }
    }
}

/// Gets a buffer when it is dropped.
struct Asks<'a>(&'a BufferPool, &'a RefCell<Option<Buffer>>);

impl Drop for Asks<'_> {
    fn drop(&mut self) {
        *self.1.borrow_mut() = Some(self.0.get(SIZE));
    }
}

#[test]
fn a_get_while_the_thread_panics_lets_nothing_go() {
    let pool = manual();
    let views = [frozen(&pool, 1), frozen(&pool, 2)];
    let got = RefCell::new(None);
    let unwinding = std::panic::AssertUnwindSafe(|| {
        let _asks = Asks(&pool, &got);
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(std::panic::catch_unwind(unwinding).is_err());
    // The oldest was looked at while it had views, and waits again.
    assert_eq!((pool.stats().created, lent(&pool)), (3, 2));
    assert_eq!(pool.stats().reused, 0);
    drop((views, got));
    drop([pool.get(SIZE), pool.get(SIZE), pool.get(SIZE)]);
    assert_eq!((pool.stats().created, pool.stats().reused), (3, 3));
    assert_eq!(lent(&pool), 0);
    assert_balanced(&pool);
}

#[test]
fn switched_off_nothing_waits() {
    let pool = manual();
    let before = frozen(&pool, 1);
    pool.set_enabled(false);
    assert_eq!((lent(&pool), pool.stats().in_use), (0, 0));
    // While the pool is off, nothing is found and nothing is kept for later.
    for n in 0..20 {
        assert_eq!(frozen(&pool, n), [n; SIZE][..]);
    }
    assert_eq!((lent(&pool), pool.stats().reused), (0, 0));
    pool.set_enabled(true);
    drop(frozen(&pool, 2));
    assert_eq!(pool.stats().created, 22);
    drop(frozen(&pool, 3));
    assert_eq!((pool.stats().created, lent(&pool)), (22, 1));
    assert_eq!(before, [1; SIZE][..]);
    assert_balanced(&pool);
}
