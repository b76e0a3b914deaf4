//! The core of a typed pool, asked directly.

#![cfg(not(repool_loom))]

use super::*;
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::raw::node::OpaqueCache;
use crate::raw::refs::DiscardOnDrop;
use crate::sys::fence;
use crate::sys::process::janitor_is_possible;
use crate::sys::thread_id::current;
use crate::thread::{local, register};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;

const BITS: [u8; 4] = [CLOSED, SWITCHED_OFF, CHECKS_USE, DIAGNOSTICS];

fn pool() -> Pool<Vec<u8>> {
    Pool::builder(Vec::new).trim_manually().build()
}

/// A core that no pool owns, without an address: only its own words may be used.
fn bare(interval: Option<Duration>, limits: Limits) -> Core {
    static VTABLE: VTable = VTable {
        drop_node: |_, _| (),
        on_pass: |_| false,
        name: |_| None,
        drop_payload: |_| (),
        free: |_| (),
    };
    Core::new(&VTABLE, limits, false, interval)
}

fn unlimited() -> Limits {
    Limits::new(usize::MAX, usize::MAX, usize::MAX)
}

#[test]
fn each_question_looks_at_its_own_bits() {
    let core = bare(None, unlimited());
    for state in 0..16 {
        core.header.state.store(state, Relaxed);
        let [closed, off, _, diagnostics] = BITS.map(|bit| state & bit == bit);
        assert_eq!(core.is_closed(), closed, "{state}");
        assert_eq!(core.is_enabled(), !off, "{state}");
        assert_eq!(core.is_inactive(), closed || off, "{state}");
        assert_eq!(core.has_diagnostics(), diagnostics, "{state}");
        // SAFETY: the core is alive.
        assert_eq!(unsafe { Core::has_state_bits(&raw const core) }, state > 0);
        let reason = match (closed, off) {
            (true, _) => Some(Reason::Closed),
            (false, true) => Some(Reason::SwitchedOff),
            (false, false) => None,
        };
        assert_eq!(core.inactive_reason(), reason, "{state}");
    }
}

#[test]
fn a_bit_of_the_state_changes_alone() {
    let mut core = bare(None, unlimited().with_use_checked());
    type Change = fn(&Core);
    let changes: [(Change, u8); 4] = [
        (Core::set_closed, CLOSED),
        (|core| core.set_switched_on(false), SWITCHED_OFF),
        (
            |core| core.note_weight(core.limits.usual_weight() + 1),
            CHECKS_USE,
        ),
        (Core::set_diagnostics, DIAGNOSTICS),
    ];
    for (change, bit) in changes {
        for before in 0..16 {
            core.header.state.store(before, Relaxed);
            change(&core);
            assert_eq!(core.header.state.load(Relaxed), before | bit);
        }
    }
    for before in 0..16 {
        core.header.state.store(before, Relaxed);
        core.set_switched_on(true);
        assert_eq!(core.header.state.load(Relaxed), before & !SWITCHED_OFF);
        core.note_weight(core.limits.usual_weight());
        assert_eq!(core.header.state.load(Relaxed), before & !SWITCHED_OFF);
    }
    // SAFETY: no thread uses the core any more.
    unsafe { core.free_caches() };
}

#[test]
fn what_is_handed_out_while_off_is_counted_by_one_counter_for_good() {
    let mut core = bare(None, unlimited());
    assert!(core.off_counter().is_none());
    assert_eq!(core.handed_out_off(), 0);
    core.set_switched_on(true);
    assert!(core.off_counter().is_none());
    for round in 1..=3 {
        core.set_switched_on(false);
        core.off_counter().expect("it is off").count_shared();
        core.set_switched_on(false);
        assert_eq!(core.handed_out_off(), round);
        core.set_switched_on(true);
        assert!(core.off_counter().is_none());
        assert_eq!(core.handed_out_off(), round);
    }
    // SAFETY: no thread uses the core any more.
    unsafe { core.free_caches() };
    assert_eq!(core.handed_out_off(), 0, "the counter was freed");
}

#[test]
fn only_pools_of_the_janitor_can_be_unwatched() {
    let interval = Duration::from_secs(7);
    let core = bare(Some(interval), unlimited());
    assert_eq!(core.interval(), Some(interval));
    assert!(!core.is_watched());
    core.set_watched(true);
    assert!(core.is_watched());
    core.watched.store(generation() + 1, Relaxed);
    assert!(!core.is_watched(), "by a janitor of the parent process");
    core.set_watched(true);
    core.set_watched(false);
    assert!(!core.is_watched());
    let manual = bare(None, unlimited());
    assert_eq!(manual.interval(), None);
    for watched in [false, true] {
        assert!(manual.is_watched());
        manual.set_watched(watched);
    }
    assert!(manual.is_watched());
}

#[test]
fn a_request_to_drain_is_remembered() {
    let core = bare(None, unlimited());
    assert!(!core.has_drain_requests());
    core.note_drain_request();
    assert!(core.has_drain_requests());
}

#[test]
fn every_cache_on_the_list_is_seen_the_newest_first() {
    let core = bare(None, unlimited());
    let caches = [Cache::vacant(), Cache::vacant(), Cache::vacant()];
    let seen = || {
        let mut seen = Vec::new();
        core.each_cache(|cache| seen.push(ptr::from_ref(cache)));
        seen
    };
    assert!(seen().is_empty());
    for (index, cache) in caches.iter().enumerate() {
        // SAFETY: this thread is the only one, and the core does not outlive this function.
        unsafe { core.list(cache) };
        let expected = caches[..=index].iter().rev().map(ptr::from_ref);
        assert!(expected.eq(seen()));
    }
}

/// A node that is in use until the end of a test.
fn held(pool: &Pool<Vec<u8>>) -> DiscardOnDrop {
    DiscardOnDrop {
        link: Pooled::into_link(pool.get()).as_ptr(),
        reason: Reason::User,
    }
}

/// # Safety
/// The caller holds the node.
unsafe fn last_of(link: *mut Link) -> (*const OpaqueCache, u32) {
    // SAFETY: guaranteed by the caller.
    let cache = unsafe { Link::last_cache(link) };
    // SAFETY: as above.
    (cache, unsafe { Link::last_owner(link) })
}

#[test]
fn an_object_goes_to_the_cache_of_the_thread_that_returns_it() {
    if !janitor_is_possible() {
        return; // no caches
    }
    let pool = pool();
    let core = pool.core();
    let held = held(&pool);
    let link = held.link;
    let id = local::thread_id().expect("a thread like any other");
    let mine = register::cache_of(core, id).expect("used above");
    let (owner, foreign) = (id.as_owner(), id.as_owner() + 1);
    let other = Cache::vacant();
    let find = |by: u32, look: Option<&Cache>| {
        let look = |_: &CacheTable| look.map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the node is in use here.
        let found = unsafe { Core::cache_for_return(core.address(), link, by, look) };
        found.map(ptr::from_ref)
    };
    // SAFETY: as above.
    let last = || unsafe { last_of(link) };
    assert_eq!(last(), (mine.as_opaque(), owner));
    assert_eq!(
        find(owner, None),
        Some(ptr::from_ref(mine)),
        "not looked up"
    );
    assert_eq!(find(foreign, None), None, "a thread without a cache");
    assert_eq!(last(), (mine.as_opaque(), owner));
    assert_eq!(find(foreign, Some(&other)), Some(ptr::from_ref(&other)));
    assert_eq!(last(), (other.as_opaque(), foreign));
    assert_eq!(find(foreign, None), Some(ptr::from_ref(&other)));
    assert_eq!(find(owner, Some(mine)), Some(ptr::from_ref(mine)));
    assert_eq!(last(), (mine.as_opaque(), owner));
    assert_eq!(core.header.crossing_seen.load(Relaxed), 0, "not bounded");
}

#[test]
fn an_object_that_crosses_threads_in_a_bounded_pool_is_noted() {
    if !janitor_is_possible() {
        return; // no caches
    }
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).max_idle(2).trim_manually().build();
    let core = pool.core();
    let held = held(&pool);
    let link = held.link;
    let id = local::thread_id().expect("a thread like any other");
    let mine = register::cache_of(core, id).expect("used above");
    let foreign = id.as_owner() + 1;
    let other = Cache::vacant();
    let find = |look: &Cache| {
        // SAFETY: the node is in use here.
        let found = unsafe {
            Core::cache_for_return(core.address(), link, foreign, |_| ptr::from_ref(look))
        };
        found.map(ptr::from_ref)
    };
    let noted = || core.header.crossing_seen.load(Relaxed) != 0;
    // The same cache: its thread ID is another thread's now.
    assert_eq!(find(mine), Some(ptr::from_ref(mine)));
    assert!(!noted());
    // SAFETY: the node is in use here.
    unsafe { Link::set_last_cache(link, ptr::null()) };
    assert_eq!(find(mine), Some(ptr::from_ref(mine)), "attached before");
    assert!(!noted());
    // SAFETY: as above.
    unsafe { core.set_last_cache(link, mine, id.as_owner()) };
    assert_eq!(find(&other), Some(ptr::from_ref(&other)));
    assert!(noted());
    core.header.crossings_use_depot.store(true, Relaxed);
    // SAFETY: as above.
    unsafe { core.set_last_cache(link, mine, id.as_owner()) };
    assert_eq!(find(&other), None, "to the depot");
    // SAFETY: as above.
    assert_eq!(unsafe { Link::last_cache(link) }, mine.as_opaque());
}

#[test]
fn nodes_of_a_pool_with_slow_returns_have_no_last_owner() {
    let slow = |slow_returns| {
        let mut core = bare(None, unlimited());
        core.header.slow_returns = slow_returns;
        core
    };
    let mut nodes = crate::raw::node::tests::Nodes::new();
    let id = ThreadId(4);
    for (slow_returns, owner) in [(false, id.as_owner()), (true, NO_OWNER)] {
        let (core, cache) = (slow(slow_returns), Cache::vacant());
        let link = nodes.node(1);
        let batch = nodes.batch_of(3, 1);
        // SAFETY: the nodes are this test's.
        unsafe { core.set_last_cache(link, &cache, id.as_owner()) };
        // SAFETY: as above.
        unsafe { core.set_last_cache_of_batch(&batch, &cache, id) };
        let check = |link| {
            // SAFETY: as above.
            let last = unsafe { last_of(link) };
            assert_eq!(last, (cache.as_opaque(), owner));
        };
        check(link);
        batch.each(check);
    }
}

#[test]
fn a_pool_points_to_its_own_core_and_first_cache() {
    let pool = pool();
    let core = pool.core();
    assert_eq!(core.address(), ptr::from_ref(core));
    assert_eq!(core.as_node_core().addr(), core.address().addr());
    let first = core.cache_table().cache_of(ThreadId(0));
    assert_eq!(first, &raw const core.first_cache);
    let held = held(&pool);
    // SAFETY: the node is in use here.
    assert_eq!(unsafe { Core::of(held.link) }, core.address());
    // The thread finds its cache by bucket and offset.
    let found = current(|thread| core.cache_table().cache_at(thread));
    let on_hits = janitor_is_possible() && fence::asymmetric();
    assert_eq!(!found.is_null(), on_hits);
}

#[test]
fn dropped_batches_release_their_charge() {
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new)
        .max_idle(100)
        .trim_manually()
        .build();
    let core = pool.core();
    assert_eq!(pool.prefill(5), 5);
    assert_eq!((core.limits.charged(), core.nodes()), (5, 5));
    let batch = core.empty(false).0;
    core.drop_batch(batch);
    assert_eq!((core.limits.charged(), core.nodes()), (0, 0));
    // `drop_nodes` leaves the charge to the caller.
    assert_eq!(pool.prefill(5), 5);
    let batch = core.empty(false).0;
    let charge = Charge {
        objects: batch.len,
        bytes: batch.bytes,
    };
    core.drop_nodes(batch);
    assert_eq!((core.limits.charged(), core.nodes()), (5, 0));
    core.limits.release(charge);
}

#[test]
fn all_nodes_are_dropped_even_if_each_destructor_panics() {
    struct Panics(u32);
    impl crate::Recycle for Panics {
        fn recycle(&mut self) {}
    }
    impl Drop for Panics {
        fn drop(&mut self) {
            std::panic::panic_any(self.0);
        }
    }
    let pool = Pool::builder(|| Panics(0)).trim_manually().build();
    for number in 1..=3 {
        pool.put(Panics(number));
    }
    let core = pool.core();
    let (all, complete) = core.empty(false);
    assert_eq!((all.len, complete), (3, true));
    let panic = catch_unwind(AssertUnwindSafe(|| core.drop_batch(all)));
    let first = panic.expect_err("a destructor has panicked");
    assert_eq!(first.downcast_ref(), Some(&3_u32), "of the hottest");
    assert_eq!(core.nodes(), 0);
}

#[test]
fn what_the_depot_refuses_is_counted_by_its_reason() {
    let pool = pool();
    let core = pool.core();
    let refused: [fn(Batch) -> Refused; 2] = [Refused::Contended, Refused::Closed];
    for (objects, refuse) in [2, 3].into_iter().zip(refused) {
        assert_eq!(pool.prefill(objects), objects);
        let batch = core.empty(false).0;
        let batch = core.count_refused(refuse(batch));
        assert_eq!(batch.len, objects);
        core.drop_batch(batch);
    }
    let by = pool.stats().discarded_by;
    assert_eq!((by.full, by.closed, by.total()), (2, 3, 5));
}

#[test]
fn a_discarded_object_is_counted_and_dropped() {
    let pool = pool();
    for reason in [Reason::User, Reason::Reset] {
        let mut held = held(&pool);
        held.reason = reason;
    }
    let by = pool.stats().discarded_by;
    assert_eq!((by.user, by.reset, by.total()), (1, 1, 2));
    assert_eq!(pool.core().nodes(), 0);
}
