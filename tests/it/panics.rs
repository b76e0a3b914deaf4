//! Callbacks that panic: the pool goes on, hands nothing out twice, and leaks nothing.

use super::support::{Census, Tag, balanced, clear, join_all, manual, n, panics, some, trim};
use repool::{Pool, Pooled, Recycle};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::spawn;

/// An object that panics where it is told to.
struct Bomb {
    tag: Tag,
    at: At,
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Never,
    Recycle,
    Weigh,
    Drop,
}

impl Bomb {
    fn pool(census: &Census) -> Pool<Bomb> {
        let create = census.create();
        manual(move || Bomb {
            tag: create(),
            at: At::Never,
        })
        .build()
    }
}

impl Recycle for Bomb {
    fn recycle(&mut self) {
        assert!(self.at != At::Recycle, "in recycle");
    }

    fn retained_bytes(&self) -> usize {
        assert!(self.at != At::Weigh, "in retained_bytes");
        1
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(self.at != At::Drop, "in drop");
    }
}

#[test]
fn a_create_that_panics_leaves_the_pool_as_it_was() {
    // A node without a value, or a count without an object.
    let census = Census::new();
    let create = census.create();
    let calls = AtomicUsize::new(0);
    let pool = manual(move || {
        assert!(calls.fetch_add(1, SeqCst) % 2 == 1, "in create");
        create()
    })
    .build();
    let mut taken = Vec::new();
    for round in 0..n(100, 5) {
        assert_eq!(panics(|| pool.get()), "in create");
        census.agrees_with(&pool.stats(), 0);
        let guard = pool.get();
        assert_eq!(guard.id, round);
        taken.push(Pooled::into_inner(guard));
    }
    assert!(pool.try_get().is_none());
    drop((pool, taken));
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_recycle_that_panics_drops_the_object() {
    // A half-reset object that is handed out again, or dropped twice.
    for at in [At::Recycle, At::Weigh] {
        let census = Census::new();
        let pool = Bomb::pool(&census);
        let mut guard = pool.get();
        let id = guard.tag.id;
        guard.at = at;
        let message = panics(|| drop(guard));
        assert_eq!(
            message,
            if at == At::Recycle {
                "in recycle"
            } else {
                "in retained_bytes"
            }
        );
        assert_eq!(census.died(), 1);
        assert_ne!(pool.get().tag.id, id);
        assert_eq!(pool.stats().discarded_by.panic, 1);
        census.agrees_with(&pool.stats(), 0);
        drop(pool);
        assert_eq!(census.alive(), 0);
    }
}

#[test]
fn a_custom_reset_that_panics_drops_the_object() {
    // For the closures of the builder.
    let census = Census::new();
    let pool = manual(census.create())
        .reset(|tag: &mut Tag| {
            assert!(tag.id != 0, "in reset");
            true
        })
        .retained_bytes(|tag| {
            assert!(tag.id != 1, "in retained_bytes");
            8
        })
        .build();
    assert_eq!(panics(|| drop(pool.get())), "in reset");
    assert_eq!(panics(|| drop(pool.get())), "in retained_bytes");
    pool.put(census.tag());
    assert_eq!(pool.get().id, 2);
    let stats = pool.stats();
    assert_eq!(
        (stats.discarded_by.panic, stats.idle, stats.idle_bytes),
        (2, 1, 8 + size_of::<Tag>() as u64)
    );
    census.agrees_with(&stats, 0);
}

#[test]
fn put_of_a_value_whose_reset_panics_drops_it() {
    // `put` resets as well.
    let census = Census::new();
    let pool = Bomb::pool(&census);
    let bomb = Bomb {
        tag: census.tag(),
        at: At::Recycle,
    };
    assert_eq!(panics(|| pool.put(bomb)), "in recycle");
    assert_eq!(census.alive(), 0);
    census.agrees_with(&pool.stats(), 0);
}

#[test]
fn a_destructor_that_panics_frees_its_object_and_spares_the_others() {
    // N of N objects are dropped, in `clear`, in a pass and with the pool, and the panic resumes.
    let end: [fn(Pool<Bomb>); 3] = [
        |pool| clear(&pool),
        |pool| (0..3).for_each(|_| trim(&pool)),
        drop,
    ];
    for end in end {
        for bombs in some([1, 3, 100], 2) {
            let census = Census::new();
            let pool = Bomb::pool(&census);
            let mut held: Vec<_> = (0..100).map(|_| pool.get()).collect();
            held.iter_mut()
                .take(bombs)
                .for_each(|bomb| bomb.at = At::Drop);
            drop(held);
            assert_eq!(panics(|| end(pool)), "in drop");
            assert_eq!((census.born(), census.died()), (100, 100));
        }
    }
}

#[test]
fn after_a_destructor_panicked_the_pool_goes_on() {
    // A lock left held, a cache left shut, a charge never released.
    let census = Census::new();
    let create = census.create();
    let pool = manual(move || Bomb {
        tag: create(),
        at: At::Never,
    })
    .max_idle(50)
    .build();
    for _ in 0..n(50, 3) {
        let mut held: Vec<_> = (0..50).map(|_| pool.get()).collect();
        held[0].at = At::Drop;
        held[40].at = At::Drop;
        drop(held);
        assert_eq!(pool.stats().idle, 50);
        assert_eq!(panics(|| pool.clear()), "in drop");
        assert_eq!(pool.stats().idle, 0);
        census.agrees_with(&pool.stats(), 0);
    }
}

#[test]
fn an_object_discarded_with_a_panicking_destructor_is_gone() {
    // The destructor of an object that is dropped on return.
    let census = Census::new();
    let create = census.create();
    let pool = manual(move || Bomb {
        tag: create(),
        at: At::Never,
    })
    .max_idle(0)
    .build();
    let mut guard = pool.get();
    guard.at = At::Drop;
    assert_eq!(panics(|| drop(guard)), "in drop");
    assert_eq!(census.alive(), 0);
    census.agrees_with(&pool.stats(), 0);
    let late = pool.get();
    drop(pool);
    let mut late = late;
    late.at = At::Drop;
    assert_eq!(panics(|| drop(late)), "in drop");
    assert_eq!(census.alive(), 0);
}

#[test]
fn what_was_in_use_during_a_panic_is_dropped_not_reused() {
    // Its state is unknown. Inlined, called and custom resets; `put` as well.
    let bytes = manual(Vec::<u8>::new).build();
    let names = manual(Vec::<String>::new).build();
    let census = Census::new();
    let tags = manual(census.create()).reset(|_| true).build();
    for round in 1..=n(20, 3) {
        let message = panics(|| {
            let _guards = (bytes.get(), names.get(), tags.get());
            panic!("while in use");
        });
        assert_eq!(message, "while in use");
        for stats in [bytes.stats(), names.stats(), tags.stats()] {
            balanced(&stats);
            assert_eq!((stats.idle, stats.discarded_by.panic), (0, round as u64));
        }
    }
    assert_eq!(census.alive(), 0);
}

#[test]
fn a_guard_that_is_idle_before_the_panic_stays() {
    // Only what was out is suspect.
    let census = Census::new();
    let pool = manual(census.create()).build();
    drop([pool.get(), pool.get()]);
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _guard = pool.get();
        panic!("while in use");
    }));
    census.agrees_with(&pool.stats(), 0);
    assert_eq!((pool.stats().idle, census.died()), (1, 1));
}

#[test]
fn a_pool_can_be_used_by_destructors_during_unwinding() {
    // Get and drop while the thread panics: what comes back is dropped, everything else works.
    struct Uses<'a>(&'a Pool<Tag>);
    impl Drop for Uses<'_> {
        fn drop(&mut self) {
            let mut guard = self.0.get();
            guard.hold();
            guard.release();
            drop(guard);
            drop(self.0.try_get());
            let _ = (self.0.trim(), self.0.stats());
        }
    }
    let census = Census::new();
    let pool = manual(census.create()).build();
    drop((0..3).map(|_| pool.get()).collect::<Vec<_>>());
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _uses = Uses(&pool);
        panic!("with destructors to run");
    }));
    census.agrees_with(&pool.stats(), 0);
    assert_eq!(pool.stats().discarded_by.panic, 2);
    assert_eq!(pool.stats().idle, 1);
}

#[test]
fn a_thread_that_dies_of_a_panic_leaves_its_idle_objects() {
    // A panic and a thread's end together.
    let census = Census::new();
    let pool = Arc::new(manual(census.create()).build());
    let died = spawn({
        let pool = pool.clone();
        move || {
            drop((0..5).map(|_| pool.get()).collect::<Vec<_>>());
            let _out = pool.get();
            panic!("on purpose");
        }
    })
    .join();
    assert!(died.is_err());
    census.agrees_with(&pool.stats(), 0);
    let left: Vec<_> = std::iter::from_fn(|| pool.try_get()).collect();
    assert_eq!(left.len(), 4);
    drop(left);
    drop(pool);
    assert_eq!(census.alive(), 0);
}

#[test]
fn panics_on_many_threads_lose_nothing() {
    // All of it together, against a visitor.
    let census = Census::new();
    let pool = Arc::new(Bomb::pool(&census));
    let rounds = n(1_500, 8);
    join_all((0..4).map(|me| {
        let pool = pool.clone();
        spawn(move || {
            for round in 0..rounds {
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    let mut bomb = pool.get();
                    bomb.tag.hold();
                    bomb.at = match (round + me) % 4 {
                        0 => At::Recycle,
                        1 => At::Weigh,
                        _ => At::Never,
                    };
                    bomb.tag.release();
                    if round % 8 == 2 {
                        std::panic::resume_unwind(Box::new(()));
                    }
                }));
                if round % 64 == me {
                    clear(&pool);
                }
            }
        })
    }));
    census.agrees_with(&pool.stats(), 0);
    drop(pool);
    assert_eq!(census.alive(), 0);
}
