//! Programs of operations on arenas against a ledger: live allocations never overlap and stay as
//! they were written, whatever threads and other arenas do in between.

use super::{Arena, ArenaPool};
use proptest::prelude::*;
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread;

/// The most arenas that are out at the same time, each on its own thread.
const SLOTS: usize = 4;
const THREADS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    /// Gets an arena for the slot, then drops the slot's previous one.
    Get {
        slot: usize,
    },
    /// Drops the slot's arena, then gets another.
    Renew {
        slot: usize,
    },
    /// Allocates, and fills the memory with a unique mark.
    Alloc {
        slot: usize,
        size: usize,
        align: u32,
    },
    /// Grows a bumpalo vector item by item, and drops or keeps it.
    Grow {
        slot: usize,
        items: usize,
        keep: bool,
    },
    Drop {
        slot: usize,
    },
    /// Moves the slot's arena to another thread.
    Move {
        slot: usize,
        thread: usize,
    },
    /// Limits what the slot's request may allocate.
    Limit {
        slot: usize,
        bytes: Option<usize>,
    },
    Enable {
        on: bool,
    },
    Trim,
    Clear,
    Check,
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        1 => Just(0_usize),
        8 => 1_usize..200,
        2 => 200_usize..5_000,
        1 => 5_000_usize..60_000,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let slot = 0..SLOTS;
    prop_oneof![
        2 => slot.clone().prop_map(|slot| Op::Get { slot }),
        2 => slot.clone().prop_map(|slot| Op::Renew { slot }),
        12 => (slot.clone(), size(), 0_u32..8)
            .prop_map(|(slot, size, align)| Op::Alloc { slot, size, align }),
        3 => (slot.clone(), 0_usize..600, any::<bool>())
            .prop_map(|(slot, items, keep)| Op::Grow { slot, items, keep }),
        3 => slot.clone().prop_map(|slot| Op::Drop { slot }),
        2 => (slot, 0..THREADS).prop_map(|(slot, thread)| Op::Move { slot, thread }),
        2 => (0..SLOTS, prop::option::of(0_usize..70_000))
            .prop_map(|(slot, bytes)| Op::Limit { slot, bytes }),
        1 => any::<bool>().prop_map(|on| Op::Enable { on }),
        1 => Just(Op::Trim),
        1 => Just(Op::Clear),
        2 => Just(Op::Check),
    ]
}

/// An arena that is out, and what is alive in it: addresses, the marks that fill them, and a
/// separate accessor, because the ledger keeps no borrow.
struct Tenant {
    arena: Arena,
    alive: Vec<Entry>,
    limit: Option<usize>,
    /// Whether the pool counts it: not if the pool was switched off then.
    counts: bool,
}

struct Entry {
    range: Range<usize>,
    bytes: *const [u8],
    mark: u8,
}

// SAFETY: the pointers are into the tenant's own arena, which moves with them.
unsafe impl Send for Tenant {}

impl Tenant {
    fn alloc(&mut self, size: usize, align: u32, mark: u8) {
        let layout = Layout::from_size_align(size, 1 << align).expect("small");
        let used: usize = self.alive.iter().map(|entry| entry.range.len()).sum();
        let Ok(at) = self.arena.try_alloc_layout(layout) else {
            assert!(self.limit.is_some(), "there is memory");
            return;
        };
        if let Some(limit) = self.limit {
            assert!(size == 0 || used + size <= limit, "above {limit}");
        }
        assert_eq!(at.addr().get() % layout.align(), 0);
        // SAFETY: fresh memory of the arena, `size` bytes of it.
        unsafe { at.as_ptr().write_bytes(mark, size) };
        let bytes = std::ptr::slice_from_raw_parts(at.as_ptr().cast_const(), size);
        self.enter(bytes, mark);
    }

    fn grow(&mut self, items: usize, keep: bool, mark: u8) {
        // A vector that reaches a limit panics.
        let items = if self.limit.is_none() { items } else { 0 };
        let mut vector = bumpalo::collections::Vec::new_in(&self.arena);
        for _ in 0..items {
            vector.push(mark);
        }
        assert!(vector.iter().all(|byte| *byte == mark));
        if keep {
            let bytes: *const [u8] = vector.into_bump_slice();
            self.enter(bytes, mark);
        }
    }

    fn enter(&mut self, bytes: *const [u8], mark: u8) {
        let start = bytes.cast::<u8>().addr();
        self.alive.push(Entry {
            range: start..start + bytes.len(),
            bytes,
            mark,
        });
    }

    fn check(&self) {
        for entry in &self.alive {
            // SAFETY: alive until the arena is dropped, and completely written.
            let bytes = unsafe { &*entry.bytes };
            assert!(
                *bytes == vec![entry.mark; bytes.len()],
                "{:?} is not as it was written",
                entry.range
            );
        }
    }
}

/// What a thread does with a tenant, which it returns.
type Job = Box<dyn FnOnce(&ArenaPool, Option<Tenant>) -> Option<Tenant> + Send>;

struct Worker {
    jobs: std::sync::mpsc::Sender<(Job, Option<Tenant>)>,
    done: std::sync::mpsc::Receiver<thread::Result<Option<Tenant>>>,
}

impl Worker {
    fn spawn(pool: Arc<ArenaPool>) -> (Self, thread::JoinHandle<()>) {
        let (jobs, to_do) = std::sync::mpsc::channel::<(Job, Option<Tenant>)>();
        let (report, done) = std::sync::mpsc::channel();
        let handle = thread::spawn(move || {
            for (job, tenant) in to_do {
                let outcome =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&pool, tenant)));
                if report.send(outcome).is_err() {
                    return;
                }
            }
        });
        (Self { jobs, done }, handle)
    }

    fn run(&self, tenant: Option<Tenant>, job: Job) -> Option<Tenant> {
        self.jobs.send((job, tenant)).expect("the worker is there");
        match self.done.recv().expect("the worker answers") {
            Ok(tenant) => tenant,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// No two live allocations overlap, in whichever arenas they are, and each is as it was written.
fn check(slots: &[Slot]) {
    let mut taken = BTreeMap::new();
    for tenant in slots.iter().filter_map(|slot| slot.tenant.as_ref()) {
        tenant.check();
        for entry in tenant.alive.iter().filter(|entry| !entry.range.is_empty()) {
            let clash = taken.insert(entry.range.start, entry.range.end);
            assert_eq!(clash, None, "two allocations at {:#x}", entry.range.start);
        }
    }
    let mut last_end = 0;
    for (start, end) in taken {
        assert!(last_end <= start, "two allocations share {start:#x}");
        last_end = end;
    }
}

#[derive(Default)]
struct Slot {
    tenant: Option<Tenant>,
    thread: usize,
}

fn run(ops: Vec<Op>, first_chunk: usize, max_object_bytes: Option<usize>) {
    let builder = ArenaPool::builder()
        .first_chunk(first_chunk)
        .trim_manually();
    let pool = Arc::new(match max_object_bytes {
        Some(bytes) => builder.max_object_bytes(bytes).build(),
        None => builder.build(),
    });
    let (workers, handles): (Vec<_>, Vec<_>) = (0..THREADS)
        .map(|_| Worker::spawn(Arc::clone(&pool)))
        .unzip();
    let mut slots: Vec<Slot> = (0..SLOTS).map(|_| Slot::default()).collect();
    let empty = |pool: &ArenaPool| {
        let arena = pool.get();
        assert_eq!(arena.chunk_capacity(), arena.allocated_bytes(), "not reset");
        assert_eq!(arena.allocation_limit(), None);
        Some(Tenant {
            arena,
            alive: Vec::new(),
            limit: None,
            counts: pool.is_enabled(),
        })
    };
    for (step, op) in ops.into_iter().enumerate() {
        let mark = step as u8;
        let (slot, job): (usize, Job) = match op {
            Op::Get { slot } => (
                slot,
                Box::new(move |pool, old| {
                    let new = empty(pool);
                    drop(old);
                    new
                }),
            ),
            Op::Renew { slot } => (
                slot,
                Box::new(move |pool, old| {
                    drop(old);
                    empty(pool)
                }),
            ),
            Op::Alloc { slot, size, align } => (
                slot,
                Box::new(move |_, tenant| {
                    tenant.map(|mut tenant| {
                        tenant.alloc(size, align, mark);
                        tenant
                    })
                }),
            ),
            Op::Grow { slot, items, keep } => (
                slot,
                Box::new(move |_, tenant| {
                    tenant.map(|mut tenant| {
                        tenant.grow(items, keep, mark);
                        tenant
                    })
                }),
            ),
            Op::Drop { slot } => (
                slot,
                Box::new(|_, tenant| {
                    drop(tenant);
                    None
                }),
            ),
            Op::Move { slot, thread } => {
                slots[slot].thread = thread;
                continue;
            }
            Op::Limit { slot, bytes } => (
                slot,
                Box::new(move |_, tenant| {
                    tenant.map(|mut tenant| {
                        tenant.arena.set_allocation_limit(bytes);
                        tenant.limit = bytes;
                        tenant
                    })
                }),
            ),
            Op::Enable { on } => {
                pool.set_enabled(on);
                continue;
            }
            Op::Trim => {
                let _ = pool.trim();
                continue;
            }
            Op::Clear => {
                let _ = pool.clear();
                continue;
            }
            Op::Check => {
                check(&slots);
                continue;
            }
        };
        let Slot { tenant, thread } = &mut slots[slot];
        *tenant = workers[*thread].run(tenant.take(), job);
    }
    check(&slots);
    let tenants = slots.iter().filter_map(|slot| slot.tenant.as_ref());
    let out = tenants.filter(|tenant| tenant.counts).count();
    assert_eq!(pool.stats().in_use, out as u64);
    drop(slots);
    drop(workers);
    for handle in handles {
        handle.join().expect("workers catch panics");
    }
    let _ = pool.clear();
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.idle_bytes, stats.in_use), (0, 0, 0));
    assert_eq!(stats.created, stats.discarded + stats.trimmed);
}

pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 4 } else { cases },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn live_allocations_never_overlap_and_stay_as_written(
        ops in prop::collection::vec(op(), 0..if cfg!(miri) { 30 } else { 150 }),
        first_chunk in 0_usize..10_000,
        limit in prop::option::of(0_usize..40_000),
    ) {
        run(ops, first_chunk, limit);
    }
}

#[test]
fn nested_arenas_keep_apart() {
    const DEPTH: usize = if cfg!(miri) { 10 } else { 50 };
    // Each arena is got while all outer ones are in use, and dropped before them.
    fn nest(pool: &ArenaPool, depth: usize, seen: &Mutex<Vec<Range<usize>>>) {
        if depth == 0 {
            return;
        }
        let arena = pool.get();
        let mine: &mut [u8] = arena.alloc_slice_fill_copy(100 * depth, depth as u8);
        let start = mine.as_ptr().addr();
        seen.lock()
            .expect("no panic")
            .push(start..start + mine.len());
        nest(pool, depth - 1, seen);
        assert_eq!(*mine, vec![depth as u8; mine.len()][..]);
    }
    let pool = ArenaPool::builder().trim_manually().build();
    for _ in 0..3 {
        let seen = Mutex::default();
        nest(&pool, DEPTH, &seen);
        let mut seen = seen.into_inner().expect("no panic");
        seen.sort_by_key(|range| range.start);
        assert!(seen.windows(2).all(|two| two[0].end <= two[1].start));
    }
    let stats = pool.stats();
    assert_eq!(
        (stats.created, stats.reused),
        (DEPTH as u64, 2 * DEPTH as u64)
    );
}
