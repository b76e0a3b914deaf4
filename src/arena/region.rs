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

use super::learned::{Learned, STRIKES, rounded};
use crate::recycle::Recycle;
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

pub(super) struct Region {
    pub(super) bump: Bump,
    /// Bytes of its chunk when it was last reset: what it weighs while it is idle.
    kept: usize,
    /// Under-used requests in a row, and the most that one of them had in use.
    strikes: usize,
    most: usize,
    /// Requests until the next sample, and samples that are taken of every request.
    until_sample: u8,
    young: u8,
    /// Samples left until a smaller chunk has proved itself; 0: not on trial.
    trial: u8,
    learned: Arc<Learned>,
}

impl Region {
    pub(super) fn new(learned: Arc<Learned>) -> Self {
        let bump = bump_of(learned.first_chunk(), learned.limit());
        Self {
            kept: bump.allocated_bytes(),
            bump,
            strikes: 0,
            most: 0,
            until_sample: 1,
            young: YOUNG,
            trial: 0,
            learned,
        }
    }

    /// The request had `used` bytes in use at its end, in the one chunk that it was given.
    #[inline]
    fn fitted(&mut self, used: usize) {
        let wasteful = self.kept > FLOOR && used < self.kept / WASTEFUL;
        self.until_sample -= 1;
        if self.until_sample == 0 {
            self.sample(used, wasteful);
        }
        if wasteful {
            self.strikes += 1;
            self.most = self.most.max(used);
            if self.strikes >= STRIKES {
                self.struck();
            }
        } else {
            self.strikes = 0;
            self.most = 0;
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
        self.most = 0;
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
        self.most = 0;
    }
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
