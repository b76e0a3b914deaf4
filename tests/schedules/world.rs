//! One schedule: its pools, its threads, and what has to hold whenever all threads rest.

use super::acts::{self, balanced};
use super::disturb::{self, Disturber};
use super::things::{Held, Tally, Thing, quietly};
use repool::{ArenaPool, Budget, BufferPool, Builder, Level, Pool, Pressure, Stats, janitor_stats};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::spawn;
use std::time::{Duration, Instant};

/// Threads that stay for the whole schedule, with full caches while they rest.
const SITTERS: usize = 4;
/// Threads that live a few lives in each round.
const CHURNERS: usize = 4;
const LIVES: usize = 3;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// xorshift: the same numbers in each run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: usize) -> Self {
        let mut random = Self((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..4).for_each(|_| _ = random.below(2));
        random
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    /// A number of bytes, mostly small.
    pub(crate) fn size(&mut self) -> usize {
        match self.below(32) {
            0 => self.below(100_000),
            1..8 => self.below(5_000),
            _ => self.below(300),
        }
    }
}

/// The kind of schedule.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Whether callbacks panic.
    pub(crate) faults: bool,
    pub(crate) switches: bool,
    pub(crate) pressure: bool,
    signals: bool,
    /// Whether there are many hits, and visitors without a pause.
    pub(crate) tight: bool,
    acts: usize,
}

pub(crate) enum Kind {
    Thing(Pool<Thing>),
    Vec(Pool<Vec<u8>>),
    Buffer(BufferPool),
    Arena(ArenaPool),
}

impl Kind {
    pub(crate) fn stats(&self) -> Stats {
        match self {
            Kind::Thing(pool) => pool.stats(),
            Kind::Vec(pool) => pool.stats(),
            Kind::Buffer(pool) => pool.stats(),
            Kind::Arena(pool) => pool.stats(),
        }
    }

    pub(crate) fn clear(&self) {
        let _ = match self {
            Kind::Thing(pool) => pool.clear(),
            Kind::Vec(pool) => pool.clear(),
            Kind::Buffer(pool) => pool.clear(),
            Kind::Arena(pool) => pool.clear(),
        };
    }

    pub(crate) fn set_enabled(&self, on: bool) {
        match self {
            Kind::Thing(pool) => pool.set_enabled(on),
            Kind::Vec(pool) => pool.set_enabled(on),
            Kind::Buffer(pool) => pool.set_enabled(on),
            Kind::Arena(pool) => pool.set_enabled(on),
        }
    }
}

pub(crate) struct Subject {
    pub(crate) pool: Kind,
    pub(crate) tally: Arc<Tally>,
    max_idle: usize,
    max_bytes: usize,
    in_budget: bool,
}

/// Checks that nothing within a user's reach is inside a panic.
impl std::panic::RefUnwindSafe for Subject {}

impl Drop for Subject {
    fn drop(&mut self) {
        // What its pool drops with it may panic, on purpose and one at a time.
        let pool = std::mem::replace(&mut self.pool, Kind::Vec(Pool::new(Vec::new)));
        let _ = quietly(|| drop(pool));
    }
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) budget: Option<Budget>,
    slots: Vec<Mutex<Arc<Subject>>>,
    /// Of all pools that there have been.
    tallies: Mutex<Vec<Arc<Tally>>>,
    boxes: Vec<(Sender<Held>, Mutex<Receiver<Held>>)>,
    pressure: Pressure,
    rests: AtomicBool,
    made: AtomicUsize,
}

impl World {
    fn new(seed: usize) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan {
            faults: random.below(4) == 0,
            switches: random.below(2) == 0,
            pressure: random.below(4) == 0,
            signals: random.below(2) == 0,
            tight: random.below(4) == 0,
            acts: super::number("REPOOL_SCHEDULE_ACTS").unwrap_or(400),
        };
        let budget = [0, 20_000, 300_000, 8 << 20][random.below(4)];
        let mut world = Self {
            plan,
            budget: (random.below(2) == 0).then(|| Budget::new(budget)),
            slots: Vec::new(),
            tallies: Mutex::default(),
            boxes: (0..SITTERS + CHURNERS)
                .map(|_| channel())
                .map(|(to, from)| (to, Mutex::new(from)))
                .collect(),
            pressure: Pressure::manual(),
            rests: AtomicBool::new(true),
            made: AtomicUsize::new(0),
        };
        for kind in 0..4 {
            for _ in 0..1 + random.below(3) {
                let subject = world.make(kind, &mut random);
                world.slots.push(Mutex::new(Arc::new(subject)));
            }
        }
        world
    }

    /// Creates a pool of one of the four kinds.
    fn make(&self, kind: usize, random: &mut Random) -> Subject {
        let manual = random.below(2) == 0;
        let max_idle = [1, 8, 40, 500][random.below(4)];
        let max_idle = if random.below(3) == 0 {
            max_idle
        } else {
            usize::MAX
        };
        let max_bytes = [0, 10_000, 200_000, 4 << 20][random.below(4)];
        let max_bytes = if random.below(3) == 0 {
            max_bytes
        } else {
            usize::MAX
        };
        let max_object = [1_000, 50_000][random.below(2)];
        let max_object = (random.below(4) == 0).then_some(max_object);
        let min_idle = [0, 0, 3, 100][random.below(4)];
        let budget = self.budget.clone().filter(|_| random.below(2) == 0);
        let in_budget = budget.is_some();
        let name = format!("{kind}:{}", self.made.fetch_add(1, SeqCst));
        let named = random.below(2) == 0;
        let tally = Arc::new(Tally {
            name: name.clone(),
            ..Tally::default()
        });
        lock(&self.tallies).push(tally.clone());
        // The three builders have the same settings.
        macro_rules! set {
            ($builder:expr) => {{
                let mut builder = $builder;
                if named {
                    builder = builder.name(name);
                }
                if max_idle != usize::MAX {
                    builder = builder.max_idle(max_idle);
                }
                if max_bytes != usize::MAX {
                    builder = builder.max_idle_bytes(max_bytes);
                }
                if let Some(bytes) = max_object {
                    builder = builder.max_object_bytes(bytes);
                }
                if let Some(budget) = budget {
                    builder = builder.budget(budget);
                }
                if manual {
                    builder.trim_manually()
                } else {
                    builder.trim_every(Duration::from_millis(1))
                }
            }};
        }
        let pool = match kind {
            0 => {
                let of = tally.clone();
                let builder: Builder<Thing> = Pool::builder(move || Thing::new(&of));
                let builder = set!(builder).min_idle(min_idle);
                Kind::Thing(if random.below(2) == 0 {
                    builder.build()
                } else {
                    builder
                        .reset(Thing::reset)
                        .retained_bytes(repool::Recycle::retained_bytes)
                        .build()
                })
            }
            1 => {
                let builder: Builder<Vec<u8>> = Pool::builder(Vec::new);
                Kind::Vec(set!(builder).min_idle(min_idle).build())
            }
            2 => Kind::Buffer(set!(BufferPool::builder()).build()),
            _ => Kind::Arena(set!(ArenaPool::builder()).build()),
        };
        Subject {
            pool,
            tally,
            max_idle,
            max_bytes,
            in_budget,
        }
    }

    pub(crate) fn pools(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn subject(&self, slot: usize) -> Arc<Subject> {
        lock(&self.slots[slot]).clone()
    }

    /// Drops a pool with its idle objects, whatever is still out, and puts another of its kind in
    /// its place.
    pub(crate) fn replace(&self, slot: usize, random: &mut Random) {
        let kind = match self.subject(slot).pool {
            Kind::Thing(_) => 0,
            Kind::Vec(_) => 1,
            Kind::Buffer(_) => 2,
            Kind::Arena(_) => 3,
        };
        let mut subject = Arc::new(self.make(kind, random));
        std::mem::swap(&mut *lock(&self.slots[slot]), &mut subject);
        drop(subject);
    }

    pub(crate) fn mailboxes(&self) -> usize {
        self.boxes.len()
    }

    pub(crate) fn send(&self, to: usize, one: Held) {
        self.boxes[to].0.send(one).expect("the receiver is here");
    }

    pub(crate) fn receive(&self, me: usize) -> Vec<Held> {
        lock(&self.boxes[me].1).try_iter().take(20).collect()
    }

    pub(crate) fn press(&self, level: Level) {
        self.pressure.set(level);
    }

    /// Checks, while all threads rest, that each object is in one place and counted there.
    fn check_at_rest(&self) {
        if let Some(budget) = &self.budget {
            assert!(budget.used() <= budget.limit(), "{budget:?}");
        }
        for slot in 0..self.pools() {
            let subject = self.subject(slot);
            balanced(&subject.pool.stats());
            // The janitor may be dropping something, possibly a guard of this pool.
            eventually(|| subject.check_at_rest());
        }
        if let Some(budget) = &self.budget {
            eventually(|| {
                let subjects = (0..self.pools()).map(|slot| self.subject(slot));
                let idle: i64 = subjects
                    .filter(|subject| subject.in_budget && matches!(subject.pool, Kind::Thing(_)))
                    .map(|subject| subject.idle_bytes())
                    .sum();
                if idle as u64 <= budget.limit() as u64 {
                    Ok(())
                } else {
                    Err(format!("{idle} bytes are idle: {budget:?}"))
                }
            });
        }
    }

    /// Checks the pools that are gone.
    fn forget_tallies(&self) {
        let is_over = |tally: &Arc<Tally>| Arc::strong_count(tally) == 1 && tally.is_even();
        lock(&self.tallies).retain(|tally| !is_over(tally));
    }

    /// Checks, after all threads have ended, that everything is given back.
    fn check_at_end(&self) {
        for one in &self.boxes {
            lock(&one.1).try_iter().for_each(drop);
        }
        self.press(Level::Normal);
        for slot in 0..self.pools() {
            self.subject(slot).pool.set_enabled(true);
        }
        // Objects hold objects of other pools.
        eventually(|| {
            let mut left = Ok(());
            for slot in 0..self.pools() {
                let subject = self.subject(slot);
                let _ = quietly(|| subject.pool.clear());
                let stats = subject.pool.stats();
                balanced(&stats);
                if (stats.idle, stats.in_use, subject.tally.alive.load(SeqCst)) != (0, 0, 0) {
                    left = Err(format!("{:?}: {stats:?}", subject.tally));
                }
            }
            left
        });
        if let Some(budget) = &self.budget {
            eventually(|| match budget.used() {
                0 => Ok(()),
                used => Err(format!("{used} bytes are charged for nothing")),
            });
        }
    }
}

impl Subject {
    /// By the test's own count.
    fn idle(&self) -> i64 {
        self.tally.alive.load(SeqCst) - self.tally.out.load(SeqCst)
    }

    fn idle_bytes(&self) -> i64 {
        let weights = self.tally.alive_bytes.load(SeqCst) - self.tally.out_bytes.load(SeqCst);
        weights + self.idle() * size_of::<Thing>() as i64
    }

    fn check_at_rest(&self) -> Result<(), String> {
        if let Kind::Buffer(pool) = &self.pool {
            let _ = pool.trim(); // looks for frozen ones that are back
        }
        let stats = self.pool.stats();
        balanced(&stats);
        let out = self.tally.out.load(SeqCst) as u64;
        let views = self.tally.views.load(SeqCst) as u64;
        // Objects handed out while a pool is switched off are not `in_use`.
        let fine = match &self.pool {
            Kind::Thing(_) => {
                let (idle, bytes) = (self.idle(), self.idle_bytes());
                stats.in_use <= out
                    && stats.idle as i64 == idle
                    && stats.idle_bytes as i64 == bytes
                    && idle as u64 <= self.max_idle as u64
                    && bytes as u64 <= self.max_bytes as u64
            }
            Kind::Vec(_) => stats.in_use <= out,
            // Nor are buffers without memory.
            Kind::Buffer(_) => stats.in_use <= out + views,
            Kind::Arena(_) => stats.in_use <= out,
        };
        let within =
            stats.idle <= self.max_idle as u64 && stats.idle_bytes <= self.max_bytes as u64;
        if fine && within {
            Ok(())
        } else {
            Err(format!(
                "{:?}, at most {} idle of {} bytes, idle bytes by our count {}: {stats:?}",
                self.tally,
                self.max_idle,
                self.max_bytes,
                self.idle_bytes(),
            ))
        }
    }
}

/// Waits for another thread to do something; fails after twenty seconds.
fn eventually(mut done: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while let Err(why) = done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{why}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Prints the seed.
struct Says(usize);

impl Drop for Says {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was REPOOL_SCHEDULE_SEED={}", self.0);
        }
    }
}

/// A round of a sitter: the number of acts. When the sender is dropped, the thread ends.
type Rounds = (Sender<usize>, Receiver<()>);

/// Runs a schedule in rounds until `rest`, called after each, returns `true`. Returns the number of
/// acts.
pub(crate) fn run(seed: usize, mut rest: impl FnMut(usize) -> bool) -> usize {
    let _says = Says(seed);
    disturb::now_running(seed);
    let world = Arc::new(World::new(seed));
    world.pressure.install();
    let mut sitters = Vec::new();
    let rounds: Vec<Rounds> = (0..SITTERS)
        .map(|me| {
            let ((to, rounds), (done, from)) = (channel(), channel());
            let world = world.clone();
            sitters.push(spawn(move || {
                let mut random = Random::new(1000 * seed + me);
                let mut hands = Vec::new();
                for acts in rounds {
                    acts::live(&world, me, &mut random, &mut hands, acts);
                    let _ = done.send(());
                }
            }));
            (to, from)
        })
        .collect();
    let mut churners: Vec<Option<(Random, Vec<Held>)>> = (0..CHURNERS)
        .map(|i| Some((Random::new(1000 * seed + 100 + i), Vec::new())))
        .collect();
    let mut rounds_so_far = 0;
    for round in 0.. {
        world.rests.store(false, SeqCst);
        let acts = world.plan.acts;
        let disturber = world
            .plan
            .signals
            .then(|| Disturber::start(10 * seed + round));
        for (to, _) in &rounds {
            to.send(LIVES * acts).expect("the sitter waits for it");
        }
        let visitors: Vec<_> = (0..2)
            .map(|i| {
                let world = world.clone();
                let mut random = Random::new(1000 * seed + 10 * round + 200 + i);
                spawn(move || {
                    let _enlisted = disturb::enlist();
                    while !world.rests.load(SeqCst) {
                        acts::visit(&world, &mut random);
                        if !world.plan.tight {
                            std::thread::sleep(Duration::from_micros(random.below(500) as u64));
                        }
                    }
                })
            })
            .collect();
        let lives: Vec<_> = churners
            .iter_mut()
            .enumerate()
            .map(|(i, state)| {
                let (mut random, mut hands) = state.take().expect("back from the last round");
                let world = world.clone();
                spawn(move || {
                    for _ in 0..LIVES {
                        let world = world.clone();
                        let life = spawn(move || {
                            acts::live(&world, SITTERS + i, &mut random, &mut hands, acts);
                            (random, hands)
                        });
                        (random, hands) = joined(life);
                    }
                    (random, hands)
                })
            })
            .collect();
        for (state, life) in churners.iter_mut().zip(lives) {
            *state = Some(joined(life));
        }
        for (_, done) in &rounds {
            done.recv().expect("a sitter has failed");
        }
        world.rests.store(true, SeqCst);
        visitors.into_iter().for_each(joined);
        drop(disturber);
        world.check_at_rest();
        world.forget_tallies();
        rounds_so_far += 1;
        if rest(rounds_so_far) {
            break;
        }
    }
    drop((churners, rounds));
    sitters.into_iter().for_each(joined);
    world.check_at_end();
    let acts = (SITTERS + CHURNERS) * rounds_so_far * LIVES * world.plan.acts;
    let tallies = std::mem::take(&mut *lock(&world.tallies));
    drop(world);
    Pressure::system().install();
    // The janitor empties pools that were dropped while an owner was held up inside its cache.
    eventually(|| {
        let lost = tallies.iter().find(|tally| !tally.is_even());
        lost.map_or(Ok(()), |lost| Err(format!("{lost:?}")))
    });
    eventually(|| match janitor_stats() {
        stats if stats.pools == 0 && !stats.running => Ok(()),
        stats => Err(format!("{stats:?}")),
    });
    acts
}

#[track_caller]
fn joined<R>(thread: std::thread::JoinHandle<R>) -> R {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
