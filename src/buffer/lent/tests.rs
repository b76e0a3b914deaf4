//! Rings of ended threads, seen from inside.

use crate::BufferPool;
use crate::buffer::class;
use std::thread;

/// The ring of an ended thread serves the next thread, and not only its buffers.
#[test]
fn short_lived_threads_share_a_ring() {
    let pool = BufferPool::builder().trim_manually().build();
    for _ in 0..20 {
        let freeze = || {
            let mut buffer = pool.get(500);
            buffer.extend_from_slice(&[1; 400]);
            drop(buffer.freeze());
        };
        thread::scope(|scope| {
            scope.spawn(freeze).join().expect("no panic");
        });
    }
    let used = pool.inner().if_used(class::holding(500)).expect("used");
    let rings = used.class.lent.rings.stats();
    assert_eq!((rings.created, rings.adopted, rings.in_use), (0, 1, 0));
}
