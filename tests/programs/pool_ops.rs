//! Programs of operations on one `Pool`, on several threads, against a ledger: an object is in one
//! place at a time, comes out clean, and is dropped once.

use super::workers::{Ops, Workers};
use arbitrary::Arbitrary;
use repool::{Level, Pool, Pooled};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

const SLOTS: usize = 48;
const THREADS: usize = 3;

#[derive(Arbitrary, Debug)]
pub(crate) struct Program {
    limits: Limits,
    ops: Ops<Op>,
}

#[derive(Arbitrary, Debug)]
struct Limits {
    max_idle: Option<u8>,
    max_idle_bytes: Option<u16>,
    max_object_bytes: Option<u16>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Get {
        slot: u8,
    },
    TryGet {
        slot: u8,
    },
    /// Dirties the object, and gives it this weight.
    Write {
        slot: u8,
        weight: u16,
    },
    /// Makes its reset refuse it.
    Spoil {
        slot: u8,
    },
    Drop {
        slot: u8,
    },
    DropInPanic {
        slot: u8,
    },
    Take {
        slot: u8,
    },
    Put {
        weight: u16,
    },
    Trim,
    TrimUnder {
        high: bool,
    },
    Clear,
    Enable {
        on: bool,
    },
    Stats,
    EndThread,
}

#[derive(Debug, Default)]
struct Census {
    next: AtomicUsize,
    alive: Mutex<HashSet<usize>>,
}

impl Census {
    fn object(self: &Arc<Self>) -> Object {
        let id = self.next.fetch_add(1, SeqCst);
        assert!(self.alive.lock().expect("no panic inside").insert(id));
        Object {
            id,
            dirty: false,
            spoilt: false,
            weight: 0,
            census: Arc::clone(self),
        }
    }

    fn alive(&self) -> usize {
        self.alive.lock().expect("no panic inside").len()
    }
}

#[derive(Debug)]
struct Object {
    id: usize,
    dirty: bool,
    spoilt: bool,
    weight: usize,
    census: Arc<Census>,
}

impl Drop for Object {
    fn drop(&mut self) {
        let was_alive = self
            .census
            .alive
            .lock()
            .expect("no panic inside")
            .remove(&self.id);
        assert!(was_alive, "object {} is dropped twice", self.id);
    }
}

type Slots = Vec<Option<Pooled<Object>>>;

fn check_new(object: &Object, slots: &Slots) {
    assert!(!object.dirty && !object.spoilt, "not reset");
    let twice = slots.iter().flatten().any(|other| other.id == object.id);
    assert!(!twice, "object {} is handed out twice", object.id);
}

pub(crate) fn run(program: Program) {
    let census = Arc::new(Census::default());
    let pool = {
        let census = Arc::clone(&census);
        let mut builder = Pool::builder(move || census.object()).trim_manually();
        if let Some(objects) = program.limits.max_idle {
            builder = builder.max_idle(objects.into());
        }
        if let Some(bytes) = program.limits.max_idle_bytes {
            builder = builder.max_idle_bytes(bytes.into());
        }
        if let Some(bytes) = program.limits.max_object_bytes {
            builder = builder.max_object_bytes(bytes.into());
        }
        let reset = |object: &mut Object| {
            object.dirty = false;
            !object.spoilt
        };
        let weigh = |object: &Object| object.weight;
        Arc::new(builder.reset(reset).retained_bytes(weigh).build())
    };
    let mut slots: Slots = (0..SLOTS).map(|_| None).collect();
    let mut taken = 0;
    // What is handed out while the pool is off belongs to no pool: none of its figures count it any more.
    let (mut is_on, mut outside) = (true, HashSet::new());
    let mut workers = Workers::new(THREADS);

    for (thread, op) in program.ops.0 {
        let thread = usize::from(thread);
        let pool = Arc::clone(&pool);
        match op {
            Op::Get { slot } => {
                let object = workers.run(thread, move || pool.get());
                check_new(&object, &slots);
                if !is_on {
                    outside.insert(object.id);
                }
                let old = slots[usize::from(slot) % SLOTS].replace(object);
                workers.run(thread, move || drop(old));
            }
            Op::TryGet { slot } => {
                if let Some(object) = workers.run(thread, move || pool.try_get()) {
                    check_new(&object, &slots);
                    slots[usize::from(slot) % SLOTS] = Some(object);
                }
            }
            Op::Write { slot, weight } => {
                if let Some(object) = &mut slots[usize::from(slot) % SLOTS] {
                    object.dirty = true;
                    object.weight = weight.into();
                }
            }
            Op::Spoil { slot } => {
                if let Some(object) = &mut slots[usize::from(slot) % SLOTS] {
                    object.spoilt = true;
                }
            }
            Op::Drop { slot } => {
                let object = slots[usize::from(slot) % SLOTS].take();
                workers.run(thread, move || drop(object));
            }
            Op::DropInPanic { slot } => {
                let object = slots[usize::from(slot) % SLOTS].take();
                workers.unwinding(thread, move || drop(object));
            }
            Op::Take { slot } => {
                if let Some(object) = slots[usize::from(slot) % SLOTS].take() {
                    taken += u64::from(!outside.contains(&object.id));
                    workers.run(thread, move || drop(Pooled::into_inner(object)));
                }
            }
            Op::Put { weight } => {
                let mut object = census.object();
                object.dirty = true;
                object.weight = weight.into();
                workers.run(thread, move || pool.put(object));
            }
            Op::Trim => {
                workers.run(thread, move || pool.trim());
            }
            Op::TrimUnder { high } => {
                let level = if high { Level::High } else { Level::Some };
                workers.run(thread, move || pool.trim_under(level));
            }
            Op::Clear => {
                workers.run(thread, move || pool.clear());
                assert_eq!(self::idle(&slots, &census), 0);
            }
            Op::Enable { on } => {
                workers.run(thread, move || pool.set_enabled(on));
                is_on = on;
            }
            Op::Stats => {
                let stats = workers.run(thread, move || pool.stats());
                let belongs = |object: &&Pooled<Object>| !outside.contains(&object.id);
                let out = slots.iter().flatten().filter(belongs).count();
                assert_eq!(stats.in_use, out as u64, "{stats}");
                assert_eq!(stats.idle, self::idle(&slots, &census) as u64, "{stats}");
                assert_eq!(stats.taken, taken, "{stats}");
                check_limits(&program.limits, stats.idle, stats.idle_bytes);
            }
            Op::EndThread => workers.replace(thread),
        }
    }

    // If an odd number of objects is out, the pool is dropped first, and these objects are late.
    let late = slots.iter().flatten().count() % 2 == 1;
    if !late {
        slots.clear();
    }
    drop(pool);
    slots.clear();
    workers.end();
    assert_eq!(census.alive(), 0, "objects are lost");
}

/// Returns the objects that are alive and not out.
fn idle(slots: &Slots, census: &Census) -> usize {
    census.alive() - slots.iter().flatten().count()
}

fn check_limits(limits: &Limits, idle: u64, idle_bytes: u64) {
    if let Some(objects) = limits.max_idle {
        assert!(idle <= objects.into());
    }
    if let Some(bytes) = limits.max_idle_bytes {
        assert!(idle_bytes <= bytes.into());
    }
}
