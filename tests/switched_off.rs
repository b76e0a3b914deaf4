//! A pool that is switched off calls the allocator as often as code without a pool.

#[path = "support/counting.rs"]
mod counting;

use counting::{Counting, calls};
use repool::{Pool, Recycle};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering::SeqCst};

#[global_allocator]
static ALLOCATOR: Counting = Counting(note);

/// What watched threads allocated and did not free.
static WATCHED_BYTES: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

fn note(freed: usize, allocated: usize) {
    if WATCHED.get() {
        WATCHED_BYTES.fetch_add(allocated as isize - freed as isize, SeqCst);
    }
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
    let pool = off(bytes);
    drop(pool.get());
    assert_eq!(calls(|| (0..1_000).for_each(|_| drop(pool.get()))), 2_000);
}

#[test]
fn objects_without_memory_take_no_call_at_all() {
    let pool = off(|| [0_u64; 8]);
    drop(pool.get());
    assert_eq!(calls(|| (0..1_000).for_each(|_| drop(pool.get()))), 0);
}

#[test]
fn many_at_once_make_the_calls_of_plain_code() {
    let pool = off(bytes);
    let mut held = Vec::with_capacity(64);
    for at_once in [2, 8, 64] {
        let mut round = || {
            held.extend((0..at_once).map(|_| pool.get()));
            held.clear();
        };
        round();
        let plain = 2 * at_once;
        assert_eq!(calls(|| (0..100).for_each(|_| round())), 100 * plain);
    }
}

#[test]
fn pools_of_several_types_in_turn_make_the_calls_of_plain_code() {
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
    assert_eq!(calls(|| (0..100).for_each(|_| round())), 800);
}

#[test]
fn what_a_thread_kept_meanwhile_is_freed_when_it_ends() {
    let pool = off(bytes);
    let left_by = |at_once: usize| {
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
