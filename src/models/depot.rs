//! Threads that share the depot: batches, and objects that another thread drops.

use super::{Guard, Pool, run_model};
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;
use loom::thread;

/// One thread overflows its cache, and another one gets those objects from the depot. The tracked cell shows that what
/// the first thread did with an object happens before what the second one does.
#[test]
fn two_caches_meet_in_the_depot() {
    run_model("two_caches_meet_in_the_depot", || {
        let pool = Pool::new().register(0).register(1);
        let all: Vec<_> = (0..5).map(|_| pool.create()).collect();
        let full = thread::spawn(move || {
            for held in all {
                held.give_back(Some(0));
            }
        });
        let held = pool.get(1);
        let more = pool.get(1);
        held.give_back(Some(1));
        more.give_back(Some(1));
        full.join().unwrap();
        pool.close();
    });
}

/// An object that another thread drops has one holder at a time.
#[test]
fn a_foreign_return_is_held_by_one() {
    run_model("a_foreign_return_is_held_by_one", || {
        let pool = Pool::new().register(0).register(1);
        let here: Vec<_> = (0..5).map(|_| pool.get(0)).collect();
        let other = thread::spawn(move || {
            for held in here {
                held.give_back(Some(1));
            }
        });
        let getting = thread::spawn(move || pool.get(0).give_back(Some(0)));
        other.join().unwrap();
        getting.join().unwrap();
        pool.close();
    });
}

/// Threads without a cache (they are ending) share the depot object by object.
#[test]
fn threads_without_a_cache_share_the_depot() {
    run_model("threads_without_a_cache_share_the_depot", || {
        let pool = Pool::new().register(0);
        let (one, two) = (pool.create(), pool.create());
        let other = thread::spawn(move || one.give_back(None));
        two.give_back(None);
        let held = pool.get(0);
        other.join().unwrap();
        held.give_back(Some(0));
        pool.close();
    });
}

/// Two threads use a pool for the first time, and need the same bucket. Fails if the bucket's pointer is published
/// without Release, or read without Acquire.
#[test]
fn two_threads_register_in_one_bucket() {
    run_model("two_threads_register_in_one_bucket", || {
        let pool = Pool::new();
        let other = thread::spawn(move || pool.get(2).give_back(Some(2)));
        pool.get(3).give_back(Some(3));
        other.join().unwrap();
        pool.close();
    });
}

/// Gives an object to the depot with this index, as a thread would whose own depot that is.
fn give_to(depot: usize, held: Guard) {
    let link = held.touch().0;
    // SAFETY: the guard held the node, and gives it up. The weak reference keeps the core's memory.
    unsafe {
        let core = &*Core::of(link);
        let _keep = WeakCore::new(core);
        if let Err(refused) = core.depots_from(depot).give_one(link) {
            core.drop_batch(core.count_refused(refused));
        }
    }
}

/// A thread takes from its own depot, and from the other one if that is empty. Each object has one holder.
#[test]
fn a_thread_finds_what_is_in_another_threads_depot() {
    run_model("a_thread_finds_what_is_in_another_threads_depot", || {
        let pool = Pool::new().with_depots(2);
        let (one, two) = (pool.create(), pool.create());
        give_to(0, one);
        let giving = thread::spawn(move || give_to(1, two));
        let taken = pool.core().depots_from(1).take_one();
        assert!(!taken.is_null(), "one object is there all the time");
        give_to(0, Guard(taken));
        giving.join().unwrap();
        pool.close();
    });
}

/// Each depot is closed by itself: one takes nothing in any more while another one is still open.
#[test]
fn closing_leaves_nothing_in_any_depot() {
    run_model("closing_leaves_nothing_in_any_depot", || {
        let pool = Pool::new().with_depots(2);
        let (one, two) = (pool.create(), pool.create());
        let giving = thread::spawn(move || {
            give_to(1, one);
            give_to(0, two);
        });
        pool.close();
        giving.join().unwrap();
    });
}
