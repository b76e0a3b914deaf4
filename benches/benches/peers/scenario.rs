//! What can be done with objects: the list of scenarios, their names, and what each requires of a
//! contender.
//!
//! [`crate::work`], [`crate::crossing`] and [`crate::tasks`] do it.

/// Bytes per object, unless a scenario is about the size.
pub const USUAL: usize = 1024;
/// Gets of one short-lived thread.
pub const SHORT: usize = 10;
/// Objects that are idle in `BenchmarkPoolSTW`, as in Go's.
pub const IDLE: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// This many threads, each with this many objects at the same time, first in, first out.
    Held { threads: usize, objects: usize },
    /// One object of this many bytes, all of them written, or 64.
    Sized { bytes: usize, touched: bool },
    /// Each object is lost, so nothing is ever idle.
    Miss,
    /// Creating takes a millisecond. Each thread holds 100 objects, and allocates 32 KiB for each
    /// in addition.
    Expensive { threads: usize },
    /// Get 100, return 67 and lose the rest.
    Starvation { threads: usize },
    /// A new pool, one get, one drop, and the pool is dropped.
    First,
    /// The time of a collection of idle objects, with [`IDLE`] of them.
    Collection,
    /// Threads that get ten objects and end, one after the other.
    ShortLived,
    /// This many threads get, and this many others drop.
    Crossing { getters: usize, droppers: usize },
    /// One thread gets, one passes on, one drops.
    Pipeline,
    /// tokio tasks that hold an object across an await and wake on any worker.
    Tasks { workers: usize },
}

impl Scenario {
    pub fn all() -> Vec<Self> {
        let held = |threads, objects| Self::Held { threads, objects };
        let crossing = |getters, droppers| Self::Crossing { getters, droppers };
        let mut all = vec![
            held(1, 1),
            held(1, 8),
            held(1, 40),
            held(1, 1000),
            Self::Miss,
            held(2, 1),
            held(8, 1),
            held(32, 1),
            held(8, 100),
            Self::Starvation { threads: 2 },
            Self::Expensive { threads: 2 },
            Self::Collection,
            Self::First,
            Self::ShortLived,
            crossing(1, 1),
            crossing(1, 3),
            crossing(3, 1),
            Self::Pipeline,
            Self::Tasks { workers: 2 },
        ];
        for bytes in [64, 4 << 10, 64 << 10, 1 << 20, 4 << 20] {
            all.extend([false, true].map(|touched| Self::Sized { bytes, touched }));
        }
        all
    }

    /// Go's own benchmarks of `sync.Pool` are named where a scenario does the same.
    pub fn name(&self) -> String {
        match *self {
            Self::Held {
                threads: 1,
                objects: 1,
            } => "hit, 1 thread".to_owned(),
            Self::Held {
                threads: 2,
                objects: 1,
            } => "hit, 2 threads (BenchmarkPool)".to_owned(),
            Self::Held {
                threads,
                objects: 1,
            } => format!("hit, {threads} threads"),
            Self::Held {
                threads: 1,
                objects,
            } => format!("held {objects}, 1 thread"),
            Self::Held {
                threads,
                objects: 100,
            } => format!("held 100, {threads} threads (BenchmarkPoolOverflow)"),
            Self::Held { threads, objects } => format!("held {objects}, {threads} threads"),
            Self::Sized { bytes, touched } => {
                let size = match bytes {
                    1_048_576.. => format!("{} MiB", bytes >> 20),
                    1_024.. => format!("{} KiB", bytes >> 10),
                    _ => format!("{bytes} B"),
                };
                let written = if touched { "all" } else { "64 B" };
                format!("size {size}, {written} written")
            }
            Self::Miss => "miss, 1 thread".to_owned(),
            Self::Expensive { threads } => {
                format!("expensive create, 100 held, {threads} threads (BenchmarkPoolExpensiveNew)")
            }
            Self::Starvation { threads } => {
                format!("get 100, give 67, {threads} threads (BenchmarkPoolStarvation)")
            }
            Self::First => "first use of a new pool (BenchmarkPoolpinSlow)".to_owned(),
            Self::Collection => {
                format!("one collection, {IDLE} objects idle (BenchmarkPoolSTW)")
            }
            Self::ShortLived => format!("short-lived threads, {SHORT} gets each"),
            Self::Crossing { getters, droppers } => format!("crossing {getters} to {droppers}"),
            Self::Pipeline => "crossing, pipeline of 3".to_owned(),
            Self::Tasks { workers } => format!("tokio tasks, {workers} workers"),
        }
    }

    /// The bytes per object.
    pub fn bytes(&self) -> usize {
        match *self {
            Self::Sized { bytes, .. } => bytes,
            _ => USUAL,
        }
    }

    /// Whether all bytes of an object are written, instead of 64.
    pub fn touches_all(&self) -> bool {
        matches!(self, Self::Sized { touched: true, .. })
    }

    /// Whether more than one thread runs at a time.
    pub fn is_parallel(&self) -> bool {
        match self {
            Self::Held { threads, .. } => *threads > 1,
            Self::Sized { .. } | Self::Miss | Self::First | Self::Collection | Self::ShortLived => {
                false
            }
            Self::Expensive { .. }
            | Self::Starvation { .. }
            | Self::Crossing { .. }
            | Self::Pipeline
            | Self::Tasks { .. } => true,
        }
    }

    /// Whether all operations stay on the thread.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Held { threads: 1, .. } | Self::Sized { .. })
    }

    pub fn needs_discard(&self) -> bool {
        matches!(self, Self::Starvation { .. } | Self::Miss)
    }
}
