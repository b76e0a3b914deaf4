//! Records of the objects of pools with diagnostics, by the address of their node: which guards are out,
//! where they were got, and which thread an idle object belongs to.
//!
//! A record ends when its object becomes idle or its node is freed. The list is split into parts
//! with a lock each. A thread that cannot lock its part within the bound leaves no record, so a
//! forked child does not hang. A record allocates under the lock, which pools without diagnostics
//! never wait for.

use crate::object::one_line::OneLine;
use crate::sync::rare::Arc;
use crate::sync::{AtomicUsize, Instant, Mutex, MutexGuard, Ordering, Timeout};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// The guards from one place in the code that are still out, from [`leaks`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leak {
    /// The pool's name; without one, the type of its objects, `buffers` or `arenas`.
    pub pool: Arc<str>,
    /// Where the guards were got: the caller of `get` or a similar method. For a buffer requested
    /// with capacity 0: where it was first written to.
    pub site: &'static Location<'static>,
    /// How many recorded guards are out. With [`leaks(100)`](super::settings::Diagnostics::leaks),
    /// each stands for about a hundred.
    pub guards: u64,
    /// How long the oldest of them has been out.
    pub oldest: Duration,
}

impl fmt::Display for Leak {
    /// Prints one line, with control characters in the name escaped: `frames: 3 guards from src/main.rs:20:31, the oldest for 4.2 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pool,
            site,
            guards,
            oldest,
        } = self;
        let guard = if *guards == 1 { "guard" } else { "guards" };
        let seconds = oldest.as_secs_f64();
        write!(
            f,
            "{}: {guards} {guard} from {site}, the oldest for {seconds:.1} s",
            OneLine(pool)
        )
    }
}

/// Returns the recorded guards that are out at this moment, of all pools with diagnostics, grouped by the
/// place that got them, most guards first.
///
/// Call it where all guards should be back: at the end of a test, or after a drain. A frozen buffer
/// is out until its last view is gone and a get or a pass of the pool has noticed. The call costs
/// some microseconds per thousand records.
///
/// # Examples
/// ```
/// use repool::BufferPool;
/// use repool::diagnostics::{Diagnostics, leaks};
///
/// let pool = BufferPool::builder()
///     .name("frames")
///     .diagnostics(Diagnostics::new().leaks(1))
///     .build();
/// std::mem::forget(pool.get(100));
/// for leak in leaks() {
///     println!("{leak}"); // frames: 1 guard from src/main.rs:8:23, the oldest for 0.0 s
/// }
/// # let leaks: Vec<_> = leaks().into_iter().filter(|leak| &*leak.pool == "frames").collect();
/// # assert_eq!((leaks.len(), leaks[0].guards), (1, 1));
/// ```
#[must_use]
pub fn leaks() -> Vec<Leak> {
    let mut by_site: BTreeMap<(Arc<str>, &'static Location<'static>), (u64, Instant)> =
        BTreeMap::new();
    let now = Instant::now();
    for part in &PARTS {
        let Some(part) = part.lock_bounded(Timeout::Long) else {
            continue;
        };
        for record in part.values() {
            if let Record::Out { pool, site, since } = record {
                let (guards, oldest) = by_site
                    .entry((Arc::clone(pool), *site))
                    .or_insert((0, *since));
                *guards += 1;
                *oldest = (*oldest).min(*since);
            }
        }
    }
    let mut all: Vec<_> = by_site
        .into_iter()
        .map(|((pool, site), (guards, since))| Leak {
            pool,
            site,
            guards,
            oldest: now.saturating_duration_since(since),
        })
        .collect();
    all.sort_by_key(|leak| std::cmp::Reverse(leak.guards));
    all
}

enum Record {
    /// A guard has the object.
    Out {
        pool: Arc<str>,
        site: &'static Location<'static>,
        since: Instant,
    },
    /// The object is idle and belongs to this thread.
    Idle { thread: usize },
}

const COUNT: usize = 16;

static PARTS: [Mutex<BTreeMap<usize, Record>>; COUNT] =
    [const { Mutex::new(BTreeMap::new()) }; COUNT];

/// Locks the part with the record of the node at this address.
fn part(node: usize) -> Option<MutexGuard<'static, BTreeMap<usize, Record>>> {
    PARTS[node / 64 % COUNT].lock_bounded(Timeout::Long)
}

/// Records that a guard has the object.
pub(super) fn out(node: usize, pool: &Arc<str>, site: &'static Location<'static>) {
    let record = Record::Out {
        pool: Arc::clone(pool),
        site,
        since: Instant::now(),
    };
    put(node, record);
}

/// Records that the object is idle and belongs to the calling thread.
pub(super) fn idle(node: usize) {
    put(node, Record::Idle { thread: me() });
}

fn put(node: usize, record: Record) {
    let before = part(node).and_then(|mut part| part.insert(node, record));
    drop(before); // after the lock
}

/// Ends the record.
pub(super) fn end(node: usize) {
    let before = part(node).and_then(|mut part| part.remove(&node));
    drop(before); // after the lock
}

/// Corrects the place where a guard was got, if there is a record of it.
pub(super) fn moved(node: usize, now_at: &'static Location<'static>) {
    if let Some(Record::Out { site, since, .. }) =
        part(node).as_mut().and_then(|part| part.get_mut(&node))
    {
        (*site, *since) = (now_at, Instant::now());
    }
}

/// Returns whether the calling thread may get this idle object, in a pool where each thread has its
/// own objects.
pub(super) fn is_mine(node: usize) -> bool {
    part(node).is_some_and(|part| match part.get(&node) {
        Some(Record::Idle { thread }) => *thread == me(),
        _ => true,
    })
}

/// Returns a number for the calling thread that no other thread ever has.
fn me() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        // Relaxed: the numbers only have to differ.
        static ME: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    ME.with(|me| *me)
}
