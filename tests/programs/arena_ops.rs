//! Programs of operations on one `ArenaPool`, on several threads, against a ledger: live
//! allocations never overlap and stay as they were written; an arena comes out empty.

use super::workers::{Ops, Workers};
use arbitrary::Arbitrary;
use repool::{Arena, ArenaPool, Budget};
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::sync::Arc;

const SLOTS: usize = 6;
const THREADS: usize = 3;

#[derive(Arbitrary, Debug)]
pub(crate) struct Program {
    first_chunk: Option<u16>,
    max_object_bytes: Option<u16>,
    budget: Option<u16>,
    ops: Ops<Op>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Get {
        slot: u8,
    },
    Alloc {
        slot: u8,
        size: u16,
        align: u8,
    },
    /// Requests more than any chunk can hold.
    TryAllocHuge {
        slot: u8,
        less: u8,
    },
    Limit {
        slot: u8,
        bytes: Option<u16>,
    },
    Drop {
        slot: u8,
    },
    DropInPanic {
        slot: u8,
    },
    Trim,
    Clear,
    Enable {
        on: bool,
    },
    Check,
    EndThread,
}

struct Tenant {
    arena: Arena,
    /// What is alive in it: the address, the length, and the mark that fills it.
    alive: Vec<(*mut u8, usize, u8)>,
    limit: Option<usize>,
    /// Not handed out while the pool was off: those belong to no pool.
    belongs: bool,
}

// SAFETY: the pointers are into the tenant's own arena, which moves with them.
unsafe impl Send for Tenant {}

impl Tenant {
    fn new(pool: &ArenaPool, belongs: bool) -> Self {
        let arena = pool.get();
        assert_eq!(arena.chunk_capacity(), arena.allocated_bytes(), "not empty");
        assert_eq!(arena.allocation_limit(), None);
        Self {
            arena,
            alive: Vec::new(),
            limit: None,
            belongs,
        }
    }

    fn alloc(&mut self, size: usize, align: u8, mark: u8) {
        let layout = Layout::from_size_align(size, 1 << (align % 13)).expect("small");
        // Fails only if the program has set a limit.
        if let Ok(at) = self.arena.try_alloc_layout(layout) {
            assert_eq!(at.addr().get() % layout.align(), 0);
            // SAFETY: fresh memory of the arena, `size` bytes of it.
            unsafe { at.as_ptr().write_bytes(mark, size) };
            self.alive.push((at.as_ptr(), size, mark));
            let used: usize = self.alive.iter().map(|(_, size, _)| size).sum();
            let is_within = self.limit.is_none_or(|limit| used <= limit);
            assert!(
                size == 0 || is_within,
                "{used} bytes above {:?}",
                self.limit
            );
        } else {
            assert!(self.arena.allocation_limit().is_some());
        }
    }

    fn check(&self) {
        for &(at, size, mark) in &self.alive {
            // SAFETY: alive until the arena is dropped, and completely written.
            let bytes = unsafe { std::slice::from_raw_parts(at, size) };
            assert!(bytes.iter().all(|byte| *byte == mark), "not as written");
        }
    }
}

fn check(slots: &[Option<Tenant>]) {
    let mut taken = BTreeMap::new();
    for tenant in slots.iter().flatten() {
        tenant.check();
        for (at, size, _) in tenant.alive.iter().filter(|(_, size, _)| *size > 0) {
            assert_eq!(
                taken.insert(at.addr(), at.addr() + size),
                None,
                "given twice"
            );
        }
    }
    let mut last_end = 0;
    for (start, end) in taken {
        assert!(last_end <= start, "overlap");
        last_end = end;
    }
}

pub(crate) fn run(program: Program) {
    let budget = program.budget.map(|bytes| Budget::new(bytes.into()));
    let mut builder = ArenaPool::builder().trim_manually();
    if let Some(bytes) = program.max_object_bytes {
        builder = builder.max_object_bytes(bytes.into());
    }
    if let Some(bytes) = program.first_chunk {
        builder = builder.first_chunk(bytes.into());
    }
    if let Some(budget) = &budget {
        builder = builder.budget(budget.clone());
    }
    let pool = Arc::new(builder.build());
    let mut slots: Vec<Option<Tenant>> = (0..SLOTS).map(|_| None).collect();
    let mut workers = Workers::new(THREADS);
    let mut is_on = true;

    for (step, (thread, op)) in program.ops.0.into_iter().enumerate() {
        let thread = usize::from(thread);
        let mark = step as u8;
        let pool = Arc::clone(&pool);
        match op {
            Op::Get { slot } => {
                let slot = &mut slots[usize::from(slot) % SLOTS];
                let new = workers.run(thread, move || Tenant::new(&pool, is_on));
                let old = slot.replace(new);
                workers.run(thread, move || drop(old));
            }
            Op::Alloc { slot, size, align } => {
                let slot = &mut slots[usize::from(slot) % SLOTS];
                if let Some(mut tenant) = slot.take() {
                    *slot = Some(workers.run(thread, move || {
                        tenant.alloc(size.into(), align, mark);
                        tenant
                    }));
                }
            }
            Op::TryAllocHuge { slot, less } => {
                if let Some(tenant) = &slots[usize::from(slot) % SLOTS] {
                    // bumpalo refuses it: the allocator of a fuzzing run would abort instead.
                    let bytes = isize::MAX as usize - usize::from(less % 16);
                    let layout = Layout::from_size_align(bytes, 1).expect("not too large");
                    assert!(tenant.arena.try_alloc_layout(layout).is_err());
                }
            }
            Op::Limit { slot, bytes } => {
                if let Some(tenant) = &mut slots[usize::from(slot) % SLOTS] {
                    tenant.arena.set_allocation_limit(bytes.map(usize::from));
                    tenant.limit = bytes.map(usize::from);
                }
            }
            Op::Drop { slot } => {
                let tenant = slots[usize::from(slot) % SLOTS].take();
                workers.run(thread, move || drop(tenant));
            }
            Op::DropInPanic { slot } => {
                let tenant = slots[usize::from(slot) % SLOTS].take();
                workers.unwinding(thread, move || drop(tenant));
            }
            Op::Trim => {
                workers.run(thread, move || pool.trim());
            }
            Op::Clear => {
                workers.run(thread, move || pool.clear());
            }
            Op::Enable { on } => {
                workers.run(thread, move || pool.set_enabled(on));
                is_on = on;
            }
            Op::Check => {
                check(&slots);
                let stats = workers.run(thread, move || pool.stats());
                let out = slots.iter().flatten().filter(|tenant| tenant.belongs);
                assert_eq!(stats.in_use, out.count() as u64);
                if let Some(budget) = &budget {
                    assert!(stats.idle_bytes <= budget.used() as u64);
                    assert!(budget.used() <= budget.limit());
                }
            }
            Op::EndThread => workers.replace(thread),
        }
    }

    check(&slots);
    slots.clear();
    workers.end();
    let _ = pool.clear();
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.idle_bytes, stats.in_use), (0, 0, 0));
    assert!(budget.is_none_or(|budget| budget.used() == 0));
}
