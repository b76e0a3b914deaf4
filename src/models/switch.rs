//! Pools that are switched off and on: against an owner, a pass, and another thread that switches.

use super::{NODES, Pool, explore_deeper, run_model};
use crate::background::manual;
use crate::sync::lazy::Lazy;
use crate::sync::switch::Switch;
use crate::sys::memory::Level;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// Asserts, at rest, that a pool keeps and reuses objects exactly if it is on.
fn assert_switched(pool: Pool, on: bool) {
    assert_eq!(pool.core().is_enabled(), on);
    assert_eq!(pool.core().off_counter().is_none(), on, "gets disagree");
    let before = NODES.load(SeqCst);
    pool.create().give_back(Some(0));
    assert_eq!(NODES.load(SeqCst) > before, on, "returns disagree");
    let found = pool.try_get(0);
    assert_eq!(found.is_some(), on);
    if let Some(found) = found {
        found.give_back(Some(0));
    }
}

/// A pool is switched off while its owner gets and returns an object. Afterwards it keeps no more, and `clear` drops
/// what it has. Fails if a gate stays open.
#[test]
fn switching_off_against_get_and_return() {
    run_model("switching_off_against_get_and_return", || {
        let pool = Pool::new().register(0);
        pool.create().give_back(Some(0));
        let owner = thread::spawn(move || pool.get(0).give_back(Some(0)));
        pool.core().set_enabled(false);
        owner.join().unwrap();
        assert_switched(pool, false);
        let _ = pool.core().clear();
        assert_eq!(NODES.load(SeqCst), 0, "idle after a clear");
        pool.core().set_enabled(true);
        assert_switched(pool, true);
        pool.close();
    });
}

/// A pass moves objects while the pool is switched off and on. No object and no charge is lost.
#[test]
fn switching_against_a_pass() {
    run_model("switching_against_a_pass", || {
        let pool = Pool::bounded(2).register(0);
        pool.create().give_back(Some(0));
        let _ = manual::pass(pool.core(), Level::Normal);
        let passing = thread::spawn(move || _ = manual::pass(pool.core(), Level::Normal));
        pool.core().set_enabled(false);
        pool.core().set_enabled(true);
        passing.join().unwrap();
        assert_switched(pool, true);
        let _ = pool.core().clear();
        let (one, two) = (pool.create(), pool.create());
        one.give_back(Some(0));
        two.give_back(Some(0));
        assert_eq!(NODES.load(SeqCst), 2, "a charge has leaked");
        pool.close();
    });
}

/// Two threads switch a pool at the same time. In the end its state, gates, gets and returns agree.
#[test]
fn two_threads_that_switch_at_once_agree() {
    for first in [false, true] {
        run_model("two_threads_that_switch_at_once_agree", move || {
            let pool = Pool::new().register(0);
            pool.core().set_enabled(first);
            let other = thread::spawn(move || pool.core().set_enabled(true));
            pool.core().set_enabled(false);
            other.join().unwrap();
            assert_switched(pool, pool.core().is_enabled());
            pool.close();
        });
    }
}

/// A thread registers with a pool while that is switched off.
#[test]
fn switching_off_against_a_registration() {
    run_model("switching_off_against_a_registration", || {
        let pool = Pool::new();
        let registering = thread::spawn(move || pool.create().give_back(Some(0)));
        pool.core().set_enabled(false);
        registering.join().unwrap();
        assert_switched(pool, false);
        pool.core().set_enabled(true);
        assert_switched(pool, true);
        pool.close();
    });
}

/// The parts of a buffer pool that are switched (`buffer/inner.rs`).
struct Classes {
    enabled: Switch,
    /// Needed while the pool is off, and made by the thread that switches it off.
    off: Lazy<usize>,
    /// What gets read: the content of `off` while the pool is off, or 0.
    is_off: AtomicUsize,
    /// Whether the pool's only class is on. A class is made at its first use.
    class: Lazy<AtomicUsize>,
}

impl Classes {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            enabled: Switch::new(true),
            off: Lazy::new(),
            is_off: AtomicUsize::new(0),
            class: Lazy::new(),
        })
    }

    /// `Inner::set_enabled`.
    fn set_enabled(&self, on: bool) {
        if !on {
            self.off.get_or_make(|| Arc::new(1));
        }
        self.enabled.set(on);
        self.enabled.apply(|on| {
            let off = self.off.get().filter(|_| !on);
            self.is_off
                .store(off.copied().unwrap_or(0), Ordering::Release);
        });
        if let Some(class) = self.class.get() {
            self.switch(class);
        }
    }

    /// The first use of the class.
    fn make_class(&self) {
        let class = self.class.get_or_make(|| Arc::new(AtomicUsize::new(1)));
        self.switch(class);
    }

    fn switch(&self, class: &AtomicUsize) {
        let switch = |on| class.store(usize::from(on), Ordering::Relaxed);
        self.enabled.apply(switch);
    }
}

/// A class is made while its pool is switched off, and ends up off. Fails if a thread applies the switch without
/// AcqRel.
#[test]
fn a_class_made_during_a_switch_is_switched() {
    run_model("a_class_made_during_a_switch_is_switched", || {
        let classes = Classes::new();
        let others = classes.clone();
        let making = thread::spawn(move || others.make_class());
        classes.set_enabled(false);
        making.join().unwrap();
        let class = classes.class.get().expect("made");
        assert_eq!(class.load(Ordering::Relaxed), 0, "on in a pool that is off");
    });
}

/// Two threads switch a pool at the same time. What gets read agrees with the switch in the end. Fails if the switch
/// is set without Release.
#[test]
fn gets_agree_with_the_last_switch() {
    explore_deeper("gets_agree_with_the_last_switch", 4, || {
        let classes = Classes::new();
        let others = classes.clone();
        let other = thread::spawn(move || others.set_enabled(true));
        classes.set_enabled(false);
        other.join().unwrap();
        let is_off = classes.is_off.load(Ordering::Acquire) == 1;
        assert_ne!(is_off, classes.enabled.is_on());
    });
}
