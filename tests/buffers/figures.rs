//! Counters never go back, read while other threads work with lent buffers.

use crate::{assert_balanced, manual};
use bytes::Bytes;
use repool::{BufferPool, Stats};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

const SIZE: usize = 2048;

fn frozen(pool: &BufferPool) -> Bytes {
    let mut buffer = pool.get(SIZE);
    buffer.resize(SIZE / 2, 1);
    buffer.freeze()
}

/// The figures that only ever grow.
fn counters(stats: &Stats) -> [(&'static str, u64); 8] {
    [
        ("created", stats.created),
        ("reused", stats.reused),
        ("returned", stats.returned),
        ("adopted", stats.adopted),
        ("taken", stats.taken),
        ("discarded", stats.discarded),
        ("trimmed", stats.trimmed),
        ("oversize", stats.discarded_by.oversize),
    ]
}

#[test]
fn counters_never_go_back() {
    let pool = manual();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (pool, over) = (&pool, &over);
            scope.spawn(move || {
                let mut kept = Vec::new();
                for n in 0.. {
                    let view = frozen(pool);
                    match n % 11 {
                        0..=3 => kept.push(view),
                        4 => kept.clear(),
                        5 => drop(pool.get(SIZE).into_inner()),
                        6 => pool.put(bytes::BytesMut::with_capacity(SIZE)),
                        7 => {
                            // From class to class.
                            let mut grows = pool.get(SIZE);
                            grows.resize(20 * SIZE + thread, 1);
                        }
                        8 => drop(pool.get(0)),
                        _ => {}
                    }
                    if over.load(SeqCst) {
                        break;
                    }
                }
            });
        }
        scope.spawn(|| {
            while !over.load(SeqCst) {
                let _ = pool.trim();
                std::thread::yield_now();
            }
        });
        let (mut last, mut last_classes) = (pool.stats(), pool.class_stats());
        for round in 0..if cfg!(miri) { 10 } else { 5_000 } {
            let now = pool.stats();
            for ((name, before), (_, after)) in counters(&last).into_iter().zip(counters(&now)) {
                assert!(
                    after >= before,
                    "{name} went from {before} to {after} ({round})"
                );
            }
            let classes = pool.class_stats();
            for before in &last_classes {
                let after = classes.iter().find(|one| one.capacity == before.capacity);
                let after = after.expect("a class stays");
                assert!(after.requests >= before.requests, "requests ({round})");
                assert!(after.created >= before.created, "created ({round})");
                assert!(after.reused >= before.reused, "reused ({round})");
                assert!(after.oversize >= before.oversize, "oversize ({round})");
            }
            (last, last_classes) = (now, classes);
        }
        over.store(true, SeqCst);
    });
    assert_balanced(&pool);
}
