//! Counters and snapshots without a pool.

use super::*;

fn part(reused: usize, returned: usize, idle: usize, idle_bytes: usize) -> PartStats {
    PartStats {
        reused,
        returned,
        idle,
        idle_bytes,
    }
}

/// A snapshot without caches and depot.
fn of(counters: &Counters) -> Stats {
    Stats::of(counters, PartStats::default(), PartStats::default())
}

const REASONS: [Reason; Reason::COUNT] = [
    Reason::Oversize,
    Reason::Full,
    Reason::Budget,
    Reason::Reset,
    Reason::Panic,
    Reason::Closed,
    Reason::SwitchedOff,
    Reason::User,
    Reason::Underused,
];

/// Counts something different of everything. The k-th reason has k + 1 discarded objects.
fn counted() -> Counters {
    let counters = Counters::new();
    (0..100).for_each(|_| counters.created());
    (0..20).for_each(|_| counters.adopted());
    (0..3).for_each(|_| counters.taken());
    counters.reused(70);
    counters.returned(80);
    counters.trimmed(4);
    counters.looked_at(1000, 300);
    for (index, reason) in REASONS.into_iter().enumerate() {
        counters.discarded(reason, index + 1);
    }
    counters
}

#[test]
fn parts_are_summed_up() {
    let Stats {
        reused,
        returned,
        idle,
        idle_bytes,
        ..
    } = Stats::of(
        &counted(),
        part(1, 2, 3, 40).plus(part(10, 20, 30, 400)),
        part(0, 0, 5, 5000),
    );
    assert_eq!((reused, returned, idle, idle_bytes), (81, 102, 38, 5440));
}

#[test]
fn every_object_is_somewhere() {
    let stats = Stats::of(&counted(), part(0, 0, 7, 0), part(0, 0, 1, 0));
    assert_eq!((stats.created, stats.adopted), (100, 20));
    assert_eq!((stats.trimmed, stats.taken), (4, 3));
    assert_eq!(stats.discarded, (1..=9).sum());
    assert_eq!((stats.idle, stats.in_use), (8, 120 - 45 - 7 - 8));
    assert_eq!((stats.looked_at_bytes, stats.used_bytes), (1000, 300));
    // A batch that moves may be counted twice.
    let stats = Stats::of(&counted(), part(0, 0, 67, 0), part(0, 0, 64, 0));
    assert_eq!((stats.idle, stats.in_use), (68, 0));
    // Or an object that has gone be seen before the one that came.
    let early = Counters::new();
    early.trimmed(1);
    assert_eq!((of(&early).idle, of(&early).in_use), (0, 0));
}

#[test]
fn reasons_have_their_own_counts() {
    let by = of(&counted()).discarded_by;
    let names = [
        "oversize",
        "full",
        "budget",
        "reset",
        "panic",
        "closed",
        "switched_off",
        "user",
        "underused",
    ];
    assert!(by.by_reason().eq(names.into_iter().zip(1..)));
    assert_eq!(by.total(), 45);
}

#[test]
fn reuses_never_go_back() {
    let counters = Counters::new();
    let reused = |caches| Stats::of(&counters, part(caches, 0, 0, 0), PartStats::default()).reused;
    assert_eq!(reused(5), 5);
    assert_eq!(reused(3), 5);
    assert_eq!(
        reused(0_usize.wrapping_sub(2)),
        5,
        "seen before they came in"
    );
    assert_eq!(reused(6), 6);
    assert_eq!(reused(usize::MAX), 6);
    assert_eq!(reused(0), 6);
}

#[test]
fn peaks_are_the_most_that_was_seen() {
    let counters = Counters::new();
    (0..10).for_each(|_| counters.created());
    let peaks = |idle| {
        let stats = Stats::of(&counters, part(0, 0, idle, 0), PartStats::default());
        (stats.peak_idle, stats.peak_in_use)
    };
    assert_eq!([peaks(4), peaks(6), peaks(5)], [(4, 6), (6, 6), (6, 6)]);
    assert_eq!(peaks(1), (6, 9));
    let peak = StatU32::new(0);
    let most = u64::from(u32::MAX);
    assert_eq!(
        [raise(&peak, 7), raise(&peak, 3), raise(&peak, 1 << 40)],
        [7, 7, most]
    );
}

#[test]
fn peaks_are_looked_at_when_a_pool_has_grown_by_a_64th() {
    let counters = Counters::new();
    assert!(counters.has_grown_to(1));
    assert!(!counters.has_grown_to(1) && counters.has_grown_to(2));
    assert!(counters.has_grown_to(128));
    assert!(!counters.has_grown_to(130) && counters.has_grown_to(131));
    assert!(!counters.has_grown_to(133) && counters.has_grown_to(134));
}

#[test]
fn what_limits_refused_is_counted_from_pass_to_pass() {
    let counters = counted();
    assert_eq!(counters.refused_since_pass(), (2, 3));
    assert_eq!(counters.refused_since_pass(), (0, 0));
    counters.discarded(Reason::Full, 4);
    counters.discarded(Reason::User, 9);
    assert_eq!(counters.refused_since_pass(), (4, 0));
    counters.discarded(Reason::Budget, 1);
    assert_eq!(counters.refused_since_pass(), (0, 1));
}

#[test]
fn returns_that_bypass_the_caches_are_counted() {
    assert_eq!(counted().returned_directly(), 80);
}

#[test]
fn requests_while_off_count_as_created_and_discarded() {
    let mut stats = of(&counted());
    let before = stats;
    stats.add_off(5);
    assert_eq!(
        (stats.created, stats.discarded),
        (before.created + 5, before.discarded + 5)
    );
    assert_eq!(
        stats.discarded_by.switched_off,
        before.discarded_by.switched_off + 5
    );
    assert_eq!(stats.discarded_by.total(), stats.discarded);
}

#[test]
fn all_that_a_pool_counts_is_added_to_that_of_another() {
    let one = Stats::of(&counted(), part(1, 2, 3, 40), part(0, 0, 4, 5));
    let mut two = one;
    two.add(&one);
    let fields = |stats: &Stats| {
        let text = format!("{stats:?}");
        text.split(|not: char| !not.is_ascii_digit())
            .filter_map(|number| number.parse::<u64>().ok())
            .collect::<Vec<_>>()
    };
    let (one, two) = (fields(&one), fields(&two));
    assert_eq!(one.len(), 14 + Reason::COUNT);
    assert!(one.iter().all(|&figure| figure > 0), "{one:?}");
    assert!(
        two.iter().eq(one
            .iter()
            .map(|figure| 2 * figure)
            .collect::<Vec<_>>()
            .iter())
    );
}

#[test]
fn one_pool_of_unknown_weights_makes_the_sum_unknown() {
    for (one, other) in [(false, false), (false, true), (true, false), (true, true)] {
        let pool = |unweighed| Stats {
            unweighed,
            ..Stats::default()
        };
        let mut sum = pool(one);
        sum.add(&pool(other));
        assert_eq!(sum.unweighed, one || other);
    }
}

#[test]
fn the_hit_rate_is_of_all_requests() {
    let rate = |reused, created| {
        let stats = Stats {
            reused,
            created,
            ..Stats::default()
        };
        stats.hit_rate()
    };
    assert_eq!(
        [rate(0, 0), rate(3, 1), rate(0, 4), rate(4, 0)],
        [0.0, 0.75, 0.0, 1.0]
    );
}

#[test]
fn a_line_of_a_log_has_all_that_matters() {
    let line = |discarded_by| {
        let stats = Stats {
            in_use: 1,
            idle: 2,
            idle_bytes: 3,
            created: 4,
            reused: 12,
            trimmed: 5,
            discarded: 6,
            discarded_by,
            peak_in_use: 7,
            peak_idle: 8,
            ..Stats::default()
        };
        stats.to_string()
    };
    let none = Discarded::default();
    let begin =
        "1 in use, 2 idle (3 bytes), 4 created, 12 reused (75.0 % hits), 5 trimmed, 6 discarded";
    let end = ", at most 7 in use and 8 idle";
    assert_eq!(line(none), format!("{begin}{end}"));
    let some = Discarded {
        full: 2,
        user: 4,
        ..none
    };
    assert_eq!(line(some), format!("{begin} (2 full, 4 user){end}"));
}
