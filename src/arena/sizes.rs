//! How large arenas are: sizes in, decisions out. Nothing here allocates or knows bumpalo.
//!
//! # The rules
//! - An arena starts with one chunk of the pool's *first size*.
//! - A request that needs more grows it. At its end the arena becomes one chunk of what all chunks
//!   held together, so that the same request fits the next time ([`End::Remake`]).
//! - A request is *quiet* in an arena that holds more than the first size when less than a quarter of it
//!   was in use at the end. A quiet arena is cut to what the pool's requests have lately needed, unless
//!   one of the last few needed more than a quarter of it. How many requests "the last few" are is the
//!   *patience*. They are the requests of the pool, not of the arena: however many arenas a spike has
//!   grown, each is cut by its next quiet request once the pool has been quiet for that long.
//!   (The first quiet request after ones that used the arena well never cuts it.)
//! - A cut is on trial for four times the patience that it was made with, and at most two passes. If the
//!   arena grows back to a quarter of what it had, the cut was a mistake, and later cuts take four times
//!   that patience, up to [`PATIENCE`]'s last. If it does not, the patience falls back by one step. It
//!   does so with each pass as well.
//!
//! (A request's end says little about its peak where memory was given back before, as bumpalo's
//! collections do. Such requests look quiet; mistakes are how the pool learns that they are not.)
//!
//! # Who touches what
//! [`Size`] belongs to one arena, [`Sizes`] to all of a pool. An arena in which requests fit and are not
//! quiet writes to [`Sizes`] once in [`PERIOD`] requests; where it starts counting differs from
//! arena to arena, so that the pool's count is right on average however many arenas take turns.
//! All atomics are Relaxed: they publish nothing. Two threads that count at once may lose a count,
//! which delays or hastens a cut by that much.

use crate::sync::{Ordering, StatUsize};
use std::cell::Cell;

/// A chunk of a page, with bumpalo's footer and the allocator's own words, in bytes.
pub(super) const FIRST: usize = PAGE - OVERHEAD;

const PAGE: usize = 4 << 10;
const OVERHEAD: usize = 64;

/// A request that leaves more than this part of an arena unused is quiet.
const QUIET: usize = 4;

/// Requests of the pool without need for its size until an arena is cut; at first, and after mistakes.
pub(super) const PATIENCE: [usize; 6] = [5, 20, 80, 320, 1280, 5120];

/// How much longer than the patience that it was made with a cut is on trial.
const TRIAL: usize = 4;

/// Requests of an arena that are counted together.
pub(super) const PERIOD: u8 = 16;

/// Needs are remembered by powers of two: up to a page, two pages, and so on. The last holds all above.
const LEVELS: usize = 24;

/// What [`Size::usual`] is while no request may take the fast path: no arena has as many bytes.
const NONE: usize = usize::MAX;

/// What a pool's arenas share: its settings, and what its requests have lately needed.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Sizes {
    /// What a new arena is made with, in bytes.
    first: usize,
    /// An arena of more bytes is not kept.
    limit: usize,
    /// Arenas made.
    made: StatUsize,
    /// Requests counted.
    now: StatUsize,
    /// An index into [`PATIENCE`].
    patience: StatUsize,
    /// Passes run.
    passes: StatUsize,
    /// What `now` was, plus one, when a request last needed as many bytes; 0: never.
    last: [StatUsize; LEVELS],
}

/// What one arena knows of its size.
#[derive(Debug)]
pub(super) struct Size {
    /// The bytes that a request has to leave behind, no more and no less, to take the fast path:
    /// those of the chunk that it was given, or [`NONE`].
    usual: Cell<usize>,
    /// How many of them it may leave free, to take the fast path.
    spare: usize,
    /// Bytes of its chunk when it was last reset.
    kept: usize,
    /// Requests since the pool was last told. None of them was quiet.
    untold: u8,
    /// The pool's count then.
    told_at: usize,
    cut: Option<Cut>,
}

/// A cut that is on trial.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// The pool's count of requests, and of passes, then.
    at: usize,
    passes: usize,
    /// What the arena had before, in bytes.
    from: usize,
    /// An index into [`PATIENCE`].
    patience: usize,
}

/// What to do with an arena at the end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Reset it.
    Keep,
    /// One chunk of this many bytes instead of what is there. [`Size::remade`] is to be told.
    Remake(usize),
    /// Give all memory up: the pool will not keep as much.
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

    /// A pass has run. Old mistakes are forgotten step by step.
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

    /// The bytes above which an arena may be cut: those of a first chunk as bumpalo rounds it up.
    fn floor(&self) -> usize {
        let with_overhead = self.first.saturating_add(OVERHEAD).max(PAGE);
        with_overhead
            .checked_next_multiple_of(PAGE)
            .unwrap_or(usize::MAX)
    }

    /// What a request has to use of an arena of this many bytes, not to be quiet.
    fn least(&self, kept: usize) -> usize {
        if kept > self.floor() { kept / QUIET } else { 0 }
    }

    /// This many requests have ended.
    fn count(&self, requests: usize) -> usize {
        let now = self.now.load(Ordering::Relaxed).wrapping_add(requests);
        self.now.store(now, Ordering::Relaxed);
        now
    }

    /// The last request of those that had been counted when the count was `at` needed this many bytes.
    fn need(&self, bytes: usize, at: usize, now: usize) {
        let level = level(bytes);
        if level > 0 {
            let last = &self.last[level];
            // Ages, since the count wraps around; and it may have lost what another thread counted.
            let age = now.wrapping_sub(at);
            let known = last.load(Ordering::Relaxed);
            if known == 0 || age < now.wrapping_sub(known.wrapping_sub(1)) {
                last.store(at.wrapping_add(1), Ordering::Relaxed);
            }
        }
    }

    /// The most that one of the last requests needed, rounded up.
    fn lately(&self, now: usize, requests: usize) -> usize {
        let is_recent = |level: &usize| match self.last[*level].load(Ordering::Relaxed) {
            0 => false,
            stamp => now.wrapping_sub(stamp.wrapping_sub(1)) < requests,
        };
        (1..LEVELS).rev().find(is_recent).map_or(0, bound)
    }

    fn patience(&self) -> usize {
        self.patience
            .load(Ordering::Relaxed)
            .min(PATIENCE.len() - 1)
    }

    /// Whether this cut was made before the last interval between two passes.
    fn is_old(&self, cut: Cut) -> bool {
        let passes = self.passes.load(Ordering::Relaxed);
        passes.wrapping_sub(cut.passes) > 1
    }

    /// An arena has grown back soon after this cut.
    fn was_mistaken(&self, cut: Cut) {
        let more = (cut.patience + 1).min(PATIENCE.len() - 1);
        if self.patience() < more {
            self.patience.store(more, Ordering::Relaxed);
        }
    }

    /// This cut has stood its trial.
    fn was_right(&self, cut: Cut) {
        if self.patience() == cut.patience {
            self.step_down();
        }
    }
}

impl Size {
    /// Of an arena of no pool.
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

    /// Of a new arena, which has one chunk of this many bytes.
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

    /// What the arena had in its chunk when it was last reset, in bytes.
    #[inline(always)]
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// The fast path: whether a request that left `total` bytes of which `free` are not in use needs
    /// nothing but a reset. If so, it has been counted, and once in a period `tell` is called with what was used.
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

    /// The request that runs is to take the slow path.
    pub(super) fn set_unusual(&self) {
        self.usual.set(NONE);
    }

    /// The slow path: what to do after a request that left `total` bytes, in one chunk or in more, and
    /// had `used` of them in use.
    pub(super) fn end(&mut self, total: usize, used: usize, sizes: &Sizes) -> End {
        if total == self.kept {
            self.fitted(used, sizes)
        } else {
            self.grew(total, sizes)
        }
    }

    /// The arena has one chunk of this many bytes now.
    pub(super) fn remade(&mut self, kept: usize, sizes: &Sizes) {
        self.settle(kept, false, sizes);
    }

    fn fitted(&mut self, used: usize, sizes: &Sizes) -> End {
        let least = sizes.least(self.kept);
        let quiet = used < least;
        // Those before, on the fast path, were not quiet.
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
        // Not what is in use: that may have been more before.
        sizes.need(total, now, now);
        self.settle(total, false, sizes);
        End::Remake(total)
    }

    /// Requests on the fast path, the last of which used this much.
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

    /// Tells the pool of the requests that it has not been told of, and this many more.
    fn count(&mut self, more: usize, sizes: &Sizes) -> usize {
        self.told_at = sizes.count(usize::from(self.untold) + more);
        self.untold = 0;
        self.told_at
    }

    fn settle(&mut self, kept: usize, quiet: bool, sizes: &Sizes) {
        self.kept = kept;
        self.spare = kept - sizes.least(kept);
        // After a quiet request, the next one says whether there is need again.
        self.usual.set(if quiet { NONE } else { kept });
    }
}

/// Up to a page with its overhead is level 0, twice as much level 1, and so on.
fn level(bytes: usize) -> usize {
    let pages = bytes.saturating_add(OVERHEAD).div_ceil(PAGE).max(1);
    (pages - 1)
        .checked_ilog2()
        .map_or(0, |log| log as usize + 1)
        .min(LEVELS - 1)
}

/// The most bytes of a level.
fn bound(level: usize) -> usize {
    if level == LEVELS - 1 {
        return usize::MAX;
    }
    PAGE.saturating_mul(1 << level) - OVERHEAD
}

// Arithmetic on a model: long under Miri, and nothing for it to find.
#[cfg(all(test, not(miri)))]
mod tests;
