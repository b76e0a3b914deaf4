//! bumpalo's own tests of a `Bump`, run on an `Arena`, under their names there, in a new arena and
//! in arenas that have served requests before. Those of the allocation limit are in `limit.rs`;
//! those that need a `&mut Bump`, which an arena does not give, are left out.

use super::{fill, manual};
use bumpalo::Bump;
use bumpalo::collections::{CollectIn, String as BumpString, Vec as BumpVec};
use proptest::prelude::*;
use std::alloc::Layout;
use std::ops::Range;

const fn n(full: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { full }
}

/// Runs the claim in arenas with different histories.
fn in_any(claim: impl Fn(&Bump)) {
    for before in [0, 100, 5_000, 100_000] {
        let pool = manual();
        if before > 0 {
            fill(&pool.get(), before);
        }
        for _ in 0..n(3, 2) {
            claim(&pool.get());
        }
    }
}

fn range_of<T>(value: &T) -> Range<usize> {
    let start = std::ptr::from_ref(value).addr();
    start..start + size_of::<T>()
}

fn assert_apart(mut ranges: Vec<Range<usize>>) {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    assert!(ranges.windows(2).all(|two| two[0].end <= two[1].start));
}

fn chunks(arena: &Bump) -> Vec<Range<usize>> {
    // SAFETY: nothing is allocated while the iterator is alive, and nothing is read.
    let raw = unsafe { arena.iter_allocated_chunks_raw() };
    raw.map(|(start, len)| start.addr()..start.addr() + len)
        .collect()
}

// ------------------------------------------------------------------------- tests.rs

#[test]
fn can_iterate_over_allocated_things() {
    let most = n(131_072, 1_024) as u64;
    in_any(|arena| {
        let all: Vec<&u64> = (0..most).map(|number| &*arena.alloc(number)).collect();
        let held: usize = chunks(arena).iter().map(Range::len).sum();
        // Chunks that were too small for the first value are empty.
        assert_eq!(held, all.len() * size_of::<u64>());
        for (number, at) in all.iter().enumerate() {
            assert_eq!(**at, number as u64);
        }
    });
}

#[test]
#[cfg_attr(miri, ignore = "Miri ends at an allocation that fails")]
#[should_panic(expected = "out of memory")]
fn oom_instead_of_bump_pointer_overflow() {
    let arena = manual().get();
    let at = std::ptr::from_ref(arena.alloc(0_u8)).addr();
    let size = (isize::MAX as usize) - at + 1;
    let layout = Layout::from_size_align(size, 1).expect("no larger than isize::MAX");
    arena.alloc_layout(layout);
}

#[test]
fn force_new_chunk_fits_well() {
    in_any(|arena| {
        for size in [1, 100_001, 100_003] {
            fill(arena, size);
        }
    });
}

#[test]
fn alloc_with_strong_alignment() {
    in_any(|arena| {
        let layout = Layout::from_size_align(4096, 64).expect("fine");
        assert_eq!(arena.alloc_layout(layout).addr().get() % 64, 0);
    });
}

#[test]
fn alloc_slice_copy() {
    in_any(|arena| {
        let from: &[u16] = &[0xFEED, 0xFACE, 0xA7, 0xCAFE];
        assert_eq!(arena.alloc_slice_copy(from), from);
    });
}

#[test]
fn alloc_slice_clone() {
    // They own no heap memory, which would leak.
    #[derive(Clone, Debug, PartialEq)]
    enum Word {
        Short([u8; 3]),
        None,
    }
    in_any(|arena| {
        let from = [Word::Short([1, 2, 3]), Word::None, Word::Short([4; 3])];
        assert_eq!(arena.alloc_slice_clone(&from), from);
    });
}

#[test]
fn small_size_and_large_align() {
    in_any(|arena| {
        let layout = Layout::from_size_align(1, 0x1000).expect("fine");
        assert_eq!(arena.alloc_layout(layout).addr().get() % 0x1000, 0);
    });
}

#[test]
fn with_capacity_test() {
    for first in [0, 1, 8, 11, 0x1000, 0x12345] {
        let pool = repool::ArenaPool::builder()
            .first_chunk(first)
            .trim_manually()
            .build();
        for _ in 0..2 {
            let arena = pool.get();
            let most = n(1_000, 300) as u128;
            let numbers: Vec<&u128> = (0..most).map(|number| &*arena.alloc(number)).collect();
            assert!(numbers.into_iter().copied().eq(0..most));
        }
    }
}

#[test]
fn test_reset() {
    // An arena's reset promises more: one chunk, in which everything fits.
    let pool = manual();
    let count = |arena: &Bump| {
        for number in 0..n(10_000, 1_024) as u64 {
            arena.alloc(number);
        }
        chunks(arena).len()
    };
    assert!(count(&pool.get()) > 1);
    assert_eq!(count(&pool.get()), 1);
}

#[test]
fn test_alignment() {
    in_any(|arena| {
        for align in [2, 4, 8, 16, 32, 64] {
            let layout = Layout::from_size_align(align, align).expect("fine");
            for _ in 0..n(1_024, 32) {
                assert_eq!(arena.alloc_layout(layout).addr().get() % align, 0);
            }
        }
    });
}

#[test]
fn test_chunk_capacity() {
    in_any(|arena| {
        let before = arena.chunk_capacity();
        arena.alloc(true);
        assert!(arena.chunk_capacity() < before);
    });
}

// ------------------------------------------------------------------------- alloc_with.rs, alloc_try_with.rs, alloc_fill.rs

#[test]
fn alloc_with_large_array() {
    in_any(|arena| {
        let array = arena.alloc_with(|| [4_u8; 100_000]);
        assert_eq!(array[..], [4_u8; 100_000][..]);
    });
}

#[test]
fn alloc_try_with_gives_the_memory_of_an_error_back() {
    in_any(|arena| {
        let before = *arena.alloc(7_u64);
        let free = arena.chunk_capacity();
        let refused = arena.alloc_try_with(|| Err::<[u8; 64], &str>("no"));
        assert_eq!(refused, Err("no"));
        assert_eq!(arena.chunk_capacity(), free);
        assert_eq!(
            arena.alloc_try_with(|| Ok::<_, ()>([1_u8; 64])),
            Ok(&mut [1_u8; 64])
        );
        assert_eq!(before, 7);
    });
}

#[test]
fn alloc_slice_fill_zero() {
    in_any(|arena| {
        let none: &[u64] = arena.alloc_slice_fill_with(0, |_| unreachable!("there is none"));
        assert!(none.is_empty());
        assert_eq!(arena.alloc_slice_fill_copy(3, 5_u16), [5, 5, 5]);
        assert_eq!(arena.alloc_slice_fill_iter([1, 2, 3]), [1, 2, 3]);
        assert_eq!(arena.alloc_slice_fill_default::<u8>(2), [0, 0]);
    });
}

#[test]
fn alloc_slice_try_fill_with_gives_the_memory_of_an_error_back() {
    in_any(|arena| {
        let free = arena.chunk_capacity();
        let refused =
            arena.alloc_slice_try_fill_with(10, |at| if at < 5 { Ok(at) } else { Err(at) });
        assert_eq!(refused, Err(5));
        assert_eq!(arena.chunk_capacity(), free);
    });
}

// ------------------------------------------------------------------------- vec.rs, string.rs, collect_in.rs

#[test]
fn push_a_bunch_of_items() {
    in_any(|arena| {
        let most = n(10_000, 200);
        let mut numbers = BumpVec::new_in(arena);
        for number in 0..most {
            numbers.push(number);
        }
        assert!(numbers.iter().copied().eq(0..most));
    });
}

#[test]
fn into_bump_slice_mut() {
    in_any(|arena| {
        let slice = bumpalo::vec![in arena; 1, 2, 3].into_bump_slice_mut();
        slice[0] = 3;
        slice[2] = 4;
        assert_eq!(slice, [3, 2, 4]);
    });
}

#[test]
fn recursive_vecs() {
    struct Node<'a> {
        myself: std::cell::Cell<Option<&'a Node<'a>>>,
        edges: std::cell::Cell<BumpVec<'a, &'a Node<'a>>>,
    }
    in_any(|arena| {
        let node: &Node<'_> = arena.alloc(Node {
            myself: std::cell::Cell::new(None),
            edges: std::cell::Cell::new(BumpVec::new_in(arena)),
        });
        node.myself.set(Some(node));
        node.edges.set(bumpalo::vec![in arena; node, node]);
        let edges = node.edges.replace(BumpVec::new_in(arena));
        assert!(edges.iter().all(|edge| std::ptr::eq(*edge, node)));
    });
}

#[test]
fn a_vec_that_shrinks_or_goes_gives_the_end_of_the_arena_back() {
    in_any(|arena| {
        let free = arena.chunk_capacity();
        let mut bytes: BumpVec<'_, u8> = BumpVec::with_capacity_in(300, arena);
        bytes.extend_from_slice_copy(&[7; 10]);
        bytes.shrink_to_fit();
        assert!(bytes.capacity() < 300 && bytes.iter().all(|byte| *byte == 7));
        drop(bytes);
        assert!(arena.chunk_capacity() >= free - 300);
    });
}

#[test]
fn strings_grow_and_split() {
    in_any(|arena| {
        let mut text = BumpString::from_str_in("AAabcd", arena);
        let tail = text.split_off(2);
        text.push_str("bb");
        assert_eq!((text.as_str(), tail.as_str()), ("AAbb", "abcd"));
        let drained: BumpString<'_> = text.drain(1..3).collect_in(arena);
        assert_eq!((text.as_str(), drained.as_str()), ("Ab", "Ab"));
    });
}

#[test]
fn test_collect_in() {
    in_any(|arena| {
        let words = ["to", "be"].into_iter().collect_in::<BumpVec<'_, _>>(arena);
        assert_eq!(words, ["to", "be"]);
        let refused = [Ok(1), Err("no"), Ok(3)]
            .into_iter()
            .collect_in::<Result<BumpVec<'_, u8>, _>>(arena);
        assert_eq!(refused, Err("no"));
    });
}

// ------------------------------------------------------------------------- quickchecks.rs

#[derive(Clone, Copy, Debug)]
enum Thing {
    Byte(u8),
    Words([u64; 3]),
    Big([u64; 16]),
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        any::<u8>().prop_map(Thing::Byte),
        any::<[u64; 3]>().prop_map(Thing::Words),
        any::<[u64; 16]>().prop_map(Thing::Big),
    ]
}

fn text() -> impl Strategy<Value = String> {
    // Not a regular expression, which takes Miri seconds.
    prop::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(super::ledger::config(60))]

    #[test]
    fn can_allocate_heterogeneous_things_and_they_dont_overlap(
        things in prop::collection::vec(thing(), 0..n(300, 20)),
    ) {
        in_any(|arena| {
            let mut ranges = Vec::new();
            for thing in &things {
                ranges.push(match thing {
                    Thing::Byte(byte) => range_of(arena.alloc(*byte)),
                    Thing::Words(words) => range_of(arena.alloc(*words)),
                    Thing::Big(words) => range_of(arena.alloc(*words)),
                });
            }
            assert_apart(ranges.clone());
            // all_allocations_in_a_chunk
            let chunks = chunks(arena);
            for range in ranges {
                assert!(chunks.iter().any(|chunk| chunk.start <= range.start && range.end <= chunk.end));
            }
        });
    }

    #[test]
    fn alloc_slices(slices in prop::collection::vec((any::<u8>(), 0_usize..100), 0..n(50, 10))) {
        in_any(|arena| {
            let mut ranges = Vec::new();
            for (byte, len) in &slices {
                let slice = arena.alloc_slice_fill_copy(*len, *byte);
                assert_eq!(slice[..], vec![*byte; *len]);
                let start = slice.as_ptr().addr();
                ranges.push(start..start + len);
            }
            assert_apart(ranges);
        });
    }

    #[test]
    fn alloc_strs(texts in prop::collection::vec(text(), 0..n(30, 8))) {
        in_any(|arena| {
            let there: Vec<&str> = texts.iter().map(|text| &*arena.alloc_str(text)).collect();
            assert_eq!(there, texts);
        });
    }

    #[test]
    fn extending_from_slice(one in prop::collection::vec(any::<usize>(), 0..n(100, 20)), other in prop::collection::vec(any::<usize>(), 0..n(100, 20))) {
        in_any(|arena| {
            let mut all = BumpVec::new_in(arena);
            all.extend_from_slice_copy(&one);
            all.extend_from_slices_copy(&[&other, &one]);
            assert_eq!(all.as_slice(), [&one[..], &other, &one].concat());
        });
    }

    #[test]
    fn allocated_bytes_including_metadata(lens in prop::collection::vec(0_usize..512, 1..n(60, 10))) {
        in_any(|arena| {
            let mut used = 0;
            for len in &lens {
                arena.alloc_slice_fill_copy(*len, 0_u8);
                used += len;
            }
            let (bytes, with_metadata) = (arena.allocated_bytes(), arena.allocated_bytes_including_metadata());
            assert!(bytes >= used && with_metadata > bytes);
            assert!(with_metadata < bytes + 100 * (1 + lens.len()));
        });
    }
}
