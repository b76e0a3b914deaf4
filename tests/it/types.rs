//! Compile-time promises of the types: auto traits, sizes, what a guard forwards.

use super::support::manual;
use repool::{Builder, Discarded, Pool, Pooled, Stats, Trimmed};
use static_assertions::{assert_eq_size, assert_impl_all, assert_not_impl_any};
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::MutexGuard;

// A pool of something that is `Send` and not `Sync` is both.
assert_impl_all!(Pool<Cell<u8>>: Send, Sync, Debug);
assert_impl_all!(Pool<Vec<u8>>: Send, Sync, UnwindSafe, RefUnwindSafe);
// A guard sends an object, and shares it only if the object can be shared.
assert_impl_all!(Pooled<Cell<u8>>: Send, Debug);
assert_not_impl_any!(Pooled<Cell<u8>>: Sync, Clone, Copy);
assert_impl_all!(Pooled<String>: Send, Sync, Debug, Display, AsRef<str>, AsRef<[u8]>, UnwindSafe);
assert_impl_all!(Pooled<Vec<u8>>: AsMut<[u8]>);
assert_not_impl_any!(Pooled<Cell<u8>>: Display);
// What a pool's bound keeps out: neither of these is `Send`. (That `Pool<Rc<u8>>` does not
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

/// A pointer to its core, and what the core is created from: a name and two functions. `ci/sanitizers.sh layout` skips
/// this: with fields in random order, a pool may need another word.
#[test]
fn a_pool_is_six_words_wide() {
    assert_eq!(size_of::<Pool<[u8; 100_000]>>(), size_of::<[usize; 6]>());
}

fn is_static<T: 'static>(_: &T) {}

#[test]
fn a_guard_is_static_and_sharing_it_shares_the_object() {
    // A guard that borrows from its pool could not outlive it.
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
    // The bound is `Send`, not `Sync`.
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
fn a_guard_compares_as_its_object_does() {
    /// On either side: a custom `!=` may differ from `!(==)`.
    fn same<A: PartialEq<B>, B: PartialEq<A>>(a: A, b: B, expected: bool) {
        assert_eq!((a == b, b == a), (expected, expected));
        assert_eq!((a != b, b != a), (!expected, !expected));
    }
    let lines = manual(String::new).build();
    let (mut a, mut b) = (lines.get(), lines.get());
    a.push_str("abc");
    b.push_str("abd");
    same(&a, &a, true);
    same(&a, &b, false);
    let later = String::from("abd");
    assert!(a < b && a.cmp(&b).is_lt() && a < later);
    let line = lines.attach("abc".into());
    same(line, "abc", true);
    same(lines.attach("abc".into()), "abd", false);
    same(lines.attach("abc".into()), String::from("abc"), true);
    assert!(a == *"abc");
    assert!(*"abc" == a);
    let bytes = manual(Vec::<u8>::new).build();
    same(bytes.attach(vec![1, 2]), [1, 2], true);
    same(bytes.attach(vec![1, 2]), [2, 1], false);
    same(bytes.attach(vec![1, 2]), vec![1, 2], true);
    let array = &[1, 2];
    same(bytes.attach(vec![1, 2]), array, true);
    same(bytes.attach(vec![1, 2]), &[1, 2][..], true);
    assert!(bytes.attach(vec![1]) == [1][..] && [1][..] == bytes.attach(vec![1]));
    // Plain numbers are objects, too.
    let numbers = manual(|| 1u64).build();
    assert!(numbers.get() == 1 && numbers.get() < 2);
}

#[test]
fn a_guard_is_a_key_as_its_object_is() {
    // `Hash` and `Borrow` have to agree.
    let lines = manual(|| String::from("key")).build();
    let mut map = HashMap::new();
    assert!(map.insert(lines.get(), 1).is_none());
    assert_eq!(map.get(&String::from("key")), Some(&1));
    let mut tree = std::collections::BTreeSet::new();
    assert!(tree.insert(lines.get()));
    assert!(tree.contains(&String::from("key")));
}

#[test]
fn a_guard_is_iterated_by_reference_and_extended() {
    let pool = manual(Vec::<u32>::new).build();
    let mut guard = pool.get();
    Extend::extend(&mut guard, [1, 2, 3]);
    Extend::<&u32>::extend(&mut guard, &[4]);
    for number in &mut guard {
        *number += 1;
    }
    let mut sum = 0;
    for number in &guard {
        sum += number;
    }
    assert_eq!(sum, 2 + 3 + 4 + 5);
    let maps = manual(HashMap::<u8, u8>::new).build();
    let mut map = maps.get();
    map.extend([(1, 2)]);
    for (_, value) in &mut map {
        *value = 7;
    }
    assert_eq!((&map).into_iter().collect::<Vec<_>>(), [(&1, &7)]);
}

#[test]
fn a_guard_reads_and_writes_as_its_object_does() {
    use std::fmt::Write as _;
    use std::io::{BufRead, Cursor, Read, Seek, SeekFrom, Write};
    // Through a bound, where `Deref` does not help.
    fn write(mut into: impl Write) {
        into.write_all(b"one\n").unwrap();
        writeln!(into, "{}", 2).unwrap();
        into.flush().unwrap();
    }
    fn read(mut from: impl BufRead) -> (String, String) {
        let (mut line, mut rest) = (String::new(), String::new());
        from.read_line(&mut line).unwrap();
        from.read_to_string(&mut rest).unwrap();
        (line, rest)
    }
    fn say(mut into: impl std::fmt::Write) {
        write!(into, "{}", 3).unwrap();
    }
    let pool = manual(|| Cursor::new(Vec::new())).reset(|_| true).build();
    let mut guard = pool.get();
    write(&mut guard);
    assert_eq!(guard.seek(SeekFrom::Start(0)).unwrap(), 0);
    let mut first = [0; 1];
    Read::read_exact(&mut guard, &mut first).unwrap();
    assert_eq!(first, *b"o");
    assert_eq!(read(guard), ("ne\n".to_owned(), "2\n".to_owned()));
    let bytes = manual(Vec::<u8>::new).build();
    write(bytes.get());
    let lines = manual(String::new).build();
    let mut line = lines.get();
    say(&mut line);
    line.write_char('!').unwrap();
    assert_eq!(line, "3!");
}

#[cfg(feature = "bytes")]
#[test]
fn a_guard_is_a_buffer_as_its_object_is() {
    use bytes::{Buf, BufMut, BytesMut};
    fn fill(mut into: impl BufMut) {
        into.put_u16(258);
        into.put_slice(&[3]);
        into.put_bytes(4, 2);
        into.put(&[5, 6][..]);
    }
    fn drain(mut from: impl Buf) -> (u8, usize, Vec<u8>) {
        let first = from.get_u8();
        let left = from.remaining();
        (first, left, from.copy_to_bytes(left).to_vec())
    }
    let pool = manual(BytesMut::new).build();
    let mut guard = pool.get();
    fill(&mut guard);
    assert_eq!(drain(guard), (1, 6, vec![2, 3, 4, 4, 5, 6]));
    let bytes = manual(Vec::<u8>::new).build();
    let mut guard = bytes.get();
    fill(&mut guard);
    assert_eq!(guard, [1, 2, 3, 4, 4, 5, 6]);
}

#[cfg(feature = "serde")]
#[test]
fn a_guard_is_serialized_as_its_object_is() {
    let pool = manual(Vec::<u8>::new).build();
    let mut guard = pool.get();
    guard.extend([1, 2]);
    assert_eq!(serde_json::to_string(&guard).unwrap(), "[1,2]");
}

#[test]
fn two_fields_of_an_object_are_borrowed_at_once() {
    // Through a guard, each use of `Deref` borrows the whole object.
    let pool = manual(<(String, Vec<usize>)>::default).build();
    let mut guard = pool.get();
    guard.0.push_str("a b");
    let (text, ends) = &mut *guard;
    ends.extend(text.split(' ').map(str::len));
    assert_eq!(guard.1, [1, 1]);
}

#[test]
fn a_pool_shows_its_name_and_state() {
    // What a log shows.
    let pool = manual(String::new).name("lines").build();
    assert_eq!(pool.name(), Some("lines"));
    drop(pool.get());
    let shown = format!("{pool:?}");
    assert_eq!(shown, r#"Pool { name: Some("lines"), enabled: true, .. }"#);
    let line = pool.stats().to_string();
    assert!(line.contains("1 idle") && !line.contains('\n'), "{line}");
}
