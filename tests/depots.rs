//! All of `tests/it` once more with four depots for each pool.
//!
//! A process chooses the number at the first use of a pool, so the environment is set before
//! anything else runs, by a function that the loader calls before `main`.
#![cfg(target_os = "linux")]

#[cfg(not(miri))] // runs as it is, with the variable in the environment
#[path = "it/main.rs"]
mod it;

use repool::Pool;
use std::sync::{Arc, Barrier};
use std::thread;

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = set_depots;

extern "C" fn set_depots() {
    // SAFETY: before `main` there is no other thread that could read the environment.
    unsafe { std::env::set_var("REPOOL_DEPOTS", "4") };
}

/// Threads that end leave their objects in different depots. Each later thread finds them.
#[test]
fn what_is_in_any_depot_serves_every_thread() {
    static POOL: Pool<Vec<u8>> = Pool::new(|| Vec::with_capacity(100));
    assert_eq!(std::env::var("REPOOL_DEPOTS").as_deref(), Ok("4"));
    for _ in 0..if cfg!(miri) { 6 } else { 20 } {
        let all_have_one = Arc::new(Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let all_have_one = all_have_one.clone();
                thread::spawn(move || {
                    let object = POOL.get();
                    all_have_one.wait();
                    drop(object);
                })
            })
            .collect();
        // Waits for the end of each thread, and not only of its closure, as a scope does.
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
    }
    let created = POOL.stats().created;
    assert!(created <= 8 * 4, "{created}");
    let one_by_one: Vec<_> = (0..created).map(|_| POOL.get()).collect();
    assert_eq!(POOL.stats().created, created, "none was left out");
    drop(one_by_one);
    assert_eq!(POOL.clear().objects, created);
}

/// A pass finds what was not needed in each depot.
#[test]
fn passes_empty_every_depot() {
    let pool: Pool<Vec<u8>> = Pool::builder(|| Vec::with_capacity(100))
        .trim_manually()
        .build();
    for _ in 0..8 {
        let held: Vec<_> = (0..5).map(|_| pool.get()).collect();
        // Another thread each time, which hands what it has over when it ends.
        thread::spawn(move || drop(held)).join().expect("no panic");
    }
    let idle = pool.stats().idle;
    assert!(idle >= 5, "{idle}");
    let dropped: u64 = (0..3).map(|_| pool.trim().objects).sum();
    assert_eq!((dropped, pool.stats().idle), (idle, 0));
}
