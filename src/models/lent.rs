//! Lent buffers: rings in the caches of a pool, with the shipped `buffer/queue.rs` and `ring_stats.rs`, against views
//! on other threads and against visitors. The ring is not the one that ships, because that one holds handles of
//! `bytes`. Its steps are a copy of those in `buffer/lent.rs`, without what passes set apart as old: a change there has
//! to be repeated here.
//!
//! loom does not see the reference count of `bytes`. So a buffer here is a tracked cell with a count of its own,
//! which is decremented with Release and read with Acquire, as `bytes` does it (`Shared` in its `bytes_mut.rs`). That
//! `bytes` does so is an assumption of these models.

use super::{NODES, Node, Pool, drop_payload, free, name, run_model};
use crate::raw::limits::Limits;
use crate::raw::node::{LIST_BYTES, Link};
use crate::raw::pool::{Core, VTable};
use crate::sys::fence;
use crate::sys::thread_id::ThreadId;
use crate::thread::{exit, register, slow};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Count, Ordering::SeqCst};

#[path = "../buffer/queue.rs"]
mod queue;
#[path = "../buffer/ring_stats.rs"]
mod ring_stats;

/// The number of live buffers in the present iteration.
static BUFFERS: Count = Count::new(0);
/// The number of buffers that became idle.
static MADE_IDLE: Count = Count::new(0);

/// What the handles to a buffer share.
struct Buffer {
    handles: AtomicUsize,
    memory: UnsafeCell<usize>,
}

/// A `Bytes` view, which reads, or the pool's handle, which writes when it is the only one.
struct Handle(*mut Buffer);

// SAFETY: as `Bytes`; loom checks each access to the memory.
unsafe impl Send for Handle {}

impl Handle {
    /// A new buffer with content, as the pool's handle and a view.
    fn lent() -> (Self, Self) {
        BUFFERS.fetch_add(1, SeqCst);
        let buffer = Box::into_raw(Box::new(Buffer {
            handles: AtomicUsize::new(2),
            memory: UnsafeCell::new(0),
        }));
        let lent = (Self(buffer), Self(buffer));
        lent.0.write();
        lent
    }

    fn buffer(&self) -> &Buffer {
        // SAFETY: the last handle frees it.
        unsafe { &*self.0 }
    }

    fn write(&self) {
        // SAFETY: loom checks that no other thread reads or writes.
        self.buffer()
            .memory
            .with_mut(|memory| unsafe { *memory += 1 });
    }

    fn read(&self) {
        // SAFETY: loom checks that no thread writes.
        self.buffer().memory.with(|memory| unsafe { *memory });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.buffer().handles.fetch_sub(1, Ordering::Release) == 1 {
            self.buffer().handles.load(Ordering::Acquire);
            self.write();
            // SAFETY: the last handle.
            drop(unsafe { Box::from_raw(self.0) });
            assert_ne!(BUFFERS.fetch_sub(1, SeqCst), 0, "freed twice");
        }
    }
}

impl Handle {
    fn is_unique(&mut self) -> bool {
        self.buffer().handles.load(Ordering::Acquire) == 1
    }

    fn make_idle(self) {
        MADE_IDLE.fetch_add(1, SeqCst);
        self.write();
    }
}

/// `lent::Ring`.
struct Ring {
    young: queue::Queue<Handle>,
    stats: Arc<ring_stats::RingStats>,
}

impl Ring {
    fn push(&mut self, handle: Handle) {
        self.stats.came();
        self.young.push(handle);
    }

    fn push_in_place(&mut self, handle: Handle) -> Result<(), Handle> {
        self.young.push_in_place(handle)?;
        self.stats.came();
        Ok(())
    }

    fn take_in_place(&mut self) -> Option<Handle> {
        let handle = self.young.pop_if(|handle| handle.is_unique())?;
        self.stats.left(true);
        Some(handle)
    }

    fn sift(&mut self) {
        for _ in 0..self.young.len() {
            let Some(mut handle) = self.young.pop() else {
                break;
            };
            if handle.is_unique() {
                self.stats.left(false);
                handle.make_idle();
            } else {
                self.young.push(handle);
            }
        }
        self.young.shrink();
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let handles = self.young.len();
        while self.young.pop().is_some() {}
        ring_stats::RingStats::give_up(&self.stats, handles);
    }
}

#[repr(C)]
struct RingNode {
    node: Node,
    ring: UnsafeCell<Ring>,
}

static OF_RINGS: VTable = VTable {
    drop_node: drop_ring,
    on_pass: super::on_pass,
    name,
    drop_payload,
    free,
};

unsafe fn drop_ring(core: *const Core, link: *mut Link) {
    // SAFETY: models hold the nodes that they drop.
    let node = unsafe { Box::from_raw(link.cast::<RingNode>()) };
    node.ring.with_mut(|_| ());
    drop(node);
    assert_ne!(NODES.fetch_sub(1, SeqCst), 0, "a node dropped twice");
    // SAFETY: the node's reference.
    unsafe { Core::release(core) };
}

/// Calls `work` with the ring of a node that the caller holds, or that is on top of its cache.
fn with_ring<R>(link: *mut Link, work: impl FnOnce(&mut Ring) -> R) -> R {
    // SAFETY: held by the caller; loom checks it.
    unsafe {
        (*link.cast::<RingNode>())
            .ring
            .with_mut(|ring| work(&mut *ring))
    }
}

/// The pool of rings of a class.
#[derive(Clone, Copy)]
struct Rings(Pool);

impl Rings {
    fn new() -> Self {
        BUFFERS.store(0, SeqCst);
        MADE_IDLE.store(0, SeqCst);
        let limits = Limits::new(usize::MAX, usize::MAX, usize::MAX);
        Self(Pool::of(&OF_RINGS, limits))
    }

    /// `Lent::push_slow`: the thread with this ID lends its first buffers.
    fn lend_first(self, id: usize, handles: Vec<Handle>) {
        let pool = self.0;
        let mut ring = Ring {
            young: queue::Queue::new(),
            stats: ring_stats::ClassRingStats::new().take(),
        };
        for handle in handles {
            ring.push(handle);
        }
        NODES.fetch_add(1, SeqCst);
        pool.core().retain();
        let node = RingNode {
            node: Node {
                link: Link::new(pool.core().as_node_core()),
                object: UnsafeCell::new(0),
            },
            ring: UnsafeCell::new(ring),
        };
        self.give_back(Box::into_raw(Box::new(node)).cast(), Some(id));
    }

    /// The guard of a ring is dropped.
    fn give_back(self, link: *mut Link, id: Option<usize>) {
        with_ring(link, |_| ());
        let id = id.map(ThreadId);
        // SAFETY: the caller holds the node, and the model each ID to one thread.
        unsafe { slow::give(self.0.0, id, link, LIST_BYTES) };
    }

    /// `Top::with`: inside the critical section of the thread with this ID, if it has a ring.
    fn in_place<R>(self, id: usize, work: impl FnOnce(&mut Ring) -> R) -> Option<R> {
        let cache = register::cache_of(self.0.core(), ThreadId(id))?;
        // SAFETY: the model gives each ID to one thread.
        unsafe { cache.with_top(fence::light, |link| with_ring(link, work)) }
    }

    /// `Lent::pop`, and a use of the buffer.
    fn get(self, id: usize) -> Option<Handle> {
        let handle = self.in_place(id, Ring::take_in_place)??;
        handle.write();
        Some(handle)
    }

    /// `Lent::push`. If the thread has no ring, the handle is dropped.
    fn lend(self, id: usize, handle: Handle) {
        let mut handle = Some(handle);
        let _ = self.in_place(id, |ring| {
            if let Some(one) = handle.take() {
                handle = ring.push_in_place(one).err();
            }
        });
    }

    /// `Lent::look_at_all`: a pass takes all rings out, looks into them, and puts them into the depot.
    fn pass(self) {
        let (mut rings, _) = self.0.core().take_all(None);
        loop {
            let link = rings.pop();
            if link.is_null() {
                return;
            }
            with_ring(link, Ring::sift);
            self.give_back(link, None);
        }
    }

    /// Closes the pool: nothing waits for views any longer.
    fn close(self) {
        self.0.close();
    }
}

/// Another thread reads and drops a view while the owner of the ring gets a buffer. The owner writes the buffer only
/// after the last read.
#[test]
fn a_view_dropped_elsewhere_returns_its_buffer() {
    run_model("a_view_dropped_elsewhere_returns_its_buffer", || {
        let rings = Rings::new();
        let (handle, view) = Handle::lent();
        rings.lend_first(0, vec![handle]);
        let reader = thread::spawn(move || {
            view.read();
            drop(view);
        });
        let early = rings.get(0);
        reader.join().unwrap();
        let found = early.or_else(|| rings.get(0));
        found.expect("no view is left").write();
        rings.close();
        assert_eq!(BUFFERS.load(SeqCst), 0);
    });
}

/// A pass looks through the ring of an owner that gets and lends at the same time. No handle is lost, and no handle
/// has two holders.
#[test]
fn a_pass_against_the_owner_of_a_ring() {
    run_model("a_pass_against_the_owner_of_a_ring", || {
        let rings = Rings::new();
        let (back, view) = Handle::lent();
        drop(view);
        let (lent, view) = Handle::lent();
        rings.lend_first(0, vec![back, lent]);
        let owner = thread::spawn(move || {
            if let Some(found) = rings.get(0) {
                rings.lend(0, found);
            }
        });
        rings.pass();
        owner.join().unwrap();
        view.read();
        drop(view);
        // At rest, a pass finds all buffers without views.
        rings.pass();
        assert_eq!(BUFFERS.load(SeqCst), 0, "a handle was lost");
        rings.close();
    });
}

/// The last view is dropped while a pass looks.
#[test]
fn the_last_view_against_a_pass() {
    run_model("the_last_view_against_a_pass", || {
        let rings = Rings::new();
        let (handle, view) = Handle::lent();
        rings.lend_first(0, vec![handle]);
        let reader = thread::spawn(move || {
            view.read();
            drop(view);
        });
        rings.pass();
        reader.join().unwrap();
        rings.pass();
        assert_eq!(MADE_IDLE.load(SeqCst), 1, "found once");
        assert_eq!(BUFFERS.load(SeqCst), 0);
        rings.close();
    });
}

/// A pool is closed while a view is live. The last view frees the memory.
#[test]
fn a_view_outlives_its_pool() {
    run_model("a_view_outlives_its_pool", || {
        let rings = Rings::new();
        let (handle, view) = Handle::lent();
        rings.lend_first(0, vec![handle]);
        let reader = thread::spawn(move || {
            view.read();
            drop(view);
        });
        rings.close();
        reader.join().unwrap();
        assert_eq!(BUFFERS.load(SeqCst), 0);
    });
}

/// A thread exits, and another one finds its ring with the handles.
#[test]
fn the_ring_of_an_ending_thread_is_found() {
    run_model("the_ring_of_an_ending_thread_is_found", || {
        let rings = Rings::new();
        let (handle, view) = Handle::lent();
        rings.lend_first(0, vec![handle]);
        let core = rings.0;
        let ending = thread::spawn(move || {
            view.read();
            let emptied = exit::vacate(core.core(), ThreadId(0));
            drop(view);
            emptied
        });
        let take = || slow::take(core.core(), Some(ThreadId(1)));
        let mut link = take();
        let emptied = ending.join().unwrap();
        if link.is_null() {
            link = take();
        }
        assert_eq!(!link.is_null(), emptied, "a ring was lost");
        if emptied {
            let found = with_ring(link, Ring::take_in_place).expect("no view is left");
            found.write();
            drop(found);
            rings.give_back(link, Some(1));
        }
        rings.close();
        assert_eq!(BUFFERS.load(SeqCst), 0);
    });
}
