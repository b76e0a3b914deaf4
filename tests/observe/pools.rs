//! The list of named pools.

use super::n;
use repool::{Pool, PoolInfo, PoolKind, pools};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Returns the pools whose names start with `prefix`: tests run in parallel in one process.
fn named(prefix: &str) -> Vec<PoolInfo> {
    let mut all = pools();
    all.retain(|pool| pool.name.starts_with(prefix));
    all
}

#[test]
fn a_pool_is_listed_from_its_first_use_until_it_is_dropped() {
    let pool = Pool::builder(Vec::<u8>::new).name("life").build();
    assert_eq!(named("life"), []);
    let object = pool.get();
    let listed = named("life");
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].kind, listed[0].enabled),
        (PoolKind::Objects, true)
    );
    assert_eq!(listed[0].stats, pool.stats());
    assert_eq!(listed[0].stats.in_use, 1);
    pool.set_enabled(false);
    assert!(!named("life")[0].enabled);
    drop(pool);
    assert_eq!(named("life"), []);
    drop(object);
    assert_eq!(named("life"), []);
}

#[test]
fn const_pools_can_have_a_name() {
    static OWN: Pool<String> = Pool::named("const-own", String::new);
    static FOREIGN: Pool<[u8; 9]> =
        Pool::named_with_reset("const-foreign", || [1; 9], |bytes| bytes[0] != 7);
    assert_eq!(
        (OWN.name(), FOREIGN.name()),
        (Some("const-own"), Some("const-foreign"))
    );
    drop((OWN.get(), FOREIGN.get()));
    FOREIGN.get()[0] = 7;
    let listed = named("const-");
    assert_eq!(listed.len(), 2);
    assert_eq!(
        (&*listed[0].name, &*listed[1].name),
        ("const-foreign", "const-own")
    );
    assert_eq!(listed[0].stats.discarded_by.reset, 1);
    assert_eq!(listed[1].stats.idle, 1);
}

#[test]
fn a_pool_without_a_name_is_not_listed() {
    const MANY: usize = n(100, 20);
    let before = pools().len();
    let pool = Pool::<Vec<u8>>::new(Vec::new);
    drop(pool.get());
    assert!(pools().iter().all(|pool| !pool.name.is_empty()));
    // Other tests come and go meanwhile; none of them can hide one of so many pools.
    let unnamed: Vec<_> = (0..MANY).map(|_| Pool::<Vec<u8>>::new(Vec::new)).collect();
    unnamed.iter().for_each(|pool| drop(pool.get()));
    assert!(pools().len() < before + MANY);
}

#[test]
fn two_pools_of_one_name_are_two_lines() {
    let build = || Pool::builder(Vec::<u8>::new).name("twins").build();
    let (one, two) = (build(), build());
    drop((one.get(), one.get(), two.get()));
    let mut idle: Vec<_> = named("twins").iter().map(|pool| pool.stats.idle).collect();
    idle.sort_unstable();
    assert_eq!(idle, [1, 2]);
}

#[test]
fn a_line_says_name_kind_and_figures() {
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(76))
        .name("lines")
        .build();
    drop(pool.get());
    let line = named("lines")[0].to_string();
    let figures = "0 in use, 1 idle (100 bytes), 1 created, 0 reused (0.0 % hits)";
    assert!(
        line.starts_with(&format!("lines (objects): {figures}")),
        "{line}"
    );
    pool.set_enabled(false);
    assert!(
        named("lines")[0]
            .to_string()
            .starts_with("lines (objects, off): ")
    );
    let forged = Pool::<String>::builder(String::new)
        .name("one\nERROR two")
        .build();
    drop(forged.get());
    let line = named("one")[0].to_string();
    assert!(line.starts_with("one\\nERROR two (objects): "), "{line}");
    assert_eq!(line.lines().count(), 1);
}

#[cfg(feature = "bumpalo")]
#[test]
fn arena_pools_are_listed_once_and_count_what_they_do_while_off() {
    use repool::ArenaPool;
    static ARENAS: ArenaPool = ArenaPool::named("arenas-const");
    assert_eq!(ARENAS.name(), Some("arenas-const"));
    let built = ArenaPool::builder().name("arenas-built").build();
    let local = ArenaPool::named("arenas-local");
    for pool in [&ARENAS, &built, &local] {
        drop(pool.get());
        pool.set_enabled(false);
        drop((pool.get(), pool.get()));
    }
    let listed = named("arenas-");
    assert_eq!(listed.len(), 3, "{listed:?}");
    for pool in &listed {
        assert_eq!((pool.kind, pool.enabled), (PoolKind::Arenas, false));
        assert!(!pool.stats.unweighed);
        assert_eq!((pool.stats.created, pool.stats.idle), (3, 1));
        assert_eq!(pool.stats.discarded_by.switched_off, 2);
    }
    assert_eq!(listed[2].stats, local.stats());
    drop((built, local));
    assert_eq!(named("arenas-").len(), 1);
    drop(ArenaPool::global().get());
    assert_eq!(ArenaPool::global().name(), Some("global"));
    assert!(
        named("global")
            .iter()
            .any(|pool| pool.kind == PoolKind::Arenas)
    );
}

#[cfg(feature = "bytes")]
#[test]
fn buffer_pools_are_listed_with_all_their_classes() {
    use repool::BufferPool;
    static BUFFERS: BufferPool = BufferPool::named("buffers-const");
    assert_eq!(BUFFERS.name(), Some("buffers-const"));
    let built = BufferPool::builder().name("buffers-built").build();
    let local = BufferPool::named("buffers-local");
    assert_eq!(named("buffers-").len(), 1, "the others are not used yet");
    for pool in [&BUFFERS, &built, &local] {
        drop((pool.get(100), pool.get(1000)));
        drop(pool.get(100));
    }
    let listed = named("buffers-");
    assert_eq!(listed.len(), 3, "{listed:?}");
    for pool in &listed {
        assert_eq!((pool.kind, pool.enabled), (PoolKind::Buffers, true));
        let (stats, bytes) = (&pool.stats, 112 + 1024);
        assert_eq!(
            (stats.created, stats.reused, stats.idle_bytes),
            (2, 1, bytes)
        );
    }
    local.set_enabled(false);
    drop(local.get(100));
    assert!(!named("buffers-local")[0].enabled);
    assert_eq!(named("buffers-local")[0].stats, local.stats());
    drop((built, local));
    assert_eq!(named("buffers-").len(), 1);
    drop(BufferPool::global().get(1));
    let global = named("global")
        .into_iter()
        .find(|pool| pool.kind == PoolKind::Buffers);
    assert!(global.is_some());
}

/// While pools are created, dropped and used on other threads, the list only shows complete pools.
#[test]
fn pools_come_and_go_while_they_are_listed() {
    let stop = AtomicBool::new(false);
    let lasting = Pool::builder(Vec::<u8>::new).name("churn-lasting").build();
    drop(lasting.get());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    let pools: Vec<_> = (0..10)
                        .map(|_| Pool::builder(|| vec![0u8; 9]).name("churn").build())
                        .collect();
                    pools.iter().for_each(|pool| drop(pool.get()));
                    drop(lasting.get());
                }
            });
        }
        let mut reused = 0;
        for _ in 0..n(300, 10) {
            let listed = named("churn");
            assert!(listed.len() <= 21);
            let last = listed.last().expect("the lasting one");
            assert_eq!(last.name, "churn-lasting");
            assert!(last.stats.reused >= reused, "a counter that goes back");
            reused = last.stats.reused;
        }
        stop.store(true, SeqCst);
    });
    assert_eq!(named("churn").len(), 1);
}

/// Ten thousand dropped pools leave nothing behind, and the remaining ones are found.
#[test]
fn pools_that_have_gone_are_not_kept() {
    const MANY: usize = n(100, 20);
    for round in 0..n(100, 2) {
        let pools: Vec<_> = (0..MANY)
            .map(|_| Pool::builder(Vec::<u8>::new).name("gone").build())
            .collect();
        pools.iter().for_each(|pool| drop(pool.get()));
        assert_eq!(named("gone").len(), MANY, "round {round}");
    }
    assert_eq!(named("gone"), []);
}

/// A child lists its parent's pools, even if threads of the parent were adding and removing some.
#[cfg(all(unix, not(miri)))]
#[test]
fn a_forked_child_lists_pools() {
    let stop = AtomicBool::new(false);
    let pools: Vec<_> = (0..64)
        .map(|_| Pool::builder(Vec::<u8>::new).name("fork-kept").build())
        .collect();
    pools.iter().for_each(|pool| drop(pool.get()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    let pool = Pool::builder(Vec::<u8>::new).name("fork-gone").build();
                    drop(pool.get());
                }
            });
        }
        for _ in 0..20 {
            // SAFETY: the child uses pools and the allocator only, and leaves by `_exit`.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // Two threads can have locked two of sixteen parts.
                let kept = named("fork-kept").len();
                let fresh = Pool::builder(Vec::<u8>::new).name("fork-fresh").build();
                drop(fresh.get());
                let ok = kept >= 32 && named("fork-fresh").len() == 1;
                // SAFETY: ends the child.
                unsafe { libc::_exit(i32::from(!ok)) };
            }
            let mut status = 0;
            // SAFETY: our own child; `status` is valid.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(status, 0);
        }
        stop.store(true, SeqCst);
    });
}

/// Listing pools costs their users nothing: they still find what they get.
#[test]
fn listing_pools_locks_no_user_out() {
    const REQUESTS: u64 = n(200_000, 200) as u64;
    let pool = Pool::builder(|| vec![0_u8; 100])
        .name("listed-while-busy")
        .trim_manually()
        .build();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..REQUESTS).for_each(|_| pool.get().push(1));
            done.store(true, SeqCst);
        });
        while !done.load(SeqCst) {
            let listed = named("listed-while-busy");
            assert!(listed.iter().all(|pool| pool.stats.in_use <= 2));
        }
    });
    let stats = pool.stats();
    assert_eq!(stats.created + stats.reused, REQUESTS);
    assert!(stats.created < 20, "{stats}");
}
