//! Visits to the caches of threads that are outside, inside, or gone.

#![cfg(not(repool_loom))]

use super::*;
use crate::object::pool::Pool;
use crate::sys::process::janitor_is_possible;
use crate::thread::{local, register};
use std::sync::Barrier;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

fn pool() -> Pool<Vec<u8>> {
    Pool::builder(|| Vec::with_capacity(100))
        .trim_manually()
        .build()
}

/// The calling thread's cache.
fn mine(core: &Core) -> &Cache {
    let id = local::thread_id().expect("a thread like any other");
    register::cache_of(core, id).expect("the pool is open")
}

/// A pool in which this thread has two idle objects, and an ended thread has left a vacant cache.
fn used() -> Pool<Vec<u8>> {
    let pool = pool();
    mine(pool.core());
    thread::scope(|scope| {
        let other = scope.spawn(|| drop(pool.get()));
        other.join().expect("no panic");
    });
    assert_eq!(pool.clear().objects, 1);
    drop([pool.get(), pool.get()]);
    pool
}

fn caches(core: &Core, are: impl Fn(&Cache) -> bool) -> usize {
    let mut count = 0;
    core.each_cache(|cache| count += usize::from(are(cache)));
    count
}

#[test]
fn a_visit_shuts_the_gates_of_owners_that_are_wanted_and_opens_them_again() {
    if !janitor_is_possible() {
        return; // no caches
    }
    let pool = used();
    let core = pool.core();
    assert_eq!(caches(core, |_| true), 2);
    let shut = || caches(core, |cache| cache.gate.has(VISIT));
    let none = core.begin_visit(Timeout::Short, |_| false).expect("free");
    assert_eq!((none.gates, shut()), (0, 0));
    assert!(
        core.begin_visit(Timeout::Short, |_| true).is_none(),
        "one at a time"
    );
    assert!(!none.enter(true, true, |_, _| panic!("a visit to no cache")));
    let all = core.begin_visit_to_all().expect("free");
    assert_eq!((all.gates, shut()), (1, 1), "the other cache is vacant");
    let (mut visited, fence) = (Vec::new(), fence_once(all.gates));
    assert_eq!(fence, (true, 1));
    assert!(!all.enter(fence.0, true, |cache, _| visited.push(ptr(cache))));
    assert_eq!((visited, shut()), (vec![ptr(mine(core))], 0));
    assert!(!mine(core).gate.has(MISSED));
    assert!(core.visit(|_, _| ()));
}

fn ptr(cache: &Cache) -> *const Cache {
    std::ptr::from_ref(cache)
}

#[test]
fn a_visit_to_no_cache_needs_no_fence() {
    assert_eq!(fence_once(0), (true, 0));
    assert_eq!([fence_once(1), fence_once(9)], [(true, 1); 2]);
}

#[test]
fn a_visitor_touches_no_cache_whose_owner_may_be_inside() {
    if !janitor_is_possible() {
        return;
    }
    let pool = used();
    let core = pool.core();
    let cache = mine(core);
    let visit = |passed, flag| {
        let visit = core.begin_visit_to_all().expect("free");
        let missed = visit.enter(passed, flag, |_, _| panic!("it was entered"));
        assert!(missed && !cache.gate.has(VISIT));
        cache.gate.has(MISSED)
    };
    assert!(!visit(false, false), "no fence was issued");
    assert!(visit(false, true));
    cache.gate.set(MISSED, false);
    cache.lose_owner_inside(true);
    assert!(!leaves(cache));
    assert!(!visit(true, false));
    assert!(visit(true, true));
    assert!(!core.visit(|_, _| panic!("it was entered")));
    cache.gate.set(MISSED, false);
    cache.lose_owner_inside(false);
    assert!(leaves(cache));
    assert!(core.visit(|_, _| ()));
}

#[test]
fn a_visitor_that_gives_up_leaves_a_request_and_an_open_turn() {
    if !janitor_is_possible() {
        return;
    }
    let pool = used();
    let core = pool.core();
    let cache = mine(core);
    cache.lose_owner_inside(true);
    assert!(!core.visit_timed_out.load(Relaxed) && !core.has_drain_requests());
    let (all, reached) = core.empty(false);
    assert_eq!((all.len, reached), (0, false));
    assert!(cache.is_drain_requested() && core.has_drain_requests());
    assert!(!cache.gate.has(VISIT | MISSED));
    assert!(core.visit_timed_out.load(Relaxed));
    assert!(core.lock_visits(Timeout::Short).is_some());
    // The owner is back, and finds the request.
    cache.lose_owner_inside(false);
    drop(pool.get());
    assert!(!cache.is_drain_requested());
    assert_eq!((pool.stats().trimmed, pool.stats().idle), (3, 1));
}

/// Owners that leave late are waited for, and the visitor remembers that they come.
#[test]
fn a_visitor_waits_for_an_owner_that_is_inside_for_a_while() {
    if !janitor_is_possible() {
        return;
    }
    let pool = used();
    let core = pool.core();
    let cache = mine(core);
    cache.lose_owner_inside(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !cache.gate.has(MISSED | DRAIN) {
                thread::yield_now();
            }
            cache.lose_owner_inside(false);
        });
        let (all, reached) = core.empty(false);
        assert_eq!((all.len, reached), (2, true));
        core.drop_batch(all);
    });
    assert!(!cache.gate.has(VISIT | MISSED | DRAIN));
    assert!(!core.has_drain_requests());
    // A visitor that timed out before waits less, until an owner has come.
    core.visit_timed_out.store(true, Relaxed);
    cache.gate.set(MISSED, true);
    assert!(core.visit_missed_slow(Timeout::Short, |_, _| ()));
    assert!(!core.visit_timed_out.load(Relaxed) && !cache.gate.has(MISSED));
}

#[test]
fn only_missed_caches_are_visited_later() {
    if !janitor_is_possible() {
        return;
    }
    let pool = used();
    let core = pool.core();
    assert!(core.visit_missed_slow(Timeout::Short, |_, _| panic!("none was missed")));
    mine(core).gate.set(MISSED, true);
    let mut visits = 0;
    assert!(core.visit_missed_slow(Timeout::Short, |_, _| visits += 1));
    assert_eq!(visits, 1);
    // Two caches, of which one was missed.
    let ready = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            drop(pool.get());
            ready.wait();
            ready.wait();
        });
        ready.wait();
        mine(core).gate.set(MISSED, true);
        let mut visited = Vec::new();
        assert!(core.visit_missed_slow(Timeout::Short, |cache, _| visited.push(ptr(cache))));
        assert_eq!(visited, [ptr(mine(core))]);
        // A request is left at the one that was missed.
        mine(core).gate.set(MISSED, true);
        mine(core).lose_owner_inside(true);
        let visit = |_: &Cache, _: &mut ListsMut<'_>| panic!("its owner is inside");
        assert!(!core.visit_missed_slow(Timeout::Short, visit));
        assert_eq!(caches(core, Cache::is_drain_requested), 1);
        mine(core).lose_owner_inside(false);
        ready.wait();
    });
}

#[test]
fn visits_that_were_lost_are_recovered_once() {
    let pool = used();
    let core = pool.core();
    let now = generation();
    let lost = |generation, held| {
        core.visit_generation.store(generation, Relaxed);
        if held {
            std::mem::forget(core.visits.try_lock());
        }
        core.each_cache(|cache| cache.gate.set(VISIT | MISSED, true));
    };
    let shut = || {
        caches(core, |cache| {
            cache.gate.has(VISIT) || cache.gate.has(MISSED)
        })
    };
    assert!(!core.visits_are_lost());
    for held in [false, true] {
        lost(now + 1, held);
        assert!(core.visits_are_lost());
        assert!(core.recover_visits_slow());
        assert_eq!((core.visits_are_lost(), shut()), (false, 0));
        assert!(core.visits.try_lock().is_some(), "the lock was released");
    }
    // Another thread of this process is at it.
    lost(now | RECOVERING, true);
    assert!(core.visits_are_lost() && !core.recover_visits_slow());
    assert!(core.lock_visits(Timeout::Short).is_none());
    assert_eq!(shut(), caches(core, |_| true));
    lost(now + 1, false);
    assert!(!core.claim_recovery(now + 2, now), "of another generation");
    assert!(core.claim_recovery(now + 1, now));
    assert!(!core.claim_recovery(core.visit_generation.load(Relaxed), now));
    assert!(core.visits_are_lost() && core.lock_visits(Timeout::Short).is_none());
    lost(now + 1, false);
    assert!(core.lock_visits(Timeout::Short).is_some());
    assert_eq!((core.visits_are_lost(), shut()), (false, 0));
}

/// Also how often it has looked into this thread's cache.
#[test]
fn everything_idle_can_be_taken_and_the_flag_says_whether_that_is_all() {
    if !janitor_is_possible() {
        return;
    }
    for (timeout, looks) in [(None, 1), (Some(Timeout::Short), SWEEPS)] {
        let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).max_idle(10).trim_manually().build();
        let core = pool.core();
        let take = |looks: usize| {
            let before = mine(core).gate.changes();
            let (some, complete) = core.take_all(timeout);
            let changes = mine(core).gate.changes() - before;
            assert_eq!(changes, 2 * looks as u32, "one before and one after");
            let objects = some.len;
            core.drop_nodes(some);
            (objects, complete)
        };
        let held = pool.get();
        drop([pool.get(), pool.get()]);
        assert_eq!(pool.prefill(3), 3);
        let idle = pool.stats().idle as usize;
        assert_eq!(take(looks), (idle, false), "one is in use");
        let stats = pool.stats();
        let in_use = (idle + 1) as u64;
        assert_eq!((stats.idle, stats.in_use), (0, in_use), "handed out");
        drop(held);
        assert_eq!(take(1), (1, true));
        assert_eq!(take(1), (0, true));
        assert_eq!(core.limits.charged(), 0);
    }
}

#[test]
fn a_pool_that_closes_says_whether_it_has_reached_every_cache() {
    if !janitor_is_possible() {
        return;
    }
    let pool = used();
    let core = pool.core();
    let cache = mine(core);
    cache.lose_owner_inside(true);
    assert!(!core.finish_closing());
    assert!(core.is_closed() && cache.gate.has(INACTIVE));
    cache.lose_owner_inside(false);
    assert_eq!(pool.stats().discarded_by.closed, 0);
    assert!(core.finish_closing());
    assert_eq!(pool.stats().discarded_by.closed, 2);
    assert_eq!((pool.stats().idle, core.nodes()), (0, 0));
}

#[test]
fn statistics_visit_caches_only_to_weigh_them() {
    if !janitor_is_possible() {
        return;
    }
    let pool = used();
    let core = pool.core();
    let each = 100 + size_of::<Vec<u8>>() as u64;
    let exact = || core.read_caches().1;
    assert!(!exact(), "hits since the last visit");
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.idle_bytes), (2, 2 * each));
    assert!(exact());
    drop(pool.get());
    assert!(!exact());
    // An owner that is inside is not waited for.
    mine(core).lose_owner_inside(true);
    assert_eq!(pool.stats().idle_bytes, 2 * each, "estimated");
    assert!(!exact());
    mine(core).lose_owner_inside(false);
    assert_eq!((core.returned(), core.read_caches().0.returned), (4, 4));
    core.counters.returned(5);
    assert_eq!(core.returned(), 9);
}

#[test]
fn a_pool_that_is_off_has_every_gate_shut() {
    let pool = used();
    let core = pool.core();
    let all = caches(core, |_| true);
    let shut = || caches(core, |cache| cache.gate.has(INACTIVE));
    assert_eq!(shut(), 0);
    for _ in 0..2 {
        core.set_enabled(false);
        assert_eq!((shut(), core.is_enabled()), (all, false));
    }
    core.set_enabled(true);
    assert_eq!((shut(), core.is_enabled()), (0, true));
    core.set_closed();
    core.set_enabled(true);
    assert_eq!(shut(), all, "closed for good");
}
