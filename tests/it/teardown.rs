//! The end of pools and of threads. (The end of the process: tests/exit.rs and tests/fork.rs.)

use super::support::{Census, Tag, join_all, manual, n};
use repool::{Pool, Pooled};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread::spawn;

#[test]
fn guards_free_their_objects_once_after_the_pool() {
    // A guard that returns its object to a pool that is gone.
    for idle in [0, 1, 33, 100] {
        let census = Census::new();
        let pool = manual(census.create()).build();
        let out: Vec<_> = (0..40).map(|_| pool.get()).collect();
        drop((0..idle).map(|_| pool.get()).collect::<Vec<_>>());
        drop(pool);
        assert_eq!((census.alive(), census.died()), (40, idle));
        for (gone, mut guard) in out.into_iter().enumerate() {
            guard.hold(); // still there, and still its own
            guard.release();
            drop(guard);
            assert_eq!(census.died(), idle + gone + 1);
        }
        assert_eq!(census.alive(), 0);
    }
}

#[test]
fn a_guard_that_outlives_its_pool_may_be_taken_apart_or_sent() {
    // `into_inner` and a drop on another thread, after the pool.
    let census = Census::new();
    let pool = manual(census.create()).build();
    let (a, b) = (pool.get(), pool.get());
    drop(pool);
    let tag = Pooled::into_inner(a);
    assert_eq!(census.alive(), 2);
    spawn(move || drop(b)).join().expect("no panic");
    assert_eq!(census.alive(), 1);
    drop(tag);
    assert_eq!(census.alive(), 0);
}

#[test]
fn dropping_a_pool_empties_the_caches_of_parked_threads() {
    // Objects in other threads' caches are dropped with the pool, immediately.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let filled = Arc::new(Barrier::new(4));
    let gone = Arc::new(Barrier::new(4));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (pool, filled, gone) = (pool.clone(), filled.clone(), gone.clone());
            spawn(move || {
                drop((0..50).map(|_| pool.get()).collect::<Vec<_>>());
                drop(pool);
                filled.wait();
                gone.wait();
            })
        })
        .collect();
    filled.wait();
    drop(Arc::into_inner(pool).expect("the last handle"));
    assert_eq!(census.alive(), 0);
    gone.wait();
    join_all(threads);
}

#[test]
fn the_closures_go_with_the_last_object() {
    // `create` and `reset` leak, or are dropped while a guard that may need them is out.
    let witness = Arc::new(());
    let (create, reset, weigh) = (witness.clone(), witness.clone(), witness.clone());
    let pool = manual(move || Arc::strong_count(&create))
        .reset(move |_| Arc::strong_count(&reset) > 0)
        .retained_bytes(move |_| Arc::strong_count(&weigh))
        .build();
    let guard = pool.get();
    drop(pool.get());
    drop(pool);
    assert_eq!(Arc::strong_count(&witness), 4);
    drop(guard);
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[test]
fn a_thread_may_end_after_the_pools_it_used() {
    // A thread's exit visits caches of pools that are gone; and many of them.
    let census = Census::new();
    let thread = spawn({
        let census = census.clone();
        move || {
            for _ in 0..n(300, 20) {
                let pool = manual(census.create()).build();
                drop((0..3).map(|_| pool.get()).collect::<Vec<_>>());
            }
        }
    });
    thread.join().expect("no panic");
    assert_eq!(census.alive(), 0);
}

// -------------------------------------------------------------------- thread-local destructors

/// What a thread-local destructor may do with a pool.
fn use_from_destructor(pool: &Pool<Tag>) {
    let mut guard = pool.get();
    guard.hold();
    guard.release();
    drop(guard);
    let held: Vec<_> = (0..40).map(|_| pool.get()).collect();
    drop(held);
    drop(pool.try_get());
    let _ = (pool.trim(), pool.stats());
    // A pool that this thread sees for the first time while it ends.
    let census = Census::new();
    let own = manual(census.create()).build();
    drop((own.get(), own.get()));
    census.agrees_with(&own.stats(), 0);
    drop(own);
    assert_eq!(census.alive(), 0);
    RUNS.with(|runs| runs.set(runs.get() + 1));
    DESTROYED.fetch_add(1, SeqCst);
}

thread_local! {
    static RUNS: Cell<usize> = const { Cell::new(0) };
    static EARLY: RefCell<AtEnd> = const { RefCell::new(AtEnd(None, None)) };
    static LATE: RefCell<AtEnd> = const { RefCell::new(AtEnd(None, None)) };
}

static DESTROYED: AtomicUsize = AtomicUsize::new(0);

/// Uses a pool when it is dropped, and drops a guard afterwards.
struct AtEnd(Option<Arc<Pool<Tag>>>, Option<Pooled<Tag>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            use_from_destructor(&pool);
        }
    }
}

#[test]
fn thread_local_destructors_may_use_pools_before_and_after_ours() {
    // Std runs destructors in the reverse order of first use on some systems, and in any order on
    // others. One of the two here runs after this crate's own. By then the thread's ID and cache
    // are gone, and what it returns must neither be lost nor reach the next owner.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let before = DESTROYED.load(SeqCst);
    let threads = n(200, 3);
    for _ in 0..threads {
        let pool = pool.clone();
        spawn(move || {
            EARLY.with(|end| end.borrow_mut().0 = Some(pool.clone())); // first in, last out
            let guard = pool.get();
            LATE.with(|end| *end.borrow_mut() = AtEnd(Some(pool.clone()), Some(guard)));
            EARLY.with(|end| end.borrow_mut().1 = Some(pool.get()));
        })
        .join()
        .expect("no panic in a destructor");
    }
    assert_eq!(DESTROYED.load(SeqCst) - before, 2 * threads);
    census.agrees_with(&pool.stats(), 0);
    assert!(census.born() < 200, "objects go round: {}", census.born());
    let idle = pool.stats().idle;
    assert_eq!(pool.clear().objects, idle);
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_thread_may_see_its_first_pool_in_a_destructor() {
    // Registration that needs a thread-local which can no longer be created.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    spawn({
        let pool = pool.clone();
        move || EARLY.with(|end| end.borrow_mut().0 = Some(pool))
    })
    .join()
    .expect("no panic in a destructor");
    census.agrees_with(&pool.stats(), 0);
    assert!(
        pool.try_get().is_some(),
        "what the destructor gave back is here"
    );
}

#[test]
fn a_guard_in_a_thread_local_comes_back() {
    // `thread_local! { static X: Pooled<T> }`, the most common case.
    thread_local! {
        static KEPT: RefCell<Option<Pooled<Tag>>> = const { RefCell::new(None) };
    }
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    for _ in 0..n(100, 3) {
        let pool = pool.clone();
        spawn(move || KEPT.set(Some(pool.get())))
            .join()
            .expect("no panic");
    }
    assert_eq!(census.born(), 1);
    census.agrees_with(&pool.stats(), 0);
}

#[test]
fn a_pool_may_be_dropped_by_a_thread_local_destructor() {
    // The last handle is dropped while its thread is torn down, with guards out.
    thread_local! {
        static OWNED: RefCell<Option<Pool<Tag>>> = const { RefCell::new(None) };
    }
    for used_first in [false, true] {
        let census = Census::new();
        let pool = manual(census.create()).build();
        let out = pool.get();
        let warm: Pool<Vec<u8>> = manual(Vec::new).build();
        spawn(move || {
            if used_first {
                drop(warm.get()); // our thread-local first, so it goes last
            }
            OWNED.with(|slot| drop(slot.borrow_mut().insert(pool).get()));
        })
        .join()
        .expect("no panic");
        assert_eq!(census.alive(), 1);
        drop(out);
        assert_eq!(census.alive(), 0);
    }
}

#[test]
fn pools_end_while_their_threads_do() {
    // Closing a pool against the exit of threads that have caches in it.
    for _ in 0..n(400, 5) {
        let census = Census::new();
        let pool = Arc::new(manual(census.create()).build());
        let together = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (pool, together) = (pool.clone(), together.clone());
                spawn(move || {
                    let out = pool.get();
                    drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
                    drop(pool);
                    together.wait();
                    drop(out);
                })
            })
            .collect();
        together.wait();
        drop(pool);
        join_all(threads);
        assert_eq!(census.alive(), 0);
    }
}
