//! What a `Buffer` and its pool offer in addition to `bytes`: copies, conversions, comparisons,
//! views that are never the only handle, and taking memory out of the pool.

use crate::{assert_balanced, builder, manual};
use bytes::{BufMut, Bytes, BytesMut};
use repool::{Buffer, BufferPool};
use std::io::Read;

#[test]
fn a_clone_is_a_buffer_of_the_same_pool() {
    let pool = manual();
    let one = pool.copy_from(b"hello");
    let mut two = one.clone();
    two.put_slice(b" world");
    assert_eq!(
        (&one, &two),
        (&pool.copy_from(b"hello"), &pool.copy_from(b"hello world"))
    );
    drop((one, two));
    assert_eq!(pool.stats().in_use, 0);
    assert!(pool.stats().idle >= 2);
    // Also an empty buffer, one without memory, and one whose pool is gone.
    assert!(pool.get(100).clone().is_empty());
    assert!(pool.get(0).clone().is_empty());
    assert_balanced(&pool);
    let late = pool.copy_from(b"late");
    drop(pool);
    assert_eq!(late.clone(), late);
    assert_eq!(Buffer::from(BytesMut::from("plain")).clone(), "plain");
    let off = manual();
    let before = off.copy_from(b"before");
    off.set_enabled(false);
    assert_eq!(before.clone(), "before");
}

#[test]
fn a_buffer_of_no_pool() {
    let mut buffer = Buffer::default();
    assert_eq!((buffer.len(), buffer.capacity()), (0, 0));
    buffer.put_slice(b"something");
    assert_eq!(buffer, "something");
    assert_eq!(std::mem::take(&mut buffer).freeze(), "something");
    let buffer = Buffer::from(BytesMut::from("some bytes"));
    assert_eq!(buffer.clone().into_inner(), "some bytes");
    // Its view is the only handle.
    assert!(buffer.freeze().try_into_mut().is_ok());
    std::thread::spawn(|| drop(Buffer::from(BytesMut::from("elsewhere"))))
        .join()
        .expect("no panic");
}

#[test]
fn conversions() {
    let pool = manual();
    let buffer = || pool.copy_from(b"content");
    assert_eq!(Vec::from(buffer()), b"content");
    assert_eq!(Bytes::from(buffer()), "content");
    assert_eq!(BytesMut::from(buffer()), "content");
    assert_eq!(Vec::<u8>::from(Buffer::default()), b"");
    assert!(pool.copy_from(b"").is_empty());
    assert_balanced(&pool);
}

#[test]
fn comparisons_both_ways() {
    let pool = manual();
    let buffer = pool.copy_from(b"same");
    assert_eq!(*b"same".as_slice(), buffer);
    assert_eq!(b"same".as_slice(), buffer);
    assert_eq!(*"same", buffer);
    assert_eq!("same", buffer);
    assert_eq!(b"same".to_vec(), buffer);
    assert_eq!("same".to_owned(), buffer);
    assert_eq!(BytesMut::from("same"), buffer);
    assert_eq!(Bytes::from("same"), buffer);
    assert_eq!(buffer, "same");
    assert_ne!("other", buffer);
}

#[test]
fn iteration_by_reference() {
    let mut buffer = manual().copy_from(&[1, 2, 3]);
    for byte in &mut buffer {
        *byte += 1;
    }
    let mut sum = 0;
    for &byte in &buffer {
        sum += byte;
    }
    assert_eq!(sum, 9);
}

#[test]
fn a_view_is_never_the_only_handle_and_into_inner_gives_memory_away() {
    let pool = manual();
    let view = pool.copy_from(b"kept by the pool").freeze();
    assert!(!view.is_unique());
    let at = view.as_ptr();
    let view = view.try_into_mut().expect_err("the pool has a handle");
    let (vec, mutable) = (Vec::from(view.clone()), BytesMut::from(view));
    assert!(vec.as_ptr() != at && mutable.as_ptr() != at, "copies");
    let mine = pool.copy_from(b"mine for good").into_inner().freeze();
    let at = mine.as_ptr();
    assert_eq!(mine.try_into_mut().expect("the only one").as_ptr(), at);
}

#[test]
fn the_switch_can_be_read() {
    for pool in [BufferPool::new(), manual()] {
        assert!(pool.is_enabled());
        pool.set_enabled(false);
        assert!(!pool.is_enabled());
        pool.set_enabled(true);
        assert!(pool.is_enabled());
    }
}

#[test]
fn buffers_across_the_switch() {
    let pool = manual();
    let on = pool.copy_from(b"on");
    pool.set_enabled(false);
    let off = pool.copy_from(b"off");
    let view = pool.copy_from(b"view").freeze();
    let mut empty = pool.get(0);
    empty.put_slice(b"written");
    drop(on);
    pool.set_enabled(true);
    assert_eq!(
        (off, view, empty),
        (
            pool.copy_from(b"off"),
            Bytes::from("view"),
            pool.copy_from(b"written")
        )
    );
    drop(pool.get(100));
    assert!(pool.stats().idle >= 1);
    assert_balanced(&pool);
}

/// Pieces of 64 to 1400 bytes.
struct Pieces<'a> {
    left: &'a [u8],
    seed: u32,
    reads: usize,
}

impl<'a> Pieces<'a> {
    fn of(left: &'a [u8]) -> Self {
        Self {
            left,
            seed: 1,
            reads: 0,
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.reads += 1;
        self.seed = self
            .seed
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        let piece = 64 + (self.seed >> 8) as usize % 1337;
        let len = piece.min(self.left.len()).min(into.len());
        into[..len].copy_from_slice(&self.left[..len]);
        self.left = &self.left[len..];
        Ok(len)
    }
}

#[test]
fn reading_to_the_end_in_pieces() {
    let pool = manual();
    const MANY: usize = if cfg!(miri) { 9_000 } else { 300_000 };
    let all: Vec<u8> = (0..MANY).map(|n| (n % 251) as u8).collect();
    for (capacity, len) in [
        (0, 0),
        (0, 100),
        (64, 64),
        (100, 5000),
        (4096, 4096),
        (MANY / 5, MANY / 5),
        (MANY / 70, MANY),
    ] {
        let mut buffer = pool.get(capacity);
        buffer.put_slice(b"before ");
        let mut pieces = Pieces::of(&all[..len]);
        assert_eq!(buffer.read_to_end_from(&mut pieces).expect("no error"), len);
        assert_eq!((&buffer[..7], &buffer[7..]), (&b"before "[..], &all[..len]));
    }
    // A buffer that is exactly full does not grow.
    let mut buffer = pool.get(MANY / 5);
    let len = buffer.capacity();
    buffer
        .read_to_end_from(&mut Pieces::of(&all[..len]))
        .expect("no error");
    assert_eq!((buffer.len(), buffer.capacity()), (len, len));
}

/// Measured by what is zeroed, not by a clock: the next read is offered what a reader left unused.
#[test]
#[cfg_attr(miri, ignore = "looks at 64 KiB a thousand times")]
fn reading_to_the_end_zeroes_once() {
    struct Marks(usize, usize);
    impl Read for Marks {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            // All but the first byte were zeroed, or are as the previous call left them.
            self.1 += into.iter().filter(|&&byte| byte == 0).count();
            into.fill(1);
            self.0 = self.0.saturating_sub(1);
            Ok(usize::from(self.0 > 0) * 64.min(into.len()))
        }
    }
    let mut buffer = manual().get(64 << 10);
    let mut marks = Marks(1000, 0);
    let read = buffer.read_to_end_from(&mut marks).expect("no error");
    assert!(
        read > 60_000 && marks.1 < 2 * (64 << 10),
        "{} zeroed for {read}",
        marks.1
    );
}

#[test]
fn a_thread_that_keeps_many_views_makes_fewer_than_as_many_more() {
    const KEPT: usize = if cfg!(miri) { 30 } else { 10_000 };
    for changing in [false, true] {
        let pool = builder().build();
        let frozen = |n: usize| {
            let mut buffer = pool.get(128);
            buffer.put_u64(n as u64);
            buffer.freeze()
        };
        let mut kept: Vec<_> = (0..KEPT).map(frozen).collect();
        let mut flight = std::collections::VecDeque::new();
        for n in 0..10 * KEPT {
            flight.push_back(frozen(n));
            if flight.len() > 8 {
                let view = flight.pop_front().expect("nine are in it");
                if changing {
                    kept[n.wrapping_mul(7919) % KEPT] = view;
                }
            }
        }
        let extra = pool.stats().created as usize - KEPT;
        assert!(extra < KEPT, "{extra} more than {KEPT}");
        drop((kept, flight));
        pool.trim();
        assert_eq!(pool.stats().in_use, 0);
        assert_balanced(&pool);
    }
}
