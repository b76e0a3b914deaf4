//! A pool's first use: `raw/root.rs`, as `object/pool.rs` and the entries of a buffer pool use it. The maker of a
//! core writes its payload, which is a tracked cell, so loom reports a thread that sees the core too early.

use super::{Pool, run_model};
use crate::raw::header::Header;
use crate::raw::pool::Core;
use crate::raw::root::Root;
use crate::thread::slow;
use loom::thread;
use std::ptr;
use std::sync::Arc;

/// `Pool::core`.
fn core_of(root: &Root) -> Pool {
    let core = root.core().unwrap_or_else(|| {
        let fresh = Pool::new().0;
        // SAFETY: a new pool, whose reference `Pool::close` gives up at the end of each model.
        let (Ok(core) | Err(core)) = unsafe { root.init(fresh) };
        core
    });
    Pool(ptr::from_ref(core))
}

/// Two threads race for the first use of a pool. Both use one core, and the other one is freed. Fails if the pointer is
/// published without Release, or read without Acquire, also by the slower thread.
#[test]
fn two_first_uses_lead_to_one_core() {
    run_model("two_first_uses_lead_to_one_core", || {
        let root = Arc::new(Root::new());
        let others = root.clone();
        let other = thread::spawn(move || {
            let pool = core_of(&others);
            pool.call();
            pool.create().give_back(Some(1));
            pool.0.addr()
        });
        let pool = core_of(&root);
        pool.call();
        assert_eq!(other.join().unwrap(), pool.0.addr());
        assert!(
            pool.try_get(1)
                .map(|held| held.give_back(Some(1)))
                .is_some()
        );
        pool.close();
    });
}

/// A thread uses a pool for the first time while another one closes it. Nothing stays idle.
#[test]
fn a_first_use_against_close() {
    run_model("a_first_use_against_close", || {
        let root = Arc::new(Root::new());
        let others = root.clone();
        let other = thread::spawn(move || {
            let pool = core_of(&others);
            pool.call();
            pool.get(0).give_back(Some(0));
        });
        // Makes the core if necessary: one that is made later would be open.
        slow::close(core_of(&root).core());
        other.join().unwrap();
        let pool = core_of(&root);
        assert_eq!(pool.core().stats().idle, 0, "idle in a closed pool");
        pool.close();
    });
}

/// An entry is set to a pool. A thread that reads it finds nothing or a complete core, by `core` and by the
/// hit path's `header`. Fails if the pointer is set without Release, or read without Acquire.
#[test]
fn an_entry_leads_nowhere_or_to_a_complete_core() {
    for by_header in [false, true] {
        run_model("an_entry_leads_nowhere_or_to_a_complete_core", move || {
            let entry = Arc::new(Root::new());
            let nowhere = Root::new();
            let others = entry.clone();
            let reading = thread::spawn(move || {
                let found = if by_header {
                    ptr::from_ref(others.header())
                } else {
                    others
                        .core()
                        .map_or(ptr::null(), |core| ptr::from_ref(core).cast::<Header>())
                };
                if found.is_null() || ptr::eq(found, nowhere.header()) {
                    return;
                }
                let pool = Pool(found.cast::<Core>());
                pool.call();
                pool.create().give_back(Some(0));
            });
            // Not used yet: in the models, an owner's fence would publish the core as well.
            let pool = Pool::new();
            // SAFETY: the pool closes after the last use of the entry.
            unsafe { entry.set(pool.core()) };
            reading.join().unwrap();
            pool.close();
        });
    }
}
