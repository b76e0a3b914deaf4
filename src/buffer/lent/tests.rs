//! Rings and their handles, seen from inside.

use super::*;
use crate::buffer::class;
use crate::raw::indexed::IndexedBatch;
use crate::{BufferPool, BufferPoolBuilder};
use bytes::Bytes;
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

/// A pool with one class in use, and lent buffers of it that no ring has yet.
struct Bench {
    pool: BufferPool,
}

const SIZE: usize = 512;

impl Bench {
    fn new() -> Self {
        Self::of(BufferPool::builder())
    }

    fn of(builder: BufferPoolBuilder) -> Self {
        let mut builder = builder.trim_manually();
        // A pool that wipes its buffers checks each of them.
        builder.settings.wipes = false;
        let pool = builder.build();
        drop(pool.get(SIZE));
        let bench = Self { pool };
        // The first return was checked. From now on it is only a handle that is pushed.
        assert!(bench.class().lent.rings.stats().adopted == 0);
        bench
    }

    fn class(&self) -> &Class {
        let used = self.pool.inner().if_used(class::holding(SIZE));
        &used.expect("used above").class
    }

    fn lent(&self) -> &Lent {
        &self.class().lent
    }

    fn idle(&self) -> u64 {
        self.class().core.get().expect("open").stats().idle
    }

    /// Handles in rings, and buffers handed out again from one.
    fn totals(&self) -> (u64, u64) {
        let totals = self.lent().totals();
        (totals.handles, totals.again)
    }

    /// A buffer that is lent, and its view.
    fn handle(&self) -> (Pooled<PooledBytes>, Bytes) {
        let mut object = self.pool.inner().get(SIZE, false).expect("memory");
        object.bytes.extend_from_slice(&[1; SIZE]);
        let view = object.bytes.split().freeze();
        (object, view)
    }

    /// The same, of a buffer that has to be checked before it is handed out again.
    fn checked(&self) -> (Pooled<PooledBytes>, Bytes) {
        let (mut object, view) = self.handle();
        object.wait(SIZE);
        (object, view)
    }

    /// A ring with this many young and old handles, and their views.
    fn ring(&self, young: usize, old: usize) -> (Ring, Vec<Bytes>, Vec<Bytes>) {
        let mut ring = Ring::new(self.lent().ring_stats.take());
        let mut views = (Vec::new(), Vec::new());
        for _ in 0..young {
            let (object, view) = self.handle();
            ring.push(object);
            views.0.push(view);
        }
        for _ in 0..old {
            let (object, view) = self.handle();
            ring.stats.came();
            ring.old.push(object);
            views.1.push(view);
        }
        (ring, views.0, views.1)
    }
}

fn lens(ring: &Ring) -> (usize, usize) {
    (ring.young.len(), ring.old.len())
}

fn is_unchanged(found: Option<Found>) -> bool {
    matches!(found, Some(Found::Unchanged(_)))
}

#[test]
fn a_get_looks_at_each_handle_of_a_short_ring() {
    let bench = Bench::new();
    for at in [0, 1, FEW / 2, FEW - 1] {
        let (mut ring, mut views, _) = bench.ring(FEW, 0);
        drop(views.remove(at));
        assert!(is_unchanged(ring.look()), "{at}");
        assert_eq!(lens(&ring), (FEW - 1 - at, at), "those before it are old");
        assert_eq!((ring.next, ring.looks), (0, LOOKS));
        assert!(ring.look().is_none());
    }
    let (mut ring, _views, mut old) = bench.ring(10, 30);
    drop(old.pop());
    assert!(is_unchanged(ring.look()));
    assert_eq!(lens(&ring), (10, 29));
}

#[test]
fn a_get_looks_at_a_part_of_a_long_ring_and_at_less_while_it_finds_nothing() {
    let bench = Bench::new();
    let (mut ring, mut views, _) = bench.ring(FEW + 36, 0);
    let mut looked = 0;
    for looks in [32, 16, 8, 4, 4, 4] {
        assert_eq!((ring.next, ring.looks), (looked, looks));
        assert!(ring.look().is_none());
        looked += looks;
    }
    assert_eq!((ring.next, ring.looks), (68, LEAST_LOOKS));
    // The next look is at this one, the one after it would be.
    drop(views.remove(69));
    assert!(is_unchanged(ring.look()));
    assert_eq!(lens(&ring), (30, 69));
    assert_eq!((ring.next, ring.looks), (0, LOOKS));
    // Around the end, and at one old one first.
    ring.next = 29;
    assert!(ring.look_at_young(2).is_none());
    assert_eq!(ring.next, 1);
    assert!(ring.look_at_old(0).is_none() && ring.look_at_young(0).is_none());
    assert_eq!(lens(&ring), (30, 69));
}

#[test]
fn one_old_buffer_is_handed_out_and_others_without_views_become_idle() {
    let bench = Bench::new();
    let (mut ring, _views, old) = bench.ring(1, 4);
    let idle = bench.idle();
    drop(old);
    assert!(ring.look_at_old(0).is_none());
    let found = ring.look_at_old(3);
    assert!(matches!(found, Some(Found::Unchanged(_))));
    assert_eq!((lens(&ring), bench.idle()), ((1, 1), idle + 2));
    assert_eq!(bench.totals(), (2, 1));
    drop(found);
    // One that has to be checked becomes idle.
    let (object, view) = bench.checked();
    ring.stats.came();
    ring.old.push(object);
    assert!(is_unchanged(ring.look_at_old(1)), "the last of those above");
    let idle = bench.idle();
    assert!(ring.look_at_old(1).is_none(), "it has a view");
    drop(view);
    let found = ring.look_at_old(1);
    assert!(matches!(found, Some(Found::Idle)));
    assert_eq!((lens(&ring), bench.idle()), ((1, 0), idle + 1));
}

#[test]
fn a_buffer_that_has_to_be_checked_is_not_handed_out_from_the_ring() {
    let bench = Bench::new();
    let (object, view) = bench.checked();
    let (mut ring, _, _) = bench.ring(0, 0);
    ring.push(object);
    drop(view);
    let idle = bench.idle();
    assert!(ring.look().is_some_and(|found| found.unchanged().is_none()));
    assert_eq!((bench.idle(), bench.totals()), (idle + 1, (0, 0)));
    let (object, view) = bench.handle();
    ring.push(object);
    drop(view);
    assert!(ring.look().is_some_and(|found| found.unchanged().is_some()));
    assert_eq!(bench.totals(), (0, 1));
}

#[test]
fn a_full_ring_grows_if_more_than_half_of_its_handles_have_views() {
    let bench = Bench::new();
    let (mut ring, _, _) = bench.ring(0, 0);
    ring.make_room();
    let room = ring.young.capacity();
    assert!(room > 0 && ring.old.capacity() > 0);
    for (free, grows) in [
        (0, true),
        (room / 2 - 1, true),
        (room / 2, false),
        (room, false),
    ] {
        let (mut ring, views, _) = bench.ring(room, 0);
        assert_eq!(ring.young.capacity(), room);
        let kept = views.into_iter().skip(free).collect::<Vec<_>>();
        ring.make_room();
        assert_eq!(lens(&ring), (kept.len(), 0), "{free}");
        let expected = if grows { 2 * room } else { room };
        assert_eq!(ring.young.capacity(), expected, "{free}");
        assert_eq!(ring.old.capacity() > 0, grows);
        assert_eq!(bench.totals().0, kept.len() as u64);
    }
    let (mut ring, views, _) = bench.ring(room - 1, 0);
    drop(views);
    ring.make_room();
    assert_eq!(lens(&ring), (room - 1, 0), "not full, so not looked at");
}

#[test]
fn a_ring_is_empty_without_young_and_old_handles() {
    let bench = Bench::new();
    let empty = |young, old| bench.ring(young, old).0.is_empty();
    assert!(empty(0, 0));
    assert!(!empty(1, 0) && !empty(0, 1) && !empty(1, 1));
}

#[test]
fn a_ring_that_is_dropped_releases_and_uncounts_its_handles() {
    let bench = Bench::new();
    let (ring, views, old) = bench.ring(3, 2);
    let idle = bench.idle();
    assert_eq!(bench.totals(), (5, 0));
    drop(ring);
    assert_eq!((bench.totals(), bench.idle()), ((0, 0), idle));
    assert!(views.iter().chain(&old).all(|view| view == &[1; SIZE][..]));
}

#[test]
fn a_ring_takes_over_the_handles_of_another() {
    let bench = Bench::new();
    let (mut one, _one, _) = bench.ring(2, 0);
    let (other, mut views, _old) = bench.ring(1, 2);
    one.merge(other);
    assert_eq!((lens(&one), bench.totals()), ((5, 0), (5, 0)));
    drop(views.pop());
    assert!(is_unchanged(one.look()));
    assert_eq!(bench.totals(), (4, 1));
}

#[test]
fn a_pass_removes_what_has_no_views_or_has_waited_long_enough() {
    let bench = Bench::new();
    let (mut ring, mut views, mut old) = bench.ring(3, 3);
    let sift = |ring: &mut Ring| {
        let mut found = 0;
        ring.sift(&mut |object| {
            found += 1;
            drop(Pooled::into_inner(object));
        });
        found
    };
    assert_eq!((sift(&mut ring), lens(&ring)), (0, (3, 3)));
    drop((views.pop(), old.pop(), old.pop()));
    assert_eq!((sift(&mut ring), lens(&ring)), (3, (2, 1)));
    assert_eq!(bench.totals(), (3, 0));
    // A part of a buffer, which may keep another one of its own kind waiting.
    let (mut object, view) = bench.handle();
    drop(view);
    object.bytes.extend_from_slice(&[1; 20]);
    let _part = object.bytes.split_to(10);
    object.bytes.clear();
    object.wait(SIZE);
    ring.push(object);
    assert_eq!([(); 4].map(|()| sift(&mut ring)), [0, 0, 1, 0]);
}

#[test]
fn one_buffer_of_a_ring_can_be_made_idle() {
    let bench = Bench::new();
    let (mut ring, mut views, mut old) = bench.ring(3, 2);
    let idle = bench.idle();
    assert!(!ring.make_one_idle());
    assert_eq!((lens(&ring), bench.idle()), ((3, 2), idle));
    drop(views.remove(1));
    assert!(ring.make_one_idle());
    assert_eq!((lens(&ring), bench.idle()), ((1, 3), idle + 1));
    assert_eq!(bench.totals(), (4, 0));
    drop(old.pop());
    assert!(ring.make_one_idle());
    assert_eq!((lens(&ring), bench.idle()), ((1, 2), idle + 2));
    assert!(!ring.make_one_idle());
}

/// The rings of a class: created, in a cache or the depot, and in use.
fn rings(bench: &Bench) -> (u64, u64, u64) {
    let stats = bench.lent().rings.stats();
    (stats.adopted, stats.idle, stats.in_use)
}

#[test]
fn a_ring_without_handles_is_not_given_to_others() {
    let bench = Bench::new();
    let attach = |ring| bench.lent().rings.attach(ring);
    release(attach(bench.ring(0, 0).0));
    assert_eq!(rings(&bench), (1, 0, 0));
    let (ring, _views, _) = bench.ring(1, 0);
    release(attach(ring));
    assert_eq!(rings(&bench), (2, 1, 0));
    let core = bench.lent().rings.core();
    assert_eq!(core.depots().objects(), 1, "in the depot");
}

#[test]
fn a_thread_without_a_ring_takes_one_that_no_thread_has_or_a_new_one() {
    let bench = Bench::new();
    let attach = |ring| Pooled::give_to_all(bench.lent().rings.attach(ring));
    drop(bench.lent().for_new_owner());
    assert_eq!(rings(&bench).0, 1, "the first");
    bench.lent().clear();
    // All of its buffers have views.
    let (ring, _views, _) = bench.ring(2, 0);
    attach(ring);
    let taken = bench.lent().for_new_owner();
    assert_eq!((lens(&taken), rings(&bench)), ((2, 0), (2, 0, 1)));
    drop(Pooled::into_inner(taken));
    // The last of its buffers becomes idle.
    let (ring, views, _) = bench.ring(1, 0);
    attach(ring);
    drop(views);
    let idle = bench.idle();
    let taken = bench.lent().for_new_owner();
    assert_eq!((lens(&taken), rings(&bench)), ((0, 0), (3, 0, 1)));
    assert_eq!(bench.idle(), idle + 1);
    drop(Pooled::into_inner(taken));
    // One becomes idle, and the others serve other threads.
    let (ring, views, _) = bench.ring(3, 0);
    attach(ring);
    drop(views);
    let idle = bench.idle();
    let taken = bench.lent().for_new_owner();
    assert_eq!((lens(&taken), rings(&bench)), ((0, 0), (5, 1, 1)));
    assert_eq!(bench.idle(), idle + 1);
    drop(Pooled::into_inner(taken));
}

#[test]
fn rings_of_other_threads_are_left_to_all_while_they_have_buffers_without_views() {
    let bench = Bench::new();
    let lent = bench.lent();
    let attach = |ring| Pooled::give_to_all(lent.rings.attach(ring));
    assert!(lent.look_elsewhere().is_none());
    let (ring, views, _) = bench.ring(3, 0);
    attach(ring);
    drop(views);
    for left in [2, 1] {
        assert!(lent.look_elsewhere().is_some());
        assert_eq!(lent.rings.core().depots().objects(), 1, "left to all");
        assert_eq!(bench.totals().0, left);
    }
    // An empty one serves this thread.
    assert!(lent.look_elsewhere().is_some());
    assert_eq!(lent.rings.core().depots().objects(), 0);
    assert_eq!((rings(&bench).1, bench.totals()), (1, (0, 3)));
    // With a ring of its own, it releases an empty one, and takes over one without such buffers.
    let (ring, views, _) = bench.ring(1, 0);
    attach(ring);
    drop(views);
    assert!(lent.look_elsewhere().is_some());
    assert_eq!(rings(&bench), (2, 1, 0));
    let (ring, views, _) = bench.ring(2, 0);
    attach(ring);
    assert!(lent.look_elsewhere().is_none());
    assert_eq!((rings(&bench), bench.totals()), ((3, 1, 0), (2, 4)));
    let Some(mine) = lent.rings.try_get_fast() else {
        return; // no caches
    };
    assert_eq!(lens(&mine), (2, 0));
    drop((mine, views));
    assert!(lent.look().is_some() && lent.look().is_some());
    assert!(lent.look().is_none());
    assert_eq!(bench.totals(), (0, 6));
}

#[test]
fn lent_bytes_are_those_of_the_class_and_what_buffers_hold_beyond() {
    let bench = Bench::new();
    let size = bench.class().size as u64;
    assert_eq!(bench.class().lent_bytes(), 0);
    let (_ring, _views, _old) = bench.ring(3, 2);
    assert_eq!(bench.class().lent_bytes(), 5 * size);
    bench.lent().add_extra(100);
    bench.lent().add_extra(50);
    assert_eq!(bench.class().lent_bytes(), 5 * size + 150);
    bench.lent().add_extra(200_usize.wrapping_neg());
    assert_eq!(bench.class().lent_bytes(), 5 * size, "wrapped for a moment");
    bench.lent().add_extra(50);
}

#[test]
fn a_pass_comes_again_while_rings_have_handles_or_are_in_use() {
    let bench = Bench::new();
    let lent = bench.lent();
    let look = || {
        let mut found = 0;
        let more = lent.look_at_all(|object| {
            found += 1;
            drop(Pooled::into_inner(object));
        });
        (found, more)
    };
    assert_eq!(look(), (0, false), "no ring");
    let (ring, views, _) = bench.ring(2, 0);
    drop(lent.rings.attach(ring));
    assert_eq!(look(), (0, true), "handles");
    drop(views);
    assert_eq!(look(), (2, false), "nothing came since the last pass");
    assert_eq!(rings(&bench).1, 0, "the ring is gone");
    let (mut ring, views, _) = bench.ring(1, 0);
    drop(views);
    assert!(is_unchanged(ring.look()));
    drop(lent.rings.attach(ring));
    assert_eq!(look(), (0, true), "it is empty now and then");
    assert_eq!(look(), (0, false));
    let held = lent.rings.attach(bench.ring(0, 0).0);
    assert_eq!(look(), (0, true), "one in use was missed");
    drop(held);
    // Its counters are those of the ring before.
    let _ = look();
    assert!(!bench.class().look_at_all());
    let (ring, _views, _) = bench.ring(1, 0);
    drop(lent.rings.attach(ring));
    assert!(bench.class().look_at_all());
}

#[test]
fn lending_is_switched_off_for_rings_that_there_are() {
    let bench = Bench::new();
    let lent = bench.lent();
    lent.switch(true);
    assert!(!lent.rings.is_used(), "on is how rings begin");
    let (ring, _views, _) = bench.ring(1, 0);
    drop(lent.rings.attach(ring));
    lent.switch(true);
    assert_eq!((lent.rings.is_enabled(), bench.totals().0), (true, 1));
    lent.switch(false);
    assert_eq!((lent.rings.is_enabled(), bench.totals().0), (false, 0));
    lent.switch(true);
    assert!(lent.rings.is_enabled());
    let (ring, _views, _) = bench.ring(1, 0);
    drop(lent.rings.attach(ring));
    lent.close();
    assert_eq!(bench.totals().0, 0);
}

#[test]
fn with_a_limit_all_rings_are_looked_at_more_often_the_more_that_finds() {
    let bench = Bench::of(BufferPool::builder().max_idle_bytes(20 * SIZE));
    let lent = bench.lent();
    let (class, due) = (bench.class(), || lent.due.load(Ordering::Relaxed));
    let attach = |ring| drop(lent.rings.attach(ring));
    let limit = class.limit / class.size;
    let start = due();
    for left in (0..start).rev() {
        class.relieve_if_due();
        assert_eq!(due(), left);
    }
    // What is lent is at most the limit: it does not look.
    let more = 400;
    let (objects, views): (Vec<_>, Vec<_>) = (0..more).map(|_| bench.handle()).unzip();
    let (ring, free, _) = bench.ring(limit, 0);
    attach(ring);
    drop(free);
    class.relieve_if_due();
    assert_eq!((bench.totals().0, due()), (limit as u64, APART as usize));
    // More is lent, and it finds little: as many operations as there were handles.
    let (mut ring, _, _) = bench.ring(0, 0);
    objects.into_iter().for_each(|object| ring.push(object));
    attach(ring);
    let all = limit + more;
    assert!(limit <= all / 8);
    lent.due.store(0, Ordering::Relaxed);
    class.relieve_if_due();
    assert_eq!((bench.totals().0, due()), (more as u64, all));
    // It finds as much as an eighth, and then more than that.
    let kept = views.len() - more / 8;
    let views = views.into_iter().take(kept).collect::<Vec<_>>();
    lent.due.store(0, Ordering::Relaxed);
    class.relieve_if_due();
    assert_eq!((bench.totals().0, due()), (kept as u64, more));
    let views = views
        .into_iter()
        .take(kept - kept / 8 - 1)
        .collect::<Vec<_>>();
    lent.due.store(0, Ordering::Relaxed);
    class.relieve_if_due();
    assert_eq!((bench.totals().0, due()), (views.len() as u64, kept / 8));
    // At least so far apart.
    drop(views);
    lent.due.store(0, Ordering::Relaxed);
    let handles = bench.totals().0;
    class.relieve_if_due();
    let apart = (handles as usize / 8).max(APART as usize);
    assert_eq!((bench.totals().0, due()), (0, apart));
}

/// As nearly all frozen buffers do.
#[test]
fn a_buffer_is_pushed_onto_its_threads_ring_and_taken_from_it_in_place() {
    let bench = Bench::new();
    let lent = bench.lent();
    let (object, view) = bench.handle();
    let object = Lent::push(object).expect_err("the thread has no ring yet");
    assert!(!lent.entered.load(Ordering::Relaxed));
    Lent::push_slow(object);
    assert!(lent.entered.load(Ordering::Relaxed));
    if lent.rings.top().is_none() {
        return; // no caches
    }
    let pop = || pop(lent.rings.top().expect("as above"));
    let (object, other) = bench.handle();
    assert!(Lent::push(object).is_ok());
    assert_eq!(bench.totals(), (2, 0));
    drop(other);
    assert!(pop().is_none(), "the oldest one has a view");
    drop(view);
    let found = pop();
    assert!(found.is_some());
    let hit = bench.pool.inner().hit(class::slot(SIZE));
    assert!(hit.is_some(), "the buffers' own table leads to the ring");
    assert_eq!((bench.totals(), rings(&bench)), ((0, 2), (1, 1, 0)));
    assert!(pop().is_none());
    drop((found, hit));
    // One that has to be checked becomes idle, and waits no longer.
    let (mut object, view) = bench.handle();
    object.wait(1);
    assert!(Lent::push(object).is_ok());
    drop(view);
    let idle = bench.idle();
    assert!(pop().is_none());
    assert_eq!((bench.idle(), bench.totals()), (idle + 1, (0, 2)));
    let object = bench.pool.inner().get(SIZE, false).expect("memory");
    assert_eq!((bench.idle(), object.used_before()), (idle, object.full()));
}

#[test]
fn a_ring_travels_alone() {
    let bench = Bench::new();
    for _ in 0..2 {
        let rings = [(); 4].map(|()| bench.ring(0, 0).0);
        assert!(rings.iter().all(|ring| ring.retained_bytes() == LIST_BYTES));
        drop(rings.map(|ring| bench.lent().rings.attach(ring)));
    }
    let depots = bench.lent().rings.core().depots();
    let mut taken = IndexedBatch::EMPTY;
    while depots.take(&mut taken) {
        let batch = taken.batch_mut().take();
        assert_eq!(batch.len, 1);
        bench.lent().rings.core().drop_batch(batch);
    }
}
