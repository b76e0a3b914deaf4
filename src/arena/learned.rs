//! What a pool's requests use, so that a new arena fits one.
//!
//! A histogram of bytes used, by quarter octaves: [`Learned::typical`] is the bound that all but a
//! twentieth of the lately sampled requests kept within. When the histogram holds [`WINDOW`]
//! samples all counts are halved, so old requests fade, and a single outlier is forgotten at the
//! next halving.
//!
//! The figures are shared by all threads. An arena therefore reports one request in
//! [`PERIOD`](super::region::PERIOD), and the hit path of the others writes nothing shared.
//! Everything is Relaxed, and two threads that report at once may lose a sample: figures, which
//! publish nothing. What a sample writes is one cache line.

use crate::sync::{AtomicU8, Figure, Ordering};

/// The bound of the smallest class, in bytes; about what bumpalo makes its smallest chunk.
const SMALLEST: usize = 1 << SMALLEST_LOG;
const SMALLEST_LOG: u32 = 9;

/// What a new arena may be made of at most, in bytes. A pool whose requests use more finds out
/// on each new arena's first request; that is rare, and a wrong guess of this size costs memory.
const LARGEST: usize = 16 << 20;

/// Four classes for each doubling from [`SMALLEST`] to [`LARGEST`], and one for what is below.
const CLASSES: usize = 4 * (LARGEST.ilog2() - SMALLEST_LOG) as usize + 1;

/// Samples at which all counts are halved.
const WINDOW: u8 = 64;

/// One sample in so many may lie above what is typical; at least one, as soon as there are three.
const OUTLIERS: usize = 20;

/// A chunk of a page, with bumpalo's footer and the allocator's own words: what an arena is made
/// with while nothing is known.
const UNKNOWN: usize = 4096 - 64;

/// The fifth strike in a row counts.
pub(super) const STRIKES: usize = 5;

/// What [`Learned::was_mistaken`] multiplies the strikes with, and how far.
const PATIENCE_FACTOR: usize = 16;
const MOST_STRIKES: usize = STRIKES * PATIENCE_FACTOR.pow(3);

#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Learned {
    seen: [AtomicU8; CLASSES],
    samples: AtomicU8,
    /// Strikes after which an arena is replaced by a smaller one.
    strikes: Figure,
    /// An arena of more bytes is not kept.
    limit: Figure,
}

impl Learned {
    pub(super) fn new() -> Self {
        Self {
            seen: std::array::from_fn(|_| AtomicU8::new(0)),
            samples: AtomicU8::new(0),
            strikes: Figure::new(STRIKES),
            limit: Figure::new(usize::MAX),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// A request used so many bytes.
    pub(super) fn sample(&self, bytes: usize) {
        let seen = more(&self.seen[class_of(bytes)]);
        if more(&self.samples).max(seen) >= WINDOW {
            self.fade();
        }
    }

    #[cold]
    fn fade(&self) {
        let mut left = 0;
        for count in &self.seen {
            let half = count.load(Ordering::Relaxed) / 2;
            count.store(half, Ordering::Relaxed);
            left = half.saturating_add(left);
        }
        self.samples.store(left, Ordering::Relaxed);
    }

    /// The bytes that a typical request needs, a little generously; `None` before the first sample.
    pub(super) fn typical(&self) -> Option<usize> {
        let counts: [usize; CLASSES] =
            std::array::from_fn(|class| self.seen[class].load(Ordering::Relaxed).into());
        let samples: usize = counts.iter().sum();
        let outliers = if samples < 3 {
            0
        } else {
            (samples / OUTLIERS).max(1)
        };
        let mut above = 0;
        for (class, count) in counts.iter().enumerate().rev() {
            above += count;
            if above > outliers {
                return Some(bound_of(class));
            }
        }
        None
    }

    /// What to make a new arena with.
    pub(super) fn first_chunk(&self) -> usize {
        self.typical().unwrap_or(UNKNOWN).min(self.limit())
    }

    // ---------------------------------------------------------------- strikes

    /// How many under-used requests in a row it takes until an arena is replaced.
    pub(super) fn strikes(&self) -> usize {
        self.strikes.load(Ordering::Relaxed)
    }

    /// Whether a smaller arena has been found too small lately: what a request has in use at its
    /// end then says little about what it needs.
    pub(super) fn is_doubtful(&self) -> bool {
        self.strikes() > STRIKES
    }

    /// An arena was replaced by a smaller one, which soon was too small.
    pub(super) fn was_mistaken(&self) {
        let more = (self.strikes() * PATIENCE_FACTOR).min(MOST_STRIKES);
        self.strikes.store(more, Ordering::Relaxed);
    }

    /// The smaller arena has done for a while.
    pub(super) fn was_right(&self) {
        if self.is_doubtful() {
            self.strikes.store(STRIKES, Ordering::Relaxed);
        }
    }
}

/// One more, unless another thread says so at the same time; not beyond what the count holds.
fn more(count: &AtomicU8) -> u8 {
    let more = count.load(Ordering::Relaxed).saturating_add(1);
    count.store(more, Ordering::Relaxed);
    more
}

/// The class of a request that uses so many bytes.
fn class_of(bytes: usize) -> usize {
    if bytes <= SMALLEST {
        return 0;
    }
    let last = bytes - 1;
    let octave = last.ilog2();
    let quarter = (last >> (octave - 2)) & 3;
    let class = 1 + 4 * (octave - SMALLEST_LOG) as usize + quarter;
    class.min(CLASSES - 1)
}

/// The most bytes of a class.
fn bound_of(class: usize) -> usize {
    let Some(class) = class.checked_sub(1) else {
        return SMALLEST;
    };
    (5 + class % 4) << (SMALLEST_LOG as usize + class / 4 - 2)
}

/// The bound of the class of these bytes, and of nothing less than the bytes.
pub(super) fn rounded(bytes: usize) -> usize {
    bound_of(class_of(bytes)).max(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_what_is_within_its_bound_and_nothing_less() {
        for class in 0..CLASSES {
            assert_eq!(class_of(bound_of(class)), class);
            assert_eq!(
                class_of(bound_of(class) + 1),
                (class + 1).min(CLASSES - 1),
                "{class}"
            );
        }
        assert_eq!(bound_of(CLASSES - 1), LARGEST);
        assert_eq!(class_of(0), 0);
        assert_eq!(class_of(usize::MAX), CLASSES - 1);
        assert_eq!(rounded(usize::MAX), usize::MAX);
    }

    #[test]
    fn one_outlier_is_not_typical() {
        let learned = Learned::new();
        assert_eq!(learned.typical(), None);
        learned.sample(64 << 20);
        assert_eq!(learned.typical(), Some(LARGEST));
        for _ in 0..5 {
            learned.sample(1000);
        }
        assert_eq!(learned.typical(), Some(1024));
    }

    #[test]
    fn what_is_typical_is_generous_by_a_quarter_at_most_and_follows_both_ways() {
        let learned = Learned::new();
        for (used, _) in [(100_000, 0), (3_000, 1), (200_000, 2)] {
            for _ in 0..4 * usize::from(WINDOW) {
                learned.sample(used);
            }
            let typical = learned.typical().expect("there are samples");
            assert!((used..=used + used / 4).contains(&typical), "{typical}");
        }
    }

    #[test]
    fn a_twentieth_may_be_larger_and_a_fifth_may_not() {
        let learned = Learned::new();
        for n in 0..20 * usize::from(WINDOW) {
            learned.sample(if n % 40 == 0 { 1 << 20 } else { 1 << 10 });
        }
        assert_eq!(learned.typical(), Some(1 << 10));
        for n in 0..20 * usize::from(WINDOW) {
            learned.sample(if n % 5 == 0 { 1 << 20 } else { 1 << 10 });
        }
        assert_eq!(learned.typical(), Some(1 << 20));
    }
}
