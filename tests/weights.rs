//! What `Recycle` reports that objects hold, compared with a counting allocator.
#![cfg(not(miri))] // sizes of tables depend on what the processor looks at together

#[path = "support/counting.rs"]
#[allow(dead_code, reason = "calls are counted elsewhere")]
mod counting;

use counting::Counting;
use repool::Recycle;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;

#[global_allocator]
static ALLOCATOR: Counting = Counting(note);

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn note(freed: usize, allocated: usize) {
    LIVE.set(LIVE.get() + allocated as isize - freed as isize);
}

/// Returns what a new object holds after `fill` and a recycle: according to the allocator, and to
/// the object.
fn held<T: Recycle>(new: impl FnOnce() -> T, fill: impl FnOnce(&mut T)) -> (usize, usize) {
    let before = LIVE.get();
    let mut object = new();
    fill(&mut object);
    object.recycle();
    let real = usize::try_from(LIVE.get() - before).expect("more freed than allocated");
    (real, object.retained_bytes())
}

/// Within 2 %.
#[track_caller]
fn right<T: Recycle>(what: &str, new: impl FnOnce() -> T, fill: impl FnOnce(&mut T)) {
    let (real, said) = held(new, fill);
    assert!(
        said.abs_diff(real) * 50 <= real,
        "{what}: holds {real} bytes, says {said}"
    );
}

/// Around each size at which a table grows, and some large ones.
fn lengths() -> impl Iterator<Item = usize> {
    let edges = [3, 7, 14, 28, 56, 112, 448, 7_168, 114_688];
    let around = edges
        .into_iter()
        .flat_map(|edge| [edge - 1, edge, edge + 1]);
    [0, 1, 2, 5, 10, 100, 1_000].into_iter().chain(around)
}

#[test]
fn maps_of_every_size_say_what_they_hold() {
    // Small maps used to report 20 to 40 % too little: tables have at least four buckets, control
    // bytes that are probed in groups, and an alignment.
    for len in lengths() {
        let what = format!("{len} entries");
        right(&what, HashMap::<u64, u64>::new, |m| {
            m.extend((0..len as u64).map(|i| (i, i)));
        });
        right(&what, HashMap::<u32, [u8; 100]>::new, |m| {
            m.extend((0..len as u32).map(|i| (i, [0; 100])));
        });
        right(&what, HashSet::<u8>::new, |s| {
            s.extend((0..len).map(|i| i as u8))
        });
        right(&what, HashSet::<u32>::new, |s| s.extend(0..len as u32));
        right(&what, HashMap::<String, Vec<u8>>::new, |m| {
            m.extend((0..len).map(|i| (i.to_string(), vec![1; 10])));
        });
        right(&what, || HashMap::<u16, u16>::with_capacity(len), |_| ());
        right(&what, || HashSet::<u128>::with_capacity(len), |_| ());
    }
}

#[test]
fn what_was_removed_before_the_end_does_not_hide_capacity() {
    right("after removals", HashMap::<u64, u64>::new, |m| {
        m.extend((0..1_000).map(|i| (i, i)));
        m.retain(|key, _| key % 7 == 0);
    });
}

#[test]
fn other_collections_say_what_they_hold() {
    right("vec", Vec::<u64>::new, |v| v.extend(0..1_000));
    right("deque", VecDeque::<u16>::new, |v| v.extend(0..1_000));
    right("heap", BinaryHeap::<u32>::new, |v| v.extend(0..1_000));
    right("string", String::new, |s| s.push_str(&"x".repeat(1_000)));
    right("os string", OsString::new, |s| s.push("x".repeat(1_000)));
    right("path", PathBuf::new, |p| p.push("x".repeat(1_000)));
    right("tree", BTreeMap::<u8, u8>::new, |m| {
        m.extend([(1, 1), (2, 2)])
    });
    right("tree set", BTreeSet::<u8>::new, |s| s.extend([1, 2]));
    right(
        "box",
        || Box::new((0_u64, Vec::<u8>::new())),
        |b| b.1.extend([0; 100]),
    );
    right(
        "array",
        || [const { Vec::<u8>::new() }; 3],
        |a| a[1].extend([0; 99]),
    );
    right(
        "boxed slice",
        || vec![Vec::<u8>::new(); 3].into_boxed_slice(),
        |b| b[1].extend([0; 99]),
    );
    right("list", LinkedList::<u8>::new, |l| l.extend([1, 2]));
    right("option", || Some(vec![0_u8; 100]), |_| ());
    right("rows", Vec::<Vec<u8>>::new, |v| v.push(vec![0; 1_000]));
}

#[cfg(feature = "hashbrown")]
#[test]
fn hashbrowns_maps_say_what_they_hold() {
    for len in lengths() {
        let what = format!("{len} entries");
        right(&what, hashbrown::HashMap::<u64, u16>::new, |m| {
            m.extend((0..len as u64).map(|i| (i, 0)));
        });
        right(&what, hashbrown::HashSet::<u32>::new, |s| {
            s.extend(0..len as u32)
        });
        right(
            &what,
            || hashbrown::HashTable::<u64>::with_capacity(len),
            |_| (),
        );
    }
}

#[cfg(feature = "indexmap")]
#[test]
fn indexmaps_say_what_they_hold() {
    for len in lengths() {
        let what = format!("{len} entries");
        right(&what, indexmap::IndexMap::<u64, u16>::new, |m| {
            m.extend((0..len as u64).map(|i| (i, 0)));
        });
        right(&what, indexmap::IndexSet::<u32>::new, |s| {
            s.extend(0..len as u32);
        });
    }
}

#[cfg(feature = "smallvec")]
#[test]
fn a_smallvec_holds_what_it_has_outgrown_its_array_for() {
    use smallvec::SmallVec;
    right("inline", SmallVec::<[u32; 4]>::new, |v| v.extend(0..4));
    right("spilled", SmallVec::<[u32; 4]>::new, |v| v.extend(0..100));
}

#[cfg(feature = "bytes")]
mod bytes_mut {
    use super::{LIVE, held, right};
    use bytes::{Buf, BufMut, BytesMut};
    use repool::{Pool, Recycle};

    /// A buffer that was completely filled.
    fn full(capacity: usize) -> BytesMut {
        let mut buffer = BytesMut::with_capacity(capacity);
        buffer.put_bytes(1, capacity);
        buffer
    }

    #[test]
    fn what_is_hidden_by_a_view_is_regained_or_not_kept() {
        // 100 MiB were kept under a limit of 64 KiB, and reported as 1000 bytes.
        for capacity in [1, 2, 63, 64, 1_000, 4_096, 1_000_000] {
            for part in [0, 1, capacity / 3, capacity - 1, capacity] {
                let what = format!("{part} of {capacity}");
                let (front, back) = (format!("{what} off the front"), format!("{what} split"));
                regained(&front, capacity, |b| b.advance(part));
                regained(&back, capacity, |b| drop(b.split_to(part)));
                regained(&what, capacity, |b| drop(b.split_off(part)));
                regained(&what, capacity, |b| b.truncate(part));
                regained(&what, capacity, |b| {
                    drop(b.split_off(part));
                    b.advance(part / 2);
                });
                regained(&what, capacity, |b| {
                    let mut tail = b.split_off(part);
                    tail.advance(tail.len() / 2);
                    *b = tail;
                });
            }
        }
    }

    /// The only handle keeps its allocation and reports its size.
    #[track_caller]
    fn regained(what: &str, capacity: usize, change: impl FnOnce(&mut BytesMut)) {
        let (real, said) = held(|| full(capacity), change);
        // A shared allocation has a header as well.
        assert!(
            (said..said + 64).contains(&real),
            "{what}: {real}, says {said}"
        );
        assert_eq!(said, capacity, "{what}");
    }

    #[test]
    fn what_others_still_see_is_left_to_them() {
        for capacity in [1, 64, 1_000, 1_000_000] {
            let mut kept = Vec::new();
            for split in [BytesMut::split_to, BytesMut::split_off] {
                let (real, said) = held(
                    || full(capacity),
                    |b| kept.push(split(b, capacity / 2).freeze()),
                );
                // All of it belongs to the other view.
                assert_eq!(said, 0, "{capacity}: {real}");
            }
            let views: usize = kept.iter().map(|view| view.len()).sum();
            assert_eq!(views, capacity);
            assert!(kept.iter().all(|view| view.iter().all(|&byte| byte == 1)));
        }
    }

    #[test]
    fn a_limit_sees_the_allocation_and_not_the_view() {
        let pool = Pool::builder(BytesMut::new)
            .max_object_bytes(64 << 10)
            .trim_manually()
            .build();
        for way in 0..4 {
            let before = LIVE.get();
            let mut buffer = pool.get();
            *buffer = full(10 << 20);
            match way {
                0 => buffer.advance((10 << 20) - 1_000),
                1 => drop(buffer.split_to((10 << 20) - 1_000)),
                2 => drop(buffer.split_off(1_000)),
                _ => drop(buffer.split()),
            }
            drop(buffer);
            assert_eq!(pool.stats().idle, 0, "way {way}");
            assert!(LIVE.get() - before < 10_000, "way {way} keeps memory");
        }
    }

    #[test]
    fn an_ordinary_one_keeps_its_allocation_without_allocator_calls() {
        let mut buffer = full(4_096);
        let at = buffer.as_ptr();
        for _ in 0..10 {
            assert_eq!(super::counting::calls(|| buffer.recycle()), 0);
            assert_eq!((buffer.len(), buffer.capacity()), (0, 4_096));
            assert_eq!(buffer.as_ptr(), at);
            buffer.put_bytes(2, 100);
        }
        right("with nothing", BytesMut::new, |_| ());
    }
}
