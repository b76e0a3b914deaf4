//! The pools, each as its documentation says it is fastest, and plain allocation.
//!
//! A contender is made anew for each scenario, with objects of a size of its own (see `live`). Pools
//! that could be in a `static` live for ever here, so no contender pays for a reference count that a user
//! can avoid.

use crate::live::FIRST;
use crate::scenario::{Scenario, Turn, run, run_single};
use repool::{Pool, Pooled};
use repool_bench::work;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Objects that a bounded pool may keep: more than any scenario has.
const MOST: usize = 8192;

pub const REPOOL: &str = "repool";
pub const CELL: &str = "thread_local! cell";
pub const GLIBC: &str = "glibc";
pub const MIMALLOC: &str = "mimalloc";
pub const JEMALLOC: &str = "jemalloc";
/// Pools that all threads share, and not a slot or a stack of each thread's own.
pub const SYNC_PEERS: [&str; 9] = [
    "regex-automata",
    "opool",
    "object-pool",
    "lockfree-object-pool",
    "poolshark global",
    "sharded-slab",
    "ArrayQueue",
    "SegQueue",
    "Mutex<Vec>",
];

pub struct Contender {
    pub name: &'static str,
    /// Of its objects.
    pub size: usize,
    turn: Box<dyn Fn(Scenario, Duration) -> Turn>,
    /// Cannot leave its thread.
    single: bool,
    can_discard: bool,
}

impl Contender {
    pub fn fits(&self, scenario: Scenario) -> bool {
        (scenario.is_single() || !self.single) && (self.can_discard || !scenario.needs_discard())
    }

    pub fn turn(&self, scenario: Scenario, window: Duration) -> Turn {
        (self.turn)(scenario, window)
    }
}

/// Makes contenders, and gives each its size.
struct Maker {
    next: usize,
    made: Vec<Contender>,
}

impl Maker {
    fn size(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    fn add<T: Send + 'static>(
        &mut self,
        (name, size): (&'static str, usize),
        get: impl Fn() -> T + Send + Sync + Copy + 'static,
        give: impl Fn(T) + Send + Sync + Copy + 'static,
        discard: Option<fn(T)>,
    ) {
        self.made.push(Contender {
            name,
            size,
            turn: Box::new(move |scenario, window| run(scenario, window, get, give, discard)),
            single: false,
            can_discard: discard.is_some(),
        });
    }

    fn add_single<T>(
        &mut self,
        (name, size): (&'static str, usize),
        get: impl Fn() -> T + 'static,
        give: impl Fn(T) + 'static,
    ) {
        self.made.push(Contender {
            name,
            size,
            turn: Box::new(move |scenario, window| run_single(scenario, window, &get, &give)),
            single: true,
            can_discard: false,
        });
    }
}

fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// What a pool hands out without clearing it.
#[inline(always)]
fn cleared(bytes: &mut Vec<u8>) {
    bytes.clear();
    work(bytes);
}

struct Allocator(usize);

impl opool::PoolAllocator<Vec<u8>> for Allocator {
    #[inline]
    fn allocate(&self) -> Vec<u8> {
        Vec::with_capacity(self.0)
    }

    #[inline]
    fn reset(&self, bytes: &mut Vec<u8>) {
        bytes.clear();
    }
}

thread_local! {
    static ONE: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
    static MANY: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A block of an allocator, without a vector around it.
struct Block<A: GlobalAlloc + 'static>(*mut u8, &'static A, Layout);

// SAFETY: a block that one thread owns; allocators take blocks from any thread.
unsafe impl<A: GlobalAlloc + Sync> Send for Block<A> {}

impl<A: GlobalAlloc> Block<A> {
    #[inline]
    fn new(allocator: &'static A, size: usize) -> Self {
        let layout = Layout::from_size_align(size, 1).expect("a small size");
        // SAFETY: the layout is not empty.
        let memory = unsafe { allocator.alloc(layout) };
        assert!(!memory.is_null());
        let block: &[u8; 64] = std::hint::black_box(&repool_bench::BLOCK);
        // SAFETY: 64 bytes of more than 1000 just allocated, which no other code knows.
        unsafe { memory.copy_from_nonoverlapping(block.as_ptr(), block.len()) };
        Self(std::hint::black_box(memory), allocator, layout)
    }
}

impl<A: GlobalAlloc> Drop for Block<A> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, from this allocator and with this layout.
        unsafe { self.1.dealloc(self.0, self.2) };
    }
}

/// All of them, with nothing in them.
pub fn all() -> Vec<Contender> {
    // The only one that is there before it is made.
    poolshark::local::clear();
    let mut maker = Maker {
        next: FIRST,
        made: Vec::new(),
    };
    ours(&mut maker);
    own_slots(&mut maker);
    pools(&mut maker);
    queues(&mut maker);
    allocators(&mut maker);
    maker.made
}

fn ours(maker: &mut Maker) {
    let size = maker.size();
    let pool: &Pool<Vec<u8>> = leaked(Pool::builder(move || Vec::with_capacity(size)).build());
    let get = move || {
        let mut bytes = pool.get();
        work(&mut bytes);
        bytes
    };
    let discard: fn(Pooled<Vec<u8>>) = |bytes| drop(Pooled::into_inner(bytes));
    maker.add((REPOOL, size), get, drop, Some(discard));
}

/// What a thread keeps for itself, without a pool around it.
fn own_slots(maker: &mut Maker) {
    let size = maker.size();
    let new = move || Vec::with_capacity(size);
    let cell = move || {
        let mut bytes = ONE
            .take()
            .filter(|bytes| bytes.capacity() == size)
            .unwrap_or_else(new);
        work(&mut bytes);
        bytes
    };
    let back = |mut bytes: Vec<u8>| {
        bytes.clear();
        ONE.set(Some(bytes));
    };
    maker.add((CELL, size), cell, back, Some(drop::<Vec<u8>>));

    let size = maker.size();
    let new = move || Vec::with_capacity(size);
    let get = move || {
        let kept = MANY.with_borrow_mut(Vec::pop);
        let mut bytes = kept
            .filter(|bytes| bytes.capacity() == size)
            .unwrap_or_else(new);
        work(&mut bytes);
        bytes
    };
    let give = |mut bytes: Vec<u8>| {
        bytes.clear();
        MANY.with_borrow_mut(|kept| kept.push(bytes));
    };
    maker.add(
        ("thread_local! Vec", size),
        get,
        give,
        Some(drop::<Vec<u8>>),
    );

    let size = maker.size();
    let kept: &thread_local::ThreadLocal<RefCell<Vec<Vec<u8>>>> =
        leaked(thread_local::ThreadLocal::new());
    let get = move || {
        let idle = kept.get_or_default().borrow_mut().pop();
        let mut bytes = idle.unwrap_or_else(|| Vec::with_capacity(size));
        work(&mut bytes);
        bytes
    };
    let give = move |mut bytes: Vec<u8>| {
        bytes.clear();
        kept.get_or_default().borrow_mut().push(bytes);
    };
    maker.add(
        ("thread_local crate", size),
        get,
        give,
        Some(drop::<Vec<u8>>),
    );
}

fn pools(maker: &mut Maker) {
    use regex_automata::util::pool;
    let size = maker.size();
    let pool: &pool::Pool<Vec<u8>, _> =
        leaked(pool::Pool::with_available_parallelism_capacity(move || {
            Vec::with_capacity(size)
        }));
    let get = move || {
        let mut bytes = pool.get();
        cleared(&mut bytes);
        bytes
    };
    maker.add(("regex-automata", size), get, pool::PoolGuard::put, None);

    let size = maker.size();
    let pool = leaked(opool::Pool::new(MOST, Allocator(size)));
    let get = move || {
        let mut bytes = pool.get();
        work(&mut bytes);
        bytes
    };
    let discard: fn(opool::RefGuard<'static, Allocator, Vec<u8>>) =
        |bytes| drop(bytes.into_inner());
    maker.add(("opool", size), get, drop, Some(discard));

    let size = maker.size();
    let pool = leaked(opool::LocalPool::new(MOST, Allocator(size)));
    let get = move || {
        let mut bytes = pool.get();
        work(&mut bytes);
        bytes
    };
    maker.add_single(("opool LocalPool", size), get, drop);

    let size = maker.size();
    let new = move || Vec::with_capacity(size);
    let pool = leaked(object_pool::Pool::<Vec<u8>>::new(0, new));
    let get = move || {
        let mut bytes = pool.pull(new);
        cleared(&mut bytes);
        bytes
    };
    let discard: fn(object_pool::Reusable<'static, Vec<u8>>) = |bytes| drop(bytes.detach());
    maker.add(("object-pool", size), get, drop, Some(discard));

    let size = maker.size();
    let pool = leaked(Arc::new(lockfree_object_pool::LinearObjectPool::new(
        move || Vec::with_capacity(size),
        |bytes: &mut Vec<u8>| bytes.clear(),
    )));
    let get = move || {
        let mut bytes = pool.pull_owned();
        work(&mut bytes);
        bytes
    };
    maker.add(("lockfree-object-pool", size), get, drop, None);

    let size = maker.size();
    let get = move || {
        let mut bytes: Vec<u8> = poolshark::local::take_sz(MOST, 1 << 20);
        if bytes.capacity() == 0 {
            bytes.reserve_exact(size);
        }
        work(&mut bytes);
        bytes
    };
    let give = |bytes: Vec<u8>| {
        // Above the limit it comes back, and is dropped.
        drop(poolshark::local::insert_sz(MOST, 1 << 20, bytes));
    };
    maker.add(("poolshark local", size), get, give, Some(drop::<Vec<u8>>));

    let size = maker.size();
    let pool = leaked(poolshark::global::Pool::<Vec<u8>>::new(MOST, 1 << 20));
    let get = move || {
        let mut bytes = pool.take();
        if bytes.capacity() == 0 {
            bytes.reserve_exact(size);
        }
        work(&mut bytes);
        bytes
    };
    let discard: fn(poolshark::global::GPooled<Vec<u8>>) = |bytes| drop(bytes.detach());
    maker.add(("poolshark global", size), get, drop, Some(discard));

    // Creates and clears by key; an object is there by `Default`, so it grows when it is new.
    let size = maker.size();
    let pool: &sharded_slab::Pool<Vec<u8>> = leaked(sharded_slab::Pool::new());
    let get = move || {
        let mut bytes = pool.create().expect("below its limit");
        if bytes.capacity() == 0 {
            bytes.reserve_exact(size);
        }
        work(&mut bytes);
        bytes.key()
    };
    let give = move |key: usize| {
        pool.clear(key);
    };
    maker.add(("sharded-slab", size), get, give, None);

    // Pools memory, not objects: what would be in a block is made and dropped each time.
    let pool = leaked(
        plurality::Pool::<[u8; 1024]>::builder()
            .chunk_size(64)
            .build(),
    );
    let size = maker.size();
    let get = move || {
        let mut block = pool.alloc_uninit_box();
        let bytes: &[u8; 64] = std::hint::black_box(&repool_bench::BLOCK);
        // SAFETY: 64 bytes of 1024 that are this block's.
        unsafe { block.as_mut_ptr().cast::<[u8; 64]>().write(*bytes) };
        std::hint::black_box(block.as_mut_ptr());
        block
    };
    maker.add_single(("plurality", size), get, drop);
}

fn queues(maker: &mut Maker) {
    let size = maker.size();
    let queue = leaked(crossbeam_queue::ArrayQueue::<Vec<u8>>::new(MOST));
    let get = move || {
        let mut bytes = queue.pop().unwrap_or_else(|| Vec::with_capacity(size));
        cleared(&mut bytes);
        bytes
    };
    let give = move |bytes| drop(queue.push(bytes));
    maker.add(("ArrayQueue", size), get, give, Some(drop::<Vec<u8>>));

    let size = maker.size();
    let queue = leaked(crossbeam_queue::SegQueue::<Vec<u8>>::new());
    let get = move || {
        let mut bytes = queue.pop().unwrap_or_else(|| Vec::with_capacity(size));
        cleared(&mut bytes);
        bytes
    };
    maker.add(
        ("SegQueue", size),
        get,
        move |bytes| queue.push(bytes),
        Some(drop::<Vec<u8>>),
    );

    let size = maker.size();
    let stack = leaked(Mutex::new(Vec::<Vec<u8>>::with_capacity(MOST)));
    let locked = move || stack.lock().unwrap_or_else(PoisonError::into_inner);
    let get = move || {
        let idle = locked().pop();
        let mut bytes = idle.unwrap_or_else(|| Vec::with_capacity(size));
        cleared(&mut bytes);
        bytes
    };
    maker.add(
        ("Mutex<Vec>", size),
        get,
        move |bytes| locked().push(bytes),
        Some(drop::<Vec<u8>>),
    );
}

fn allocators(maker: &mut Maker) {
    let size = maker.size();
    maker.add(
        (GLIBC, size),
        move || Block::new(&System, size),
        drop,
        Some(drop::<Block<System>>),
    );
    let size = maker.size();
    let get = move || Block::new(&mimalloc::MiMalloc, size);
    maker.add(
        (MIMALLOC, size),
        get,
        drop,
        Some(drop::<Block<mimalloc::MiMalloc>>),
    );
    let size = maker.size();
    let get = move || Block::new(&tikv_jemallocator::Jemalloc, size);
    maker.add(
        (JEMALLOC, size),
        get,
        drop,
        Some(drop::<Block<tikv_jemallocator::Jemalloc>>),
    );
}
