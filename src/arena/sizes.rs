//! How large arenas are: decides from sizes alone. Nothing here allocates or uses bumpalo.
//!
//! # The rules
//! - An arena starts with one chunk of the pool's *first size*.
//! - A request that needs more makes the arena grow. At its end, one chunk of the size of all
//!   chunks together replaces them, so the same request fits the next time ([`End::Remake`]).
//! - In an arena larger than the first size, a request is *quiet* if less than a quarter of the
//!   arena was in use at its end. After a quiet request the arena is cut to what the pool's
//!   requests have recently needed, unless one of the last few needed more than a quarter of it.
//!   How many requests "the last few" are is the *patience*. They are the pool's requests, not the
//!   arena's: however many arenas a spike has grown, each is cut by its next quiet request once the
//!   pool has been quiet for that long. (The first quiet request after requests that used the arena
//!   well never cuts it.)
//! - A cut is on trial for four times the patience that it was made with, and for at most two
//!   passes. If the arena grows back to a quarter of its old size in that time, the cut was a
//!   mistake, and later cuts take four times that patience, up to the last value of [`PATIENCE`].
//!   If not, the patience falls back one step. Each pass lowers it one step as well.
//!
//! (The end of a request says little about its peak if memory was returned before, as bumpalo's
//! collections do. Such requests look quiet; mistakes are how the pool learns that they are not.)
//!
//! # Who touches what
//! [`Size`] belongs to one arena, [`Sizes`] to all arenas of a pool. An arena in which requests fit
//! and are not quiet writes to [`Sizes`] once in [`PERIOD`] requests. Arenas start counting at
//! different points, so the pool's count is right on average, however many arenas take turns. All
//! atomics are Relaxed: they publish nothing. If two threads count at the same time, a count may be
//! lost, which delays or hastens a cut by that much.

use crate::sync::{Ordering, StatUsize};
use std::cell::Cell;

/// The first size: a page without bumpalo's footer and the allocator's header, in bytes.
pub(super) const FIRST: usize = PAGE - OVERHEAD;

const PAGE: usize = 4 << 10;
const OVERHEAD: usize = 64;

/// A request that uses less than one part in this many of an arena is quiet.
const QUIET: usize = 4;

/// How many requests of the pool must not need an arena's size before it is cut: at first, and
/// after each mistake.
pub(super) const PATIENCE: [usize; 6] = [5, 20, 80, 320, 1280, 5120];

/// How many times its patience a cut is on trial.
const TRIAL: usize = 4;

/// Requests of an arena that are counted together.
pub(super) const PERIOD: u8 = 16;

/// Needs are remembered by powers of two: up to a page, two pages, and so on. The last level holds
/// everything above.
const LEVELS: usize = 24;

/// The value of [`Size::usual`] while no request may take the fast path: no arena has that many
/// bytes.
const NONE: usize = usize::MAX;

/// What the arenas of a pool share: the settings, and what requests have recently needed.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Sizes {
    /// The bytes of a new arena's chunk.
    first: usize,
    /// An arena with more bytes than this is not kept.
    limit: usize,
    /// Arenas created.
    made: StatUsize,
    /// Requests counted.
    now: StatUsize,
    /// An index into [`PATIENCE`].
    patience: StatUsize,
    /// Passes run.
    passes: StatUsize,
    /// By level: the value of `now`, plus one, when a request last needed that many bytes; 0 for
    /// never.
    last: [StatUsize; LEVELS],
}

/// What one arena records about its size.
#[derive(Debug)]
pub(super) struct Size {
    /// The total bytes with which a request must end to take the fast path: those of the chunk that
    /// it was given, or [`NONE`].
    usual: Cell<usize>,
    /// How many of them may be free for the fast path.
    spare: usize,
    /// Bytes of its chunk at the last reset.
    kept: usize,
    /// Requests not yet reported to the pool. None of them was quiet.
    untold: u8,
    /// The pool's count of requests at the last report.
    told_at: usize,
    cut: Option<Cut>,
}

/// A cut on trial.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// The pool's counts of requests and of passes at the cut.
    at: usize,
    passes: usize,
    /// The arena's bytes before the cut.
    from: usize,
    /// An index into [`PATIENCE`].
    patience: usize,
}

/// What to do with an arena at the end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Reset it.
    Keep,
    /// Replace all chunks by one of this many bytes, then call [`Size::remade`].
    Remake(usize),
    /// Free all memory: the pool will not keep that much.
    Refuse,
}

impl Sizes {
    pub(super) fn new(first: usize, limit: usize) -> Self {
        Self {
            first: first.min(limit),
            limit,
            made: StatUsize::new(0),
            now: StatUsize::new(0),
            patience: StatUsize::new(0),
            passes: StatUsize::new(0),
            last: [const { StatUsize::new(0) }; LEVELS],
        }
    }

    pub(super) fn first(&self) -> usize {
        self.first
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Called for each pass. Old mistakes are forgotten step by step.
    pub(super) fn pass(&self) {
        let passes = self.passes.load(Ordering::Relaxed);
        self.passes.store(passes.wrapping_add(1), Ordering::Relaxed);
        self.step_down();
    }

    fn step_down(&self) {
        let patience = self.patience.load(Ordering::Relaxed);
        self.patience
            .store(patience.saturating_sub(1), Ordering::Relaxed);
    }

    /// Returns the bytes above which an arena may be cut: those of a first chunk after bumpalo has
    /// rounded it up.
    fn floor(&self) -> usize {
        let with_overhead = self.first.saturating_add(OVERHEAD).max(PAGE);
        with_overhead
            .checked_next_multiple_of(PAGE)
            .unwrap_or(usize::MAX)
    }

    /// Returns what a request has to use of an arena of this many bytes not to be quiet.
    fn least(&self, kept: usize) -> usize {
        if kept > self.floor() { kept / QUIET } else { 0 }
    }

    /// Counts requests that have ended.
    fn count(&self, requests: usize) -> usize {
        let now = self.now.load(Ordering::Relaxed).wrapping_add(requests);
        self.now.store(now, Ordering::Relaxed);
        now
    }

    /// Records that the last request counted at `at` needed this many bytes.
    fn need(&self, bytes: usize, at: usize, now: usize) {
        let level = level(bytes);
        if level > 0 {
            let last = &self.last[level];
            // Compares ages, because the count wraps around; and another thread's counts may have
            // been lost.
            let age = now.wrapping_sub(at);
            let known = last.load(Ordering::Relaxed);
            if known == 0 || age < now.wrapping_sub(known.wrapping_sub(1)) {
                last.store(at.wrapping_add(1), Ordering::Relaxed);
            }
        }
    }

    /// Returns the most that one of the last requests needed, rounded up.
    fn lately(&self, now: usize, requests: usize) -> usize {
        let is_recent = |level: &usize| match self.last[*level].load(Ordering::Relaxed) {
            0 => false,
            stamp => now.wrapping_sub(stamp.wrapping_sub(1)) < requests,
        };
        (1..LEVELS).rev().find(is_recent).map_or(0, bound)
    }

    fn patience(&self) -> usize {
        self.patience.load(Ordering::Relaxed)
    }

    /// Returns whether this cut was made before the last interval between two passes.
    fn is_old(&self, cut: Cut) -> bool {
        let passes = self.passes.load(Ordering::Relaxed);
        passes.wrapping_sub(cut.passes) > 1
    }

    /// Called when an arena has grown back soon after this cut.
    fn was_mistaken(&self, cut: Cut) {
        let more = (cut.patience + 1).min(PATIENCE.len() - 1);
        if self.patience() < more {
            self.patience.store(more, Ordering::Relaxed);
        }
    }

    /// Called when this cut has passed its trial.
    fn was_right(&self, cut: Cut) {
        if self.patience() == cut.patience {
            self.step_down();
        }
    }
}

impl Size {
    /// For an unpooled arena.
    pub(super) const fn none() -> Self {
        Self {
            usual: Cell::new(NONE),
            spare: 0,
            kept: 0,
            untold: 0,
            told_at: 0,
            cut: None,
        }
    }

    /// For a new arena with one chunk of this many bytes.
    pub(super) fn new(kept: usize, sizes: &Sizes) -> Self {
        let made = sizes.made.fetch_add(1, Ordering::Relaxed);
        let mut size = Self {
            usual: Cell::new(NONE),
            spare: 0,
            kept,
            untold: (made % usize::from(PERIOD)) as u8,
            told_at: sizes.count(0),
            cut: None,
        };
        size.settle(kept, false, sizes);
        size
    }

    /// Returns the bytes of the arena's chunk at the last reset.
    #[inline(always)]
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// The fast path. Returns whether a request that ended with `total` bytes, `free` of them
    /// unused, needs only a reset. If so, the request has been counted, and once in a period `tell`
    /// is called with the bytes used.
    #[inline(always)]
    pub(super) fn is_usual(
        &mut self,
        total: usize,
        free: usize,
        tell: impl FnOnce(&mut Self, usize),
    ) -> bool {
        if total != self.usual.get() || free > self.spare {
            return false;
        }
        self.untold += 1;
        if self.untold == PERIOD {
            tell(self, total - free);
        }
        true
    }

    /// Makes the current request take the slow path.
    pub(super) fn set_unusual(&self) {
        self.usual.set(NONE);
    }

    /// The slow path: decides what to do after a request that ended with `total` bytes in one or
    /// more chunks, `used` of them in use.
    pub(super) fn end(&mut self, total: usize, used: usize, sizes: &Sizes) -> End {
        if total == self.kept {
            self.fitted(used, sizes)
        } else {
            self.grew(total, sizes)
        }
    }

    /// Called when the arena has one new chunk of this many bytes.
    pub(super) fn remade(&mut self, kept: usize, sizes: &Sizes) {
        self.settle(kept, false, sizes);
    }

    fn fitted(&mut self, used: usize, sizes: &Sizes) -> End {
        let least = sizes.least(self.kept);
        let quiet = used < least;
        // The requests before it, on the fast path, were not quiet.
        let is_first = self.untold > 0;
        let not_before = self.told_at.wrapping_add(self.untold.into());
        let now = self.count(1, sizes);
        if is_first {
            sizes.need(least, not_before, now);
        }
        self.settle(self.kept, quiet, sizes);
        if !quiet {
            sizes.need(used, now, now);
            return End::Keep;
        }
        let patience = sizes.patience();
        let lately = sizes.lately(now, PATIENCE[patience]);
        if is_first || lately > least {
            return End::Keep;
        }
        self.cut = Some(Cut {
            at: now,
            passes: sizes.passes.load(Ordering::Relaxed),
            from: self.kept,
            patience,
        });
        End::Remake(lately.max(sizes.first))
    }

    fn grew(&mut self, total: usize, sizes: &Sizes) -> End {
        let now = self.count(1, sizes);
        if total > sizes.limit {
            self.kept = total;
            self.set_unusual();
            return End::Refuse;
        }
        if let Some(cut) = self.cut {
            let age = now.wrapping_sub(cut.at);
            if sizes.is_old(cut) {
                self.cut = None;
            } else if age > TRIAL * PATIENCE[cut.patience] {
                sizes.was_right(cut);
                self.cut = None;
            } else if total >= cut.from / QUIET {
                sizes.was_mistaken(cut);
                self.cut = None;
            }
        }
        // The total, not what is in use: more may have been in use before.
        sizes.need(total, now, now);
        self.settle(total, false, sizes);
        End::Remake(total)
    }

    /// Reports requests on the fast path, the last of which used this many bytes.
    #[inline(never)]
    pub(super) fn tell(&mut self, used: usize, sizes: &Sizes) {
        let now = self.count(0, sizes);
        sizes.need(used, now, now);
        if let Some(cut) = self.cut {
            if now.wrapping_sub(cut.at) > TRIAL * PATIENCE[cut.patience] {
                sizes.was_right(cut);
                self.cut = None;
            }
        }
    }

    /// Reports to the pool the requests not yet reported, and this many more.
    fn count(&mut self, more: usize, sizes: &Sizes) -> usize {
        self.told_at = sizes.count(usize::from(self.untold) + more);
        self.untold = 0;
        self.told_at
    }

    fn settle(&mut self, kept: usize, quiet: bool, sizes: &Sizes) {
        self.kept = kept;
        self.spare = kept - sizes.least(kept);
        // After a quiet request, the next one shows whether the size is needed again.
        self.usual.set(if quiet { NONE } else { kept });
    }
}

/// Returns the level of a need: 0 up to a page with its overhead, 1 up to twice that, and so on.
fn level(bytes: usize) -> usize {
    let pages = bytes.saturating_add(OVERHEAD).div_ceil(PAGE).max(1);
    (pages - 1)
        .checked_ilog2()
        .map_or(0, |log| log as usize + 1)
        .min(LEVELS - 1)
}

/// Returns the most bytes of a level.
fn bound(level: usize) -> usize {
    if level == LEVELS - 1 {
        return usize::MAX;
    }
    PAGE.saturating_mul(1 << level) - OVERHEAD
}

// Arithmetic on a model: slow under Miri, which has nothing to find in it.
#[cfg(all(test, not(miri)))]
mod tests;
