//! Values that are made at their first use: `sync/lazy.rs`. The maker of a value writes a tracked cell in it, so loom
//! reports a thread that sees the pointer too early.

use super::run_model;
use crate::sync::lazy::{Lazy, LazyStatic};
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The number of live values in the present iteration.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

struct Value(UnsafeCell<usize>);

// SAFETY: loom checks each access to the cell.
unsafe impl Send for Value {}
// SAFETY: as above.
unsafe impl Sync for Value {}

impl Value {
    fn new(content: usize) -> Self {
        ALIVE.fetch_add(1, SeqCst);
        let value = Self(UnsafeCell::new(0));
        // SAFETY: no other thread has it yet.
        value.0.with_mut(|cell| unsafe { *cell = content });
        value
    }

    fn read(&self) -> usize {
        // SAFETY: loom checks that no thread writes meanwhile.
        self.0.with(|cell| unsafe { *cell })
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: the last holder.
        self.0.with_mut(|cell| unsafe { *cell = 0 });
        ALIVE.fetch_sub(1, SeqCst);
    }
}

/// Two threads race to make a value. Both use the same one, and the other one is dropped. Fails if the pointer is
/// published without Release, or read without Acquire by a reader or by the slower maker.
#[test]
fn two_makers_see_one_lazy_value() {
    run_model("two_makers_see_one_lazy_value", || {
        ALIVE.store(0, SeqCst);
        let lazy = Arc::new(Lazy::new());
        let others = lazy.clone();
        let other = thread::spawn(move || {
            let made = others.get_or_make(|| Arc::new(Value::new(1)));
            assert_ne!(made.read(), 0);
            made.read()
        });
        let mine = lazy.get_or_make(|| Arc::new(Value::new(2))).read();
        let again = lazy.get_or_make(|| unreachable!("there is one")).read();
        assert_eq!((mine, again), (other.join().unwrap(), mine));
        assert_eq!(ALIVE.load(SeqCst), 1, "the slower maker's value leaked");
        drop(lazy);
        assert_eq!(ALIVE.load(SeqCst), 0, "the value leaked");
    });
}

/// A thread that only looks finds nothing or a complete value.
#[test]
fn a_lazy_value_is_complete_or_absent() {
    run_model("a_lazy_value_is_complete_or_absent", || {
        ALIVE.store(0, SeqCst);
        let lazy = Arc::new(Lazy::new());
        let others = lazy.clone();
        let looking =
            thread::spawn(move || others.get().is_none_or(|made: &Value| made.read() == 1));
        assert_eq!(lazy.get_or_make(|| Arc::new(Value::new(1))).read(), 1);
        assert!(looking.join().unwrap());
        drop(lazy);
        assert_eq!(ALIVE.load(SeqCst), 0);
    });
}

/// The same for a static, whose storage one of the makers claims.
#[test]
fn two_makers_see_one_static_value() {
    run_model("two_makers_see_one_static_value", || {
        ALIVE.store(0, SeqCst);
        // Never freed, like a static.
        let value: &'static LazyStatic<Value> = Box::leak(Box::new(LazyStatic::new()));
        let look = move || {
            let made = value.get(|| Value::new(3));
            assert_eq!(made.read(), 3);
            std::ptr::from_ref(made).addr()
        };
        let other = thread::spawn(look);
        let mine = look();
        assert_eq!(mine, other.join().unwrap());
        assert_eq!(ALIVE.load(SeqCst), 1);
    });
}
