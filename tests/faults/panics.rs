//! Each callback panics in turn.

use super::{alone, balanced};
use repool::{Builder, Pool, Pooled, Recycle};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};

#[derive(Debug, Default)]
struct Counts {
    /// The number of callbacks so far, and of the one that panics.
    callbacks: AtomicUsize,
    faulty: usize,
    panics: AtomicUsize,
    alive: AtomicI64,
}

struct OnPurpose;

impl Counts {
    fn callback(&self) {
        if self.callbacks.fetch_add(1, SeqCst) == self.faulty && !std::thread::panicking() {
            self.panics.fetch_add(1, SeqCst);
            resume_unwind(Box::new(OnPurpose));
        }
    }
}

#[derive(Debug)]
struct Object {
    dirty: bool,
    weight: usize,
    counts: Arc<Counts>,
}

impl Object {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.callback();
        counts.alive.fetch_add(1, SeqCst);
        Self {
            dirty: false,
            weight: 0,
            counts: counts.clone(),
        }
    }

    fn reset(&mut self) -> bool {
        self.counts.callback();
        self.dirty = false;
        true
    }
}

impl Recycle for Object {
    fn recycle(&mut self) {
        let _ = self.reset();
    }

    fn retained_bytes(&self) -> usize {
        self.counts.callback();
        self.weight
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.counts.alive.fetch_sub(1, SeqCst);
        self.counts.callback();
    }
}

fn quietly<R>(f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => Some(result),
        Err(panic) if panic.is::<OnPurpose>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// Does something with a pool, and checks its figures.
fn step<R>(pool: &Pool<Object>, f: impl FnOnce() -> R) -> Option<R> {
    let result = quietly(f);
    balanced(&pool.stats());
    result
}

fn get(pool: &Pool<Object>, held: &mut Vec<Pooled<Object>>, many: usize) {
    for i in 0..many {
        if let Some(mut object) = step(pool, || pool.get()) {
            assert!(!object.dirty, "not reset");
            object.dirty = true;
            object.weight = [10, 3_000, 100][i % 3];
            held.push(object);
        }
    }
}

fn let_go(pool: &Pool<Object>, held: &mut Vec<Pooled<Object>>) {
    for object in held.drain(..) {
        step(pool, || drop(object));
    }
}

/// Every path in and out, on two threads.
fn program(pool: Pool<Object>, counts: &Arc<Counts>) {
    let pool = Arc::new(pool);
    let mut held = Vec::new();
    get(&pool, &mut held, 12);
    let_go(&pool, &mut held);
    step(&pool, || pool.put(Object::new(counts)));
    step(&pool, || drop(pool.attach(Object::new(counts))));
    step(&pool, || drop(pool.get_or_else(|| Object::new(counts))));
    step(&pool, || {
        drop(pool.try_get_with(|| Ok::<_, ()>(Object::new(counts))))
    });
    step(&pool, || pool.prefill(10));
    get(&pool, &mut held, 5);
    if let Some(object) = held.pop() {
        step(&pool, || drop(Pooled::into_inner(object)));
    }
    if let Some(object) = held.pop() {
        step(&pool, || Pooled::discard(object));
    }
    // Another thread drops what this one got, and ends with objects of its own.
    let (there, of_thread) = (pool.clone(), std::mem::take(&mut held));
    let thread = std::thread::spawn(move || {
        let mut held = of_thread;
        let_go(&there, &mut held);
        get(&there, &mut held, 9);
        let_go(&there, &mut held);
    });
    thread.join().expect("only panics on purpose");
    for _ in 0..3 {
        step(&pool, || pool.trim());
    }
    get(&pool, &mut held, 8);
    let_go(&pool, &mut held);
    step(&pool, || pool.set_enabled(false));
    get(&pool, &mut held, 2);
    let_go(&pool, &mut held);
    step(&pool, || pool.set_enabled(true));
    step(&pool, || pool.trim_under(repool::Level::Critical));
    get(&pool, &mut held, 8);
    let late = held.pop();
    let_go(&pool, &mut held);
    step(&pool, || pool.clear());
    assert_eq!(
        pool.stats().idle,
        0,
        "one that panics does not spare the others"
    );
    get(&pool, &mut held, 3);
    let_go(&pool, &mut held);
    let stats = pool.stats();
    assert_eq!(stats.in_use, u64::from(late.is_some()), "{stats:?}");
    quietly(|| drop(pool));
    quietly(|| drop(late));
}

#[test]
fn whichever_callback_panics_nothing_is_lost() {
    let _turn = alone();
    type Make = fn(Builder<Object>) -> Pool<Object>;
    let kinds: [(&str, Make); 4] = [
        ("own reset", |builder| builder.build()),
        ("own reset, limits", |builder| {
            builder.max_idle(6).max_idle_bytes(8_000).build()
        }),
        ("reset by closure", |builder| {
            builder
                .reset(Object::reset)
                .retained_bytes(Recycle::retained_bytes)
                .build()
        }),
        ("reset by closure, limits", |builder| {
            let builder = builder.max_idle(5).max_object_bytes(2_000);
            builder
                .reset(Object::reset)
                .retained_bytes(Recycle::retained_bytes)
                .build()
        }),
    ];
    for (at, (kind, make)) in kinds.into_iter().enumerate() {
        // Under Miri some of them, others for each kind.
        let (first, step) = if cfg!(miri) { (at * 17, 83) } else { (0, 1) };
        for faulty in (first..).step_by(step) {
            let counts = Arc::new(Counts {
                faulty,
                ..Counts::default()
            });
            let of_pool = counts.clone();
            let builder = Pool::builder(move || Object::new(&of_pool)).trim_manually();
            program(make(builder), &counts);
            let (callbacks, panics) = (counts.callbacks.load(SeqCst), counts.panics.load(SeqCst));
            assert_eq!(
                counts.alive.load(SeqCst),
                0,
                "{kind}, callback {faulty} of {callbacks}"
            );
            assert_eq!(
                panics,
                usize::from(callbacks > faulty),
                "{kind}, callback {faulty}"
            );
            if panics == 0 {
                println!("{kind}: {callbacks} callbacks");
                assert!(callbacks > 100, "{callbacks}");
                break;
            }
        }
    }
}
