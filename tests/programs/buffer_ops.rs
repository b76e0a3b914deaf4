//! Programs of operations on one `BufferPool`, on several threads, against plain vectors: a buffer
//! comes out empty and large enough, and its content, frozen and split parts included, stays as it
//! was written. Also checks that the figures add up, and the memory with them.

use super::buffer_model::{LEFT, Left, Part, Piece, Tenant, edit};
use super::buffer_program::{How, Op, Program, Settings, size};
use super::{ledger, workers::Workers};
use bytes::{BufMut, BytesMut};
use repool::{Budget, Buffer, BufferPool, Level};
use std::mem;
use std::sync::Arc;

const THREADS: usize = 3;
/// The most buffers that are out, and the most parts of buffers.
const BUFFERS: usize = 24;
const PARTS: usize = 40;
/// The most bytes in all of them together: everything is compared after each operation.
const ALIVE: usize = 256 << 10;

/// A pool, and its expected figures.
struct Subject {
    pool: Arc<BufferPool>,
    number: usize,
    max_class: usize,
    /// Requests for more than 0 bytes, and for 0 bytes.
    sized: u64,
    without: u64,
}

impl Subject {
    fn new(settings: &Settings, budget: Option<&Budget>, number: usize) -> Self {
        let mut builder = BufferPool::builder().trim_manually();
        let mut max_class = 4 << 20;
        if let Some(log) = settings.max_class {
            // Up to 2 MiB.
            max_class = 64 << (log % 16);
            builder = builder.max_class(max_class);
        }
        if let Some(buffers) = settings.max_idle {
            builder = builder.max_idle(buffers.into());
        }
        if let Some(bytes) = settings.max_idle_bytes {
            builder = builder.max_idle_bytes(size(bytes));
        }
        if let Some(bytes) = settings.max_object_bytes {
            builder = builder.max_object_bytes(size(bytes));
        }
        if let Some(budget) = budget {
            builder = builder.budget(budget.clone());
        }
        #[cfg(feature = "zeroize")]
        let builder = builder.zeroize(settings.wipes);
        Self {
            pool: Arc::new(builder.build()),
            number,
            max_class,
            sized: 0,
            without: 0,
        }
    }

    /// Counts requests for buffers.
    fn asked(&mut self, asked: usize, buffers: usize) {
        if asked > 0 {
            self.sized += buffers as u64;
        } else {
            self.without += buffers as u64;
        }
    }

    fn home(&self, asked: usize) -> Option<usize> {
        let _ = asked;
        Some(self.number)
    }
}

fn get(pool: &BufferPool, asked: usize, fallible: bool) -> Buffer {
    let buffer = if fallible {
        pool.try_with_capacity(asked).expect("there is memory")
    } else {
        pool.get(asked)
    };
    assert!(buffer.is_empty(), "not empty");
    assert!(buffer.capacity() >= asked, "too small");
    buffer
}

struct World {
    settings: Settings,
    budget: Option<Budget>,
    subject: Subject,
    workers: Workers,
    tenants: Vec<Tenant>,
    pieces: Vec<Piece>,
    /// The pools of what threads were left with.
    left: [Vec<Option<usize>>; THREADS],
    /// The live byte memory at the start.
    before: ledger::Live,
}

fn pick<T>(all: &mut [T], at: u8) -> Option<&mut T> {
    let len = all.len();
    (len > 0).then(|| &mut all[usize::from(at) % len])
}

fn take<T>(all: &mut Vec<T>, at: u8) -> Option<T> {
    (!all.is_empty()).then(|| all.swap_remove(usize::from(at) % all.len()))
}

impl World {
    fn run(&mut self, thread: usize, op: Op, mark: u8) {
        let pool = Arc::clone(&self.subject.pool);
        let models = self.tenants.iter().map(|tenant| &tenant.model);
        let models = models.chain(self.pieces.iter().map(|piece| &piece.model));
        let room = ALIVE.saturating_sub(models.map(Vec::len).sum());
        match op {
            Op::Get { asked, how } => {
                if self.tenants.len() < BUFFERS {
                    let large = if let How::TryLarge = how { 1 << 20 } else { 0 };
                    let asked = size(asked) + large;
                    let fallible = matches!(how, How::Try | How::TryLarge);
                    let job = move || get(&pool, asked, fallible);
                    let buffer = match how {
                        How::Unwinding => self.workers.unwinding(thread, job),
                        _ => self.workers.run(thread, job),
                    };
                    self.subject.asked(asked, 1);
                    self.tenants.push(Tenant {
                        buffer,
                        model: Vec::new(),
                        home: self.subject.home(asked),
                    });
                }
            }
            Op::TryGetHuge { less } => {
                let asked = usize::MAX - usize::from(less);
                let error = self
                    .workers
                    .run(thread, move || pool.try_with_capacity(asked).err());
                assert_eq!(error.expect("too much").requested, asked);
            }
            Op::Write { at, size, how } => {
                if let Some(mut tenant) = take(&mut self.tenants, at) {
                    let size = self::size(size).min(room);
                    let (tenant, piece) = self.workers.run(thread, move || {
                        let piece = tenant.write(size, how, mark);
                        (tenant, piece)
                    });
                    self.tenants.push(tenant);
                    self.pieces.extend(piece);
                }
            }
            Op::Edit { at, edit } => {
                if let Some(mut tenant) = take(&mut self.tenants, at) {
                    let (tenant, piece) = self.workers.run(thread, move || {
                        let Tenant { buffer, model, .. } = &mut tenant;
                        let piece = self::edit(buffer, model, edit, room, mark);
                        (tenant, piece)
                    });
                    self.tenants.push(tenant);
                    self.pieces.extend(piece);
                }
            }
            Op::EditPart { part, edit } => {
                if let Some(mut piece) = take(&mut self.pieces, part) {
                    let (piece, other) = self.workers.run(thread, move || {
                        let other = match &mut piece.part {
                            Part::Split(bytes) => {
                                self::edit(bytes, &mut piece.model, edit, room, mark)
                            }
                            Part::Frozen(_) => None,
                        };
                        (piece, other)
                    });
                    self.pieces.push(piece);
                    self.pieces.extend(other);
                }
            }
            Op::Unsplit { at, part } => {
                let piece = take(&mut self.pieces, part);
                match (pick(&mut self.tenants, at), piece) {
                    (
                        Some(tenant),
                        Some(Piece {
                            part: Part::Split(bytes),
                            model,
                        }),
                    ) => {
                        tenant.buffer.unsplit(bytes);
                        tenant.model.extend(model);
                    }
                    (_, piece) => self.pieces.extend(piece),
                }
            }
            Op::Swap { at, part } => {
                if let (
                    Some(tenant),
                    Some(Piece {
                        part: Part::Split(bytes),
                        model,
                    }),
                ) = (pick(&mut self.tenants, at), pick(&mut self.pieces, part))
                {
                    mem::swap(&mut *tenant.buffer, bytes);
                    mem::swap(&mut tenant.model, model);
                }
            }
            Op::SwapBuffers { at, other } => {
                if let Some(mut one) = take(&mut self.tenants, at) {
                    if let Some(other) = pick(&mut self.tenants, other) {
                        mem::swap(&mut *one.buffer, &mut *other.buffer);
                        mem::swap(&mut one.model, &mut other.model);
                    }
                    self.tenants.push(one);
                }
            }
            Op::Empty { at } => {
                if let Some(tenant) = pick(&mut self.tenants, at) {
                    self.pieces.push(Piece {
                        part: Part::Split(mem::take(&mut *tenant.buffer)),
                        model: mem::take(&mut tenant.model),
                    });
                }
            }
            Op::Foreign { size } => self.pieces.push(Piece {
                part: Part::Split(BytesMut::with_capacity(self::size(size))),
                model: Vec::new(),
            }),
            Op::Freeze { at, unwinding } => {
                if let Some(Tenant { buffer, model, .. }) = take(&mut self.tenants, at) {
                    let job = move || buffer.freeze();
                    let bytes = if unwinding {
                        self.workers.unwinding(thread, job)
                    } else {
                        self.workers.run(thread, job)
                    };
                    let part = Part::Frozen(bytes);
                    self.pieces.push(Piece { part, model });
                }
            }
            Op::FreezePart { part } => {
                if let Some(Piece { part, model }) = take(&mut self.pieces, part) {
                    let part = match part {
                        Part::Split(bytes) => Part::Frozen(bytes.freeze()),
                        frozen => frozen,
                    };
                    self.pieces.push(Piece { part, model });
                }
            }
            Op::Thaw { part } => {
                if let Some(Piece { part, model }) = take(&mut self.pieces, part) {
                    let part = match part {
                        Part::Frozen(bytes) => match bytes.try_into_mut() {
                            Ok(bytes) => Part::Split(bytes),
                            Err(bytes) => Part::Frozen(bytes),
                        },
                        split => split,
                    };
                    self.pieces.push(Piece { part, model });
                }
            }
            Op::Slice { part, from, size } => {
                if let Some(Piece {
                    part: Part::Frozen(bytes),
                    model,
                }) = pick(&mut self.pieces, part)
                {
                    let from = self::size(from).min(model.len());
                    let to = (from + self::size(size)).min(model.len()).min(from + room);
                    let slice = Piece {
                        part: Part::Frozen(bytes.slice(from..to)),
                        model: model[from..to].to_vec(),
                    };
                    self.pieces.push(slice);
                }
            }
            Op::IntoInner { at } => {
                if let Some(Tenant { buffer, model, .. }) = take(&mut self.tenants, at) {
                    let bytes = self.workers.run(thread, move || buffer.into_inner());
                    let part = Part::Split(bytes);
                    self.pieces.push(Piece { part, model });
                }
            }
            Op::Drop { at, unwinding } => {
                let tenant = take(&mut self.tenants, at);
                self.drop_on(thread, unwinding, tenant);
            }
            Op::DropPart { part, unwinding } => {
                let piece = take(&mut self.pieces, part);
                self.drop_on(thread, unwinding, piece);
            }
            Op::Leave { at, freeze } => {
                if let Some(tenant) = take(&mut self.tenants, at) {
                    self.left[thread % THREADS].push(tenant.home);
                    let tenant = Some(tenant);
                    let left = Left { tenant, freeze };
                    let leave = move || LEFT.with_borrow_mut(|all| all.push(left));
                    self.workers.run(thread, leave);
                }
            }
            Op::Burst {
                asked,
                buffers,
                freeze,
            } => {
                let asked = size(asked);
                let buffers = usize::from(buffers % 80).min((1 << 20) / (asked + 1));
                self.subject.asked(asked, buffers);
                self.workers.run(thread, move || {
                    let mut all: Vec<_> = (0..buffers).map(|_| get(&pool, asked, false)).collect();
                    for buffer in &mut all {
                        buffer.put_bytes(mark, asked / 4 + 1);
                    }
                    for buffer in all {
                        assert!(buffer.iter().all(|byte| *byte == mark), "shared memory");
                        if freeze {
                            drop(buffer.freeze());
                        }
                    }
                });
            }
            Op::Trim { level } => {
                let level = [Level::None, Level::Some, Level::High][usize::from(level % 3)];
                self.workers.run(thread, move || pool.trim_under(level));
            }
            Op::Clear => {
                let (idle, lent) = self.workers.run(thread, move || {
                    let _ = pool.clear();
                    let lent = pool.class_stats().iter().map(|class| class.lent).sum();
                    (pool.stats().idle, lent)
                });
                assert_eq!((idle, lent), (0, 0_u64));
            }
            Op::Enable { on } => {
                self.workers.run(thread, move || pool.set_enabled(on));
            }
            Op::Figures => self.check_figures(),
            Op::EndThread => {
                self.workers.replace(thread);
                self.left[thread % THREADS].clear();
            }
            Op::DropPool => {
                let number = self.subject.number + 1;
                let next = Subject::new(&self.settings, self.budget.as_ref(), number);
                self.subject = next;
                self.workers.run(thread, move || drop(pool));
                self.check_budget_is_unused();
            }
        }
        // The surplus is dropped, oldest first.
        if let Some(many) = self.pieces.len().checked_sub(PARTS) {
            let old: Vec<_> = self.pieces.drain(..many).collect();
            self.drop_on(thread, false, old);
        }
    }

    fn drop_on<T: Send + 'static>(&self, thread: usize, unwinding: bool, value: T) {
        let job = move || drop(value);
        if unwinding {
            self.workers.unwinding(thread, job);
        } else {
            self.workers.run(thread, job);
        }
    }

    fn check_contents(&self) {
        self.tenants.iter().for_each(Tenant::check);
        self.pieces.iter().for_each(Piece::check);
    }

    fn check_figures(&self) {
        let Subject { pool, .. } = &self.subject;
        let stats = pool.stats();
        assert_eq!(
            stats.created + stats.adopted,
            stats.in_use + stats.idle + stats.discarded + stats.trimmed + stats.taken,
            "{stats:?}"
        );
        assert_eq!(stats.discarded, stats.discarded_by.total());

        let classes = pool.class_stats();
        let sum = |figure: fn(&repool::ClassStats) -> u64| classes.iter().map(figure).sum::<u64>();
        assert_eq!(stats.idle, sum(|class| class.idle));
        assert_eq!(stats.idle_bytes, sum(|class| class.idle_bytes));
        // Buffers handed out while the pool was switched off belong to no class.
        assert!(stats.created >= sum(|class| class.created));
        assert_eq!(stats.reused, sum(|class| class.reused));
        assert!(classes.iter().all(|class| class.lent <= class.in_use));

        // Every request for more than 0 bytes got a new or an old buffer. A request for 0 bytes
        // counts when the buffer is written to.
        let Subject { sized, without, .. } = self.subject;
        let requests = stats.created + stats.reused;
        assert!((sized..=sized + without).contains(&requests), "{stats:?}");
        assert!(
            classes
                .iter()
                .all(|class| class.requests == class.created + class.reused)
        );

        // In use is what is out, and what waits for its last part. (Not unpooled buffers, from
        // while the pool was switched off, and not those without memory.)
        let left = self.left.iter().flatten().copied();
        let homes = left.chain(self.tenants.iter().map(|tenant| tenant.home));
        let out = homes.filter(|home| *home == Some(self.subject.number));
        let lent = sum(|class| class.lent);
        assert!(stats.in_use <= out.count() as u64 + lent, "{stats:?}");

        let Settings {
            max_idle,
            max_idle_bytes,
            max_object_bytes,
            ..
        } = self.settings;
        assert!(max_idle.is_none_or(|most| stats.idle <= most.into()));
        assert!(max_idle_bytes.is_none_or(|most| stats.idle_bytes <= size(most) as u64));
        for class in &classes {
            let bytes = class.idle_bytes;
            let most = max_object_bytes.map(|most| class.idle * size(most) as u64);
            assert!(most.is_none_or(|most| bytes <= most));
            assert!(bytes == 0 || class.capacity <= self.subject.max_class);
            // Each has at least the capacity of its class.
            assert!(class.idle == 0 || class.idle * class.capacity as u64 <= bytes);
        }
        if let Some(budget) = &self.budget {
            assert!(stats.idle_bytes <= budget.used() as u64);
            assert!(budget.used() <= budget.limit());
        }

        // If nothing is out, the idle buffers are all the memory there is.
        let left = self.left.iter().any(|left| !left.is_empty());
        if self.tenants.is_empty() && self.pieces.is_empty() && !left && lent == 0 {
            let live = ledger::Live::now().since(self.before);
            // A buffer that was cut back to nothing has no block. Without a limit, a buffer that
            // grew in place and was cut back may hold more than it reports.
            assert!(live.blocks <= stats.idle as i64, "{live:?} {stats:?}");
            assert!(live.bytes >= stats.idle_bytes as i64, "{live:?} {stats:?}");
            let bounded = max_idle.is_some() || max_idle_bytes.is_some() || self.budget.is_some();
            assert!(
                !bounded || live.bytes == stats.idle_bytes as i64,
                "{live:?} {stats:?}"
            );
        }
    }

    /// Once no pool has anything.
    fn check_budget_is_unused(&self) {
        let used = self.budget.as_ref().map_or(0, Budget::used);
        assert_eq!(used, 0);
    }

    fn end(mut self, pool_first: bool) {
        if pool_first {
            self.subject = Subject::new(&self.settings, self.budget.as_ref(), usize::MAX);
            self.check_budget_is_unused();
            self.check_contents();
        }
        self.tenants.clear();
        self.pieces.clear();
        mem::replace(&mut self.workers, Workers::new(0)).end();
        self.left = Default::default();
        self.check_figures();
        // Parts may wait for parts.
        for _ in 0..8 {
            self.subject.pool.trim();
            self.check_figures();
        }
        let stats = self.subject.pool.stats();
        assert_eq!((stats.in_use, stats.idle, stats.idle_bytes), (0, 0, 0));
        drop(self.subject);
        assert_eq!(
            ledger::Live::now().since(self.before),
            ledger::Live::default()
        );
        assert!(self.budget.is_none_or(|budget| budget.used() == 0));
    }
}

pub(crate) fn run(program: Program) {
    let before = ledger::Live::now();
    let budget = program
        .settings
        .budget
        .map(|bytes| Budget::new(size(bytes)));
    let mut world = World {
        subject: Subject::new(&program.settings, budget.as_ref(), 0),
        settings: program.settings,
        budget,
        workers: Workers::new(THREADS),
        tenants: Vec::new(),
        pieces: Vec::new(),
        left: Default::default(),
        before,
    };
    for (step, (thread, op)) in program.ops.0.into_iter().enumerate() {
        world.run(thread.into(), op, step as u8);
        world.check_contents();
        if program.looks {
            world.check_figures();
        }
    }
    world.end(program.pool_first);
}
