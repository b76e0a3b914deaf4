//! What a `Buffer` is: empty, a `BufMut` and `Buf` as `bytes` documents them, a writer.

use crate::{assert_balanced, manual};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use repool::{Buffer, BufferPool};
use static_assertions::{assert_impl_all, const_assert_eq};
use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::Barrier;

assert_impl_all!(Buffer: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, BufMut, Buf, io::Write, std::fmt::Write, AsRef<[u8]>, AsMut<[u8]>);
assert_impl_all!(BufferPool: Send, Sync, Default, UnwindSafe, RefUnwindSafe, std::fmt::Debug);

// It travels in registers.
const_assert_eq!(size_of::<Buffer>(), 2 * size_of::<usize>());

fn is_static<T: 'static>(_: &T) {}

static CONST: BufferPool = BufferPool::new();

#[test]
fn works_in_a_static() {
    let buffer = CONST.get(10);
    is_static(&buffer);
    assert!(std::ptr::eq(BufferPool::global(), BufferPool::global()));
    drop(BufferPool::global().get(1));
}

#[test]
fn empty_and_nothing_of_before_to_be_seen() {
    let pool = manual();
    for round in 0..10 {
        let mut buffer = pool.get(1000);
        assert!(buffer.is_empty());
        assert_eq!(buffer.capacity(), 1024);
        assert_eq!(format!("{buffer:?}"), "b\"\"");
        assert!(buffer.chunk().is_empty());
        // Growing shows the requested content, not what was in the memory before.
        buffer.resize(500, 0);
        assert!(buffer.iter().all(|&byte| byte == 0));
        buffer.resize(1000, round);
        if round % 3 == 0 {
            buffer.truncate(3);
        }
        drop(if round % 2 == 0 {
            buffer.freeze()
        } else {
            drop(buffer);
            Bytes::new()
        });
    }
    // A reader that inspects the memory it is given finds no secret.
    struct Nosy;
    impl Read for Nosy {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            assert!(into.iter().all(|&byte| byte == 0));
            Ok(into.len().min(10))
        }
    }
    let mut buffer = pool.get(1000);
    assert_eq!(buffer.read_from(&mut Nosy).unwrap(), 10);
    assert_eq!(buffer.len(), 10);
}

#[cfg(feature = "zeroize")]
#[test]
fn gone_on_return() {
    let pool = manual();
    let all_zero = |buffer: &mut Buffer| {
        let capacity = buffer.capacity();
        // SAFETY: the pool has written zeros to the whole capacity, which this tests.
        unsafe { buffer.set_len(capacity) };
        let clean = buffer.iter().all(|&byte| byte == 0);
        buffer.clear();
        clean
    };
    for round in 0..3 {
        let mut buffer = pool.get(5000);
        buffer.resize(5000, 0xA5);
        match round {
            0 => buffer.clear(),
            1 => buffer.advance(4999),
            _ => drop(std::mem::replace(&mut buffer, pool.get(64)).freeze()),
        }
        drop(buffer);
        pool.trim();
        assert!(all_zero(&mut pool.get(5000)), "round {round}");
    }
    let careless = crate::builder().zeroize(false).build();
    careless.get(100).resize(100, 1);
    assert!(careless.get(100).is_empty());
}

#[test]
fn dropped_in_a_panic_is_not_used_again() {
    let pool = manual();
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let mut buffer = pool.get(100);
        buffer.extend_from_slice(b"half");
        let mut grown = pool.get(100);
        grown.resize(10_000, 1);
        panic!("on purpose");
    }));
    let stats = pool.stats();
    assert_eq!(
        (stats.idle, stats.in_use, stats.discarded_by.panic),
        (0, 0, 2)
    );
    assert!(pool.get(100).is_empty());
    assert_balanced(&pool);
}

#[test]
fn dropped_on_another_thread() {
    let pool = manual();
    let buffer = pool.get(100);
    std::thread::scope(|scope| scope.spawn(|| drop(buffer)).join()).expect("no panic");
    assert_eq!(pool.stats().idle, 1);
    drop(pool.get(100));
    assert_eq!(pool.stats().created, 1);
}

#[test]
fn buf_mut_as_documented() {
    let pool = manual();
    let mut buffer = pool.get(64);
    assert_eq!(buffer.remaining_mut(), BytesMut::new().remaining_mut());
    buffer.put_u8(1);
    buffer.put_u16(0x0203);
    buffer.put_u16_le(0x0203);
    buffer.put_i32(-1);
    buffer.put_u64(u64::MAX);
    buffer.put_f64(1.5);
    buffer.put_slice(b"slice");
    buffer.put_bytes(b'x', 3);
    buffer.put(&b"buf"[..]);
    buffer.put(Buf::chain(&b"chain"[..], &b"ed"[..]));
    let mut model = BytesMut::new();
    model.put_slice(&[1, 2, 3, 3, 2, 255, 255, 255, 255]);
    model.put_bytes(255, 8);
    model.put_f64(1.5);
    model.put_slice(b"slicexxxbufchained");
    assert_eq!(buffer, model);
    // A full buffer makes room by itself.
    let full = buffer.capacity() - buffer.len();
    buffer.put_bytes(0, full);
    assert!(buffer.chunk_mut().len() > 0);
    // Writes behind the content, and then extends the length.
    let len = buffer.len();
    buffer.chunk_mut()[..2].copy_from_slice(b"ok");
    // SAFETY: just written.
    unsafe { buffer.advance_mut(2) };
    assert_eq!(&buffer[len..], b"ok");
    // As a trait object, by reference, with a limit.
    let dynamic: &mut dyn BufMut = &mut buffer;
    dynamic.put_u8(7);
    (&mut buffer).limit(1).put_u8(8);
    assert!(buffer.ends_with(&[7, 8]));
}

#[test]
#[should_panic(expected = "advance")]
fn buf_mut_does_not_advance_too_far() {
    let mut buffer = manual().get(64);
    let far = buffer.capacity() - buffer.len() + 1;
    // SAFETY: violated on purpose: `BytesMut` documents that it panics before it uses the length.
    unsafe { buffer.advance_mut(far) };
}

#[test]
fn buf_as_documented() {
    let mut buffer = manual().get(100);
    buffer.put_slice(b"0123456789abcdef");
    assert_eq!((buffer.remaining(), buffer.has_remaining()), (16, true));
    assert_eq!(buffer.chunk(), b"0123456789abcdef");
    buffer.advance(2);
    assert_eq!(buffer.get_u8(), b'2');
    assert_eq!(buffer.get_u16(), u16::from_be_bytes(*b"34"));
    assert_eq!(buffer.copy_to_bytes(3), "567");
    let mut two = [0; 2];
    buffer.copy_to_slice(&mut two);
    assert_eq!(&two, b"89");
    let mut slices = [io::IoSlice::new(&[]); 4];
    assert_eq!(buffer.chunks_vectored(&mut slices), 1);
    assert_eq!(&*slices[0], b"abcdef");
    assert!(buffer.try_get_u64().is_err());
    assert_eq!(buffer.remaining(), 6);
    buffer.advance(6);
    assert!(!buffer.has_remaining() && buffer.chunk().is_empty());
    buffer.advance(0);
}

#[test]
#[should_panic]
fn buf_does_not_advance_too_far() {
    let mut buffer = manual().get(64);
    buffer.put_u8(1);
    buffer.advance(2);
}

#[test]
fn a_writer() {
    let mut buffer = manual().get(16);
    io::Write::write_all(&mut buffer, b"one ").unwrap();
    assert_eq!(buffer.write(b"two ").unwrap(), 4);
    let parts = [io::IoSlice::new(b"three "), io::IoSlice::new(b"four ")];
    assert_eq!(buffer.write_vectored(&parts).unwrap(), 11);
    buffer.flush().unwrap();
    buffer.write_str("five ").unwrap();
    std::fmt::Write::write_fmt(&mut buffer, format_args!("{}", 6)).unwrap();
    assert_eq!(buffer, "one two three four five 6");
    assert_eq!(buffer, b"one two three four five 6"[..]);
    buffer.extend([b'7', b'8']);
    buffer.extend(b"9");
    buffer.extend([Bytes::from_static(b"!")]);
    assert!(buffer.ends_with(b"6789!"));
    assert_eq!(BytesMut::from(buffer).len(), 29);
}

#[test]
fn a_place_to_read_into() {
    let pool = manual();
    const MANY: usize = if cfg!(miri) { 6_000 } else { 200_000 };
    let source: Vec<u8> = (0..MANY).map(|n| n as u8).collect();
    let mut buffer = pool.get(64);
    assert_eq!(buffer.read_from(&mut &source[..]).unwrap(), 64);
    assert_eq!(buffer, source[..64]);
    assert_eq!(
        buffer.read_to_end_from(&mut &source[64..]).unwrap(),
        MANY - 64
    );
    assert_eq!(buffer, source);
    assert_eq!(buffer.read_from(&mut io::empty()).unwrap(), 0);
    assert_eq!(buffer, source);

    struct Fails(u8);
    impl Read for Fails {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(io::ErrorKind::Interrupted.into()),
                2 => Ok(into.len().min(5)),
                3 => Err(io::ErrorKind::BrokenPipe.into()),
                4 => panic!("on purpose"),
                _ => Ok(into.len() + 1),
            }
        }
    }
    let mut buffer = pool.get(64);
    let mut fails = Fails(0);
    let error = buffer.read_to_end_from(&mut fails).unwrap_err();
    assert_eq!((error.kind(), buffer.len()), (io::ErrorKind::BrokenPipe, 5));
    for _ in 0..2 {
        let one = catch_unwind(AssertUnwindSafe(|| buffer.read_from(&mut fails)));
        assert_eq!((one.is_err(), buffer.len()), (true, 5));
    }
}

#[cfg(feature = "tokio")]
#[test]
fn an_async_reader() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut buffer = manual().get(64);
    let mut source = &[7u8; 100][..];
    let mut all = 0;
    while let read @ 1.. = runtime
        .block_on(buffer.read_from_async(&mut source))
        .unwrap()
    {
        all += read;
    }
    assert_eq!((all, buffer.len()), (100, 100));
}

/// A codec's encoder writes into a buffer of the pool, and a decoder takes frames out of one.
#[test]
fn codecs_of_tokio_util() {
    use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};
    let pool = manual();
    let mut codec = LengthDelimitedCodec::new();
    let mut buffer = pool.get(1000);
    for part in ["one", "two", "three"] {
        codec
            .encode(Bytes::from(part), &mut buffer)
            .expect("it fits");
    }
    let wire = buffer.freeze();
    assert_eq!(wire.len(), 3 * 4 + "onetwothree".len());

    let mut received = pool.get(1000);
    received.extend_from_slice(&wire);
    let mut frames = Vec::new();
    while let Some(frame) = codec.decode(&mut received).expect("well formed") {
        frames.push(frame.freeze());
    }
    assert_eq!(frames, ["one", "two", "three"]);
    drop((wire, received, frames));
    pool.trim();
    // Both are whole again.
    assert_eq!(pool.stats().idle_bytes, 2 * 1024);
}

#[test]
fn a_switch_that_races_with_first_uses_is_not_lost() {
    const SIZES: [usize; 4] = [64, 128, 256, 512];
    let use_all = |pool: &BufferPool| SIZES.map(|size| drop(pool.get(size)));
    for round in 0..if cfg!(miri) { 5 } else { 500 } {
        // Off, alone or while another thread switches on.
        let switches: &[bool] = [&[false][..], &[false, true]][round % 2];
        let pool = manual();
        let start = Barrier::new(1 + switches.len());
        std::thread::scope(|scope| {
            for &on in switches {
                let (pool, start) = (&pool, &start);
                scope.spawn(move || {
                    start.wait();
                    pool.set_enabled(on);
                });
            }
            start.wait();
            use_all(&pool);
        });
        pool.clear();
        use_all(&pool);
        // In whichever state, all classes are in the same.
        let idle = pool.stats().idle;
        assert!(idle == 0 || (switches.len() == 2 && idle == 4), "{idle}");
    }
}
