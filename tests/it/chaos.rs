//! Everything that a program may do to a pool, at random, on many threads, under each kind of
//! limit; and then what has to hold when everything has stopped.

use super::support::{Random, balanced, clear, join_all, n, trim};
use repool::{Budget, Builder, Level, Pool, Pooled};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

thread_local! {
    /// Limits the depth of callbacks within callbacks.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// What the objects of one run share.
#[derive(Default)]
struct World {
    born: AtomicUsize,
    died: AtomicUsize,
    pool: Mutex<Weak<Pool<Thing>>>,
}

impl World {
    /// Sometimes uses the pool from within a callback.
    fn reenter(&self, seed: usize) {
        if seed % 16 != 0 || DEPTH.get() > 3 {
            return;
        }
        let Some(pool) = self.pool.lock().expect("no panic under it").upgrade() else {
            return;
        };
        DEPTH.set(DEPTH.get() + 1);
        match seed / 16 % 5 {
            0 => drop(pool.get()),
            1 => drop(pool.try_get()),
            2 => clear(&pool),
            3 => trim(&pool),
            _ => drop((0..70).map(|_| pool.get()).collect::<Vec<_>>()),
        }
        DEPTH.set(DEPTH.get() - 1);
    }
}

struct Thing {
    world: Arc<World>,
    held: AtomicBool,
    alive: AtomicBool,
    weight: usize,
    seed: usize,
    /// Whether its reset or its destructor panics.
    faulty: bool,
}

impl Thing {
    fn new(world: &Arc<World>) -> Self {
        // May panic: it is not born yet.
        world.reenter(world.born.load(SeqCst));
        let seed = world.born.fetch_add(1, SeqCst);
        Self {
            world: world.clone(),
            held: AtomicBool::new(false),
            alive: AtomicBool::new(true),
            weight: 0,
            seed,
            faulty: false,
        }
    }

    fn hold(&mut self, random: &mut Random) {
        assert!(self.alive.load(SeqCst), "handed out after its end");
        assert!(!self.held.swap(true, SeqCst), "held twice");
        self.weight = match random.below(8) {
            0 => 60_000,
            1 => 5_000,
            _ => random.below(300),
        };
        self.seed = random.below(1 << 20);
        self.faulty = random.below(200) == 0;
    }

    fn let_go(&mut self) {
        assert!(self.held.swap(false, SeqCst), "let go twice");
    }

    fn reset(&mut self) -> bool {
        assert!(!self.held.load(SeqCst), "reset while it is held");
        self.world.clone().reenter(self.seed);
        if self.faulty && self.seed % 2 == 0 && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("reset"));
        }
        self.seed % 64 != 0
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        assert!(self.alive.swap(false, SeqCst), "dropped twice");
        assert!(!self.held.load(SeqCst), "dropped while it is held");
        self.world.died.fetch_add(1, SeqCst);
        self.world.reenter(self.seed / 3);
        if self.faulty && self.seed % 2 == 1 && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("destructor"));
        }
    }
}

fn quietly<R>(f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => Some(result),
        Err(panic)
            if panic.is::<&str>()
                && ["reset", "destructor"].contains(panic.downcast_ref().unwrap()) =>
        {
            None
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn act(
    pool: &Pool<Thing>,
    world: &Arc<World>,
    random: &mut Random,
    mine: &mut Vec<Pooled<Thing>>,
    out: &[Sender<Pooled<Thing>>],
    inbox: &Receiver<Pooled<Thing>>,
) {
    let _ = quietly(|| match random.below(100) {
        0..30 => {
            let mut thing = pool.get();
            thing.hold(random);
            mine.push(thing);
        }
        30..35 => {
            for _ in 0..random.below(150) {
                let Some(mut thing) = pool.try_get() else {
                    break;
                };
                thing.hold(random);
                mine.push(thing);
            }
        }
        35..65 if !mine.is_empty() => {
            let mut thing = mine.swap_remove(random.below(mine.len()));
            thing.let_go();
            drop(thing);
        }
        65..75 if !mine.is_empty() => {
            let mut thing = mine.swap_remove(random.below(mine.len()));
            thing.let_go();
            let _ = out[random.below(out.len())].send(thing);
        }
        75..85 => {
            while let Ok(thing) = inbox.try_recv() {
                let _ = quietly(|| drop(thing));
            }
        }
        85..87 => {
            for mut thing in mine.drain(..) {
                thing.let_go();
                let _ = quietly(|| drop(thing));
            }
        }
        87 => pool.put(Thing::new(world)),
        88 if !mine.is_empty() => {
            let mut thing = mine.swap_remove(random.below(mine.len()));
            thing.let_go();
            drop(Pooled::into_inner(thing));
        }
        89 if !mine.is_empty() => {
            let mut thing = mine.swap_remove(random.below(mine.len()));
            thing.let_go();
            Pooled::discard(thing);
        }
        90 => trim(pool),
        91 => {
            let _ = pool.trim_under(Level::Elevated);
        }
        92 if random.below(4) == 0 => {
            let _ = pool.trim_under(Level::Critical);
        }
        93 if random.below(4) == 0 => clear(pool),
        94 if random.below(8) == 0 => pool.set_enabled(random.below(3) != 0),
        95 => balanced(&pool.stats()),
        96 => {
            pool.prefill(random.below(20));
        }
        _ => {}
    });
}

fn run(seed: usize, limit: impl FnOnce(Builder<Thing>) -> Builder<Thing>, budget: Option<&Budget>) {
    let world = Arc::new(World::default());
    let of = world.clone();
    let builder = limit(Pool::builder(move || Thing::new(&of)));
    let pool = Arc::new(
        builder
            .reset(Thing::reset)
            .retained_bytes(|thing| thing.weight)
            .trim_every(Duration::from_millis(3))
            .build(),
    );
    *world.pool.lock().expect("new") = Arc::downgrade(&pool);
    let (out, inboxes): (Vec<_>, Vec<_>) = (0..8).map(|_| channel()).unzip();
    let threads = inboxes.into_iter().enumerate().map(|(i, inbox)| {
        let (mut pool, world, out) = (Some(pool.clone()), world.clone(), out.clone());
        std::thread::spawn(move || {
            let mut random = Random::new(seed * 100 + i);
            let mut inbox = inbox;
            // Each life of a thread passes its inbox to the next.
            for _ in 0..n(3, 1) {
                let (held, all, to) = (pool.take().expect("back"), world.clone(), out.clone());
                let life = std::thread::spawn(move || {
                    let mut mine = Vec::new();
                    for _ in 0..n(400, 50) {
                        act(&held, &all, &mut random, &mut mine, &to, &inbox);
                    }
                    for mut thing in mine {
                        thing.let_go();
                        let _ = quietly(|| drop(thing));
                    }
                    (held, random, inbox)
                });
                let (held, next, left) = life
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                (pool, random, inbox) = (Some(held), next, left);
            }
            drop((pool, out));
            // What arrives after the pool is gone.
            while let Ok(thing) = inbox.try_recv() {
                let _ = quietly(|| drop(thing));
            }
        })
    });
    join_all(threads.collect::<Vec<_>>());
    drop(out);
    // From here on nothing uses the pool from within, except the janitor with what it is handling.
    *world.pool.lock().expect("no panic under it") = Weak::new();
    pool.set_enabled(true);
    let alive = || world.born.load(SeqCst) - world.died.load(SeqCst);
    let start = Instant::now();
    while (pool.stats().idle, alive()) != (0, 0) && start.elapsed() < Duration::from_secs(10) {
        balanced(&pool.stats());
        let _ = quietly(|| pool.clear());
        std::thread::sleep(Duration::from_millis(1)); // polls
    }
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.in_use, alive()), (0, 0, 0), "{stats:?}");
    let mut pool = Some(pool);
    if let Some(budget) = budget {
        assert_eq!(budget.used(), 0, "nothing is idle");
    }
    let _ = quietly(|| drop(pool.take()));
    assert_eq!(world.born.load(SeqCst), world.died.load(SeqCst));
}

#[test]
fn random_acts_without_limits_lose_nothing() {
    (0..n(4, 1)).for_each(|seed| run(seed, |builder| builder, None));
}

#[test]
fn random_acts_under_limits_of_number_lose_nothing() {
    for (seed, most) in [1, 8, 40, 500].into_iter().enumerate() {
        run(
            seed + 10,
            |builder| builder.max_idle(most).min_idle(seed),
            None,
        );
    }
}

#[test]
fn random_acts_within_a_budget_leave_nothing_charged() {
    for (seed, bytes) in [0, 10_000, 300_000, 4 << 20].into_iter().enumerate() {
        let budget = Budget::new(bytes);
        let limit = |builder: Builder<Thing>| {
            let builder = builder.budget(budget.clone()).min_idle(3 * seed);
            if seed % 2 == 0 {
                builder
            } else {
                builder.max_idle_bytes(bytes / 2).max_object_bytes(30_000)
            }
        };
        run(seed + 20, limit, Some(&budget));
    }
}
