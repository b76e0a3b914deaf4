//! Shared by all modules: pools whose passes the test runs, counted objects, and threads that run
//! one job at a time.

#[path = "../support/scale.rs"]
mod scale;

use repool::{Builder, Pool, Recycle, Stats};
pub(crate) use scale::{n, some};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

/// A pool whose trim passes run only when the test calls them.
pub(crate) fn manual<T: Send + 'static>(
    create: impl Fn() -> T + Send + Sync + 'static,
) -> Builder<T> {
    Pool::builder(create).trim_manually()
}

/// Runs a pass whose result the test does not need.
pub(crate) fn trim<T: Send>(pool: &Pool<T>) {
    let _ = pool.trim();
}

/// Clears a pool, without the result.
pub(crate) fn clear<T: Send>(pool: &Pool<T>) {
    let _ = pool.clear();
}

/// Counts objects: each must be born once and die once, or the test fails.
#[derive(Clone, Debug, Default)]
pub(crate) struct Census(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    born: AtomicUsize,
    died: AtomicUsize,
}

impl Census {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A new object.
    pub(crate) fn tag(&self) -> Tag {
        let id = self.0.born.fetch_add(1, SeqCst);
        Tag {
            id,
            held: AtomicBool::new(false),
            alive: AtomicBool::new(true),
            scribble: [id; 4],
            census: self.clone(),
        }
    }

    /// A `create` for pools.
    pub(crate) fn create(&self) -> impl Fn() -> Tag + Send + Sync + 'static {
        let census = self.clone();
        move || census.tag()
    }

    pub(crate) fn born(&self) -> usize {
        self.0.born.load(SeqCst)
    }

    pub(crate) fn died(&self) -> usize {
        self.0.died.load(SeqCst)
    }

    /// Reads `died` first: an object that is born and dies in between must not make this negative.
    pub(crate) fn alive(&self) -> usize {
        let died = self.died();
        self.born() - died
    }

    /// The pool's figures and the test's agree: everything is in exactly one place. `out` is the
    /// number of guards held.
    #[track_caller]
    pub(crate) fn agrees_with(&self, stats: &Stats, out: usize) {
        balanced(stats);
        assert_eq!(
            stats.created + stats.adopted,
            self.born() as u64,
            "{stats:?}"
        );
        assert_eq!(stats.in_use, out as u64, "{stats:?}");
        assert_eq!(
            stats.in_use + stats.idle + stats.taken,
            self.alive() as u64,
            "{stats:?}"
        );
    }
}

/// An object that knows its identity, and fails if two users hold it at once.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) id: usize,
    held: AtomicBool,
    alive: AtomicBool,
    /// Written while held, without synchronisation, for tools that detect races.
    scribble: [usize; 4],
    census: Census,
}

impl Tag {
    /// The caller is the only user from here to [`Tag::release`].
    #[track_caller]
    pub(crate) fn hold(&mut self) {
        assert!(
            self.alive.load(SeqCst),
            "object {} was handed out after its end",
            self.id
        );
        assert!(
            !self.held.swap(true, SeqCst),
            "object {} is held twice",
            self.id
        );
        self.scribble = self.scribble.map(|n| n.wrapping_add(1));
    }

    #[track_caller]
    pub(crate) fn release(&mut self) {
        let first = self.scribble[0];
        assert!(
            self.scribble.iter().all(|&n| n == first),
            "object {} is torn",
            self.id
        );
        assert!(
            self.held.swap(false, SeqCst),
            "object {} was let go twice",
            self.id
        );
    }
}

impl Recycle for Tag {
    fn recycle(&mut self) {}
}

impl Drop for Tag {
    fn drop(&mut self) {
        assert!(
            self.alive.swap(false, SeqCst),
            "object {} is dropped twice",
            self.id
        );
        self.census.0.died.fetch_add(1, SeqCst);
    }
}

/// The counters always add up.
#[track_caller]
pub(crate) fn balanced(stats: &Stats) {
    let came = stats.created + stats.adopted;
    let went = stats.discarded + stats.trimmed + stats.taken;
    assert_eq!(came, stats.in_use + stats.idle + went, "{stats:?}");
    assert_eq!(stats.discarded, stats.discarded_by.total(), "{stats:?}");
}

/// A thread that runs one job at a time, and is parked in between.
pub(crate) struct Worker {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Worker {
    pub(crate) fn new() -> Self {
        let (jobs, inbox): (Sender<Job>, Receiver<Job>) = mpsc::channel();
        let thread = std::thread::spawn(move || inbox.into_iter().for_each(|job| job()));
        Self {
            jobs: Some(jobs),
            thread: Some(thread),
        }
    }

    /// Runs `job` on the worker, and waits for it.
    #[track_caller]
    pub(crate) fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (done, result) = mpsc::channel();
        let job = Box::new(move || drop(done.send(job())));
        self.jobs
            .as_ref()
            .expect("at work")
            .send(job)
            .expect("the worker is there");
        result.recv().expect("the job panicked")
    }

    /// Ends the thread, and waits until its thread-local destructors have run.
    pub(crate) fn end(mut self) {
        self.join();
    }

    fn join(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the worker ended well");
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.join();
    }
}

/// Joins all: unlike the end of a scope, `join` waits for thread-local destructors.
#[track_caller]
pub(crate) fn join_all(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    // All are started before the first is waited for.
    for thread in threads.into_iter().collect::<Vec<_>>() {
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A small random number generator (xorshift) with the same numbers in each run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// Runs `f`, which must panic with a `&str` message; returns the message.
#[track_caller]
pub(crate) fn panics<R>(f: impl FnOnce() -> R) -> &'static str {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        Ok(_) => panic!("no panic"),
        Err(panic) => panic
            .downcast_ref::<&str>()
            .copied()
            .expect("a panic of the test's own"),
    }
}
