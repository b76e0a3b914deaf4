//! `bytes`' own tests of a `BytesMut` (`tests/test_bytes.rs`, 1.12), run on a `Buffer`: in a new
//! pool, and in buffers that were grown, split and frozen before. Where `bytes` has exact
//! capacities, these have those of a class. Left out are tests that only concern `Bytes`, and four
//! that ask whether a view is the only handle, which it never is
//! (`a_view_is_never_the_only_handle…` in `buffers/handles.rs`).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use repool::{Buffer, BufferPool};
use std::panic::{AssertUnwindSafe, catch_unwind};

const LONG: &[u8] = b"mary had a little lamb, little lamb, little lamb";

/// Runs a claim with buffers of this capacity and content, with different histories.
fn in_any(capacity: usize, content: &[u8], claim: impl Fn(Buffer)) {
    type Past = fn(&BufferPool, usize);
    let pasts: [Past; 6] = [
        |_, _| {},
        |pool, capacity| drop(pool.get(capacity)),
        |pool, capacity| {
            let mut grown = pool.get(capacity);
            grown.put_bytes(7, 10 * capacity + 1000);
        },
        |pool, capacity| {
            let mut frozen = pool.get(capacity);
            frozen.put_bytes(8, capacity);
            drop(frozen.freeze());
        },
        |pool, capacity| {
            let mut taken_apart = pool.get(capacity);
            taken_apart.put_bytes(9, capacity);
            let parts = (taken_apart.split_to(capacity / 2), taken_apart.split());
            drop(taken_apart);
            drop(parts);
        },
        |pool, capacity| {
            let mut consumed = pool.get(capacity);
            consumed.put_bytes(10, capacity);
            consumed.advance(capacity);
        },
    ];
    // Under Miri one that grew, and one that was frozen.
    let some = if cfg!(miri) { 2..4 } else { 0..6 };
    for past in &pasts[some] {
        let pool = BufferPool::builder().trim_manually().build();
        for _ in 0..super::n(3, 2) {
            past(&pool, capacity);
            let mut buffer = pool.get(capacity);
            assert!(buffer.is_empty() && buffer.capacity() >= capacity);
            buffer.extend_from_slice(content);
            claim(buffer);
        }
        let _ = pool.trim();
        assert_eq!(pool.stats().in_use, 0);
    }
}

fn panics(f: impl FnOnce()) {
    let hook = std::panic::catch_unwind(AssertUnwindSafe(f));
    assert!(hook.is_err(), "no panic");
}

#[test]
fn test_layout() {
    assert_eq!(size_of::<Buffer>(), 2 * size_of::<usize>());
}

#[test]
fn fmt_and_len_and_index() {
    in_any(16, b"abcdefg", |buffer| {
        assert_eq!(format!("{buffer:?}"), "b\"abcdefg\"");
        assert_eq!(buffer.len(), 7);
        assert!(!buffer.is_empty());
        assert_eq!(buffer[1..3], b"bc"[..]);
        assert_eq!(&buffer[..], b"abcdefg");
    });
}

#[test]
fn split_off() {
    in_any(10, b"helloworld", |mut hello| {
        let world = hello.split_off(5);
        assert_eq!((&hello[..], &world[..]), (&b"hello"[..], &b"world"[..]));
    });
}

#[test]
fn bytes_mut_split_off_oob() {
    in_any(10, b"helloworld", |mut hello| {
        let beyond = hello.capacity() + 1;
        panics(|| drop(hello.split_off(beyond)));
    });
}

#[test]
fn split_off_uninitialized() {
    in_any(1024, b"", |mut bytes| {
        let all = bytes.capacity();
        let other = bytes.split_off(128);
        assert_eq!((bytes.len(), bytes.capacity()), (0, 128));
        assert_eq!((other.len(), other.capacity()), (0, all - 128));
    });
}

#[test]
fn split_off_to_loop() {
    let s = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for i in (0..=s.len()).step_by(5).chain([1, s.len() - 1, s.len()]) {
        in_any(s.len(), s, |mut bytes| {
            let off = bytes.split_off(i);
            assert_eq!(i, bytes.len());
            assert_eq!([&bytes[..], &off[..]].concat(), s);
        });
        in_any(s.len(), s, |mut bytes| {
            let off = bytes.split_to(i);
            assert_eq!(i, off.len());
            assert_eq!([&off[..], &bytes[..]].concat(), s);
        });
    }
}

#[test]
fn split_to_oob_mut() {
    in_any(10, b"helloworld", |mut hello| {
        panics(|| drop(hello.split_to(33)))
    });
}

#[test]
fn split_to_uninitialized() {
    in_any(1024, b"", |mut bytes| panics(|| drop(bytes.split_to(128))));
}

#[test]
fn freeze_clone_unique() {
    in_any(8, b"abcdefgh", |buffer| {
        let b = buffer.freeze();
        let c = b.clone();
        assert_eq!((&b[..], &c[..]), (&b"abcdefgh"[..], &b"abcdefgh"[..]));
    });
}

#[test]
fn freeze_clone_shared() {
    in_any(8, b"abcdefgh", |mut buffer| {
        let b = buffer.split().freeze();
        drop(buffer);
        let c = b.clone();
        assert_eq!((&b[..], &c[..]), (&b"abcdefgh"[..], &b"abcdefgh"[..]));
    });
}

/// With and without a reference count from before.
fn freeze_after(act: impl Fn(&mut Buffer), left: &[u8]) {
    for shared in [false, true] {
        in_any(8, b"abcdefgh", |mut buffer| {
            if shared {
                drop(buffer.split_to(0));
            }
            act(&mut buffer);
            assert_eq!(buffer[..], *left);
            assert_eq!(buffer.freeze()[..], *left);
        });
    }
}

#[test]
fn freeze_after_advance() {
    freeze_after(|buffer| buffer.advance(1), b"bcdefgh");
}

#[test]
fn freeze_after_split_to() {
    freeze_after(|buffer| drop(buffer.split_to(1)), b"bcdefgh");
}

#[test]
fn freeze_after_truncate() {
    freeze_after(|buffer| buffer.truncate(7), b"abcdefg");
}

#[test]
fn freeze_after_split_off() {
    freeze_after(|buffer| drop(buffer.split_off(7)), b"abcdefg");
}

#[test]
fn fns_defined_for_bytes_mut() {
    in_any(11, b"hello world", |mut bytes| {
        let _ = (bytes.as_ptr(), bytes.as_mut_ptr());
        let all = bytes.iter().filter(|&&byte| byte == b'l').count();
        assert_eq!(all, 3);
    });
}

#[test]
fn reserve_convert() {
    in_any(LONG.len(), LONG, |mut bytes| {
        bytes.reserve(64);
        assert!(bytes.capacity() >= LONG.len() + 64);
    });
    in_any(LONG.len(), LONG, |mut bytes| {
        let a = bytes.split_to(30);
        bytes.reserve(128);
        assert!(bytes.capacity() >= bytes.len() + 128);
        assert_eq!((&a[..], &bytes[..]), (&LONG[..30], &LONG[30..]));
    });
}

#[test]
fn reserve_growth() {
    in_any(64, b"hello world", |mut bytes| {
        let front = bytes.split();
        bytes.reserve(65);
        assert!(bytes.capacity() >= 65);
        assert_eq!(front, "hello world");
    });
}

#[test]
fn reserve_vec_recycling() {
    in_any(64, b"", |mut bytes| {
        let (capacity, at) = (bytes.capacity(), bytes.as_ptr());
        bytes.put_bytes(b'x', capacity);
        bytes.advance(capacity - 6);
        bytes.reserve(8);
        assert_eq!((bytes.capacity(), bytes.as_ptr()), (capacity, at));
    });
}

#[test]
fn reserve_in_arc_unique_does_not_overallocate() {
    in_any(1000, b"", |mut bytes| {
        drop(bytes.split());
        let asked = 3 * bytes.capacity() + 1;
        bytes.reserve(asked);
        assert_eq!(bytes.capacity(), asked);
    });
}

#[test]
fn reserve_in_arc_nonunique_does_not_overallocate() {
    in_any(1000, b"", |mut bytes| {
        let copy = bytes.split();
        let asked = 3 * bytes.capacity() + 1;
        bytes.reserve(asked);
        assert_eq!(bytes.capacity(), asked);
        drop(copy);
    });
}

#[test]
fn reserve_in_arc_unique_does_not_overallocate_after_multiple_splits() {
    in_any(LONG.len(), LONG, |mut bytes| {
        let all = bytes.capacity();
        for _ in 0..10 {
            drop(bytes.split_off(LONG.len() / 2));
            let less = bytes.capacity();
            bytes.reserve(all - less);
        }
        assert_eq!(bytes.capacity(), all);
    });
}

#[test]
fn reserve_shared_reuse() {
    in_any(1000, b"Hello, World!", |mut bytes| {
        drop(bytes.split());
        bytes.put_slice(b"!123ex123,sadchELLO,_wORLD!");
        drop(bytes.split_off(9));
        bytes.reserve(2000);
        assert_eq!(bytes[..], b"!123ex123"[..]);
        assert!(bytes.capacity() >= 2009);
    });
}

#[test]
fn extend_mut() {
    in_any(0, b"", |mut bytes| {
        bytes.extend(LONG);
        assert_eq!(*bytes, LONG[..]);
    });
}

#[test]
fn extend_mut_after_advance() {
    in_any(16, b"abcdef", |mut bytes| {
        bytes.advance(2);
        bytes.extend([b'g', b'h']);
        assert_eq!(&bytes[..], b"cdefgh");
    });
}

#[test]
fn extend_mut_non_fused() {
    in_any(16, b"", |mut bytes| {
        let mut items = [Some(1), None, Some(3)].into_iter();
        bytes.extend(std::iter::from_fn(|| items.next().flatten()));
        assert_eq!(&bytes[..], [1]);
    });
}

#[test]
fn extend_mut_from_bytes() {
    in_any(0, b"", |mut bytes| {
        bytes.extend([Bytes::from(LONG)]);
        assert_eq!(*bytes, LONG[..]);
    });
}

#[test]
fn extend_past_lower_limit_of_size_hint() {
    struct Iter<I>(I);
    impl<I: Iterator<Item = u8>> Iterator for Iter<I> {
        type Item = u8;
        fn next(&mut self) -> Option<u8> {
            self.0.next()
        }
        fn size_hint(&self) -> (usize, Option<usize>) {
            (5, None)
        }
    }
    in_any(5, b"", |mut bytes| {
        bytes.extend(Iter(std::iter::repeat_n(0, 10_000)));
        assert_eq!(bytes.len(), 10_000);
    });
}

#[test]
fn advance_bytes_mut() {
    in_any(41, b"hello world boooo yah world zomg wat wat", |mut a| {
        a.advance(16);
        assert_eq!(a, b"o yah world zomg wat wat"[..]);
        a.advance(4);
        a.reserve(1024);
        assert_eq!(a, b"h world zomg wat wat"[..]);
        a.advance(6);
        assert_eq!(a, b"d zomg wat wat"[..]);
    });
}

#[test]
fn advance_bytes_mut_remaining_capacity() {
    let all = [0, 1, 63, 64, 65, 200];
    for capacity in all.into_iter().take(super::n(all.len(), 2)) {
        for len in [0, 1, capacity / 2, capacity] {
            in_any(capacity, &vec![42; len.min(capacity)], |mut buf| {
                let (len, all) = (buf.len(), buf.capacity());
                for _ in 0..len {
                    buf.advance(1);
                }
                assert_eq!((buf.remaining(), buf.capacity()), (0, all - len));
            });
        }
    }
}

#[test]
fn advance_past_len() {
    in_any(11, b"hello world", |mut a| panics(|| a.advance(20)));
}

#[test]
fn partial_eq_bytesmut() {
    in_any(17, b"The quick red fox", |buffer| {
        let same = BytesMut::from(&b"The quick red fox"[..]);
        assert!(buffer == same && *buffer == Bytes::from_static(b"The quick red fox"));
        let other = BytesMut::from(&b"Jumped over the lazy brown dog"[..]);
        assert!(buffer != other);
    });
}

#[test]
fn bytes_mut_unsplit_basic() {
    in_any(64, b"aaabbbcccddd", |mut buf| {
        let all = buf.capacity();
        let end = buf.split_off(6);
        buf.unsplit(end);
        assert_eq!((&buf[..], buf.capacity()), (&b"aaabbbcccddd"[..], all));
    });
}

#[test]
fn bytes_mut_unsplit_empty_other() {
    in_any(64, b"aaabbbcccddd", |mut buf| {
        buf.unsplit(BytesMut::new());
        assert_eq!(b"aaabbbcccddd", &buf[..]);
    });
}

#[test]
fn bytes_mut_unsplit_empty_self() {
    in_any(64, b"", |mut buf| {
        let mut other = BytesMut::with_capacity(64);
        other.extend_from_slice(b"aaabbbcccddd");
        buf.unsplit(other);
        assert_eq!(b"aaabbbcccddd", &buf[..]);
    });
}

#[test]
fn bytes_mut_unsplit_other_keeps_capacity() {
    in_any(64, b"aabb", |mut buf| {
        let all = buf.capacity();
        let len = buf.len();
        let mut other = buf.split_off(len);
        other.extend_from_slice(b"ccddee");
        buf.unsplit(other);
        assert_eq!((&buf[..], buf.capacity()), (&b"aabbccddee"[..], all));
    });
}

#[test]
fn bytes_mut_unsplit_arc_different() {
    in_any(64, b"aaaabbbbeeee", |mut buf| {
        drop(buf.split_off(8));
        let mut buf2 = BytesMut::with_capacity(64);
        buf2.extend_from_slice(b"ccccddddeeee");
        drop(buf2.split_off(8));
        buf.unsplit(buf2);
        assert_eq!(b"aaaabbbbccccdddd", &buf[..]);
    });
}

#[test]
fn bytes_mut_unsplit_arc_non_contiguous() {
    in_any(64, b"aaaabbbbeeeeccccdddd", |mut buf| {
        let mut buf2 = buf.split_off(8);
        let buf3 = buf2.split_off(4);
        buf.unsplit(buf3);
        assert_eq!(b"aaaabbbbccccdddd", &buf[..]);
    });
}

#[test]
fn bytes_mut_unsplit_two_split_offs() {
    in_any(64, b"aaaabbbbccccdddd", |mut buf| {
        let mut buf2 = buf.split_off(8);
        let buf3 = buf2.split_off(4);
        buf2.unsplit(buf3);
        buf.unsplit(buf2);
        assert_eq!(b"aaaabbbbccccdddd", &buf[..]);
    });
}

#[test]
fn bytes_buf_mut_advance() {
    in_any(1024, b"", |mut bytes| {
        let room = bytes.chunk_mut().len();
        let at = bytes.chunk_mut().as_mut_ptr();
        bytes.put_bytes(1, 10);
        assert_eq!(bytes.chunk_mut().len(), room - 10);
        assert_eq!(bytes.chunk_mut().as_mut_ptr().addr(), at.addr() + 10);
        bytes.put_bytes(1, room - 10);
        assert_ne!(bytes.chunk_mut().len(), 0, "it grows");
    });
}

#[test]
fn bytes_buf_mut_reuse_when_fully_consumed() {
    in_any(8192, &[0; 100], |mut buf| {
        let (at, all) = (buf.as_ptr(), buf.capacity());
        buf.advance(100);
        buf.reserve(all);
        buf.extend_from_slice(b" ");
        assert_eq!(buf.as_ptr(), at);
    });
}

#[test]
fn bytes_reserve_overflow() {
    in_any(1024, b"hello world", |mut bytes| {
        panics(|| bytes.reserve(usize::MAX))
    });
}

#[test]
fn try_reclaim_vec() {
    in_any(64, b"abc", |mut buf| {
        let all = buf.capacity();
        assert!(!buf.try_reclaim(usize::MAX));
        assert!(!buf.try_reclaim(all));
        buf.advance(2);
        assert!(!buf.try_reclaim(all));
        assert!(buf.try_reclaim(all - 1));
        buf.advance(1);
        assert!(buf.try_reclaim(all));
        assert_eq!(buf.capacity(), all);
    });
}

#[test]
fn try_reclaim_arc() {
    in_any(64, b"abc", |mut buf| {
        let all = buf.capacity();
        let x = buf.split().freeze();
        buf.put_slice(b"def");
        let y = buf.split().freeze();
        let z = y.clone();
        assert!(!buf.try_reclaim(all));
        drop((x, z));
        assert!(!buf.try_reclaim(all));
        drop(y);
        assert!(buf.try_reclaim(all));
        assert_eq!((buf.capacity(), buf.len()), (all, 0));
    });
}

#[test]
fn split_empty_addr_mut() {
    in_any(1024, &[0; 1024], |mut buf| {
        let start = buf.as_ptr();
        let end = start.wrapping_add(1024);
        let empty = buf.split_off(1024);
        assert_eq!((empty.len(), empty.as_ptr()), (0, end));
        let empty = buf.split_to(0);
        assert_eq!((empty.len(), empty.as_ptr()), (0, start));
        let caught = catch_unwind(AssertUnwindSafe(|| (empty[..].len(), buf[..].len())));
        assert_eq!(caught.ok(), Some((0, 1024)));
    });
}

#[test]
fn bytes_mut_put_bytes_specialization() {
    in_any(0, b"abcde", |mut bytes| {
        bytes.put_bytes(1, 5);
        assert_eq!(bytes, b"abcde\x01\x01\x01\x01\x01"[..]);
        bytes.put_bytes(7, 0);
        assert_eq!(bytes.len(), 10);
    });
}
