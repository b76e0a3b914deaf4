//! [`Stats::advice`]: says in words when a pool is not worth having.
//!
//! # Where the thresholds come from
//! Counts are instructions of a get or an allocation, 64 bytes written, and a drop, with one object
//! out at a time (`benches/thresholds.sh`, 2026-11-26, rustc 1.95, glibc 2.36). The rest is in
//! `tests/observe/advice.rs`.
//! - [`ENOUGH`]: of the pools in which 8 % of the requests do what advice reports from 10 % on, one
//!   in twenty gets that advice after a thousand requests, and one in ten or more after a hundred
//!   (a test).
//! - [`SMALL`]: at 1024 bytes a hit takes 123, glibc 198, mimalloc 187 and jemalloc 128; at 1100
//!   bytes glibc takes 380 and mimalloc 373. Below, a pool saves less than a miss in 25 requests
//!   costs.
//! - [`MANY`]: a get that creates and a return that is refused take 2292 for 4 KiB, where glibc
//!   takes 378 and a hit 123. So from 12 % of such requests on, a pool costs more than none; with
//!   16 objects out at once from 11 %.
//! - [`LOW`]: with as many hits as misses of that price, a pool costs less than none only for
//!   objects that take 2,000 or more to create and drop; with twice as many misses, 4,000. Where
//!   passes drop an object after two uses (1464 for 1100 bytes, of 16 at once, including the share
//!   of the passes), it takes 1,200.
//! - [`WIDE`], [`LOOKS`]: users who request what 99 of 100 contents fit in get no advice; those who
//!   request what 999 of 1,000 fit in usually do (a test, on exponential and log-normal contents).

use crate::raw::stats::Stats;
use std::fmt;

/// The number of requests below which there is no advice.
const ENOUGH: u64 = 1_000;
const LOW: f64 = 0.5;
const SMALL: u64 = 1_024;
const MANY: f64 = 0.1;
const WIDE: f64 = 1.0 / 12.0;
/// The number of buffers whose use must have been seen before it is judged, in multiples of the
/// idle buffers' size.
const LOOKS: u64 = 16;

/// Advice from [`Stats::advice`]: what a pool's figures say against it, and which setting to
/// change.
///
/// `Display` prints a sentence or two with the figure that was seen. Shares are from 0.0 to 1.0.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Advice {
    /// Idle objects served fewer than half of the requests, and no other advice says why.
    LowHitRate {
        /// The share of requests that were hits.
        hit_rate: f64,
    },
    /// Idle objects are so small that an allocator is as fast. Not said of objects of which the pool
    /// does not know what they hold on the heap ([`Stats::unweighed`]).
    SmallObjects {
        /// Mean bytes of the idle objects.
        mean_bytes: u64,
    },
    /// Passes drop most objects before they have served often.
    RarelyUsed {
        /// The mean number of requests that an object serves.
        uses: f64,
        /// The share of created objects that passes have dropped.
        trimmed: f64,
    },
    /// Many objects come back too large to be kept.
    Oversize {
        /// The share of requests whose object was dropped for its size.
        share: f64,
    },
    /// Limits or a budget refuse objects, and others are created soon after.
    LimitsTooTight {
        /// The share of requests that created what a limit had refused.
        share: f64,
        /// Whether the budget refused more often than the pool's own limits.
        budget: bool,
    },
    /// Most of the objects handed out have not come back.
    NotReturned {
        /// Objects still in use, plus those taken out by `into_inner`.
        kept: u64,
        /// Objects handed out.
        handed_out: u64,
    },
    /// Requests for buffers are far larger than what is written, as far as the pool has seen.
    RequestsTooLarge {
        /// The share of the capacity that was filled.
        used: f64,
    },
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| 100.0 * share;
        match *self {
            Self::LowHitRate { hit_rate } => write!(
                f,
                "only {:.1} % of requests found an idle object: use the pool where objects come back sooner, \
                 run passes less often (`trim_every`), or remove the pool",
                percent(hit_rate)
            ),
            Self::SmallObjects { mean_bytes } => write!(
                f,
                "idle objects have {mean_bytes} bytes on average, and an allocator is as fast as a pool for that \
                 size: unless they are expensive to create, remove the pool (compare with `set_enabled(false)`)"
            ),
            Self::RarelyUsed { uses, trimmed } => write!(
                f,
                "an object serves {uses:.1} requests, and passes dropped {:.0} % of those created: if creating \
                 them is expensive, keep some (`min_idle`) or run passes less often (`trim_every`); \
                 otherwise remove the pool",
                percent(trimmed)
            ),
            Self::Oversize { share } => write!(
                f,
                "{:.1} % of requests end with an object too large to keep: raise `max_object_bytes` (or \
                 `max_class` of a buffer pool), or use a separate pool for large requests",
                percent(share)
            ),
            Self::LimitsTooTight { share, budget } => {
                let fix = match budget {
                    true => "raise the `budget`, or give this pool a separate one",
                    false => "raise `max_idle` or `max_idle_bytes`",
                };
                write!(
                    f,
                    "{:.1} % of requests create an object after a limit refused one: {fix}",
                    percent(share)
                )
            }
            Self::NotReturned { kept, handed_out } => write!(
                f,
                "{kept} of {handed_out} objects handed out have not come back: drop guards when the work is \
                 done, and do not pool objects that their users keep (`into_inner`, `mem::forget`, guards in \
                 long-lived structs)"
            ),
            Self::RequestsTooLarge { used } => write!(
                f,
                "{:.1} % of the requested capacity is filled: request less, because a buffer grows when it has \
                 to (buffers that are consumed before they are dropped look emptier than they were)",
                percent(used)
            ),
        }
    }
}

impl Stats {
    /// Returns what these figures say against the pool, if anything; nothing before 1,000 requests.
    ///
    /// The call compares figures with fixed thresholds and costs a few nanoseconds. Requests made
    /// while the pool was switched off do not count. Advice cannot know how expensive objects are
    /// to create.
    ///
    /// # Examples
    /// ```
    /// use repool::{Advice, Pool};
    /// let pool = Pool::builder(|| [0_u8; 4096]).reset(|_| true).max_idle(1).build();
    /// for _ in 0..1_000 {
    ///     drop([pool.get(), pool.get(), pool.get()]);
    /// }
    /// let advice = pool.stats().advice();
    /// assert!(matches!(advice[..], [Advice::LimitsTooTight { budget: false, .. }]));
    /// assert!(advice[0].to_string().contains("raise `max_idle`"));
    /// ```
    #[must_use]
    pub fn advice(&self) -> Vec<Advice> {
        let by = &self.discarded_by;
        let created = self.created.saturating_sub(by.switched_off);
        let requests = created + self.reused;
        if requests < ENOUGH {
            return Vec::new();
        }
        let share = |count: u64| count as f64 / requests as f64;
        let mut all = Vec::new();

        let oversize = share(by.oversize);
        if oversize > MANY {
            all.push(Advice::Oversize { share: oversize });
        }
        // A refusal without a miss costs nothing.
        let refused = share((by.full + by.budget).min(created));
        if refused > MANY {
            all.push(Advice::LimitsTooTight {
                share: refused,
                budget: by.budget > by.full,
            });
        }
        let kept = self.in_use + self.taken;
        if share(kept) > LOW {
            all.push(Advice::NotReturned {
                kept,
                handed_out: requests,
            });
        }
        let trimmed = self.trimmed as f64 / created.max(1) as f64;
        let uses = requests as f64 / created.max(1) as f64;
        // As many hits as misses means that an object serves twice.
        if trimmed > LOW && uses < 1.0 / LOW {
            all.push(Advice::RarelyUsed { uses, trimmed });
        }
        let hit_rate = share(self.reused);
        if hit_rate < LOW && all.is_empty() {
            all.push(Advice::LowHitRate { hit_rate });
        }
        let mean_bytes = self.idle_bytes / self.idle.max(1);
        if self.idle > 0 && mean_bytes < SMALL && !self.unweighed {
            all.push(Advice::SmallObjects { mean_bytes });
        }
        let used = self.used_bytes as f64 / self.looked_at_bytes.max(1) as f64;
        if self.looked_at_bytes >= LOOKS * mean_bytes.max(4096) && used < WIDE {
            all.push(Advice::RequestsTooLarge { used });
        }
        all
    }
}
