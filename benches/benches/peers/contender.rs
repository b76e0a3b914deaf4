//! The pools, each used as its documentation says it is fastest, and plain allocation.
//!
//! Each scenario has new contenders, with objects of a size unique to each (see `live`). Pools that
//! could be in a `static` live for ever here, so no contender pays for a reference count that a
//! user can avoid. `ALL` says whether the user writes all bytes of an object, or 64 of them; it is
//! a constant, so that the usual case needs no test for it.

use crate::live;
use crate::scenario::{Scenario, USUAL};
use crate::work::{Extra, Turn, create, run, run_single, single};
use repool::{Pool, Pooled};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most objects that a bounded pool may keep: more than any scenario has.
const MOST: usize = 8192;
/// The largest object that such a pool may keep, in bytes: larger than in any scenario.
const LARGEST: usize = 8 << 20;
/// The same two for a pool that is created to be used once.
const FEW: usize = 64;

pub const REPOOL: &str = "repool";
pub const CELL: &str = "thread_local! cell";
pub const GLIBC: &str = "glibc";
pub const MIMALLOC: &str = "mimalloc";
pub const JEMALLOC: &str = "jemalloc";
const PLURALITY: &str = "plurality";
/// A slot that belongs to one thread and is shared with no other: no pool, or one for each thread.
pub const OWN_SLOTS: [&str; 2] = [CELL, "thread_local! Vec"];
/// Pools shared by all threads, without a slot or a stack per thread.
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
/// Pools with a stack for each thread.
pub const THREAD_POOLS: [&str; 2] = ["thread_local crate", "poolshark local"];

pub struct Contender {
    pub name: &'static str,
    /// The size of its objects.
    pub size: usize,
    turn: Box<dyn Fn(Scenario, Duration) -> Turn>,
    /// Whether it cannot leave its thread.
    single: bool,
    /// Whether it is an allocator: each object is a new one.
    plain: bool,
    can_discard: bool,
    can_collect: bool,
    /// Creates a pool, uses it once and drops it.
    first: Option<fn()>,
}

impl Contender {
    pub fn fits(&self, scenario: Scenario) -> bool {
        match scenario {
            Scenario::First => self.first.is_some(),
            Scenario::Collection => self.can_collect,
            Scenario::Expensive { .. } => !self.single && !self.plain,
            _ if scenario.is_single() => true,
            _ => !self.single && (self.can_discard || !scenario.needs_discard()),
        }
    }

    pub fn turn(&self, scenario: Scenario, window: Duration) -> Turn {
        match (scenario, self.first) {
            (Scenario::First, Some(first)) => single(window, |window| {
                let start = std::time::Instant::now();
                let mut pools = 0;
                while start.elapsed() < window {
                    (0..16).for_each(|_| first());
                    pools += 16;
                }
                pools
            }),
            _ => (self.turn)(scenario, window),
        }
    }

    /// Whether the global allocator sees its objects, and it uses no other blocks for them.
    pub fn is_counted(&self, scenario: Scenario) -> bool {
        // Plain blocks do not go through it; those of a pool that is used once have one size for
        // all.
        let seen = !self.plain && self.name != PLURALITY && scenario != Scenario::First;
        seen && self.size > 512
    }

    fn first(&mut self, first: fn()) {
        self.first = Some(first);
    }
}

/// Creates contenders, and gives each its size.
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
        named: (&'static str, usize),
        get: impl Fn() -> T + Send + Sync + Copy + 'static,
        give: impl Fn(T) + Send + Sync + Copy + 'static,
        discard: Option<fn(T)>,
    ) -> &mut Contender {
        let pass = None;
        self.add_with(named, get, give, Extra { discard, pass })
    }

    fn add_with<T: Send + 'static>(
        &mut self,
        (name, size): (&'static str, usize),
        get: impl Fn() -> T + Send + Sync + Copy + 'static,
        give: impl Fn(T) + Send + Sync + Copy + 'static,
        extra: Extra<T>,
    ) -> &mut Contender {
        self.push(Contender {
            name,
            size,
            turn: Box::new(move |scenario, window| run(scenario, window, get, give, extra)),
            single: false,
            plain: false,
            can_discard: extra.discard.is_some(),
            can_collect: extra.pass.is_some(),
            first: None,
        })
    }

    fn add_single<T>(
        &mut self,
        (name, size): (&'static str, usize),
        get: impl Fn() -> T + 'static,
        give: impl Fn(T) + 'static,
    ) -> &mut Contender {
        self.push(Contender {
            name,
            size,
            turn: Box::new(move |scenario, window| run_single(scenario, window, &get, &give)),
            single: true,
            plain: false,
            can_discard: false,
            can_collect: false,
            first: None,
        })
    }

    fn push(&mut self, contender: Contender) -> &mut Contender {
        self.made.push(contender);
        self.made.last_mut().expect("there is the one just made")
    }
}

fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// The work on one object.
#[inline(always)]
fn work<const ALL: bool>(bytes: &mut Vec<u8>) {
    if ALL {
        bytes.resize(bytes.capacity(), 1);
        black_box(bytes.as_mut_ptr());
    } else {
        repool_bench::work(bytes);
    }
}

/// The same on an object that a pool hands out without clearing it.
#[inline(always)]
fn cleared<const ALL: bool>(bytes: &mut Vec<u8>) {
    bytes.clear();
    work::<ALL>(bytes);
}

struct Allocator(usize);

impl opool::PoolAllocator<Vec<u8>> for Allocator {
    #[inline]
    fn allocate(&self) -> Vec<u8> {
        create(self.0)
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

// SAFETY: a block that one thread owns; allocators accept blocks from any thread.
unsafe impl<A: GlobalAlloc + Sync> Send for Block<A> {}

impl<A: GlobalAlloc> Block<A> {
    #[inline]
    fn new<const ALL: bool>(allocator: &'static A, size: usize) -> Self {
        let layout = Layout::from_size_align(size, 1).expect("a small size");
        // SAFETY: the layout is not empty.
        let memory = unsafe { allocator.alloc(layout) };
        assert!(!memory.is_null());
        if ALL {
            // SAFETY: just allocated with this size, and no other code has it.
            unsafe { memory.write_bytes(1, size) };
        } else {
            let block: &[u8; 64] = black_box(&repool_bench::BLOCK);
            // SAFETY: the first 64 bytes of a larger block, which no other code has.
            unsafe { memory.copy_from_nonoverlapping(block.as_ptr(), block.len()) };
        }
        Self(black_box(memory), allocator, layout)
    }
}

impl<A: GlobalAlloc> Drop for Block<A> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, from this allocator and with this layout.
        unsafe { self.1.dealloc(self.0, self.2) };
    }
}

/// All contenders for the scenario with this number, empty.
pub fn all(scenario: Scenario, number: usize) -> Vec<Contender> {
    // The only one that exists before it is created.
    poolshark::local::clear();
    // What the previous scenario has left idle may be dropped during this one, so its objects have
    // other sizes. All are in one class of malloc, except those of 64 bytes.
    let aside = match scenario.bytes() {
        USUAL => 32 * (number % 4),
        bytes if bytes < USUAL => 0,
        _ => 32 * (number % 2),
    };
    // There is room for the 64 written bytes.
    let first = (scenario.bytes() - live::SIZES - aside).max(64);
    live::count_from(first);
    let mut maker = Maker {
        next: first,
        made: Vec::new(),
    };
    if scenario.touches_all() {
        make::<true>(&mut maker);
    } else {
        make::<false>(&mut maker);
    }
    assert!(
        maker.made.len() <= live::SIZES,
        "each has a size that is counted"
    );
    maker.made
}

fn make<const ALL: bool>(maker: &mut Maker) {
    ours::<ALL>(maker);
    own_slots::<ALL>(maker);
    pools::<ALL>(maker);
    queues::<ALL>(maker);
    allocators::<ALL>(maker);
}

fn ours<const ALL: bool>(maker: &mut Maker) {
    let size = maker.size();
    let pool: &Pool<Vec<u8>> = leaked(Pool::builder(move || create(size)).build());
    let get = move || {
        let mut bytes = pool.get();
        work::<ALL>(&mut bytes);
        bytes
    };
    let discard: fn(Pooled<Vec<u8>>) = |bytes| drop(Pooled::into_inner(bytes));
    let pass = leaked(move || {
        pool.trim();
    });
    let extra = Extra {
        discard: Some(discard),
        pass: Some(pass),
    };
    maker
        .add_with((REPOOL, size), get, drop, extra)
        .first(|| drop(Pool::new(|| create(USUAL)).get()));
}

/// What a thread keeps for itself, without a pool.
fn own_slots<const ALL: bool>(maker: &mut Maker) {
    let size = maker.size();
    let new = move || create(size);
    let cell = move || {
        let mut bytes = ONE
            .take()
            .filter(|bytes| bytes.capacity() == size)
            .unwrap_or_else(new);
        work::<ALL>(&mut bytes);
        bytes
    };
    let back = |mut bytes: Vec<u8>| {
        bytes.clear();
        ONE.set(Some(bytes));
    };
    maker.add((CELL, size), cell, back, Some(drop::<Vec<u8>>));

    let size = maker.size();
    let new = move || create(size);
    let get = move || {
        let kept = MANY.with_borrow_mut(Vec::pop);
        let mut bytes = kept
            .filter(|bytes| bytes.capacity() == size)
            .unwrap_or_else(new);
        work::<ALL>(&mut bytes);
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
        let mut bytes = idle.unwrap_or_else(|| create(size));
        work::<ALL>(&mut bytes);
        bytes
    };
    let give = move |mut bytes: Vec<u8>| {
        bytes.clear();
        kept.get_or_default().borrow_mut().push(bytes);
    };
    maker
        .add(
            ("thread_local crate", size),
            get,
            give,
            Some(drop::<Vec<u8>>),
        )
        .first(|| {
            let kept = thread_local::ThreadLocal::<RefCell<Vec<Vec<u8>>>>::new();
            kept.get_or_default().borrow_mut().push(create(USUAL));
        });
}

fn pools<const ALL: bool>(maker: &mut Maker) {
    use regex_automata::util::pool;
    let size = maker.size();
    let pool: &pool::Pool<Vec<u8>, _> =
        leaked(pool::Pool::with_available_parallelism_capacity(move || {
            create(size)
        }));
    let get = move || {
        let mut bytes = pool.get();
        cleared::<ALL>(&mut bytes);
        bytes
    };
    maker
        .add(("regex-automata", size), get, pool::PoolGuard::put, None)
        .first(|| {
            let pool = pool::Pool::with_available_parallelism_capacity(|| create(USUAL));
            drop(pool.get());
        });

    let size = maker.size();
    let pool = leaked(opool::Pool::new(MOST, Allocator(size)));
    let get = move || {
        let mut bytes = pool.get();
        work::<ALL>(&mut bytes);
        bytes
    };
    let discard: fn(opool::RefGuard<'static, Allocator, Vec<u8>>) =
        |bytes| drop(bytes.into_inner());
    maker
        .add(("opool", size), get, drop, Some(discard))
        .first(|| drop(opool::Pool::new(FEW, Allocator(USUAL)).get()));

    let size = maker.size();
    let pool = leaked(opool::LocalPool::new(MOST, Allocator(size)));
    let get = move || {
        let mut bytes = pool.get();
        work::<ALL>(&mut bytes);
        bytes
    };
    maker
        .add_single(("opool LocalPool", size), get, drop)
        .first(|| drop(opool::LocalPool::new(FEW, Allocator(USUAL)).get()));

    let size = maker.size();
    let new = move || create(size);
    let pool = leaked(object_pool::Pool::<Vec<u8>>::new(0, new));
    let get = move || {
        let mut bytes = pool.pull(new);
        cleared::<ALL>(&mut bytes);
        bytes
    };
    let discard: fn(object_pool::Reusable<'static, Vec<u8>>) = |bytes| drop(bytes.detach());
    maker
        .add(("object-pool", size), get, drop, Some(discard))
        .first(|| {
            let new = || create(USUAL);
            drop(object_pool::Pool::<Vec<u8>>::new(0, new).pull(new));
        });

    let size = maker.size();
    let pool = leaked(Arc::new(lockfree_object_pool::LinearObjectPool::new(
        move || create(size),
        |bytes: &mut Vec<u8>| bytes.clear(),
    )));
    let get = move || {
        let mut bytes = pool.pull_owned();
        work::<ALL>(&mut bytes);
        bytes
    };
    maker
        .add(("lockfree-object-pool", size), get, drop, None)
        .first(|| {
            let clear = |bytes: &mut Vec<u8>| bytes.clear();
            let pool = lockfree_object_pool::LinearObjectPool::new(|| create(USUAL), clear);
            drop(pool.pull());
        });

    let size = maker.size();
    let get = move || {
        let mut bytes: Vec<u8> = poolshark::local::take_sz(MOST, LARGEST);
        if bytes.capacity() == 0 {
            bytes = create(size);
        }
        work::<ALL>(&mut bytes);
        bytes
    };
    let give = |bytes: Vec<u8>| {
        // Above the limit it comes back and is dropped.
        drop(poolshark::local::insert_sz(MOST, LARGEST, bytes));
    };
    maker.add(("poolshark local", size), get, give, Some(drop::<Vec<u8>>));

    let size = maker.size();
    let pool = leaked(poolshark::global::Pool::<Vec<u8>>::new(MOST, LARGEST));
    let get = move || {
        let mut bytes = pool.take();
        if bytes.capacity() == 0 {
            *bytes = create(size);
        }
        work::<ALL>(&mut bytes);
        bytes
    };
    let discard: fn(poolshark::global::GPooled<Vec<u8>>) = |bytes| drop(bytes.detach());
    maker
        .add(("poolshark global", size), get, drop, Some(discard))
        .first(|| {
            let pool = poolshark::global::Pool::<Vec<u8>>::new(FEW, LARGEST);
            *pool.take() = create(USUAL);
        });

    // Creates and clears by key; an object is created by `Default`, so it grows when it is new.
    let size = maker.size();
    let pool: &sharded_slab::Pool<Vec<u8>> = leaked(sharded_slab::Pool::new());
    let get = move || {
        let mut bytes = pool.create().expect("below its limit");
        if bytes.capacity() == 0 {
            *bytes = create(size);
        }
        work::<ALL>(&mut bytes);
        bytes.key()
    };
    let give = move |key: usize| {
        pool.clear(key);
    };
    maker
        .add(("sharded-slab", size), get, give, None)
        .first(|| {
            let pool = sharded_slab::Pool::<Vec<u8>>::new();
            let mut bytes = pool.create().expect("below its limit");
            *bytes = create(USUAL);
            let key = bytes.key();
            drop(bytes);
            pool.clear(key);
        });

    // Pools memory, not objects: the value in a block is created and dropped each time. Its blocks
    // have a constant size.
    let size = maker.size();
    if (512..=USUAL).contains(&size) {
        let pool = leaked(
            plurality::Pool::<[u8; USUAL]>::builder()
                .chunk_size(64)
                .build(),
        );
        let get = move || {
            let mut block = pool.alloc_uninit_box();
            let bytes: &[u8; 64] = black_box(&repool_bench::BLOCK);
            // SAFETY: the first 64 bytes of this larger block.
            unsafe { block.as_mut_ptr().cast::<[u8; 64]>().write(*bytes) };
            black_box(block.as_mut_ptr());
            block
        };
        maker.add_single((PLURALITY, size), get, drop);
    }
}

fn queues<const ALL: bool>(maker: &mut Maker) {
    let size = maker.size();
    let queue = leaked(crossbeam_queue::ArrayQueue::<Vec<u8>>::new(MOST));
    let get = move || {
        let mut bytes = queue.pop().unwrap_or_else(|| create(size));
        cleared::<ALL>(&mut bytes);
        bytes
    };
    let give = move |bytes| drop(queue.push(bytes));
    maker
        .add(("ArrayQueue", size), get, give, Some(drop::<Vec<u8>>))
        .first(|| drop(crossbeam_queue::ArrayQueue::new(FEW).push(create(USUAL))));

    let size = maker.size();
    let queue = leaked(crossbeam_queue::SegQueue::<Vec<u8>>::new());
    let get = move || {
        let mut bytes = queue.pop().unwrap_or_else(|| create(size));
        cleared::<ALL>(&mut bytes);
        bytes
    };
    maker
        .add(
            ("SegQueue", size),
            get,
            move |bytes| queue.push(bytes),
            Some(drop::<Vec<u8>>),
        )
        .first(|| crossbeam_queue::SegQueue::new().push(create(USUAL)));

    let size = maker.size();
    let stack = leaked(Mutex::new(Vec::<Vec<u8>>::with_capacity(MOST)));
    let locked = move || stack.lock().unwrap_or_else(PoisonError::into_inner);
    let get = move || {
        let idle = locked().pop();
        let mut bytes = idle.unwrap_or_else(|| create(size));
        cleared::<ALL>(&mut bytes);
        bytes
    };
    maker
        .add(
            ("Mutex<Vec>", size),
            get,
            move |bytes| locked().push(bytes),
            Some(drop::<Vec<u8>>),
        )
        .first(|| {
            let stack = Mutex::new(Vec::with_capacity(FEW));
            let mut stack = stack.lock().unwrap_or_else(PoisonError::into_inner);
            stack.push(create(USUAL));
        });
}

fn allocators<const ALL: bool>(maker: &mut Maker) {
    allocator::<_, ALL>(maker, GLIBC, &System);
    allocator::<_, ALL>(maker, MIMALLOC, &mimalloc::MiMalloc);
    allocator::<_, ALL>(maker, JEMALLOC, &tikv_jemallocator::Jemalloc);
}

fn allocator<A: GlobalAlloc + Sync, const ALL: bool>(
    maker: &mut Maker,
    name: &'static str,
    allocator: &'static A,
) {
    let size = maker.size();
    let get = move || Block::new::<ALL>(allocator, size);
    maker
        .add((name, size), get, drop, Some(drop::<Block<A>>))
        .plain = true;
}
