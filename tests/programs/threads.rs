//! Programs of operations on several threads at once. The machine decides which comes first, so an
//! input that fails may have to be run a few times. An object is in one place at a time, comes out
//! clean, and is dropped once; the content of a buffer stays as it was written; and at the end
//! nothing is left.

use super::workers::Ops;
use arbitrary::Arbitrary;
use bytes::Bytes;
use repool::{Budget, Buffer, BufferPool, Level, Pool, Pooled, Recycle};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::{scope, spawn};

const THREADS: usize = 4;
/// The most that a thread holds.
const HELD: usize = 100;

#[derive(Arbitrary, Debug)]
pub(crate) struct Program {
    limits: Limits,
    /// Whether the janitor runs.
    watched: bool,
    /// Whether the pool has a custom reset.
    custom: bool,
    ops: Ops<Op>,
}

#[derive(Arbitrary, Debug)]
struct Limits {
    max_idle: Option<u8>,
    max_idle_bytes: Option<u16>,
    max_object_bytes: Option<u16>,
    budget: Option<u16>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Get {
        weight: u16,
        many: u8,
    },
    TryGet {
        many: u8,
    },
    Pairs {
        many: u8,
    },
    Buffer {
        size: u16,
    },
    Freeze {
        at: u8,
    },
    Slice {
        at: u8,
    },
    Drop {
        at: u8,
    },
    DropMany {
        many: u8,
    },
    Send {
        at: u8,
    },
    Receive,
    Take {
        at: u8,
    },
    Discard {
        at: u8,
    },
    Put,
    Prefill {
        many: u8,
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
    Yield,
    /// Another thread does the rest.
    EndThread,
}

#[derive(Debug)]
struct Object {
    /// On the heap, so that a sanitizer detects a use after the end.
    canary: Box<u64>,
    held: AtomicBool,
    dirty: bool,
    weight: usize,
    alive: Arc<AtomicI64>,
}

const CANARY: u64 = 0x7265_706f_6f6c;

impl Object {
    fn new(alive: &Arc<AtomicI64>) -> Self {
        alive.fetch_add(1, SeqCst);
        Self {
            canary: Box::new(CANARY),
            held: AtomicBool::new(false),
            dirty: false,
            weight: 0,
            alive: alive.clone(),
        }
    }

    fn hold(&mut self, weight: usize) {
        assert_eq!(*self.canary, CANARY);
        assert!(!self.held.swap(true, SeqCst), "held twice");
        assert!(!self.dirty, "not reset");
        (self.dirty, self.weight) = (true, weight);
    }

    fn let_go(&mut self) {
        assert_eq!(*self.canary, CANARY);
        assert!(self.held.swap(false, SeqCst), "let go twice");
    }
}

impl Recycle for Object {
    fn recycle(&mut self) {
        assert!(!self.held.load(SeqCst), "reset while it is held");
        self.dirty = false;
    }

    fn retained_bytes(&self) -> usize {
        self.weight
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        assert!(!self.held.load(SeqCst), "dropped while it is held");
        assert_eq!(
            std::mem::replace(&mut *self.canary, 0),
            CANARY,
            "dropped twice"
        );
        self.alive.fetch_sub(1, SeqCst);
    }
}

enum Held {
    Object(Pooled<Object>),
    Buffer(Buffer, u8),
    View(Bytes, u8),
}

impl Held {
    fn check(&self) {
        let (content, mark): (&[u8], _) = match self {
            Held::Object(object) => {
                assert!(object.dirty && object.held.load(SeqCst));
                return;
            }
            Held::Buffer(buffer, mark) => (buffer, mark),
            Held::View(view, mark) => (view, mark),
        };
        assert!(content.iter().all(|byte| byte == mark), "overwritten");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.check();
        if let Held::Object(object) = self {
            object.let_go();
        }
    }
}

struct World {
    pool: Pool<Object>,
    buffers: BufferPool,
    budget: Option<Budget>,
    mail: Mutex<Vec<Held>>,
    alive: Arc<AtomicI64>,
}

impl World {
    fn new(program: &Program) -> Self {
        let Program {
            limits,
            watched,
            custom,
            ..
        } = program;
        let alive = Arc::new(AtomicI64::new(0));
        let of_pool = alive.clone();
        let budget = limits.budget.map(|bytes| Budget::new(bytes.into()));
        let mut objects = Pool::builder(move || Object::new(&of_pool));
        let mut buffers = BufferPool::builder();
        if let Some(most) = limits.max_idle {
            objects = objects.max_idle(most.into());
            buffers = buffers.max_idle(most.into());
        }
        if let Some(most) = limits.max_idle_bytes {
            objects = objects.max_idle_bytes(most.into());
            buffers = buffers.max_idle_bytes(most.into());
        }
        if let Some(most) = limits.max_object_bytes {
            objects = objects.max_object_bytes(most.into());
            buffers = buffers.max_object_bytes(most.into());
        }
        if let Some(budget) = &budget {
            objects = objects.budget(budget.clone());
            buffers = buffers.budget(budget.clone());
        }
        if *watched {
            let interval = std::time::Duration::from_millis(1);
            objects = objects.trim_every(interval);
            buffers = buffers.trim_every(interval);
        } else {
            objects = objects.trim_manually();
            buffers = buffers.trim_manually();
        }
        let reset = |object: &mut Object| {
            object.recycle();
            true
        };
        let pool = if *custom {
            objects
                .reset(reset)
                .retained_bytes(Recycle::retained_bytes)
                .build()
        } else {
            objects.build()
        };
        Self {
            pool,
            buffers: buffers.build(),
            budget,
            mail: Mutex::default(),
            alive,
        }
    }

    fn run(&self, op: Op, mark: u8, held: &mut Vec<Held>) {
        let pick = |held: &mut Vec<Held>, at: u8| {
            (!held.is_empty()).then(|| held.swap_remove(usize::from(at) % held.len()))
        };
        match op {
            Op::Get { weight, many } => {
                for _ in 0..=many % 80 {
                    let mut object = self.pool.get();
                    object.hold(weight.into());
                    held.push(Held::Object(object));
                }
            }
            Op::TryGet { many } => {
                for mut object in (0..many % 80).map_while(|_| self.pool.try_get()) {
                    object.hold(many.into());
                    held.push(Held::Object(object));
                }
            }
            Op::Pairs { many } => {
                for _ in 0..many {
                    let mut object = self.pool.get();
                    object.hold(many.into());
                    drop(Held::Object(object));
                }
            }
            Op::Buffer { size } => {
                let size = usize::from(size % 5_000);
                let mut buffer = self.buffers.get(size);
                assert!(buffer.is_empty() && buffer.capacity() >= size);
                buffer.resize(size, mark);
                held.push(Held::Buffer(buffer, mark));
            }
            Op::Freeze { at } => {
                if let Some(mut one) = pick(held, at) {
                    if let Held::Buffer(buffer, mark) = &mut one {
                        let view = std::mem::take(buffer).freeze();
                        one = Held::View(view, *mark);
                    }
                    held.push(one);
                }
            }
            Op::Slice { at } => {
                let slice = match pick(held, at) {
                    Some(one) => {
                        let slice = match &one {
                            Held::View(view, mark) => {
                                Some(Held::View(view.slice(..view.len() / 2), *mark))
                            }
                            _ => None,
                        };
                        held.push(one);
                        slice
                    }
                    None => None,
                };
                held.extend(slice);
            }
            Op::Drop { at } => drop(pick(held, at)),
            Op::DropMany { many } => held.truncate(held.len().saturating_sub(many.into())),
            Op::Send { at } => {
                let one = pick(held, at);
                self.mail.lock().expect("no panic").extend(one);
            }
            Op::Receive => {
                let one = self.mail.lock().expect("no panic").pop();
                held.extend(one);
            }
            Op::Take { at } => match pick(held, at) {
                Some(Held::Object(_)) | None => {
                    // Taken out below, where it is no longer a `Held`.
                    if let Some(object) = self.pool.try_get() {
                        drop(Pooled::into_inner(object));
                    }
                }
                other => drop(other),
            },
            Op::Discard { at } => {
                drop(pick(held, at));
                if let Some(object) = self.pool.try_get() {
                    Pooled::discard(object);
                }
            }
            Op::Put => self.pool.put(Object::new(&self.alive)),
            Op::Prefill { many } => {
                self.pool.prefill(usize::from(many % 30));
            }
            Op::Trim => {
                let _ = (self.pool.trim(), self.buffers.trim());
            }
            Op::TrimUnder { high } => {
                let level = if high {
                    Level::Critical
                } else {
                    Level::Elevated
                };
                let _ = (self.pool.trim_under(level), self.buffers.trim_under(level));
            }
            Op::Clear => {
                let _ = (self.pool.clear(), self.buffers.clear());
            }
            Op::Enable { on } => {
                self.pool.set_enabled(on);
                self.buffers.set_enabled(on);
            }
            Op::Stats => {
                for stats in [self.pool.stats(), self.buffers.stats()] {
                    let came = stats.created + stats.adopted;
                    let went = stats.discarded + stats.trimmed + stats.taken;
                    assert_eq!(came, stats.in_use + stats.idle + went, "{stats:?}");
                }
                if let Some(budget) = &self.budget {
                    assert!(budget.used() <= budget.limit());
                }
            }
            Op::Yield | Op::EndThread => std::thread::yield_now(),
        }
        if held.len() > HELD {
            held.truncate(HELD / 2);
        }
    }
}

pub(crate) fn run(program: Program) {
    let world = World::new(&program);
    let mut of_threads: [Vec<(u8, Op)>; THREADS] = Default::default();
    for (step, (thread, op)) in program.ops.0.into_iter().enumerate() {
        of_threads[usize::from(thread) % THREADS].push((step as u8, op));
    }
    let all_there = Barrier::new(THREADS);
    scope(|scope| {
        for ops in of_threads {
            let (world, all_there) = (&world, &all_there);
            scope.spawn(move || {
                all_there.wait();
                let mut lives: Vec<Vec<(u8, Op)>> = vec![Vec::new()];
                for (step, op) in ops {
                    let ends = matches!(op, Op::EndThread);
                    lives.last_mut().expect("one at least").push((step, op));
                    if ends {
                        lives.push(Vec::new());
                    }
                }
                let mut held = Vec::new();
                for ops in lives {
                    let held = &mut held;
                    std::thread::scope(|scope| {
                        // Joined, so that its thread-local destructors have run.
                        let life = scope.spawn(move || {
                            for (step, op) in ops {
                                world.run(op, step, held);
                            }
                        });
                        life.join()
                            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                    });
                }
                held.iter().for_each(Held::check);
            });
        }
    });
    let World {
        pool,
        buffers,
        budget,
        mail,
        alive,
    } = world;
    drop(mail);
    // The janitor may be handling some.
    wait(|| {
        let _ = (pool.clear(), buffers.clear());
        let stats = (pool.stats(), buffers.stats());
        let left = [stats.0.in_use, stats.0.idle, stats.1.in_use, stats.1.idle];
        left == [0; 4] && alive.load(SeqCst) == 0
    });
    // On another thread than those that have used them.
    let end = spawn(move || drop((pool, buffers)));
    end.join().expect("no panic");
    wait(|| budget.as_ref().is_none_or(|budget| budget.used() == 0));
}

fn wait(mut done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed().as_secs() < 20, "something is left");
        std::thread::yield_now();
    }
}
