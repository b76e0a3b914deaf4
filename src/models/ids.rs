//! Thread IDs are reused: `thread/ids.rs`, against the next owner and against visitors.

use super::{Pool, REMEMBERED, lock, run_model};
use crate::background::manual;
use crate::sync::Timeout;
use crate::sys::memory::Level;
use crate::sys::thread_id::ThreadId;
use crate::thread::ids::Ids;
use crate::thread::register;
use loom::thread;
use std::sync::Arc;

/// The thread with this ID exits.
fn exit(ids: &Ids, id: ThreadId) {
    let cores = std::mem::take(&mut *lock(&REMEMBERED));
    ids.exit(id, cores);
}

fn is_vacant(pool: Pool, id: ThreadId) -> bool {
    let cache = pool.core().cache_table().cache_of(id);
    // SAFETY: caches live as long as their core.
    unsafe { cache.as_ref() }.is_none_or(|cache| !cache.is_occupied() && cache.is_empty())
}

/// A thread exits while another one takes an ID. If that gets the same ID, it finds the cache vacant. Fails if the ID
/// is free before its caches are vacant.
#[test]
fn an_id_is_reused_with_its_caches_vacant() {
    run_model("an_id_is_reused_with_its_caches_vacant", || {
        let ids = Arc::new(Ids::new());
        let id = ids.take().expect("the first");
        let pool = Pool::new().register(id.0);
        pool.create().give_back(Some(id.0));
        let others = ids.clone();
        let ending = thread::spawn(move || exit(&others, id));
        if let Some(next) = ids.take() {
            assert!(next != id || is_vacant(pool, id), "used by two");
            let held = pool.get(next.0);
            held.give_back(Some(next.0));
        }
        ending.join().unwrap();
        pool.close();
    });
}

/// Two threads take an ID while a third one frees its own. No ID is given to two threads.
#[test]
fn no_id_is_given_to_two_threads() {
    run_model("no_id_is_given_to_two_threads", || {
        let ids = Arc::new(Ids::new());
        let id = ids.take().expect("the first");
        let (others, ones) = (ids.clone(), ids.clone());
        let ending = thread::spawn(move || exit(&others, id));
        let one = thread::spawn(move || ones.take());
        let other = ids.take();
        let one = one.join().unwrap();
        ending.join().unwrap();
        assert!(one.is_none() || one != other, "{one:?} twice");
        let last = ids.take();
        assert!(last.is_some() && last != one && last != other);
    });
}

/// A thread exits while a visitor is at its cache. Its ID is free afterwards only if the cache is vacant.
#[test]
fn an_id_is_free_only_if_its_cache_is_vacant() {
    for passes in [false, true] {
        run_model("an_id_is_free_only_if_its_cache_is_vacant", move || {
            let ids = Arc::new(Ids::new());
            let id = ids.take().expect("the first");
            let pool = Pool::new().register(id.0);
            pool.create().give_back(Some(id.0));
            let others = ids.clone();
            let ending = thread::spawn(move || exit(&others, id));
            if passes {
                let _ = manual::pass(pool.core(), Level::Normal);
            } else {
                let _ = pool.core().clear();
            }
            ending.join().unwrap();
            let next = ids.take();
            assert_eq!(next == Some(id), is_vacant(pool, id));
            pool.close();
        });
    }
}

/// A thread registers while a visitor holds the visits. If the thread gives up, it gets its cache the next time, and it
/// remembers the pool exactly if it has a cache.
#[test]
fn a_registration_that_timed_out_succeeds_later() {
    run_model("a_registration_that_timed_out_succeeds_later", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let coming = thread::spawn(move || {
            let there = register::cache_of(pool.core(), ThreadId(1)).is_some();
            assert_eq!(lock(&REMEMBERED).len(), 1 + usize::from(there));
            pool.create().give_back(Some(1));
        });
        let _ = pool.core().clear();
        coming.join().unwrap();
        assert!(register::cache_of(pool.core(), ThreadId(1)).is_some());
        assert_eq!(lock(&REMEMBERED).len(), 2);
        pool.close();
    });
}

/// A thread exits while a visitor holds the visits, and times out. Its ID is not reused.
#[test]
fn an_id_whose_cache_was_not_vacated_is_not_reused() {
    run_model("an_id_whose_cache_was_not_vacated_is_not_reused", || {
        let ids = Arc::new(Ids::new());
        let id = ids.take().expect("the first");
        let pool = Pool::new().register(id.0);
        pool.create().give_back(Some(id.0));
        let visits = pool.core().lock_visits(Timeout::Short);
        let others = ids.clone();
        let ending = thread::spawn(move || exit(&others, id));
        let others = ids.clone();
        let taking = thread::spawn(move || others.take());
        assert!(
            taking.join().unwrap().is_none_or(|next| next != id),
            "reused"
        );
        ending.join().unwrap();
        drop(visits);
        assert!(ids.take().is_none_or(|next| next != id), "reused");
        pool.close();
    });
}
