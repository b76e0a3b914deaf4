//! The counters of a pool, and the snapshot that users see.
//!
//! The caches count returns, in words that only their owners write, and the number of hits follows from those. Rare
//! events are counted here, by atomic additions on slow paths. [`Stats::of`] sums both up when the caller asks, and
//! shuts no gate.

use crate::sync::{Ordering, StatU32, StatUsize};
use std::fmt;

/// Why an object was dropped when it came back, instead of being kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Oversize,
    Full,
    Budget,
    Reset,
    Panic,
    Closed,
    SwitchedOff,
    User,
    Underused,
}

impl Reason {
    const COUNT: usize = Self::Underused as usize + 1;
}

/// The counters of rare events. All Relaxed: statistics, which publish nothing.
#[derive(Debug)]
pub(crate) struct Counters {
    created: StatUsize,
    adopted: StatUsize,
    taken: StatUsize,
    reused: StatUsize,
    returned: StatUsize,
    discarded: [StatUsize; Reason::COUNT],
    trimmed: StatUsize,
    /// The most reuses that a snapshot has reported.
    reported_reused: StatUsize,
    /// The peaks; see `peaks.rs`.
    peak_idle: StatU32,
    peak_in_use: StatU32,
    /// Of the objects whose use was checked: the bytes that they held, and the bytes that were used.
    looked_at_bytes: StatUsize,
    used_bytes: StatUsize,
    /// What limits had refused at the last pass: the pool's own, and the budget.
    refused_at_pass: [StatU32; 2],
    /// A miss that finds this many objects, or more, samples the peaks.
    look_at: StatU32,
}

/// The statistics of a part of a pool: a cache, several caches, or the depot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PartStats {
    pub(crate) reused: usize,
    pub(crate) returned: usize,
    pub(crate) idle: usize,
    pub(crate) idle_bytes: usize,
}

impl PartStats {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            reused: self.reused.wrapping_add(other.reused),
            returned: self.returned.wrapping_add(other.returned),
            idle: self.idle + other.idle,
            idle_bytes: self.idle_bytes.wrapping_add(other.idle_bytes),
        }
    }
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            created: StatUsize::new(0),
            adopted: StatUsize::new(0),
            taken: StatUsize::new(0),
            reused: StatUsize::new(0),
            returned: StatUsize::new(0),
            discarded: std::array::from_fn(|_| StatUsize::new(0)),
            trimmed: StatUsize::new(0),
            reported_reused: StatUsize::new(0),
            peak_idle: StatU32::new(0),
            peak_in_use: StatU32::new(0),
            looked_at_bytes: StatUsize::new(0),
            used_bytes: StatUsize::new(0),
            refused_at_pass: [StatU32::new(0), StatU32::new(0)],
            look_at: StatU32::new(0),
        }
    }

    /// The maximum of `reused` and of what was reported before: counters that are read while objects move may be
    /// behind.
    fn highest_reused(&self, reused: usize) -> usize {
        if (reused as isize) < 0 {
            return self.reported_reused.load(Ordering::Relaxed);
        }
        let before = self.reported_reused.fetch_max(reused, Ordering::Relaxed);
        before.max(reused)
    }

    /// Whether there are so many objects now that the caller should sample the peaks.
    pub(super) fn has_grown_to(&self, objects: usize) -> bool {
        let has_grown = objects >= self.look_at.load(Ordering::Relaxed) as usize;
        if has_grown {
            let next = objects + 1 + objects / 64;
            self.look_at.store(in_32_bits(next), Ordering::Relaxed);
        }
        has_grown
    }

    /// Counts an object whose use was checked: the bytes that it holds, and those that were used.
    #[allow(dead_code, reason = "for buffers, which are a feature")]
    pub(crate) fn looked_at(&self, bytes: usize, used: usize) {
        self.looked_at_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.used_bytes.fetch_add(used, Ordering::Relaxed);
    }

    pub(crate) fn created(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn adopted(&self) {
        self.adopted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reused(&self, objects: usize) {
        self.reused.fetch_add(objects, Ordering::Relaxed);
    }

    pub(crate) fn returned(&self, objects: usize) {
        self.returned.fetch_add(objects, Ordering::Relaxed);
    }

    /// The number of returns that bypassed the caches.
    pub(crate) fn returned_directly(&self) -> usize {
        self.returned.load(Ordering::Relaxed)
    }

    pub(crate) fn discarded(&self, reason: Reason, objects: usize) {
        self.discarded[reason as usize].fetch_add(objects, Ordering::Relaxed);
    }

    /// What limits have refused since the last call: the pool's own, and the budget.
    #[allow(dead_code, reason = "for events, which are a feature")]
    pub(crate) fn refused_since_pass(&self) -> (usize, usize) {
        let since = |reason: Reason, before: &StatU32| {
            // Only the difference counts, and that fits into 32 bits.
            let now = self.discarded[reason as usize].load(Ordering::Relaxed) as u32;
            now.wrapping_sub(before.swap(now, Ordering::Relaxed)) as usize
        };
        let [full, budget] = &self.refused_at_pass;
        (since(Reason::Full, full), since(Reason::Budget, budget))
    }

    pub(crate) fn trimmed(&self, objects: usize) {
        self.trimmed.fetch_add(objects, Ordering::Relaxed);
    }
}

/// A snapshot of what a pool has done and holds, from [`Pool::stats`](crate::Pool::stats).
///
/// Counters start at the pool's first use and never go back, so they suit a Prometheus counter. `idle`,
/// `idle_bytes` and `in_use` are the present state. While other threads use the pool, those three may be off by the
/// operations in progress, but the counters always add up:
/// `created + adopted == in_use + idle + discarded + trimmed + taken`.
///
/// # Examples
/// ```
/// # use repool::Pool;
/// let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
/// drop(pool.get());
/// drop(pool.get());
/// let stats = pool.stats();
/// assert_eq!((stats.created, stats.reused, stats.idle), (1, 1, 1));
/// assert_eq!(stats.hit_rate(), 0.5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Objects created: the misses.
    pub created: u64,
    /// Objects handed out again: the hits.
    pub reused: u64,
    /// Objects taken back, by a dropped guard or by `put`.
    pub returned: u64,
    /// Objects from outside the pool, by `put`.
    pub adopted: u64,
    /// Objects that left for good, by `Pooled::into_inner`.
    pub taken: u64,
    /// Objects dropped instead of being kept, for any reason.
    pub discarded: u64,
    /// The same by reason.
    pub discarded_by: Discarded,
    /// Idle objects dropped by trim passes and by `clear`.
    pub trimmed: u64,
    /// Objects waiting to be handed out.
    pub idle: u64,
    /// Bytes of the idle objects: `size_of` each, and what they hold on the heap, as their
    /// `retained_bytes` said when they came back.
    pub idle_bytes: u64,
    /// Objects that guards hold.
    pub in_use: u64,
    /// The most objects that were idle at once, sampled by [`Pool::stats`](crate::Pool::stats) and at the start of each
    /// trim pass, but not on hits. For a buffer pool, the sum of the peaks of its classes.
    pub peak_idle: u64,
    /// The most objects that guards held at once. Sampled like `peak_idle`, and also by a request that creates an
    /// object, each time that the pool has grown by 1/64. While objects move it may be off by the operations in
    /// progress, in either direction.
    pub peak_in_use: u64,
    /// For a buffer pool: the capacity, in bytes, of the buffers whose use was checked when they came back. That is
    /// done after the first use of each buffer, and after a use that made it grow (after all uses in a pool that
    /// wipes its buffers), unless it came back empty. 0 for other pools.
    pub looked_at_bytes: u64,
    /// What those buffers were filled with, in bytes.
    pub used_bytes: u64,
    /// Whether the pool cannot tell what an object holds on the heap, so that `idle_bytes` counts `size_of` alone.
    /// [`Builder::retained_bytes`](crate::Builder::retained_bytes) tells it.
    pub unweighed: bool,
}

/// Objects dropped instead of being kept, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discarded {
    /// Heavier than `max_object_bytes`.
    pub oversize: u64,
    /// `max_idle` or `max_idle_bytes` was reached, or the lock of the shared store could not be taken in time.
    pub full: u64,
    /// The budget was used up.
    pub budget: u64,
    /// `reset` returned `false`, or a buffer came back smaller than its class.
    pub reset: u64,
    /// The guard was dropped while its thread was panicking, or the reset itself panicked.
    pub panic: u64,
    /// The pool was gone.
    pub closed: u64,
    /// The pool was switched off with `set_enabled(false)`.
    pub switched_off: u64,
    /// `Pooled::discard` was called.
    pub user: u64,
    /// Large, and less than a quarter used five times in a row: see [`Recycle::used_bytes`].
    ///
    /// [`Recycle::used_bytes`]: crate::Recycle::used_bytes
    pub underused: u64,
}

impl Stats {
    /// The share of requests served without creating, from 0.0 to 1.0; 0.0 before the first one.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        let requests = self.reused + self.created;
        if requests == 0 {
            0.0
        } else {
            self.reused as f64 / requests as f64
        }
    }

    /// Adds the statistics of another pool.
    #[allow(dead_code, reason = "for buffers and metrics, which are features")]
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            created,
            reused,
            returned,
            adopted,
            taken,
            discarded,
            discarded_by,
            trimmed,
            idle,
            idle_bytes,
            in_use,
            peak_idle,
            peak_in_use,
            looked_at_bytes,
            used_bytes,
            unweighed,
        } = self;
        *unweighed |= other.unweighed;
        for (sum, one) in [
            (created, other.created),
            (reused, other.reused),
            (returned, other.returned),
            (adopted, other.adopted),
            (taken, other.taken),
            (discarded, other.discarded),
            (trimmed, other.trimmed),
            (idle, other.idle),
            (idle_bytes, other.idle_bytes),
            (in_use, other.in_use),
            (peak_idle, other.peak_idle),
            (peak_in_use, other.peak_in_use),
            (looked_at_bytes, other.looked_at_bytes),
            (used_bytes, other.used_bytes),
            (&mut discarded_by.oversize, other.discarded_by.oversize),
            (&mut discarded_by.full, other.discarded_by.full),
            (&mut discarded_by.budget, other.discarded_by.budget),
            (&mut discarded_by.reset, other.discarded_by.reset),
            (&mut discarded_by.panic, other.discarded_by.panic),
            (&mut discarded_by.closed, other.discarded_by.closed),
            (
                &mut discarded_by.switched_off,
                other.discarded_by.switched_off,
            ),
            (&mut discarded_by.user, other.discarded_by.user),
            (&mut discarded_by.underused, other.discarded_by.underused),
        ] {
            *sum += one;
        }
    }

    /// Adds objects that were handed out while the pool was switched off: each counts as created and discarded.
    pub(crate) fn add_off(&mut self, objects: u64) {
        self.created += objects;
        self.discarded += objects;
        self.discarded_by.switched_off += objects;
    }

    /// Sums up the counters, the caches and the depot. `idle_bytes` is a sum of weights here.
    ///
    /// The parts are read one after the other, so under load `idle` may be off by the operations in progress.
    pub(crate) fn of(counters: &Counters, caches: PartStats, depot: PartStats) -> Self {
        let read = |counter: &StatUsize| counter.load(Ordering::Relaxed) as u64;
        let by = |reason: Reason| read(&counters.discarded[reason as usize]);
        let discarded_by = Discarded {
            oversize: by(Reason::Oversize),
            full: by(Reason::Full),
            budget: by(Reason::Budget),
            reset: by(Reason::Reset),
            panic: by(Reason::Panic),
            closed: by(Reason::Closed),
            switched_off: by(Reason::SwitchedOff),
            user: by(Reason::User),
            underused: by(Reason::Underused),
        };
        let mut stats = Self {
            discarded: discarded_by.total(),
            discarded_by,
            trimmed: read(&counters.trimmed),
            taken: read(&counters.taken),
            adopted: read(&counters.adopted),
            returned: read(&counters.returned).wrapping_add(caches.returned as u64),
            idle_bytes: caches.idle_bytes.wrapping_add(depot.idle_bytes) as u64,
            used_bytes: read(&counters.used_bytes),
            looked_at_bytes: read(&counters.looked_at_bytes),
            ..Self::default()
        };
        // The objects that came in, less those that are still there. Never less than what was reported before.
        let reused = read(&counters.reused) as usize;
        stats.reused = counters.highest_reused(reused.wrapping_add(caches.reused)) as u64;
        // Read last, so that every object that is counted as gone is also counted as created.
        stats.created = read(&counters.created);
        let came = stats.created + stats.adopted;
        let went = stats.discarded + stats.trimmed + stats.taken;
        // A batch that moves between a cache and the depot may have been counted twice.
        let alive = came.saturating_sub(went);
        stats.idle = ((caches.idle + depot.idle) as u64).min(alive);
        stats.in_use = alive - stats.idle;
        stats.peak_idle = raise(&counters.peak_idle, stats.idle);
        stats.peak_in_use = raise(&counters.peak_in_use, stats.in_use);
        stats
    }
}

/// Saturates: for numbers that rarely need more than 32 bits.
fn in_32_bits(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Raises a peak to `now`, and returns the peak.
fn raise(peak: &StatU32, now: u64) -> u64 {
    let before = peak.load(Ordering::Relaxed);
    let now = in_32_bits(now as usize);
    if now > before {
        peak.fetch_max(now, Ordering::Relaxed);
    }
    now.max(before).into()
}

impl Discarded {
    /// The sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self {
            oversize,
            full,
            budget,
            reset,
            panic,
            closed,
            switched_off,
            user,
            underused,
        } = *self;
        oversize + full + budget + reset + panic + closed + switched_off + user + underused
    }

    /// Each reason's name and count, in the order of the fields.
    ///
    /// # Examples
    /// ```
    /// # use repool::Pool;
    /// let pool: Pool<String> = Pool::new(String::new);
    /// pool.set_enabled(false);
    /// drop(pool.get());
    /// let why: Vec<_> = pool.stats().discarded_by.by_reason().filter(|(_, count)| *count > 0).collect();
    /// assert_eq!(why, [("switched_off", 1)]);
    /// ```
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let Self {
            oversize,
            full,
            budget,
            reset,
            panic,
            closed,
            switched_off,
            user,
            underused,
        } = *self;
        [
            ("oversize", oversize),
            ("full", full),
            ("budget", budget),
            ("reset", reset),
            ("panic", panic),
            ("closed", closed),
            ("switched_off", switched_off),
            ("user", user),
            ("underused", underused),
        ]
        .into_iter()
    }
}

impl fmt::Display for Stats {
    /// Writes one line for a log: the present state, the counters, why objects were discarded, and the peaks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_least = if self.unweighed { "at least " } else { "" };
        write!(
            f,
            "{} in use, {} idle ({at_least}{} bytes), {} created, {} reused ({:.1} % hits), {} trimmed, \
             {} discarded",
            self.in_use,
            self.idle,
            self.idle_bytes,
            self.created,
            self.reused,
            100.0 * self.hit_rate(),
            self.trimmed,
            self.discarded,
        )?;
        let mut reasons = self
            .discarded_by
            .by_reason()
            .filter(|(_, count)| *count > 0);
        if let Some((reason, count)) = reasons.next() {
            write!(f, " ({count} {reason}")?;
            for (reason, count) in reasons {
                write!(f, ", {count} {reason}")?;
            }
            f.write_str(")")?;
        }
        let (in_use, idle) = (self.peak_in_use, self.peak_idle);
        write!(f, ", at most {in_use} in use and {idle} idle")
    }
}

/// What a trim pass or a `clear` dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trimmed {
    /// Objects.
    pub objects: u64,
    /// Their bytes: `size_of` each, and what they held on the heap.
    pub bytes: u64,
}

#[cfg(test)]
mod tests;
