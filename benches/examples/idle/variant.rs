//! The four programs: where a thread takes its buffers from, and where it returns them.

use clap::ValueEnum;
use std::cell::RefCell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes per buffer. Below glibc's threshold for mapping an allocation separately (128 KiB), above
/// which freed memory would leave the process at once.
pub(crate) const OBJECT: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    Repool,
    ObjectPool,
    ThreadLocal,
    Plain,
}

/// With the default settings: the janitor runs a pass every 5 s.
static REPOOL: repool::Pool<Vec<u8>> = repool::Pool::new(fresh);

/// One stack behind a mutex, without bounds.
static OBJECT_POOL: LazyLock<object_pool::Pool<Vec<u8>>> =
    LazyLock::new(|| object_pool::Pool::new(0, fresh));

thread_local! {
    static CACHE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Buffers in all thread-local caches; only their owners can look into those. Relaxed: a counter.
static CACHED: AtomicUsize = AtomicUsize::new(0);

impl Variant {
    pub(crate) const ALL: [Self; 4] = [
        Self::Repool,
        Self::ObjectPool,
        Self::ThreadLocal,
        Self::Plain,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Repool => "repool (default settings)",
            Self::ObjectPool => "object-pool 0.6.0",
            Self::ThreadLocal => "thread_local! cache",
            Self::Plain => "plain allocation",
        }
    }

    /// As on the command line.
    pub(crate) fn id(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Takes buffers and writes all of their bytes; when `all_out` returns, returns them.
    pub(crate) fn load(self, objects: usize, all_out: impl FnOnce()) {
        match self {
            Self::Repool => hold(objects, || written(REPOOL.get()), all_out),
            Self::ObjectPool => hold(objects, || written(OBJECT_POOL.pull(fresh)), all_out),
            Self::ThreadLocal => hold(objects, || written(Cached::get()), all_out),
            Self::Plain => hold(objects, || written(Box::new(fresh())), all_out),
        }
    }

    /// Bytes of the idle buffers, as reported by the pool.
    pub(crate) fn idle_bytes(self) -> u64 {
        match self {
            Self::Repool => REPOOL.stats().idle_bytes,
            Self::ObjectPool => (OBJECT_POOL.len() * OBJECT) as u64,
            Self::ThreadLocal => (CACHED.load(Ordering::Relaxed) * OBJECT) as u64,
            Self::Plain => 0,
        }
    }
}

/// Buffers that repool did not accept because other threads were returning theirs at the same
/// moment.
pub(crate) fn refused() -> u64 {
    REPOOL.stats().discarded
}

fn hold<B>(objects: usize, take: impl Fn() -> B, all_out: impl FnOnce()) {
    let held: Vec<B> = (0..objects).map(|_| take()).collect();
    all_out();
    drop(held);
}

fn fresh() -> Vec<u8> {
    Vec::with_capacity(OBJECT)
}

/// Writes each byte, so that every page is resident.
fn written<B: std::ops::DerefMut<Target = Vec<u8>>>(mut buffer: B) -> B {
    buffer.clear();
    buffer.resize(OBJECT, 0xA5);
    buffer
}

/// A buffer that goes to the dropping thread's cache.
struct Cached(Vec<u8>);

impl Cached {
    fn get() -> Self {
        let cached = CACHE.with_borrow_mut(Vec::pop);
        if cached.is_some() {
            CACHED.fetch_sub(1, Ordering::Relaxed);
        }
        Self(cached.unwrap_or_else(fresh))
    }
}

impl Drop for Cached {
    fn drop(&mut self) {
        CACHE.with_borrow_mut(|cache| cache.push(std::mem::take(&mut self.0)));
        CACHED.fetch_add(1, Ordering::Relaxed);
    }
}

impl std::ops::Deref for Cached {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl std::ops::DerefMut for Cached {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}
