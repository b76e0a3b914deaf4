//! Callbacks that use the pool they are called by.

use super::support::{Census, Tag, balanced, clear, join_all, manual, n, trim};
use repool::{Pool, Pooled, Recycle};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread::spawn;

/// Where the pool calls back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Create,
    Recycle,
    Weigh,
    Drop,
}

/// What the callback does.
type Act = fn(&Pool<Caller>, &World);

struct World {
    pool: OnceLock<Weak<Pool<Caller>>>,
    from: From,
    act: Act,
    census: Census,
    calls: AtomicUsize,
    stash: Mutex<Vec<Pooled<Caller>>>,
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl World {
    /// Runs the act, unless it is running already.
    fn call(&self, from: From) {
        let Some(pool) = self.pool.get().and_then(Weak::upgrade) else {
            return;
        };
        if from != self.from || INSIDE.replace(true) {
            return;
        }
        self.calls.fetch_add(1, SeqCst);
        (self.act)(&pool, self);
        INSIDE.set(false);
    }
}

/// An object whose every callback may use the pool.
struct Caller {
    tag: Tag,
    world: Arc<World>,
}

impl Recycle for Caller {
    fn recycle(&mut self) {
        self.world.call(From::Recycle);
    }

    fn retained_bytes(&self) -> usize {
        self.world.call(From::Weigh);
        10
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.world.call(From::Drop);
    }
}

fn world(from: From, act: Act, custom_reset: bool) -> (Arc<World>, Arc<Pool<Caller>>) {
    let world = Arc::new(World {
        pool: OnceLock::new(),
        from,
        act,
        census: Census::new(),
        calls: AtomicUsize::new(0),
        stash: Mutex::new(Vec::new()),
    });
    let create = {
        let world = Arc::downgrade(&world);
        move || {
            let world = world.upgrade().expect("the test is running");
            world.call(From::Create);
            Caller {
                tag: world.census.tag(),
                world: world.clone(),
            }
        }
    };
    let builder = manual(create).max_idle(100).max_idle_bytes(900);
    let pool = Arc::new(if custom_reset {
        builder
            .reset(|caller: &mut Caller| {
                caller.recycle();
                true
            })
            .retained_bytes(Caller::retained_bytes)
            .build()
    } else {
        builder.build()
    });
    world.pool.set(Arc::downgrade(&pool)).expect("once");
    (world, pool)
}

const ACTS: [(&str, Act); 10] = [
    ("get", |pool, _| drop(pool.get())),
    ("get many", |pool, _| {
        drop((0..n(70, 10)).map(|_| pool.get()).collect::<Vec<_>>())
    }),
    ("try_get", |pool, _| drop(pool.try_get())),
    ("get and keep", |pool, world| {
        let guard = pool.get();
        world.stash.lock().expect("no panic").push(guard);
    }),
    ("drop a guard", |_, world| {
        let guard = world.stash.lock().expect("no panic").pop();
        drop(guard);
    }),
    ("put", |pool, _| {
        let world = pool.get().world.clone();
        pool.put(Caller {
            tag: world.census.tag(),
            world,
        });
    }),
    ("trim", |pool, _| trim(pool)),
    ("clear", |pool, _| clear(pool)),
    ("stats", |pool, _| balanced(&pool.stats())),
    ("switch", |pool, _| {
        pool.set_enabled(false);
        drop(pool.get());
        pool.set_enabled(true);
    }),
];

#[test]
fn every_callback_may_use_the_pool_that_calls_it() {
    // A lock, a borrow or a busy flag held while user code runs: a deadlock, a double hand-out, or
    // a corrupted list.
    for from in [From::Create, From::Recycle, From::Weigh, From::Drop] {
        for custom_reset in [false, true] {
            for (name, act) in ACTS {
                let (world, pool) = world(from, act, custom_reset);
                for round in 0..n(30, 2) {
                    let mut held: Vec<_> = (0..n(40, 6)).map(|_| pool.get()).collect();
                    let stay = held.split_off(held.len() / 2);
                    world.stash.lock().expect("no panic").extend(stay);
                    drop(held);
                    match round % 3 {
                        0 => clear(&pool),
                        1 => trim(&pool),
                        _ => (),
                    }
                    let stash = std::mem::take(&mut *world.stash.lock().expect("no panic"));
                    drop(stash);
                }
                assert!(world.calls.load(SeqCst) > 0, "{from:?} never did {name}");
                let stash = std::mem::take(&mut *world.stash.lock().expect("no panic"));
                drop(stash);
                let out = world.stash.lock().expect("no panic").len();
                let stats = pool.stats();
                world.census.agrees_with(&stats, out);
                assert!(
                    stats.idle <= 90 && stats.idle_bytes <= 900,
                    "{from:?} {name} {stats:?}"
                );
                let stash = std::mem::take(&mut *world.stash.lock().expect("no panic"));
                drop(pool);
                drop(stash);
                let last = std::mem::take(&mut *world.stash.lock().expect("no panic"));
                drop(last);
                assert_eq!(world.census.alive(), 0, "{from:?} {name}");
            }
        }
    }
}

#[test]
fn callbacks_of_many_threads_may_use_the_pool() {
    // The same with a contended lock.
    for from in [From::Create, From::Recycle, From::Weigh, From::Drop] {
        let act: Act = |pool, world| {
            drop((pool.get(), pool.try_get()));
            if world.calls.load(SeqCst) % 64 == 0 {
                trim(pool);
                clear(pool);
            }
        };
        let (world, pool) = world(from, act, false);
        let rounds = n(1_000, 2);
        join_all((0..4).map(|me| {
            let pool = pool.clone();
            spawn(move || {
                for round in 0..rounds {
                    let mut held: Vec<_> = (0..5).map(|_| pool.get()).collect();
                    held.iter_mut().for_each(|caller| caller.tag.hold());
                    held.iter_mut().for_each(|caller| caller.tag.release());
                    drop(held);
                    if round % 50 == me {
                        clear(&pool);
                    }
                }
            })
        }));
        assert!(world.calls.load(SeqCst) > 0);
        world.census.agrees_with(&pool.stats(), 0);
        drop(pool);
        assert_eq!(world.census.alive(), 0);
    }
}

#[test]
fn an_object_may_hold_guards_of_its_own_pool() {
    // A chain of guards, each dropped inside the drop of the previous one.
    #[derive(Default)]
    struct Nested {
        inner: Option<Pooled<Nested>>,
    }
    impl Recycle for Nested {
        fn recycle(&mut self) {
            self.inner = None;
        }
    }
    static POOL: Pool<Nested> = Pool::new(Nested::default);
    let depth = if cfg!(miri) { 10 } else { 100 };
    for _ in 0..3 {
        let mut outer = POOL.get();
        for _ in 1..depth {
            let mut next = POOL.get();
            next.inner = Some(outer);
            outer = next;
        }
        drop(outer);
        assert_eq!((POOL.stats().created, POOL.stats().in_use), (depth, 0));
    }
}

#[test]
fn a_pool_may_hold_guards_of_another() {
    // Across pools: dropping one pool's objects returns objects to the other.
    let inner_census = Census::new();
    let inner = Arc::new(manual(inner_census.create()).build());
    let source = inner.clone();
    let outer = manual(move || source.get()).reset(|_| true).build();
    drop((0..40).map(|_| outer.get()).collect::<Vec<_>>());
    assert_eq!(inner.stats().in_use, 40);
    assert_eq!(outer.clear().objects, 40);
    inner_census.agrees_with(&inner.stats(), 0);
    drop((0..3).map(|_| outer.get()).collect::<Vec<_>>());
    drop(outer);
    inner_census.agrees_with(&inner.stats(), 0);
    assert_eq!(inner.stats().idle, 40);
}

#[test]
fn create_may_use_the_pool_before_its_first_object() {
    // The first use of a pool in a static, from within its own first use.
    static DEPTH: AtomicUsize = AtomicUsize::new(0);
    static POOL: Pool<Vec<u8>> = Pool::new(|| {
        if DEPTH.fetch_add(1, SeqCst) < 3 {
            drop(POOL.get());
        }
        Vec::new()
    });
    drop(POOL.get());
    assert_eq!(POOL.stats().created, 4);
    assert_eq!(POOL.stats().in_use, 0);
}
