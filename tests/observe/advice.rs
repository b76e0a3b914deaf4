//! Advice from the figures of a pool: each kind of advice has a load that leads to it, and a
//! similar load that does not.

use repool::{Advice, Budget, Builder, Pool, Pooled, Stats};

type Page = Vec<u8>;

fn pages() -> Builder<Page> {
    Pool::builder(|| Vec::with_capacity(4096)).trim_manually()
}

/// Runs 2000 requests, one at a time; `each` does something with the guard.
fn run(pool: &Pool<Page>, each: impl Fn(usize, Pooled<Page>)) -> Vec<Advice> {
    (0..2_000).for_each(|round| each(round, pool.get()));
    pool.stats().advice()
}

fn use_one(_: usize, page: Pooled<Page>) {
    drop(page);
}

#[test]
fn a_pool_that_earns_its_keep_gets_none() {
    assert_eq!(run(&pages().build(), use_one), []);
    // Bursts, passes in between, some drops because of a limit.
    let pool = pages().max_idle(90).build();
    for _ in 0..50 {
        drop((0..100).map(|_| pool.get()).collect::<Vec<_>>());
        let _ = pool.trim();
    }
    assert_eq!(pool.stats().advice(), [], "{}", pool.stats());
}

#[test]
fn nothing_is_said_before_a_thousand_requests() {
    let pool = pages().max_idle(0).build();
    (0..999).for_each(|_| drop(pool.get()));
    assert_eq!(pool.stats().advice(), []);
    drop(pool.get());
    assert_eq!(pool.stats().advice().len(), 1);
}

#[test]
fn requests_while_switched_off_do_not_count() {
    let pool = pages().build();
    pool.set_enabled(false);
    assert_eq!(run(&pool, use_one), []);
    pool.set_enabled(true);
    assert_eq!(run(&pool, use_one), []);
}

/// Runs resets of which this many in ten refuse the object.
fn refusing(of_ten: usize) -> Vec<Advice> {
    let pool = Pool::builder(Page::new)
        .reset(move |page| {
            let keep = page.capacity() >= 4096;
            page.clear();
            keep
        })
        .trim_manually()
        .build();
    run(&pool, |round, mut page| {
        if round % 10 < of_ten {
            *page = Vec::new();
        } else {
            page.reserve(4096);
        }
    })
}

#[test]
fn few_hits_for_no_other_reason() {
    let advice = refusing(6);
    let [Advice::LowHitRate { hit_rate }] = advice[..] else {
        panic!("{advice:?}");
    };
    assert!((0.35..0.45).contains(&hit_rate), "{hit_rate}");
    assert!(
        advice[0].to_string().starts_with("only 40."),
        "{}",
        advice[0]
    );
    assert_eq!(refusing(4), []);
}

#[test]
fn objects_that_an_allocator_serves_as_quickly() {
    let of = |bytes: usize| {
        let pool = Pool::builder(move || Page::with_capacity(bytes - size_of::<Page>()));
        run(&pool.trim_manually().build(), use_one)
    };
    assert_eq!(of(100), [Advice::SmallObjects { mean_bytes: 100 }]);
    assert!(of(100)[0].to_string().contains("100 bytes"));
    // These are small as far as the pool knows.
    struct Context(#[expect(dead_code, reason = "opaque")] Box<[u8]>);
    let create = || Context(Box::default());
    let stats = |pool: Pool<Context>| {
        (0..2_000).for_each(|_| drop(pool.get()));
        pool.stats()
    };
    let unknown = stats(Pool::with_reset(create, |_| true));
    assert_eq!((unknown.advice(), unknown.unweighed), (vec![], true));
    let line = format!("1 idle (at least {} bytes)", size_of::<Context>());
    assert!(unknown.to_string().contains(&line), "{unknown}");
    let builder = Pool::builder(create).reset(|_| true);
    let known = stats(builder.retained_bytes(|_| 100).build());
    assert_eq!((known.advice().len(), known.unweighed), (1, false));
    assert_eq!(of(1_023), [Advice::SmallObjects { mean_bytes: 1_023 }]);
    assert_eq!(of(1_024), []);
}

#[test]
fn objects_that_passes_drop_before_they_serve_again() {
    let used = |times: usize| {
        let pool = pages().build();
        for _ in 0..10 {
            (0..times).for_each(|_| drop((0..100).map(|_| pool.get()).collect::<Vec<_>>()));
            while pool.trim().objects == 0 {}
        }
        pool.stats().advice()
    };
    let advice = used(1);
    assert_eq!(
        advice,
        [Advice::RarelyUsed {
            uses: 1.0,
            trimmed: 1.0
        }]
    );
    let words = advice[0].to_string();
    assert!(
        words.contains("1.0 requests") && words.contains("`min_idle`"),
        "{words}"
    );
    assert_eq!(used(2), []);
}

#[test]
fn objects_that_come_back_too_large() {
    let grown = |of_twenty: usize| {
        let pool = pages().max_object_bytes(10_000).build();
        run(&pool, |round, mut page| {
            if round % 20 < of_twenty {
                page.reserve(50_000);
            }
        })
    };
    let advice = grown(3);
    assert_eq!(advice, [Advice::Oversize { share: 0.15 }]);
    assert!(advice[0].to_string().starts_with("15.0 % of requests"));
    assert_eq!(grown(2), []);
}

#[test]
fn limits_that_refuse_what_is_missed_at_once() {
    let held = |pool: &Pool<Page>, count: usize| {
        (0..500).for_each(|_| drop((0..count).map(|_| pool.get()).collect::<Vec<_>>()));
        pool.stats().advice()
    };
    let pool = pages().max_idle(2).build();
    let advice = held(&pool, 4);
    let [
        Advice::LimitsTooTight {
            share,
            budget: false,
        },
    ] = advice[..]
    else {
        panic!("{advice:?}");
    };
    assert!((0.4..0.7).contains(&share), "{share}");
    assert!(advice[0].to_string().contains("`max_idle`"));
    // As many as are in use.
    assert_eq!(held(&pages().max_idle(4).build(), 4), []);

    let pool = pages().budget(Budget::new(10_000)).build();
    let advice = held(&pool, 4);
    assert!(
        matches!(advice[..], [Advice::LimitsTooTight { budget: true, .. }]),
        "{advice:?}"
    );
    assert!(advice[0].to_string().contains("`budget`"));
    // Refused once, and not missed.
    let pool = pages().max_idle(2).build();
    drop((0..400).map(|_| pool.get()).collect::<Vec<_>>());
    (0..8_000).for_each(|_| drop(pool.get()));
    assert_eq!(pool.stats().advice(), []);
}

#[test]
fn guards_that_are_held_for_ever() {
    let pool = pages().build();
    let held: Vec<_> = (0..1_500).map(|_| pool.get()).collect();
    let advice = pool.stats().advice();
    assert_eq!(
        advice,
        [Advice::NotReturned {
            kept: 1_500,
            handed_out: 1_500
        }]
    );
    assert!(advice[0].to_string().starts_with("1500 of 1500 objects"));
    drop(held);
    (0..1_600).for_each(|_| drop(pool.get()));
    assert_eq!(pool.stats().advice(), []);
    // Objects that leave for good.
    let advice = run(&pages().build(), |_, page| drop(Pooled::into_inner(page)));
    assert_eq!(
        advice,
        [Advice::NotReturned {
            kept: 2_000,
            handed_out: 2_000
        }]
    );
    let advice = run(&pages().build(), |round, page| match round % 3 {
        0 => drop(Pooled::into_inner(page)),
        _ => drop(page),
    });
    assert_eq!(advice, []);
}

#[cfg(feature = "bytes")]
#[test]
fn buffers_that_are_requested_far_larger_than_they_are_filled() {
    use repool::BufferPool;
    let filled = |bytes: usize| {
        let pool = BufferPool::builder().trim_manually().build();
        for _ in 0..100 {
            let mut all: [_; 16] = std::array::from_fn(|_| pool.get(8_192));
            all.iter_mut().for_each(|buffer| buffer.resize(bytes, 7));
        }
        pool.stats()
    };
    let stats = filled(82);
    // The first use of each buffer; every use where buffers are wiped.
    let looks = if cfg!(feature = "zeroize") { 1_600 } else { 16 };
    assert!(!stats.unweighed);
    let looked_at = (stats.looked_at_bytes, stats.used_bytes);
    assert_eq!(looked_at, (looks * 8_192, looks * 82));
    let advice = stats.advice();
    assert!(
        matches!(advice[..], [Advice::RequestsTooLarge { .. }]),
        "{advice:?}"
    );
    assert!(
        advice[0]
            .to_string()
            .starts_with("1.0 % of the requested capacity"),
        "{}",
        advice[0]
    );
    // One twelfth is 682.
    assert_eq!(filled(640).advice().len(), 1);
    assert_eq!(filled(720).advice(), []);
    // A buffer that was not filled at all says nothing.
    assert_eq!(filled(0).looked_at_bytes, 0);
}

// -------------------------------------------------------------------- where the thresholds come from

/// Numbers that look random and are the same in every run: SplitMix64.
struct Dice(u64);

impl Dice {
    /// A number from 0 to 1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.roll()).sum::<f64>() - 6.0
    }
}

/// Returns the share of 2,000 trials for which this is true.
fn share(mut of: impl FnMut() -> bool) -> f64 {
    (0..2_000).filter(|_| of()).count() as f64 / 2_000.0
}

/// Returns the share of pools that get the advice when `percent` of their requests end with an
/// object too large, after this many requests.
fn called_oversize(percent: f64, requests: u64) -> f64 {
    let mut dice = Dice(percent as u64);
    share(|| {
        let mut stats = Stats::default();
        stats.discarded_by.oversize = (0..requests)
            .filter(|_| dice.roll() < percent / 100.0)
            .count() as u64;
        // As if ten times as much had been seen, because an answer takes a thousand requests.
        let scale = 1_000_u64.div_ceil(requests);
        stats.discarded_by.oversize *= scale;
        stats.reused = requests * scale;
        let is_oversize = |advice: &Advice| matches!(advice, Advice::Oversize { .. });
        stats.advice().iter().any(is_oversize)
    })
}

/// Why there is no advice before a thousand requests.
#[test]
fn a_thousand_requests_tell_a_tenth_from_a_fifth_more_or_less() {
    assert!(called_oversize(8.0, 1_000) < 0.05);
    assert!(called_oversize(12.0, 1_000) > 0.95);
    assert!(called_oversize(8.0, 100) > 0.1, "a hundred do not");
}

/// Returns the share of pools of sixteen buffers that get the advice if their users request what
/// this share of their contents fits in.
fn called_too_large(content: impl Fn(&mut Dice) -> f64, request: f64) -> f64 {
    let mut dice = Dice(5);
    share(|| {
        let used = |dice: &mut Dice| (content(dice).min(request) / request * 4096.0) as u64;
        let mut stats = Stats::default();
        stats.used_bytes = (0..16).map(|_| used(&mut dice)).sum();
        stats.looked_at_bytes = 16 * 4096;
        (stats.created, stats.reused) = (16, 2_000);
        (stats.idle, stats.idle_bytes) = (16, 16 * 4096);
        !stats.advice().is_empty()
    })
}

/// Why a twelfth, and of sixteen buffers: users who size for 99 of 100 contents get no advice, even
/// if a few contents are far larger than most; users who size for more than that usually get it
/// where it costs much.
#[test]
fn requests_that_fit_99_of_100_contents_are_not_called_too_large() {
    let exponential = |dice: &mut Dice| -(1.0 - dice.roll()).ln();
    let log_normal = |dice: &mut Dice| dice.normal().exp();
    assert!(
        called_too_large(exponential, 4.605) < 0.02,
        "their 99th percentile"
    );
    assert!(called_too_large(log_normal, 10.24) < 0.03, "likewise");
    assert!(called_too_large(log_normal, 21.98) > 0.5, "999 of 1000");
    assert!(
        called_too_large(exponential, 13.82) > 0.6,
        "all but one of a million"
    );
}
