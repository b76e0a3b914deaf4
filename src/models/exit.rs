//! A thread ends, and hands its objects and its number over.

use super::{Pool, run_model};
use crate::sys::place::Number;
use crate::thread::attach;
use loom::thread;

/// What an ending thread had is found by the others.
#[test]
fn an_ending_thread_loses_nothing() {
    run_model("an_ending_thread_loses_nothing", || {
        let pool = Pool::new().register(0).register(1);
        pool.create().give_back(Some(0));
        let ending = thread::spawn(move || {
            assert!(attach::vacate(pool.core(), Number(0)));
        });
        let found = pool.try_get(1);
        ending.join().unwrap();
        let found = found.or_else(|| pool.try_get(1)).expect("handed over");
        found.give_back(Some(1));
        pool.close();
    });
}

/// An ending thread and a visitor at once.
#[test]
fn exit_against_clear_drops_once() {
    run_model("exit_against_clear_drops_once", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let ending = thread::spawn(move || {
            pool.get(0).give_back(Some(0));
            // With three preemptions the visitor can outlast a model's patience: the cache then
            // keeps its number, and the pool's end finds what is in it.
            let _ = attach::vacate(pool.core(), Number(0));
        });
        let _ = pool.core().clear();
        ending.join().unwrap();
        pool.close();
    });
}

/// A number is used again: the hand-over is a lock (here: a join), as in the number registry.
#[test]
fn the_next_owner_of_a_number_finds_an_empty_cache() {
    run_model("the_next_owner_of_a_number_finds_an_empty_cache", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let ending = thread::spawn(move || assert!(attach::vacate(pool.core(), Number(0))));
        ending.join().unwrap();
        let next = thread::spawn(move || pool.get(0).give_back(Some(0)));
        let _ = pool.core().clear();
        next.join().unwrap();
        pool.close();
    });
}

/// A thread registers while another one reads the figures, which takes no lock: it misses no cache that was there.
#[test]
fn figures_miss_no_cache_while_a_thread_registers() {
    run_model("figures_miss_no_cache_while_a_thread_registers", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let joining = thread::spawn(move || {
            assert!(attach::cache_of(pool.core(), Number(1)).is_some());
        });
        let idle = pool.core().stats().idle;
        joining.join().unwrap();
        assert_eq!(idle, 1, "a cache was missed");
        pool.close();
    });
}
