//! Buffer pools with diagnostics.

use super::*;
use bytes::{BufMut, Bytes};
use repool::{Buffer, BufferPool};

fn pool(name: &str, diagnostics: Diagnostics) -> BufferPool {
    BufferPool::builder()
        .name(name)
        .trim_manually()
        .diagnostics(diagnostics)
        .build()
}

fn filled(pool: &BufferPool, size: usize) -> Buffer {
    let mut buffer = pool.get(size);
    buffer.put_bytes(b's', size);
    buffer
}

#[test]
fn a_report_names_the_line_of_each_buffer() {
    let pool = pool("buffers-report", NONE.leaks(1));
    for again in [false, true, true] {
        let first = line!() + 1;
        let held = [100, 1_000, 100].map(|size| pool.get(size));
        let tried = pool.try_with_capacity(100).unwrap();
        let copied = pool.copy_from(b"hello");
        let clone = copied.clone();
        let mut unsized_one = pool.get(0);
        unsized_one.extend_from_slice(b"first write");
        let lines = lines("buffers-report");
        let expected = [
            (first, 3),
            (first + 1, 1),
            (first + 2, 1),
            (first + 3, 1),
            // A new buffer is created when it is written to.
            (first + if again { 4 } else { 5 }, 1),
        ];
        assert_eq!(lines, expected.into());
        drop((held, tried, copied, clone, unsized_one));
        assert_eq!(leaks_of("buffers-report"), []);
    }
    assert!(pool.stats().reused >= 14, "{}", pool.stats());
}

#[test]
fn a_frozen_buffer_is_out_until_its_last_view_is_gone_and_was_looked_for() {
    let pool = pool("buffers-frozen", NONE.leaks(1));
    let view: Bytes = filled(&pool, 100).freeze();
    let other = view.slice(..5);
    drop(view);
    let _ = pool.trim();
    assert_eq!(leaks_of("buffers-frozen").len(), 1);
    drop(other);
    let _ = pool.trim();
    assert_eq!(leaks_of("buffers-frozen"), []);
    // One that the next get finds.
    drop(filled(&pool, 100).freeze());
    let again = pool.get(100);
    let leaks = leaks_of("buffers-frozen");
    assert_eq!((leaks.len(), leaks[0].site.line()), (1, line!() - 2));
    drop(again);
    assert_eq!(pool.stats().created, 1);
}

#[test]
fn what_a_thread_gives_back_it_gets_next() {
    let pool = pool("buffers-own", NONE.deterministic());
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for size in [100, 5_000, 100, 40_000] {
                    let buffer = filled(&pool, size);
                    let address = buffer.as_ptr().addr();
                    barrier.wait();
                    drop(buffer);
                    barrier.wait();
                    let buffer = filled(&pool, size);
                    assert_eq!(buffer.as_ptr().addr(), address);
                    drop(buffer.freeze());
                    barrier.wait();
                    assert_eq!(pool.get(size).as_ptr().addr(), address);
                }
            });
        }
    });
    let stats = pool.stats();
    assert_eq!((stats.created, stats.in_use), (9, 0), "{stats}");
}

#[test]
fn spare_memory_of_buffers_has_nothing_of_the_last_user_under_chaos() {
    let pool = pool("buffers-poisoned", NONE.chaos(9));
    for round in 0..n(60, 15) {
        drop(filled(&pool, 128));
        if round % 3 == 0 {
            drop(filled(&pool, 128).freeze());
        }
        let mut buffer = pool.get(128);
        let spare = buffer.spare_capacity_mut();
        // SAFETY: the pool has written all of it.
        let seen = spare.iter().map(|byte| unsafe { byte.assume_init() });
        assert_eq!(seen.collect::<Vec<_>>(), [0xA5; 128]);
    }
    let stats = pool.stats();
    assert!(
        stats.created > n(10, 2) as u64 && stats.reused > n(30, 4) as u64,
        "{stats}"
    );
    assert_eq!(stats.in_use, 0);
}
