//! When threads look for hoards, and for how long objects go to the depot.

#![cfg(not(repool_loom))]

use super::{LEAST_REFUSALS, OF_RETURNS, RETURNS, SOON};
use crate::object::pool::Pool;
use crate::sync::rare::Arc;
use crate::sys::process::janitor_is_possible;
use std::sync::mpsc;
use std::thread;

/// A pool with a limit of one object, which another thread keeps in its cache while `work` runs.
fn with_a_hoard(work: impl FnOnce(&Pool<u8>)) {
    if !janitor_is_possible() {
        return; // no caches, no hoards
    }
    let pool = Pool::builder(|| 0_u8)
        .reset(|_| true)
        .max_idle(1)
        .trim_manually()
        .build();
    let pool = Arc::new(pool);
    let ((ready, is_ready), (end, has_ended)) = (mpsc::channel(), mpsc::channel::<()>());
    let hoarder = {
        let pool = pool.clone();
        thread::spawn(move || {
            drop(pool.get());
            drop(pool);
            ready.send(()).expect("the test waits");
            assert!(has_ended.recv().is_err());
        })
    };
    is_ready.recv().expect("the other thread is there");
    work(&pool);
    drop(end);
    hoarder.join().expect("no panic");
}

/// Gets an object and returns it, this many times; returns how many gets created one.
fn turns(pool: &Pool<u8>, times: usize) -> u64 {
    let before = pool.stats().created;
    (0..times).for_each(|_| drop(pool.get()));
    pool.stats().created - before
}

#[test]
fn a_hoard_is_recalled_after_some_refusals() {
    with_a_hoard(|pool| {
        let core = pool.core();
        assert_eq!(turns(pool, LEAST_REFUSALS - 1), LEAST_REFUSALS as u64 - 1);
        assert!(!core.returns_use_depot());
        assert_eq!(turns(pool, 1), 1);
        assert!(core.returns_use_depot());
        assert_eq!(core.read_caches().0.idle, 0);
        assert_eq!(turns(pool, 100), 0, "from the depot");
        assert!(core.returns_use_depot() && core.depots().objects() == 1);
    });
}

#[test]
fn threads_use_their_caches_again_after_a_number_of_returns_whether_or_not_there_are_passes() {
    for passes in [false, true] {
        with_a_hoard(|pool| {
            let core = pool.core();
            assert_eq!(turns(pool, LEAST_REFUSALS), LEAST_REFUSALS as u64);
            // The return that has recalled the hoard was the first one to the depot.
            let rest = RETURNS * LEAST_REFUSALS - 1;
            for _ in 0..rest - 1 {
                assert_eq!(turns(pool, 1), 0);
                if passes {
                    let _ = pool.trim();
                }
            }
            assert!(core.returns_use_depot());
            assert_eq!(turns(pool, 1), 0);
            assert!(!core.returns_use_depot());
            assert_eq!(core.refusals.count(), (1, true));
            assert_eq!(turns(pool, 10), 0);
            assert_eq!(core.read_caches().0.idle, 1, "in this thread's cache");
        });
    }
}

#[test]
fn once_there_were_hoards_a_look_comes_sooner() {
    with_a_hoard(|pool| {
        let core = pool.core();
        core.refusals.start(true, 0);
        assert_eq!(turns(pool, LEAST_REFUSALS / SOON - 1), 3);
        assert!(!core.returns_use_depot());
        assert_eq!(turns(pool, 1), 1);
        assert!(core.returns_use_depot());
    });
}

#[test]
fn rare_refusals_recall_nothing() {
    with_a_hoard(|pool| {
        let core = pool.core();
        for (returns, recalls) in [(1, false), (0, true)] {
            let before = core.returned();
            // As if so many objects had been returned since the last look.
            let since = OF_RETURNS * LEAST_REFUSALS + returns;
            core.refusals.start(false, before.wrapping_sub(since));
            turns(pool, LEAST_REFUSALS);
            assert_eq!(core.returns_use_depot(), recalls, "{returns}");
        }
    });
}

#[test]
fn what_is_in_use_is_no_hoard() {
    // One idle object among 31, or 32, with the one that takes turns.
    for (in_use, recalls) in [(29, true), (30, false)] {
        with_a_hoard(|pool| {
            let core = pool.core();
            let held: Vec<_> = (0..in_use).map(|_| pool.get()).collect();
            turns(pool, 200);
            assert_eq!(core.returns_use_depot(), recalls, "{in_use}");
            drop(held);
        });
    }
}

#[test]
fn after_looks_that_find_none_the_next_ones_come_later() {
    with_a_hoard(|pool| {
        let refusals = &pool.core().refusals;
        for failed in [1, 2, 3, 4, 4] {
            refusals.start_later(7);
            assert_eq!((refusals.failed_looks(), refusals.mark()), (failed, 7));
            assert_eq!(refusals.count(), (1, false));
            assert_eq!(refusals.failed_looks(), failed);
        }
        refusals.start(true, pool.core().returned());
        assert_eq!((refusals.failed_looks(), refusals.count()), (0, (1, true)));
        refusals.start_later(pool.core().returned());
        let later = 2 * LEAST_REFUSALS;
        assert_eq!(turns(pool, later - 1), later as u64 - 1);
        assert!(!pool.core().returns_use_depot());
        assert_eq!(turns(pool, 1), 1);
        assert!(pool.core().returns_use_depot());
    });
}
