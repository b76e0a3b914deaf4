//! The two counts of references to the core of a typed pool.

#![cfg(not(repool_loom))]

use super::*;
use crate::object::pool::Pool;
use std::process::Command;

/// As with `Arc`: otherwise guards that are forgotten in a loop would end in a use after free.
#[test]
#[cfg_attr(miri, ignore = "starts processes")]
fn a_process_ends_before_a_count_of_references_overflows() {
    const BEFORE: &str = "REPOOL_TEST_REFERENCES";
    if let Ok(before) = std::env::var(BEFORE) {
        let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
        let strong = &pool.core().strong;
        strong.store(before.parse().expect("a number"), Ordering::Relaxed);
        pool.core().retain();
        strong.store(1, Ordering::Relaxed);
        return;
    }
    let this = std::env::current_exe().expect("this binary");
    let most = isize::MAX as usize;
    for (before, survives) in [
        (1, true),
        (most, true),
        (most + 1, false),
        (most + 2, false),
    ] {
        let name = "raw::refs::tests::a_process_ends_before_a_count_of_references_overflows";
        let child = Command::new(&this)
            .args(["--exact", name])
            .env(BEFORE, before.to_string())
            .output()
            .expect("this binary runs");
        assert_eq!(child.status.success(), survives, "{before}: {child:?}");
    }
}

#[test]
fn nodes_are_the_references_but_that_of_the_pool() {
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
    let core = pool.core();
    assert_eq!(core.nodes(), 0);
    let held = [pool.get(), pool.get()];
    assert_eq!(core.nodes(), 2);
    drop(held);
    assert_eq!(core.nodes(), 2, "idle ones as well");
    pool.clear();
    assert_eq!(core.nodes(), 0);
}

#[test]
fn a_core_is_gone_with_its_last_strong_reference() {
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
    let weak = WeakCore::new(pool.core());
    let held = pool.get();
    assert!(!weak.is_gone() && weak.try_retain());
    // SAFETY: the reference that was just added.
    unsafe { Core::release(weak.address()) };
    drop(pool);
    assert!(!weak.is_gone() && weak.try_retain(), "the guard holds one");
    drop(Strong(weak.address()));
    drop(held);
    assert!(weak.is_gone() && !weak.try_retain());
    assert_eq!(weak.strong.load(Ordering::Relaxed), 0);
}

#[test]
fn a_weak_reference_is_counted_until_it_is_dropped() {
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
    let weak = || pool.core().weak.load(Ordering::Relaxed);
    let before = weak();
    let references = [pool.core(), pool.core()].map(WeakCore::new);
    assert_eq!(weak(), before + 2);
    drop(references);
    assert_eq!(weak(), before);
}

#[test]
fn a_closed_pool_is_not_asked_any_more() {
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new)
        .on_pass(|| true)
        .name("asked")
        .trim_manually()
        .build();
    let weak = WeakCore::new(pool.core());
    let strong = || weak.strong.load(Ordering::Relaxed);
    assert_eq!((weak.on_pass(), weak.name()), (true, Some("asked".into())));
    assert_eq!(strong(), 1, "each reference was released");
    let held = pool.get();
    drop(pool);
    assert_eq!((weak.on_pass(), weak.name()), (false, None), "closed");
    drop(held);
    assert_eq!((weak.on_pass(), weak.name()), (false, None), "gone");
    assert_eq!(strong(), 0);
}
