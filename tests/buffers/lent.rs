//! Frozen and split buffers, and how long their memory waits.

use crate::{assert_balanced, builder, class, lent, manual};
use bytes::{Bytes, BytesMut};
use repool::BufferPool;
use std::time::{Duration, Instant};

const SIZE: usize = 4096;

fn frozen(pool: &BufferPool, byte: u8) -> Bytes {
    let mut buffer = pool.get(SIZE);
    buffer.resize(SIZE, byte);
    buffer.freeze()
}

#[test]
fn freezing_copies_nothing() {
    let pool = manual();
    let mut buffer = pool.get(SIZE);
    buffer.extend_from_slice(b"here");
    let at = buffer.as_ptr();
    let bytes = buffer.freeze();
    assert_eq!((&bytes[..], bytes.as_ptr()), (&b"here"[..], at));
}

#[test]
fn back_once_after_the_last_view() {
    let pool = manual();
    let bytes = frozen(&pool, 1);
    let at = bytes.as_ptr();
    let views = [bytes.clone(), bytes.slice(10..20), bytes.slice(4095..)];
    assert_eq!((lent(&pool), pool.stats().in_use), (1, 1));
    assert_eq!(class(&pool, SIZE).lent_bytes, SIZE as u64);
    drop(bytes);
    for view in views {
        pool.trim();
        let other = pool.get(SIZE);
        assert_ne!(other.as_ptr(), at, "still seen");
        drop((other, view));
    }
    pool.trim();
    assert_eq!((lent(&pool), pool.stats().in_use), (0, 0));
    let [one, two] = [pool.get(SIZE), pool.get(SIZE)];
    assert!(
        one.as_ptr() == at || two.as_ptr() == at,
        "the memory serves again"
    );
    assert_eq!((one.capacity(), two.capacity()), (SIZE, SIZE));
    assert_eq!(pool.stats().created, 2);
    assert_balanced(&pool);
}

#[test]
fn the_next_gets_find_it() {
    let pool = manual();
    let views: Vec<_> = (0..100).map(|n| frozen(&pool, n)).collect();
    assert!(views.iter().zip(0..).all(|(view, n)| view[..] == [n; SIZE]));
    assert_eq!(pool.stats().created, 100);
    drop(views);
    let again: Vec<_> = (0..100).map(|_| pool.get(SIZE)).collect();
    assert_eq!((pool.stats().created, lent(&pool)), (100, 0));
    drop(again);
    assert_balanced(&pool);
}

#[test]
fn a_view_that_stays_hides_nothing() {
    let pool = manual();
    let keep: Vec<_> = (0..10).map(|n| frozen(&pool, n)).collect();
    for n in 0..1000 {
        drop(frozen(&pool, n as u8));
    }
    assert!(pool.stats().created < 40, "{:?}", pool.stats());
    drop(keep);
    assert_balanced(&pool);
}

#[test]
fn the_next_pass_finds_it() {
    let pool = manual();
    let bytes = frozen(&pool, 1);
    pool.trim();
    assert_eq!((pool.stats().idle, lent(&pool)), (0, 1));
    drop(bytes);
    pool.trim();
    assert_eq!((pool.stats().idle, lent(&pool)), (1, 0));
    // From there on it is an idle buffer like any other.
    let trimmed: u64 = (0..3).map(|_| pool.trim().objects).sum();
    assert_eq!((trimmed, pool.stats().idle), (1, 0));
    assert_balanced(&pool);
}

#[test]
#[cfg_attr(miri, ignore = "there is no janitor")]
fn the_janitor_finds_it_with_nothing_else_to_do() {
    let pool = BufferPool::builder()
        .trim_every(Duration::from_millis(20))
        .build();
    // Nothing is ever idle in this pool: the only buffer is lent.
    let bytes = frozen(&pool, 1);
    std::thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    // Unless the janitor is handling it at this moment.
    while lent(&pool) != 1 {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    drop(bytes);
    while lent(&pool) + pool.stats().idle > 0 {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{:?}",
            pool.stats()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(pool.stats().trimmed, 1);
}

#[test]
fn other_threads_views() {
    let pool = manual();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (to, from) = std::sync::mpsc::sync_channel::<(u8, Bytes)>(8);
            scope.spawn(move || {
                for (byte, bytes) in from {
                    let copy = bytes.clone();
                    drop(bytes);
                    assert_eq!(copy, [byte; SIZE][..]);
                }
            });
            let pool = &pool;
            scope.spawn(move || {
                for n in 0..if cfg!(miri) { 20 } else { 3000 } {
                    let byte = (n % 251) as u8;
                    to.send((byte, frozen(pool, byte)))
                        .expect("the other lives");
                }
            });
        }
    });
    pool.trim();
    let stats = pool.stats();
    assert_eq!((lent(&pool), stats.in_use), (0, 0));
    assert!(cfg!(miri) || stats.created < 1000, "{stats:?}");
    assert_balanced(&pool);
}

#[test]
fn parts_split_off() {
    let pool = manual();
    let mut buffer = pool.get(SIZE);
    buffer.resize(100, 1);
    let head = buffer.split_to(40).freeze();
    let tail = buffer.split_off(SIZE - 40 - 1000);
    let rest = buffer.as_ptr();
    drop(buffer);
    // It is not handed out while parts of it live, not even for a request that would fit.
    assert_eq!((pool.stats().idle, lent(&pool)), (0, 1));
    assert_ne!(pool.get(64).as_ptr(), rest);
    drop(tail);
    pool.trim();
    assert_eq!(lent(&pool), 1);
    drop(head);
    pool.trim();
    assert_eq!((class(&pool, SIZE).idle, lent(&pool)), (1, 0));
    assert_eq!(pool.get(SIZE).capacity(), SIZE);
    assert_balanced(&pool);
}

#[test]
fn a_part_of_a_grown_one() {
    let pool = manual();
    let mut buffer = pool.get(SIZE);
    buffer.resize(100 * SIZE, 1);
    let whole = buffer.capacity();
    // Almost all of it is gone, and the rest looks like a small buffer.
    let frames = buffer.split_to(99 * SIZE).freeze();
    drop(buffer);
    assert_eq!((pool.stats().idle, lent(&pool)), (0, 1));
    drop(frames);
    pool.trim();
    assert_eq!(pool.stats().idle_bytes as usize, whole);
    // The front part, with the rest already gone. It belongs to the requested class.
    let mut buffer = pool.get(SIZE);
    assert_eq!(buffer.capacity(), whole);
    buffer.resize(whole, 1);
    drop(buffer.split_off(10));
    drop(buffer);
    assert_eq!(pool.stats().idle_bytes as usize, whole);
    assert_balanced(&pool);
}

#[test]
fn every_way_to_take_it_apart() {
    let pool = manual();
    let mut pieces: Vec<BytesMut> = Vec::new();
    for n in 0..50 {
        let mut buffer = pool.get(SIZE);
        assert!(buffer.is_empty() && buffer.capacity() >= SIZE);
        buffer.resize(SIZE / 2, n);
        match n % 5 {
            0 => pieces.push(buffer.split()),
            1 => pieces.push(buffer.split_off(n as usize)),
            2 => pieces.push(std::mem::take(&mut *buffer)),
            3 => {
                let other = buffer.split_off(100);
                buffer.unsplit(other);
            }
            _ => {
                if let Some(mut piece) = pieces.pop() {
                    std::mem::swap(&mut *buffer, &mut piece);
                    pieces.push(piece);
                }
            }
        }
        drop(buffer);
    }
    // Nothing has written to the pieces meanwhile.
    for piece in &pieces {
        let first = piece.first().copied().unwrap_or_default();
        assert_eq!(piece[..], vec![first; piece.len()]);
    }
    drop(pieces);
    for _ in 0..4 {
        pool.trim();
    }
    assert_eq!((pool.stats().in_use, pool.stats().idle), (0, 0));
    assert_balanced(&pool);
}

#[test]
fn views_outlive_thread_clear_and_pool() {
    let pool = manual();
    let bytes = std::thread::scope(|scope| {
        let thread = scope.spawn(|| frozen(&pool, 3));
        thread.join().expect("no panic")
    });
    pool.clear();
    assert_eq!(pool.stats().in_use, 0);
    assert_eq!(bytes, [3; SIZE][..]);
    let slice = frozen(&pool, 4).slice(1..5);
    let late = pool.get(SIZE);
    drop(pool);
    assert_eq!(slice, [4; 4][..]);
    assert_eq!(bytes, [3; SIZE][..]);
    // A buffer outlives the pool as well, and so do its views.
    let mut late = late;
    late.extend_from_slice(b"late");
    assert_eq!(late.freeze(), "late");
}

#[test]
fn clear_lets_go_of_what_is_lent() {
    let pool = builder().build();
    let bytes = frozen(&pool, 1);
    drop(frozen(&pool, 2));
    let cleared = pool.clear();
    assert_eq!((cleared.objects, cleared.bytes), (1, SIZE as u64));
    assert_eq!((lent(&pool), pool.stats().in_use), (0, 0));
    assert_eq!(bytes, [1; SIZE][..]);
    drop(bytes);
    pool.trim();
    assert_eq!(pool.stats().idle, 0);
    assert_balanced(&pool);
}

#[test]
fn switched_off_nothing_waits() {
    let pool = manual();
    pool.set_enabled(false);
    let bytes = frozen(&pool, 1);
    assert_eq!((lent(&pool), pool.stats().in_use), (0, 0));
    assert_eq!(bytes, [1; SIZE][..]);
    drop(frozen(&pool, 1));
    assert_eq!((pool.stats().created, pool.stats().idle), (2, 0));
    pool.set_enabled(true);
    drop(pool.get(SIZE));
    assert_eq!(pool.stats().idle, 1);
    assert_balanced(&pool);
}

#[test]
fn an_empty_one_goes_straight_back() {
    let pool = manual();
    assert!(pool.get(SIZE).freeze().is_empty());
    assert_eq!((pool.stats().idle, lent(&pool)), (1, 0));
}

#[test]
fn bytes_can_become_mutable_again() {
    let pool = manual();
    let bytes = frozen(&pool, 1);
    // The pool has a handle, so this is a copy; the pool keeps its own memory.
    let mut mine = BytesMut::from(bytes);
    mine[0] = 9;
    pool.trim();
    let mut other = pool.get(SIZE);
    other.resize(SIZE, 5);
    assert_eq!((mine[0], mine[1], other[0]), (9, 1, 5));
}
