//! The size policy: decides from sizes alone what happens to a returned buffer.
//!
//! 1. A buffer is created with the size of its request's class, and belongs to that class for as
//!    long as it lives, however much it grows. Nothing is learned from one buffer for another.
//! 2. A buffer of exactly its class size is kept, however little of it was used.
//! 3. A buffer that has grown (above [`SMALL`]) is *underused* if less than a quarter of it was seen
//!    used. A number of underused returns in a row ([`FEW`] at first) cuts it back to its class.
//! 4. If it grows again soon after a cut, the cut was a mistake, and the next one takes more
//!    such returns ([`Record::regrown`]), but only for [`PASSES`] trim passes after it grew.
//!
//! So an idle buffer is larger than its class only if one of its last [`MOST`] uses filled a
//! quarter of it or made it grow; and once it has not grown for three passes, only if one of its
//! last five did.
//!
//! The policy cannot see a use that was consumed (`advance`, `split`) before `bytes` moved the
//! content back to the front, or that was cleared before the buffer was dropped. Both look like no
//! use at all. If such a buffer is larger than its class, it is cut now and then.

/// Up to this capacity, in bytes, a grown buffer is left alone.
pub(super) const SMALL: usize = 1 << 10;
/// The number of underused returns in a row that cuts a buffer.
pub(super) const FEW: u8 = 5;
/// The largest number of underused returns that a cut takes after mistakes.
pub(super) const MOST: u8 = 80;
/// If a buffer grows again within this many returns, the cut was a mistake.
const SOON: u8 = 10;
/// If it grows again within this many returns, it will most likely do so every time.
const AT_ONCE: u8 = 2;
/// For this many passes after a buffer grew, earlier mistakes protect it.
pub(super) const PASSES: usize = 3;

/// What the pool remembers of one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Whether it was larger than its class at its last return.
    grown: bool,
    /// Uses in a row that were seen to fill less than a quarter.
    underuses: u8,
    /// The number of underused returns that cuts the buffer.
    patience: u8,
    /// Returns since the last cut, at most [`SOON`].
    since_cut: u8,
    /// The number of passes when it last grew.
    grew_at: usize,
}

/// A returned buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The capacity that its class promises, in bytes.
    pub(super) class: usize,
    /// The capacity of its allocation, in bytes.
    pub(super) full: usize,
    /// How many bytes of it were seen used.
    pub(super) used: usize,
    /// Trim passes so far.
    pub(super) passes: usize,
}

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// Keep it, but replace its memory by memory of its class's size.
    Cut,
    /// It can no longer serve its class.
    TooSmall,
}

impl Record {
    pub(super) const NEW: Self = Self {
        grown: false,
        underuses: 0,
        patience: FEW,
        since_cut: SOON,
        grew_at: 0,
    };

    /// Returns the least use that needs no decision: a return that used less has to be
    /// [judged](Record::judge). `None`: every return has to be.
    pub(super) fn least(&self, class: usize, full: usize) -> Option<usize> {
        match (is_grown(class, full), self.grown) {
            (false, false) if self.since_cut >= SOON => Some(0),
            (true, true) if self.underuses == 0 => Some(full.div_ceil(4)),
            _ => None,
        }
    }

    pub(super) fn judge(&mut self, seen: Seen) -> Verdict {
        let Seen {
            class,
            full,
            used,
            passes,
        } = seen;
        if full < class {
            return Verdict::TooSmall;
        }
        if !is_grown(class, full) {
            self.grown = false;
            self.underuses = 0;
            self.since_cut = (self.since_cut + 1).min(SOON);
        } else if !self.grown {
            self.grown = true;
            self.underuses = 0;
            self.patience = self.regrown();
            self.grew_at = passes;
        } else if used >= full.div_ceil(4) {
            self.underuses = 0;
        } else {
            self.underuses = self.underuses.saturating_add(1);
            let protected = passes.wrapping_sub(self.grew_at) < PASSES;
            if self.underuses >= if protected { self.patience } else { FEW } {
                self.grown = false;
                self.underuses = 0;
                self.since_cut = 0;
                return Verdict::Cut;
            }
        }
        Verdict::Keep
    }

    /// Returns the number of underused returns for a buffer that has grown again.
    fn regrown(&self) -> u8 {
        match self.since_cut {
            ..=AT_ONCE => self.patience.saturating_mul(4).min(MOST),
            since if since < SOON => self.patience.max(4 * FEW),
            _ => FEW,
        }
    }
}

/// Returns whether a buffer is larger than its class, by enough to matter.
fn is_grown(class: usize, full: usize) -> bool {
    full > SMALL && full / 5 > class / 4
}

// Arithmetic on a model: slow under Miri, which has nothing to find in it.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn returned(class: usize, full: usize, used: usize) -> Seen {
        Seen {
            class,
            full,
            used,
            passes: 0,
        }
    }

    #[test]
    fn a_buffer_of_its_class_or_up_to_1_kib_needs_no_decision() {
        for (class, full) in [(64, 64), (64, 1 << 10), (4096, 4096)] {
            let mut record = Record::NEW;
            for _ in 0..2 * MOST {
                assert_eq!(record.least(class, full), Some(0));
                assert_eq!(record.judge(returned(class, full, 0)), Verdict::Keep);
            }
        }
        assert_eq!(Record::NEW.least(64, (1 << 10) + 1), None);
    }

    #[test]
    fn a_buffer_has_grown_above_five_quarters_of_its_class() {
        assert!(!is_grown(4096, 5124) && is_grown(4096, 5125));
        assert!(!is_grown(64, 1 << 10) && is_grown(64, (1 << 10) + 1));
    }

    #[test]
    fn a_grown_buffer_in_good_use_needs_no_decision() {
        let mut record = Record::NEW;
        assert_eq!(record.judge(returned(64, 4096, 4000)), Verdict::Keep);
        assert_eq!(record.least(64, 4096), Some(1024));
        // One use that fills less.
        assert_eq!(record.judge(returned(64, 4096, 1023)), Verdict::Keep);
        assert_eq!(record.least(64, 4096), None);
        assert_eq!(record.judge(returned(64, 4096, 1024)), Verdict::Keep);
        assert_eq!(record.least(64, 4096), Some(1024));
    }

    const CLASS: usize = 4096;
    const LARGE: usize = 1 << 20;

    /// A buffer as the pool sees it, and what its user did.
    struct Buffer {
        full: usize,
        record: Record,
        /// Its last uses, oldest first: the bytes used, or the capacity that it was made to grow
        /// to.
        uses: VecDeque<usize>,
    }

    impl Buffer {
        fn new(class: usize) -> Self {
            let uses = VecDeque::new();
            let record = Record::NEW;
            Self {
                full: class,
                record,
                uses,
            }
        }

        /// Grows as `Vec` does.
        fn grow(&mut self, to: usize) {
            if to > self.full {
                self.full = to.max(2 * self.full);
            }
        }

        /// A use that fills `filled` bytes, of which the pool sees `seen`; returns whether the
        /// buffer was cut.
        fn used(&mut self, class: usize, filled: usize, seen: usize, passes: usize) -> bool {
            let before = self.full;
            self.grow(filled);
            let grew = if self.full > before { self.full } else { 0 };
            self.uses.push_back(seen.max(grew));
            let full = self.full;
            let plain = self
                .record
                .least(class, full)
                .is_some_and(|least| seen >= least);
            let record = self.record;
            let verdict = self.record.judge(Seen {
                class,
                full,
                used: seen,
                passes,
            });
            if plain {
                // What needs no decision is kept unchanged.
                assert_eq!((verdict, self.record), (Verdict::Keep, record));
            }
            if verdict == Verdict::Cut {
                self.full = class;
            }
            verdict == Verdict::Cut
        }
    }

    /// Returns the number of cuts in `times` requests, one after the other, each filling `fill(i)`
    /// bytes.
    fn cuts(times: usize, fill: impl Fn(usize) -> usize) -> usize {
        let mut buffer = Buffer::new(CLASS);
        (0..times)
            .filter(|&n| {
                let fill = fill(n);
                buffer.used(CLASS, fill, fill, 0)
            })
            .count()
    }

    #[test]
    fn a_buffer_of_exactly_its_class_is_never_cut() {
        assert_eq!(cuts(1000, |_| 1), 0);
        let mut window = Buffer::new(64 << 10);
        assert!((0..1000).all(|_| !window.used(64 << 10, 64 << 10, 0, 0)));
    }

    #[test]
    fn an_outlier_is_cut_back_by_the_fifth_small_use() {
        let mut buffer = Buffer::new(CLASS);
        buffer.used(CLASS, LARGE, LARGE, 0);
        let cut = (0..5).position(|_| buffer.used(CLASS, 100, 100, 0));
        assert_eq!((cut, buffer.full), (Some(4), CLASS));
    }

    #[test]
    fn a_quarter_is_use_enough() {
        assert_eq!(
            cuts(1000, |n| if n % 5 == 0 { LARGE } else { LARGE / 4 }),
            0
        );
    }

    #[test]
    fn a_cycle_is_cut_once_or_twice_and_then_left_alone() {
        for small in 1..15 {
            let cuts = cuts(10_000, |n| if n % (small + 1) == 0 { LARGE } else { 100 });
            assert!(cuts <= 2, "{small} to 1: cut {cuts} times");
        }
    }

    #[test]
    fn a_window_that_grew_and_shows_nothing_is_cut_every_80th_time() {
        let mut window = Buffer::new(CLASS);
        let cuts = (0..8000)
            .filter(|_| window.used(CLASS, LARGE, 0, 0))
            .count();
        assert!(cuts <= 100, "{cuts}");
    }

    #[test]
    fn patience_ends_with_the_third_pass_after_the_buffer_grew() {
        let mut buffer = Buffer::new(CLASS);
        let small = |buffer: &mut Buffer, passes| {
            (1..200)
                .find(|_| buffer.used(CLASS, 100, 100, passes))
                .expect("cut in the end")
        };
        for _ in 0..3 {
            buffer.used(CLASS, LARGE, LARGE, 0);
            small(&mut buffer, 0);
        }
        buffer.used(CLASS, LARGE, LARGE, 0);
        assert_eq!(small(&mut buffer, 2), 80);
        buffer.used(CLASS, LARGE, LARGE, 7);
        assert_eq!(small(&mut buffer, 10), 5);
    }

    /// 500 at once, each of which grows to 256 KiB one time in 50.
    #[test]
    fn bursts_keep_a_few_times_what_they_need() {
        let mut buffers: Vec<_> = (0..500).map(|_| Buffer::new(CLASS)).collect();
        let mut random = 12345_u32;
        let mut most = 0;
        for burst in 0..200 {
            for buffer in &mut buffers {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let fill = if (random >> 16) % 50 == 0 {
                    256 << 10
                } else {
                    100
                };
                buffer.used(CLASS, fill, fill, burst / 50);
            }
            most = most.max(buffers.iter().map(|one| one.full).sum());
        }
        // Ten grow per burst: 2.5 MiB of 4.4 MiB.
        assert!(most < 30 << 20, "{} MiB", most >> 20);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Get(usize),
        Fill(usize, usize),
        Consume(usize),
        Drop(usize),
        Pass,
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = || prop_oneof![6 => 1usize..8000, 2 => 8000usize..100_000, 1 => Just(LARGE)];
        prop_oneof![
            6 => prop_oneof![Just(0usize), Just(64), Just(1024), Just(CLASS), Just(64 << 10)].prop_map(Step::Get),
            6 => (0usize..8, size()).prop_map(|(at, size)| Step::Fill(at, size)),
            2 => (0usize..8).prop_map(Step::Consume),
            6 => (0usize..8).prop_map(Step::Drop),
            1 => Just(Step::Pass),
        ]
    }

    struct InUse {
        class: usize,
        filled: usize,
        seen: usize,
        buffer: Buffer,
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 256,
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// The bounds stated in the docs, for any sequence of requests: a class never has more idle
        /// buffers than were in use at once; each is as large as its class, or at most four times
        /// what one of its last uses filled; and so is the buffer that a request gets.
        #[test]
        fn what_is_idle_follows_use(steps in prop::collection::vec(step(), 1..600)) {
            let mut idle: Vec<(usize, Buffer)> = Vec::new();
            let mut in_use: Vec<InUse> = Vec::new();
            let mut most_in_use = std::collections::BTreeMap::<usize, usize>::new();
            let mut passes = 0;
            for step in steps {
                match step {
                    Step::Get(class) => {
                        let at = idle.iter().rposition(|(of, _)| *of == class);
                        let buffer = at.map_or_else(|| Buffer::new(class), |at| idle.remove(at).1);
                        prop_assert!(buffer.full >= class);
                        in_use.push(InUse { class, filled: 0, seen: 0, buffer });
                        let count = in_use.iter().filter(|one| one.class == class).count();
                        let most = most_in_use.entry(class).or_default();
                        *most = count.max(*most);
                    }
                    Step::Fill(at, size) => {
                        let len = in_use.len().max(1);
                        if let Some(one) = in_use.get_mut(at % len) {
                            one.filled = one.filled.max(size);
                            one.seen = size;
                        }
                    }
                    Step::Consume(at) => {
                        let len = in_use.len().max(1);
                        if let Some(one) = in_use.get_mut(at % len) {
                            one.seen = 0;
                        }
                    }
                    Step::Drop(at) if !in_use.is_empty() => {
                        let InUse { class, filled, seen, mut buffer } = in_use.swap_remove(at % in_use.len());
                        buffer.used(class, filled, seen, passes);
                        idle.push((class, buffer));
                    }
                    Step::Drop(_) => {}
                    Step::Pass => passes += 1,
                }
                for (class, buffer) in &idle {
                    let last = |uses: usize| buffer.uses.iter().rev().take(uses).max().copied().unwrap_or(0);
                    let bound = (4 * last(MOST.into())).max(*class + *class / 4).max(SMALL);
                    prop_assert!(buffer.full <= bound, "{} of {class}, bound {bound}", buffer.full);
                }
                for (class, most) in &most_in_use {
                    let count = idle.iter().filter(|(of, _)| of == class).count();
                    prop_assert!(count <= *most);
                }
            }
        }
    }
}
