//! Random programs against a ledger: every object is in exactly one place, and the figures agree.
//!
//! Operations run one at a time, each on one of three threads or on the test's own, so that a
//! failing program can be repeated and shrunk.

use super::support::{Worker, balanced, n};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use repool::{Budget, Builder, Pool, Pooled, Stats, Trimmed};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

/// What is known of every object there has ever been, by its number.
type Registry = Arc<Mutex<Vec<Record>>>;

#[derive(Clone, Debug, Default)]
struct Record {
    drops: usize,
    weight: usize,
    adopted: bool,
}

fn read(registry: &Registry) -> MutexGuard<'_, Vec<Record>> {
    registry.lock().expect("no panic under the lock")
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Reject,
    PanicInReset,
    PanicInWeigh,
}

impl Record {
    /// What limits count for it.
    fn bytes(&self) -> usize {
        size_of::<Object>() + self.weight
    }
}

#[derive(Debug)]
struct Object {
    id: usize,
    weight: usize,
    fault: Fault,
    registry: Registry,
}

impl Object {
    fn new(registry: &Registry, adopted: bool) -> Self {
        let mut all = read(registry);
        all.push(Record {
            adopted,
            ..Record::default()
        });
        let id = all.len() - 1;
        Self {
            id,
            weight: 0,
            fault: Fault::None,
            registry: registry.clone(),
        }
    }

    fn reset(&mut self) -> bool {
        if self.fault == Fault::PanicInReset {
            std::panic::resume_unwind(Box::new("reset"));
        }
        self.fault != Fault::Reject
    }

    fn weigh(&self) -> usize {
        if self.fault == Fault::PanicInWeigh {
            std::panic::resume_unwind(Box::new("weigh"));
        }
        read(&self.registry)[self.id].weight = self.weight;
        self.weight
    }
}

impl repool::Recycle for Object {
    fn recycle(&mut self) {
        let _ = self.reset();
    }

    fn retained_bytes(&self) -> usize {
        self.weigh()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        read(&self.registry)[self.id].drops += 1;
    }
}

#[derive(Clone, Debug)]
enum Op {
    Get,
    GetMany(usize),
    TryGet,
    DropGuard(usize),
    DropMany(usize),
    Put(usize),
    IntoInner(usize),
    SetWeight(usize, usize),
    SetFault(usize, Fault),
    DropInPanic(usize),
    Trim,
    Clear,
    SetEnabled(bool),
    EndThread,
}

fn weight() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..200, 2 => 4_000usize..5_000, 1 => 60_000usize..200_000]
}

fn op() -> impl Strategy<Value = Op> {
    let fault = prop_oneof![
        Just(Fault::None),
        Just(Fault::Reject),
        Just(Fault::PanicInReset),
        Just(Fault::PanicInWeigh)
    ];
    prop_oneof![
        8 => Just(Op::Get),
        4 => (1usize..80).prop_map(Op::GetMany),
        4 => Just(Op::TryGet),
        8 => any::<usize>().prop_map(Op::DropGuard),
        4 => (1usize..80).prop_map(Op::DropMany),
        3 => weight().prop_map(Op::Put),
        2 => any::<usize>().prop_map(Op::IntoInner),
        4 => (any::<usize>(), weight()).prop_map(|(i, weight)| Op::SetWeight(i, weight)),
        1 => (any::<usize>(), fault).prop_map(|(i, fault)| Op::SetFault(i, fault)),
        1 => any::<usize>().prop_map(Op::DropInPanic),
        4 => Just(Op::Trim),
        1 => Just(Op::Clear),
        1 => any::<bool>().prop_map(Op::SetEnabled),
        1 => Just(Op::EndThread),
    ]
}

#[derive(Clone, Debug)]
struct Limits {
    idle: usize,
    idle_bytes: usize,
    object_bytes: usize,
    budget: Option<usize>,
}

fn limits() -> impl Strategy<Value = Limits> {
    let idle = prop_oneof![3 => Just(usize::MAX), 1 => 0usize..4, 3 => 0usize..150];
    let idle_bytes = prop_oneof![3 => Just(usize::MAX), 1 => 0usize..300, 3 => 0usize..300_000];
    let object_bytes = prop_oneof![3 => Just(usize::MAX), 1 => 0usize..5_000];
    let budget = prop_oneof![3 => Just(None), 1 => (0usize..300_000).prop_map(Some)];
    (idle, idle_bytes, object_bytes, budget).prop_map(|(idle, idle_bytes, object_bytes, budget)| {
        Limits {
            idle,
            idle_bytes,
            object_bytes,
            budget,
        }
    })
}

/// The pool, and its expected state.
struct Ledger {
    pool: Option<Arc<Pool<Object>>>,
    registry: Registry,
    limits: Limits,
    budget: Option<Budget>,
    held: Vec<Pooled<Object>>,
    taken: Vec<Object>,
    enabled: bool,
    /// Handed out while the pool was switched off: the pool does not know of these objects.
    foreign: BTreeSet<usize>,
    requests: u64,
}

impl Ledger {
    fn new(limits: Limits, custom_reset: bool) -> Self {
        let registry = Registry::default();
        let source = registry.clone();
        let builder: Builder<Object> = super::support::manual(move || Object::new(&source, false))
            .max_idle(limits.idle)
            .max_idle_bytes(limits.idle_bytes)
            .max_object_bytes(limits.object_bytes);
        let budget = limits.budget.map(Budget::new);
        let builder = match &budget {
            Some(budget) => builder.budget(budget.clone()),
            None => builder,
        };
        let pool = if custom_reset {
            builder
                .reset(Object::reset)
                .retained_bytes(Object::weigh)
                .build()
        } else {
            builder.build()
        };
        Self {
            pool: Some(Arc::new(pool)),
            registry,
            limits,
            budget,
            held: Vec::new(),
            taken: Vec::new(),
            enabled: true,
            foreign: BTreeSet::new(),
            requests: 0,
        }
    }

    fn pool(&self) -> Arc<Pool<Object>> {
        self.pool.clone().expect("not dropped yet")
    }

    fn idle_ids(&self) -> BTreeSet<usize> {
        let all = read(&self.registry);
        let alive = all
            .iter()
            .enumerate()
            .filter(|(_, record)| record.drops == 0);
        let mut idle: BTreeSet<_> = alive.map(|(id, _)| id).collect();
        for id in self.held.iter().map(|object| object.id) {
            assert!(
                idle.remove(&id),
                "object {id} is held, and held again or dropped"
            );
        }
        for id in self.taken.iter().map(|object| object.id) {
            assert!(
                idle.remove(&id),
                "object {id} is taken, and held or dropped as well"
            );
        }
        idle
    }

    /// Runs one operation on that thread.
    fn apply(&mut self, on: &mut [Worker], thread: usize, op: &Op) {
        let pool = self.pool();
        let pick = |i: usize, len: usize| if len == 0 { None } else { Some(i % len) };
        match *op {
            Op::Get => self.get(on, thread, 1),
            Op::GetMany(count) => self.get(on, thread, count),
            Op::TryGet => {
                let idle = self.idle_ids();
                let got = run(on, thread, move || pool.try_get());
                if let Some(guard) = got {
                    assert!(self.enabled && idle.contains(&guard.id));
                    self.requests += 1;
                    self.held.push(guard);
                }
            }
            Op::DropGuard(i) => {
                if let Some(i) = pick(i, self.held.len()) {
                    let guard = self.held.swap_remove(i);
                    run(on, thread, move || caught(|| drop(guard)));
                }
            }
            Op::DropMany(count) => {
                let guards = self.held.split_off(self.held.len().saturating_sub(count));
                run(on, thread, move || {
                    guards.into_iter().for_each(|guard| caught(|| drop(guard)));
                });
            }
            Op::Put(weight) => {
                let mut object = Object::new(&self.registry, true);
                object.weight = weight;
                run(on, thread, move || pool.put(object));
            }
            Op::IntoInner(i) => {
                if let Some(i) = pick(i, self.held.len()) {
                    let guard = self.held.swap_remove(i);
                    self.taken
                        .push(run(on, thread, move || Pooled::into_inner(guard)));
                }
            }
            Op::SetWeight(i, weight) => {
                if let Some(i) = pick(i, self.held.len()) {
                    self.held[i].weight = weight;
                }
            }
            Op::SetFault(i, fault) => {
                if let Some(i) = pick(i, self.held.len()) {
                    self.held[i].fault = fault;
                }
            }
            Op::DropInPanic(i) => {
                if let Some(i) = pick(i, self.held.len()) {
                    let guard = self.held.swap_remove(i);
                    let id = guard.id;
                    run(on, thread, move || {
                        caught(|| {
                            let _guard = guard;
                            std::panic::resume_unwind(Box::new("in use"));
                        });
                    });
                    assert_eq!(read(&self.registry)[id].drops, 1);
                }
            }
            Op::Trim => self.removes(on, thread, Pool::trim),
            Op::Clear => {
                self.removes(on, thread, Pool::clear);
                assert!(self.idle_ids().is_empty());
                assert!(self.budget.as_ref().is_none_or(|budget| budget.used() == 0));
            }
            Op::SetEnabled(enabled) => {
                run(on, thread, move || pool.set_enabled(enabled));
                self.enabled = enabled;
            }
            Op::EndThread => {
                if thread < on.len() {
                    let before = self.idle_ids();
                    std::mem::replace(&mut on[thread], Worker::new()).end();
                    assert_eq!(self.idle_ids(), before, "a thread's end loses nothing");
                }
            }
        }
    }

    fn get(&mut self, on: &[Worker], thread: usize, count: usize) {
        let (idle, known) = (self.idle_ids(), read(&self.registry).len());
        let pool = self.pool();
        let got = run(on, thread, move || {
            (0..count).map(|_| pool.get()).collect::<Vec<_>>()
        });
        for guard in &got {
            let fresh = guard.id >= known;
            assert!(
                fresh || (self.enabled && idle.contains(&guard.id)),
                "{}",
                guard.id
            );
        }
        self.requests += count as u64;
        if !self.enabled {
            self.foreign.extend(got.iter().map(|guard| guard.id));
        }
        self.held.extend(got);
    }

    fn removes(&self, on: &[Worker], thread: usize, act: fn(&Pool<Object>) -> Trimmed) {
        let (before, pool) = (self.idle_ids(), self.pool());
        let trimmed = run(on, thread, move || act(&pool));
        let after = self.idle_ids();
        assert!(after.is_subset(&before));
        let gone: Vec<_> = before.difference(&after).collect();
        let all = read(&self.registry);
        let bytes: usize = gone.iter().map(|&&id| all[id].bytes()).sum();
        assert_eq!(
            (trimmed.objects, trimmed.bytes),
            (gone.len() as u64, bytes as u64)
        );
    }

    /// Runs after every operation.
    fn check(&self) -> Stats {
        let stats = self.pool().stats();
        balanced(&stats);
        let idle = self.idle_ids();
        let all = read(&self.registry);
        let bytes: usize = idle.iter().map(|&id| all[id].bytes()).sum();
        assert!(
            all.iter().all(|record| record.drops <= 1),
            "dropped twice: {all:?}"
        );
        let adopted = all.iter().filter(|record| record.adopted).count();
        assert_eq!(stats.idle, idle.len() as u64, "{stats:?}");
        assert_eq!(stats.idle_bytes, bytes as u64, "{stats:?}");
        let known = |id: &usize| !self.foreign.contains(id);
        let held = self.held.iter().map(|object| object.id).filter(known);
        let taken = self.taken.iter().map(|object| object.id).filter(known);
        assert_eq!(stats.in_use, held.count() as u64, "{stats:?}");
        assert_eq!(stats.taken, taken.count() as u64, "{stats:?}");
        assert_eq!(stats.adopted, adopted as u64, "{stats:?}");
        assert_eq!(stats.created, (all.len() - adopted) as u64, "{stats:?}");
        assert!(
            idle.len() <= self.limits.idle && bytes <= self.limits.idle_bytes,
            "{stats:?}"
        );
        assert!(
            idle.iter()
                .all(|&id| all[id].weight <= self.limits.object_bytes)
        );
        if let Some(budget) = &self.budget {
            assert!(bytes <= budget.used(), "what is idle is charged for");
            assert!(budget.used() <= budget.limit(), "never exceeded");
        }
        stats
    }
}

/// On worker `thread`, or on this thread if there is none of that number.
fn run<R: Send + 'static>(
    on: &[Worker],
    thread: usize,
    job: impl FnOnce() -> R + Send + 'static,
) -> R {
    match on.get(thread) {
        Some(worker) => worker.run(job),
        None => job(),
    }
}

fn caught(f: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(f));
}

fn program(limits: Limits, custom_reset: bool, ops: &[(usize, Op)], pool_first: bool) {
    let mut ledger = Ledger::new(limits, custom_reset);
    let mut workers: Vec<_> = (0..3).map(|_| Worker::new()).collect();
    for (thread, op) in ops {
        ledger.apply(&mut workers, *thread, op);
        let stats = ledger.check();
        assert_eq!(stats.created + stats.reused, ledger.requests, "{stats:?}");
    }
    // The end, in either order: everything is dropped once.
    let held = std::mem::take(&mut ledger.held);
    if pool_first {
        drop(ledger.pool.take());
    }
    run(&workers, 1, move || {
        held.into_iter().for_each(|guard| caught(|| drop(guard)))
    });
    drop(ledger.pool.take());
    ledger.taken.clear();
    assert!(
        read(&ledger.registry)
            .iter()
            .all(|record| record.drops == 1)
    );
    workers.into_iter().for_each(Worker::end);
    if let Some(budget) = &ledger.budget {
        assert_eq!(budget.used(), 0, "a charge outlived the pool");
    }
    assert_eq!(
        Arc::strong_count(&ledger.registry),
        1,
        "a closure or an object leaked"
    );
}

fn config() -> ProptestConfig {
    let regressions = FileFailurePersistence::Direct("tests/it/properties.regressions");
    ProptestConfig {
        cases: n(200, 2) as u32,
        failure_persistence: if cfg!(miri) {
            None
        } else {
            Some(Box::new(regressions))
        },
        max_shrink_iters: 2_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    // An object in two places or none, dropped twice or never, a limit exceeded, a figure that is off
    // by one.
    #[test]
    fn every_object_is_in_exactly_one_place(
        limits in limits(),
        custom_reset in any::<bool>(),
        ops in vec((0usize..4, op()), 1..if cfg!(miri) { 12 } else { 120 }),
        pool_first in any::<bool>(),
    ) {
        program(limits, custom_reset, &ops, pool_first);
    }
}
