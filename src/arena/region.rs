//! [`Region`]: what an arena pool keeps, and its reset.
//!
//! # The life of a region
//! It is made with one chunk of what requests typically use ([`Learned`]). At the end of a request
//! [`Region::recycle`] looks at two figures of the bump allocator, the bytes of all chunks and the
//! bytes still free in the newest one:
//!
//! - *One chunk*, as it started: the finger goes back to the chunk's end, and that is all. Its
//!   cost does not depend on what the request allocated, nor on how many there were before.
//! - *More than one chunk*: bumpalo's reset would keep the newest one alone, and the same request
//!   would need more than one again. So the chunks make way for one of their size together, here
//!   and now, so that the second identical request makes no allocator call. It has to be their
//!   whole size, and not what is in use at the end: a collection that is dropped last gives its
//!   bytes back to the finger, so the end says nothing about the peak.
//! - *Used for less than a quarter*, above a floor: a strike. The fifth in a row replaces the
//!   chunk by one of the size that was used.
//!
//! The last rule goes wrong where the end says nothing about the peak, and where large requests
//! are common after all. A smaller chunk is therefore *on trial* for [`TRIAL`] requests: when it
//! turns out too small, the next replacement takes sixteen times as many strikes, up to 20 480;
//! when it does for the whole trial, five again.
//!
//! # The short way
//! Most requests fit their one chunk and waste none of it. [`Region::end`], which runs as the
//! arena is dropped, does what these need: it resets the bump allocator, and counts down to the
//! next sample. Where there is more to count or to do (a strike, the one before, an arena's first
//! requests, more chunks) it leaves all to [`Region::settle`], which runs only if the pool is going
//! to keep the arena. Either runs once for a request: the pool may ask for a reset twice.

use super::learned::{Learned, STRIKES, rounded};
use crate::object::recycle::Recycle;
use crate::raw::cache::MAX_WEIGHT;
use crate::sync::rare::Arc;
use bumpalo::Bump;

/// A chunk of at most so many bytes is kept whatever use is made of it.
const FLOOR: usize = 4 << 10;

/// A request uses less than one in so many of the bytes that are there: a strike.
const WASTEFUL: usize = 4;

/// One request in so many is sampled, after the first ones of an arena, which all are. Not a power
/// of two, nor any other number that requests are likely to come round by.
pub(super) const PERIOD: u8 = 7;
const YOUNG: u8 = 8;

/// Requests that a smaller chunk has to do for, in samples.
const TRIAL: u8 = 9;

/// What [`Region::usual`] is while no request may take the short way: no arena has as many bytes.
const NONE: usize = usize::MAX;

pub(crate) struct Region {
    pub(super) bump: Bump,
    /// The bytes that a request has to leave behind, no more and no less, to take the short way:
    /// those of the chunk that it was given, or [`NONE`].
    usual: usize,
    /// How many of them it may leave free, to take the short way.
    spare: usize,
    /// Whether the request that ended last took the short way.
    settled: bool,
    /// Requests until the next sample, and samples that are taken of every request.
    until_sample: u8,
    young: u8,
    /// Samples left until a smaller chunk has proved itself; 0: not on trial.
    trial: u8,
    /// Bytes of its chunk when it was last reset: what it weighs while it is idle.
    kept: usize,
    /// Under-used requests in a row, and the most that one of them had in use.
    strikes: usize,
    most: usize,
    learned: Arc<Learned>,
}

impl Region {
    pub(super) fn new(learned: Arc<Learned>) -> Self {
        let bump = bump_of(learned.first_chunk(), learned.limit());
        Self {
            kept: bump.allocated_bytes(),
            bump,
            usual: NONE,
            spare: 0,
            settled: false,
            until_sample: 1,
            young: YOUNG,
            trial: 0,
            strikes: 0,
            most: 0,
            learned,
        }
    }

    /// The request is over: the short way, if it is one for that.
    #[inline]
    pub(super) fn end(&mut self) {
        // Set at both ends: with branches that is less than to work it out.
        self.settled = false;
        let total = self.bump.allocated_bytes();
        if total != self.usual {
            return;
        }
        let free = self.bump.chunk_capacity();
        if free > self.spare {
            return;
        }
        self.until_sample -= 1;
        if self.until_sample == 0 {
            self.sample(total - free, false);
        }
        self.bump.reset();
        self.bump.set_allocation_limit(None);
        self.settled = true;
    }

    /// What the arena weighs, if nothing is left to do.
    #[inline(always)]
    pub(crate) fn settled(&self) -> Option<usize> {
        self.settled.then_some(self.kept)
    }

    /// The request is over: the long way.
    fn settle(&mut self) {
        let total = self.bump.allocated_bytes();
        let free = self.bump.chunk_capacity();
        // A request may have set one; the next has not asked for it.
        self.bump.set_allocation_limit(None);
        if total == self.kept {
            self.bump.reset();
            self.fitted(total - free);
        } else {
            self.overflowed(total, free);
        }
        let countable = self.young > 0 || self.strikes > 0 || self.kept > MAX_WEIGHT;
        self.usual = if countable { NONE } else { self.kept };
        self.spare = self.kept - least_of(self.kept);
    }

    /// The request had `used` bytes in use at its end, in the one chunk that it was given.
    fn fitted(&mut self, used: usize) {
        let wasteful = used < least_of(self.kept);
        self.until_sample -= 1;
        if self.until_sample == 0 {
            self.sample(used, wasteful);
        }
        if wasteful {
            self.most = if self.strikes == 0 {
                used
            } else {
                self.most.max(used)
            };
            self.strikes += 1;
            if self.strikes >= STRIKES {
                self.struck();
            }
        } else {
            self.strikes = 0;
        }
    }

    #[inline(never)]
    fn sample(&mut self, used: usize, wasteful: bool) {
        self.young = self.young.saturating_sub(1);
        self.until_sample = if self.young > 0 { 1 } else { PERIOD };
        // See the head: what the pool learned from larger requests must not fade by these.
        if !(wasteful && self.learned.is_doubtful()) {
            self.learned.sample(used);
        }
        if self.trial > 0 {
            self.trial -= 1;
            if self.trial == 0 {
                self.learned.was_right();
            }
        }
    }

    /// Strikes enough, perhaps, for a smaller chunk.
    #[cold]
    fn struck(&mut self) {
        if self.strikes < self.learned.strikes() {
            return;
        }
        let used = rounded(self.most);
        // What is typical is better than what was used, unless there is nothing to gain.
        let typical = self.learned.typical().unwrap_or(0);
        let smaller = if typical <= self.kept / WASTEFUL {
            used.max(typical)
        } else {
            used
        };
        self.replace(smaller);
        self.trial = TRIAL;
        self.young = 0;
        self.until_sample = PERIOD;
    }

    /// The request needed more than the chunk that it was given.
    #[cold]
    fn overflowed(&mut self, total: usize, free: usize) {
        self.bump.reset();
        let newest = self.bump.allocated_bytes();
        // The newest chunk was needed; if nothing of it is in use, what was has been given back.
        let used = if free == newest { total } else { total - free };
        self.learned.sample(used);
        if self.trial > 0 {
            self.trial = 0;
            self.learned.was_mistaken();
        }
        self.strikes = 0;
        if total > self.learned.limit() {
            // Too large to keep: the pool sees that by the weight, and drops it.
            self.bump = Bump::new();
            self.kept = total;
            return;
        }
        if newest < total {
            let room = total.max(self.learned.first_chunk());
            self.replace(room);
        } else {
            self.kept = newest;
        }
    }

    /// One chunk of so many bytes instead of what is there; nothing, if they are not to be had.
    fn replace(&mut self, bytes: usize) {
        // First, so that both are never there at once.
        self.bump = Bump::new();
        self.bump = bump_of(bytes, self.learned.limit());
        self.kept = self.bump.allocated_bytes();
        self.strikes = 0;
    }
}

/// What a request has to use of so many bytes, not to waste them.
fn least_of(bytes: usize) -> usize {
    if bytes > FLOOR { bytes / WASTEFUL } else { 0 }
}

/// A bump allocator with one chunk of so many bytes, or of what is within the limit; with none
/// where there is no memory, which is for the user's allocation to find out.
fn bump_of(bytes: usize, limit: usize) -> Bump {
    let bytes = bytes.min(limit);
    // bumpalo rounds up, by less than a factor of two.
    [bytes, bytes / 2]
        .into_iter()
        .filter_map(|bytes| Bump::try_with_capacity(bytes).ok())
        .find(|bump| bump.allocated_bytes() <= limit)
        .unwrap_or_default()
}

impl Recycle for Region {
    fn recycle(&mut self) {
        if !self.settled {
            self.settle();
        }
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.kept
    }
}

/// For arenas in a pool of your own, by bumpalo's `reset`: it keeps the newest chunk, of whatever
/// size. [`ArenaPool`](crate::ArenaPool) does better.
impl Recycle for Bump {
    #[inline]
    fn recycle(&mut self) {
        self.reset();
        self.set_allocation_limit(None);
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.allocated_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::Layout;

    const CHUNK: usize = 64 << 10;

    /// A region that is not young any more, with one chunk of [`CHUNK`] bytes or somewhat more.
    fn grown_up() -> Region {
        let learned = Arc::new(Learned::new());
        (0..8).for_each(|_| learned.sample(CHUNK));
        let mut region = Region::new(learned);
        (0..YOUNG).for_each(|_| serve(&mut region, CHUNK / 2));
        region
    }

    /// A request, as the pool sees it to its end.
    fn serve(region: &mut Region, bytes: usize) {
        let layout = Layout::array::<u8>(bytes).expect("not too large");
        region.bump.alloc_layout(layout);
        region.end();
        region.recycle();
    }

    #[test]
    fn a_usual_request_takes_the_short_way_and_no_other_does() {
        let mut region = grown_up();
        for (bytes, short) in [
            (CHUNK / 2, true),
            (CHUNK / 2, true),
            (10, false),
            // The one after a strike has the strikes to forget.
            (CHUNK / 2, false),
            (CHUNK / 2, true),
            (2 * CHUNK, false),
            (CHUNK, true),
            (0, false),
        ] {
            serve(&mut region, bytes);
            assert_eq!(region.settled, short, "{bytes}");
            assert_eq!(region.bump.chunk_capacity(), region.kept, "{bytes}");
        }
    }

    #[test]
    fn a_request_counts_once_however_often_the_pool_asks_for_the_reset() {
        let mut region = grown_up();
        for _ in 0..3 * usize::from(PERIOD) {
            let before = region.until_sample;
            serve(&mut region, CHUNK / 2);
            assert!(region.until_sample == before - 1 || before == 1);
            let after = region.until_sample;
            (0..10).for_each(|_| region.recycle());
            assert_eq!((region.until_sample, region.strikes), (after, 0));
        }
    }

    #[test]
    fn a_usual_request_between_strikes_starts_the_count_again() {
        let mut region = grown_up();
        let kept = region.kept;
        for _ in 0..3 {
            (1..STRIKES).for_each(|_| serve(&mut region, 10));
            serve(&mut region, CHUNK / 2);
        }
        assert_eq!(region.kept, kept);
        (0..STRIKES).for_each(|_| serve(&mut region, 10));
        assert!(region.kept < CHUNK / 2);
    }

    #[test]
    fn samples_are_taken_on_the_short_way_as_well() {
        let mut region = grown_up();
        let learned = Arc::clone(&region.learned);
        for _ in 0..100 * usize::from(PERIOD) {
            serve(&mut region, CHUNK / 2);
        }
        assert_eq!(learned.typical(), Some(CHUNK / 2));
    }
}
