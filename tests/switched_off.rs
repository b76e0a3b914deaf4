//! A pool that is switched off calls the allocator as often as code without a pool.

#[path = "support/counting.rs"]
mod counting;

use counting::{Counting, calls};
use repool::{Pool, Pooled, Recycle};
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicIsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

/// How often; under Miri, `miri` times.
const fn n(full: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { full }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(note);

/// Bytes that watched threads allocated and did not free.
static WATCHED_BYTES: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

fn note(freed: usize, allocated: usize) {
    if WATCHED.get() {
        WATCHED_BYTES.fetch_add(allocated as isize - freed as isize, SeqCst);
    }
}

/// One test at a time: all threads of the process share nodes.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn off<T: Recycle + Send + 'static>(create: fn() -> T) -> Pool<T> {
    let pool = Pool::builder(create).trim_manually().build();
    pool.set_enabled(false);
    pool
}

fn bytes() -> Vec<u8> {
    Vec::with_capacity(256)
}

#[test]
fn a_get_and_drop_is_one_malloc_and_one_free() {
    let _turn = alone();
    let pool = off(bytes);
    drop(pool.get());
    let rounds = n(1_000, 30);
    assert_eq!(
        calls(|| (0..rounds).for_each(|_| drop(pool.get()))),
        2 * rounds
    );
}

#[test]
fn objects_without_memory_take_no_call_at_all() {
    let _turn = alone();
    let pool = off(|| [0_u64; 8]);
    drop(pool.get());
    assert_eq!(
        calls(|| (0..n(1_000, 30)).for_each(|_| drop(pool.get()))),
        0
    );
}

#[test]
fn many_at_once_make_the_calls_of_plain_code() {
    let _turn = alone();
    let pool = off(bytes);
    let mut held = Vec::with_capacity(1_000);
    let rounds = n(100, 1);
    let all = [2, 8, 64, 200, 1_000];
    for &at_once in &all[..n(all.len(), 3)] {
        let mut round = || {
            held.extend((0..at_once).map(|_| pool.get()));
            held.clear();
        };
        round();
        let plain = 2 * at_once;
        assert_eq!(calls(|| (0..rounds).for_each(|_| round())), rounds * plain);
    }
}

#[test]
fn pools_of_several_types_in_turn_make_the_calls_of_plain_code() {
    let _turn = alone();
    let (vectors, strings) = (off(bytes), off(|| String::with_capacity(100)));
    let (large, none) = (
        off(|| (Vec::<u8>::with_capacity(9), [1_u8; 300].to_vec())),
        off(|| [0_u8; 1_000]),
    );
    let round = || {
        drop(vectors.get());
        drop(strings.get());
        drop(large.get());
        drop(none.get());
    };
    round();
    let rounds = n(100, 10);
    assert_eq!(calls(|| (0..rounds).for_each(|_| round())), rounds * 8);
}

#[test]
fn large_objects_and_small_ones_make_the_calls_of_plain_code() {
    let _turn = alone();
    fn none<T: Recycle + Send + 'static>(create: fn() -> T) {
        let pool = off(create);
        let round = || drop([pool.get(), pool.get()]);
        round();
        assert_eq!(
            calls(|| (0..n(100, 2)).for_each(|_| round())),
            0,
            "{}",
            size_of::<T>()
        );
    }
    none(|| 1_u8);
    none(|| [1_u8; 450]);
    none(|| [1_u8; 520]);
    none(|| [1_u8; 5_000]);
    none(|| [1_u8; 10_000]);
    none(|| [1_u8; 60_000]);
}

#[test]
fn objects_that_one_thread_gets_and_another_drops_make_the_calls_of_plain_code() {
    let _turn = alone();
    let pool = off(bytes);
    let (there, objects) = mpsc::sync_channel::<Vec<Pooled<Vec<u8>>>>(1);
    let (back, empty) = mpsc::sync_channel(1);
    let dropping = std::thread::spawn(move || {
        let mut of_drops = 0;
        for mut batch in objects {
            of_drops += calls(|| batch.clear());
            back.send(batch).expect("the other side waits");
        }
        of_drops
    });
    let (rounds, at_once) = (n(200, 10), 60);
    let mut batch = Vec::with_capacity(at_once);
    let mut of_gets = 0;
    for _ in 0..rounds {
        of_gets += calls(|| batch.extend((0..at_once).map(|_| pool.get())));
        there.send(batch).expect("the other side waits");
        batch = empty.recv().expect("the other side answers");
    }
    drop(there);
    let all = of_gets + dropping.join().expect("no panic");
    let plain = 2 * rounds * at_once;
    // The first nodes, and what is in flight between the threads.
    assert!(
        (plain..plain + 400).contains(&all),
        "{all}, plain code {plain}"
    );
}

#[test]
fn switching_on_frees_what_threads_shared_meanwhile() {
    let _turn = alone();
    let pool = off(|| [0_u8; 30_000]);
    // What earlier tests left.
    pool.set_enabled(true);
    pool.set_enabled(false);
    std::thread::scope(|scope| {
        let held: Vec<_> = (0..10).map(|_| pool.get()).collect();
        // Two stay with the thread that drops them, and are freed with it.
        scope.spawn(|| drop(held)).join().expect("no panic");
    });
    let freed = calls(|| pool.set_enabled(true));
    assert!((6..=10).contains(&freed), "{freed}");
}

#[test]
fn an_object_goes_by_whatever_way_it_leaves() {
    let _turn = alone();
    struct Counts(Arc<()>);
    impl Recycle for Counts {
        fn recycle(&mut self) {}
    }
    let alive = Arc::new(());
    let make = Arc::clone(&alive);
    let pool = Pool::builder(move || Counts(Arc::clone(&make)))
        .trim_manually()
        .build();
    pool.set_enabled(false);
    let count = || Arc::strong_count(&alive) - 2;
    let [dropped, discarded, taken, there, late] = [(); 5].map(|()| pool.get());
    assert_eq!(count(), 5);
    drop(dropped);
    Pooled::discard(discarded);
    let taken = Pooled::into_inner(taken);
    assert_eq!((count(), Arc::strong_count(&taken.0)), (3, 5));
    drop(taken);
    std::thread::spawn(move || drop(there))
        .join()
        .expect("no panic");
    drop(pool.attach(Counts(Arc::clone(&alive))));
    drop(pool.get_or_else(|| Counts(Arc::clone(&alive))));
    assert!(pool.try_get_with(|| Err::<Counts, ()>(())).is_err());
    let in_panic = pool.get();
    let panic = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let _in_panic = in_panic;
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(panic.is_err());
    assert_eq!(count(), 1);
    let stats = pool.stats();
    assert_eq!((stats.created, stats.adopted, stats.discarded), (7, 1, 8));
    assert_eq!((stats.in_use, stats.idle, stats.taken), (0, 0, 0));
    drop(pool);
    assert_eq!(
        Arc::strong_count(&alive),
        2,
        "the closure went with the pool"
    );
    drop(late);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_create_that_panics_and_a_destructor_that_does_lose_no_memory() {
    let _turn = alone();
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new(()));
        }
    }
    let panics = |f: &dyn Fn()| {
        assert!(std::panic::catch_unwind(AssertUnwindSafe(f)).is_err());
    };
    let pool: Pool<Bad> = Pool::builder(|| Bad)
        .reset(|_| true)
        .trim_manually()
        .build();
    let never: Pool<Bad> = Pool::builder(|| -> Bad { std::panic::resume_unwind(Box::new(())) })
        .reset(|_| true)
        .build();
    pool.set_enabled(false);
    never.set_enabled(false);
    let round = || {
        panics(&|| drop(pool.get()));
        panics(&|| drop(never.get()));
    };
    round();
    let one = calls(round);
    let rounds = n(100, 5);
    assert_eq!(calls(|| (0..rounds).for_each(|_| round())), rounds * one);
    assert_eq!(
        (pool.stats().created, never.stats().created),
        (rounds as u64 + 2, 0)
    );
}

#[test]
fn what_a_thread_kept_meanwhile_is_freed_when_it_ends() {
    let _turn = alone();
    let pool = off(bytes);
    let left_by = |at_once: usize| {
        // Nothing comes from other threads.
        pool.set_enabled(true);
        pool.set_enabled(false);
        let before = WATCHED_BYTES.load(SeqCst);
        std::thread::scope(|scope| {
            let work = || {
                WATCHED.set(true);
                drop((0..at_once).map(|_| pool.get()).collect::<Vec<_>>());
            };
            scope.spawn(work).join().expect("no panic");
        });
        WATCHED_BYTES.load(SeqCst) - before
    };
    left_by(1);
    assert_eq!(left_by(100), left_by(1));
}
