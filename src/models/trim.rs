//! Passes against everything else.

use super::{Pool, run_model};
use crate::thread::Number;
use crate::trim;
use loom::thread;

/// A pass while the owner gets and drops.
#[test]
fn pass_against_get() {
    run_model("pass_against_get", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let owner = thread::spawn(move || pool.get(0).give_back(Some(0)));
        let _ = trim::pass(pool.core());
        owner.join().unwrap();
        pool.close();
    });
}

/// A pass that empties the idle cache of one thread while another one fills its own and looks in
/// the depot.
#[test]
fn pass_against_drop() {
    run_model("pass_against_drop", || {
        let pool = Pool::new().register(0).register(1);
        pool.create().give_back(Some(0));
        let _ = trim::pass(pool.core());
        let held = pool.create();
        let other = thread::spawn(move || {
            held.give_back(Some(1));
            pool.get(1).give_back(Some(1));
        });
        let _ = trim::pass(pool.core());
        other.join().unwrap();
        pool.close();
    });
}

/// A pass while the owner ends.
#[test]
fn pass_against_exit() {
    run_model("pass_against_exit", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let _ = trim::pass(pool.core());
        let ending = thread::spawn(move || {
            let _ = pool.core().vacate(Number(0));
        });
        let _ = trim::pass(pool.core());
        ending.join().unwrap();
        pool.close();
    });
}

/// A pass by somebody with a weak reference (the janitor) while the pool goes.
#[test]
fn pass_against_close() {
    run_model("pass_against_close", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let _ = trim::pass(pool.core());
        let weak = crate::core::WeakCore::new(pool.core());
        let janitor = thread::spawn(move || {
            let _ = trim::pass(&weak);
            drop(weak);
        });
        pool.close();
        janitor.join().unwrap();
    });
}
