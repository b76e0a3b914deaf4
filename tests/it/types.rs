//! What the types promise by themselves: auto traits, sizes, what a guard forwards.

use super::support::manual;
use repool::{Builder, Discarded, Pool, Pooled, Stats, Trimmed};
use static_assertions::{assert_eq_size, assert_impl_all, assert_not_impl_any};
use std::cell::Cell;
use std::fmt::{Debug, Display};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::MutexGuard;

// A27: a pool of something that is `Send` and not `Sync` is both.
assert_impl_all!(Pool<Cell<u8>>: Send, Sync, Debug);
assert_impl_all!(Pool<Vec<u8>>: Send, Sync, UnwindSafe, RefUnwindSafe);
// A27: a guard sends an object, and shares it only if the object can be shared.
assert_impl_all!(Pooled<Cell<u8>>: Send, Debug);
assert_not_impl_any!(Pooled<Cell<u8>>: Sync, Clone, Copy);
assert_impl_all!(Pooled<String>: Send, Sync, Debug, Display, AsRef<str>, AsRef<[u8]>, UnwindSafe);
assert_impl_all!(Pooled<Vec<u8>>: AsMut<[u8]>);
assert_not_impl_any!(Pooled<Cell<u8>>: Display);
// A27: what a pool's bound keeps out: neither of these is `Send`. (That `Pool<Rc<u8>>` does not
// compile is a doctest of `Pool`.)
assert_not_impl_any!(Rc<u8>: Send);
assert_not_impl_any!(MutexGuard<'static, u8>: Send);
assert_impl_all!(Builder<Cell<u8>>: Send, Sync);
assert_impl_all!(Stats: Send, Sync, Copy, Default, Debug, Display);
assert_impl_all!(Trimmed: Send, Sync, Copy, Default, Debug);
assert_impl_all!(Discarded: Send, Sync, Copy, Default, Debug);

// A guard is one pointer wide, whatever it guards, and so is an optional one.
assert_eq_size!(Pooled<[u8; 100_000]>, usize);
assert_eq_size!(Option<Pooled<[u8; 100_000]>>, usize);
assert_eq_size!(Pooled<()>, usize);
assert_eq_size!(Option<Pooled<()>>, usize);

// `Pool<Vec<u8>>` is nameable without a second parameter, and made in a `const` context.
const fn empty() -> Scratch {
    Pool::new(Vec::new)
}
type Scratch = Pool<Vec<u8>>;

fn is_static<T: 'static>(_: &T) {}

#[test]
fn a_guard_is_static_and_sharing_it_shares_the_object() {
    // A27: a guard that borrows from its pool could not outlive it.
    let pool: Scratch = const { empty() };
    let mut guard = pool.get();
    is_static(&guard);
    guard.push(1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(guard.len(), 1));
        }
    });
}

#[test]
fn a_guard_of_a_cell_is_sent() {
    // A27: the bound is `Send`, not `Sync`.
    let pool = manual(|| Cell::new(1u8)).reset(|_| true).build();
    let guard = pool.get();
    let guard = std::thread::spawn(move || {
        guard.set(2);
        guard
    });
    assert_eq!(guard.join().expect("no panic").get(), 2);
}

#[test]
fn a_guard_speaks_for_its_object() {
    // What a guard forwards: a `{}` or an `AsRef` that shows the guard instead.
    let pool = manual(String::new).build();
    let mut guard = pool.get();
    guard.push_str("abc");
    assert_eq!(format!("{guard} {guard:?}"), "abc \"abc\"");
    assert_eq!(AsRef::<str>::as_ref(&guard), "abc");
    let bytes = manual(Vec::<u8>::new).build();
    let mut guard = bytes.get();
    guard.push(1);
    AsMut::<[u8]>::as_mut(&mut guard)[0] = 2;
    assert_eq!(*guard, [2]);
}

#[test]
fn a_pool_shows_its_name_and_figures() {
    // What one reads in a log.
    let pool = manual(String::new).name("lines").build();
    assert_eq!(pool.name(), Some("lines"));
    drop(pool.get());
    let shown = format!("{pool:?}");
    assert!(
        shown.contains("lines") && shown.contains("idle: 1"),
        "{shown}"
    );
    let line = pool.stats().to_string();
    assert!(line.contains("1 idle") && !line.contains('\n'), "{line}");
}
