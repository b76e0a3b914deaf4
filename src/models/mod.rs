//! loom models: the shipped protocol under every interleaving within a bound.
//!
//! `ci/loom.sh` runs them with two preemptions, which finds nearly all faults in practice. `LOOM_MAX_PREEMPTIONS=3
//! ci/loom.sh` takes much longer. A model that never failed proves little: `ci/loom-mutants.sh` weakens each ordering
//! marked `mutant: name` in `src/`, one at a time, and expects a model to fail.
//!
//! The models use `Core` and `Cache` as `object/pool.rs` and `object/guard.rs` do, with their own type of node. The
//! object is a tracked cell, so that loom reports two holders of one object as a race. Plain std counters serve as an
//! oracle for what is alive: loom runs one thread at a time, so they are exact and add no states.
//!
//! loom has limits. It treats `SeqCst` operations as AcqRel (this crate uses fences, which loom models), and it does
//! not explore load buffering. The models assume that `membarrier` does what its documentation says.

pub(crate) mod barrier;
mod cache;
mod close;
mod depot;
mod exit;
mod ids;
pub(crate) mod janitor;
mod lazy;
mod lent;
mod limits;
mod locks;
pub(crate) mod mutants;
mod root;
mod store;
mod switch;
pub(crate) mod time;
mod trim;

use crate::raw::cache_table::CacheTable;
use crate::raw::limits::Limits;
use crate::raw::node::Link;
use crate::raw::pool::{Core, VTable};
use crate::raw::refs::WeakCore;
use crate::sys::fence;
use crate::sys::thread_id::ThreadId;
use crate::thread::{register, slow};
use loom::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// The number of live nodes in the present iteration.
static NODES: AtomicUsize = AtomicUsize::new(0);
/// The number of cores whose payload is alive.
static PAYLOADS: AtomicUsize = AtomicUsize::new(0);
/// The number of cores whose memory is alive.
static CORES: AtomicUsize = AtomicUsize::new(0);
/// Runs one model at a time, since the oracles above are shared.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// The weak references of threads with a cache.
static REMEMBERED: std::sync::Mutex<Vec<WeakCore>> = std::sync::Mutex::new(Vec::new());
/// Whether the closures of a pool use another pool when they are dropped, so that their thread forgets pools that are
/// gone. For models in which one thread remembers pools.
static FORGETFUL: AtomicBool = AtomicBool::new(false);

/// The cores that were freed. Their memory stays until the iteration ends, so that a use after free is detected.
static FREED: std::sync::Mutex<Vec<Freed>> = std::sync::Mutex::new(Vec::new());

struct Freed(*mut TypedCore);

// SAFETY: models run one thread at a time, and no thread uses a core that was freed.
unsafe impl Send for Freed {}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Stands in for `local::remember`.
pub(crate) fn remember(core: &Core) -> bool {
    let weak = WeakCore::new(core);
    lock(&REMEMBERED).push(weak);
    true
}

/// Stands in for `local::unremember`.
pub(crate) fn unremember(core: &Core) {
    let mut remembered = lock(&REMEMBERED);
    let last = remembered
        .iter()
        .rposition(|weak| std::ptr::eq(&raw const **weak, core));
    let last = last.map(|last| remembered.remove(last));
    drop(remembered);
    drop(last);
}

/// Forgets pools that are gone, as `local::remember` does before its list grows.
fn forget_gone() {
    let (alive, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut *lock(&REMEMBERED))
        .into_iter()
        .partition(|core| !core.is_gone());
    lock(&REMEMBERED).extend(alive);
    drop(gone);
}

/// Fails if the core is used after it was freed.
fn assert_alive(core: &Core) {
    let is_freed = |freed: &Freed| std::ptr::eq(freed.0.cast(), core);
    assert!(
        !lock(&FREED).iter().any(is_freed),
        "used after it was freed"
    );
}

/// Explores `f`, and checks after each iteration that nothing has leaked.
fn run_model(name: &str, f: impl Fn() + Send + Sync + 'static) {
    explore(name, usize::MAX, f);
}

/// [`run_model`] with this many preemptions at most.
fn explore(name: &str, preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    explore_within(name, |bound| bound.min(preemptions), f);
}

/// [`run_model`] with this many preemptions at least, for small models.
fn explore_deeper(name: &str, preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    explore_within(name, |bound| bound.max(preemptions), f);
}

fn explore_within(
    name: &str,
    preemptions: impl FnOnce(usize) -> usize,
    f: impl Fn() + Send + Sync + 'static,
) {
    let _turn = lock(&TURN);
    let _stop = StopAtFailure(name);
    let runs = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let mut model = loom::model::Builder::new();
    model.max_branches = 20_000;
    model.preemption_bound = model.preemption_bound.map(preemptions);
    model.check(move || {
        counted.fetch_add(1, SeqCst);
        for alive in [&NODES, &PAYLOADS, &CORES] {
            alive.store(0, SeqCst);
        }
        // A failed model may have left references, which must not be touched in another model.
        std::mem::forget(std::mem::take(&mut *lock(&REMEMBERED)));
        std::mem::forget(std::mem::take(&mut *lock(&FREED)));
        FORGETFUL.store(false, SeqCst);
        barrier::forget();
        janitor::forget_all();
        f();
        // All threads have ended: drop their references.
        let remembered = std::mem::take(&mut *lock(&REMEMBERED));
        drop(remembered);
        assert_eq!(NODES.load(SeqCst), 0, "a node leaked");
        assert_eq!(PAYLOADS.load(SeqCst), 0, "a payload leaked");
        assert_eq!(CORES.load(SeqCst), 0, "a core leaked");
        for Freed(typed) in std::mem::take(&mut *lock(&FREED)) {
            // SAFETY: allocated by `Pool::with`, and the iteration has ended.
            let mut typed = unsafe { Box::from_raw(typed) };
            // SAFETY: as above.
            unsafe { typed.core.free_caches() };
        }
    });
    let runs = runs.load(SeqCst);
    println!("{name}: {runs} interleavings");
    assert!(runs > 1, "a single interleaving proves nothing");
}

/// With `REPOOL_MODELS=first` in the environment, the first model that fails ends the process, because
/// `ci/loom-mutants.sh` needs no more than that.
struct StopAtFailure<'a>(&'a str);

impl Drop for StopAtFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && std::env::var_os("REPOOL_MODELS").is_some_and(|which| which == "first")
        {
            println!("{} --- FIRST TO FAIL", self.0);
            std::process::exit(1);
        }
    }
}

#[repr(C)]
struct Node {
    link: Link,
    object: UnsafeCell<usize>,
}

#[repr(C)]
struct TypedCore {
    core: Core,
    /// Stands for the user's closures: every return reads it, and dropping the closures writes it.
    payload: UnsafeCell<usize>,
}

static VTABLE: VTable = VTable {
    drop_node,
    on_pass,
    name,
    drop_payload,
    free,
};

/// # Safety
/// None: it does nothing.
unsafe fn on_pass(_core: *const Core) -> bool {
    false
}

/// # Safety
/// None: it does nothing.
unsafe fn name(_core: *const Core) -> Option<String> {
    None
}

/// # Safety
/// As [`VTable::drop_node`].
unsafe fn drop_node(core: *const Core, link: *mut Link) {
    // SAFETY: the caller holds the node, which `Pool::create` has allocated, and its reference to the core.
    unsafe {
        let node = Box::from_raw(link.cast::<Node>());
        node.object.with_mut(|object| *object += 1);
        drop(node);
        assert_ne!(NODES.fetch_sub(1, SeqCst), 0, "a node dropped twice");
        Core::release(core);
    }
}

/// # Safety
/// As [`VTable::drop_payload`].
unsafe fn drop_payload(core: *const Core) {
    // SAFETY: guaranteed by the caller. If the last strong reference were not gone, loom would report a race here.
    unsafe {
        (*core.cast::<TypedCore>())
            .payload
            .with_mut(|payload| *payload += 1)
    };
    assert_ne!(PAYLOADS.fetch_sub(1, SeqCst), 0, "a payload dropped twice");
    if FORGETFUL.load(SeqCst) {
        forget_gone();
    }
}

/// # Safety
/// As [`VTable::free`].
unsafe fn free(core: *const Core) {
    assert_ne!(CORES.fetch_sub(1, SeqCst), 0, "a core freed twice");
    let typed = core.cast_mut().cast::<TypedCore>();
    // SAFETY: allocated by `Pool::with`, and freed when the iteration ends. No thread may use the payload any more.
    unsafe { (*typed).payload.with_mut(|payload| *payload += 1) };
    // A thread that still uses the core then calls `watch_slow`, which checks that the core is alive.
    // SAFETY: as above.
    unsafe { (*core).set_watched(false) };
    lock(&FREED).push(Freed(typed));
}

/// A pool of the models. The handle is `Copy`, since loom's threads need `'static`.
#[derive(Clone, Copy)]
struct Pool(*const Core);

// SAFETY: a handle to a core, which is shared between threads.
unsafe impl Send for Pool {}

/// A guard of the models, which holds a node.
struct Guard(*mut Link);

// SAFETY: as `Pooled`.
unsafe impl Send for Guard {}

impl Pool {
    fn new() -> Self {
        Self::with(Limits::new(usize::MAX, usize::MAX, usize::MAX))
    }

    /// A pool that keeps at most this many objects idle.
    fn bounded(max_idle: usize) -> Self {
        Self::with(Limits::new(max_idle, usize::MAX, usize::MAX))
    }

    fn with(limits: Limits) -> Self {
        Self::of(&VTABLE, limits)
    }

    fn of(vtable: &'static VTable, limits: Limits) -> Self {
        let core = Core::new(vtable, limits, false, Some(std::time::Duration::MAX));
        let typed = Box::into_raw(Box::new(TypedCore {
            core,
            payload: UnsafeCell::new(0),
        }));
        // SAFETY: just allocated, and no other thread knows it.
        unsafe { (*typed).payload.with_mut(|payload| *payload = 1) };
        PAYLOADS.fetch_add(1, SeqCst);
        CORES.fetch_add(1, SeqCst);
        let core = typed.cast::<Core>().cast_const();
        // SAFETY: just allocated, and no other thread knows it.
        unsafe { Core::set_address(core) };
        Self(core)
    }

    fn core(&self) -> &Core {
        // SAFETY: models use a pool only while they hold a reference to it.
        unsafe { &*self.0 }
    }

    /// Gives a new pool this many depots.
    fn with_depots(self, all: usize) -> Self {
        // SAFETY: no other thread knows the core yet.
        let core = unsafe { &mut *self.0.cast_mut() };
        core.set_depots(all);
        self
    }

    /// Registers a thread before it runs, to keep that out of the interleavings.
    fn register(self, id: usize) -> Self {
        assert!(register::cache_of(self.core(), ThreadId(id)).is_some());
        self
    }

    /// `Pool::get` on the thread with this ID.
    fn get(&self, id: usize) -> Guard {
        self.try_get(id).unwrap_or_else(|| self.create())
    }

    fn create(&self) -> Guard {
        NODES.fetch_add(1, SeqCst);
        self.core().counters.created();
        self.core().retain();
        let mut memory = Box::new(MaybeUninit::<Node>::uninit());
        memory.write(Node {
            link: Link::new(self.core().as_node_core()),
            object: UnsafeCell::new(0),
        });
        Guard(Box::into_raw(memory).cast())
    }

    /// `Pool::try_get` on the thread with this ID.
    fn try_get(&self, id: usize) -> Option<Guard> {
        let id = ThreadId(id);
        let mut link = std::ptr::null_mut();
        if let Some(cache) = register::cache_of(self.core(), id) {
            // SAFETY: the model gives each ID to one thread.
            link = unsafe { cache.pop(fence::light) };
        }
        if link.is_null() {
            link = slow::take(self.core(), Some(id));
        }
        if link.is_null() {
            None
        } else {
            Some(Guard(link).touch())
        }
    }

    /// `Top::with` on the thread with this ID: uses the top object in its slot.
    fn touch_top(&self, id: usize) -> bool {
        let Some(cache) = register::cache_of(self.core(), ThreadId(id)) else {
            return false;
        };
        let touch = |link| std::mem::forget(Guard(link).touch());
        // SAFETY: the model gives each ID to one thread.
        unsafe { cache.with_top(fence::light, touch) }.is_some()
    }

    /// Calls the user's closures. If the thread saw the core before it was complete, loom reports a race here.
    fn call(&self) {
        // SAFETY: a `TypedCore`, which the caller's reference keeps. Loom checks that no thread writes the payload.
        unsafe {
            (*self.0.cast::<TypedCore>())
                .payload
                .with(|payload| *payload)
        };
    }

    /// The pool's handle is dropped.
    fn close(self) {
        slow::close(self.core());
        // SAFETY: the pool's own reference.
        unsafe { Core::release(self.0) };
    }
}

impl Guard {
    /// Uses the object. If it has two holders, loom reports a race here.
    fn touch(self) -> Self {
        // SAFETY: the guard holds the node, and loom checks that it does.
        unsafe {
            (*self.0.cast::<Node>())
                .object
                .with_mut(|object| *object += 1)
        };
        self
    }

    /// `Pooled::drop` on the thread with this ID; `None` for a thread without an ID.
    fn give_back(self, id: Option<usize>) {
        let link = self.touch().0;
        // SAFETY: the guard holds the node, and the model gives each ID to one thread.
        unsafe {
            let core = Core::of(link);
            // The reset is the user's closure.
            Pool(core).call();
            if let Some(id) = id.map(ThreadId) {
                let look = |all: &CacheTable| all.cache_of(id);
                let cache = Core::cache_for_return(core, link, id.as_owner(), look);
                if cache.is_some_and(|cache| cache.push(link, 1, fence::light, || ())) {
                    return;
                }
            }
            slow::give(core, id.map(ThreadId), link, 1);
        }
    }
}
