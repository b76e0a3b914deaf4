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
