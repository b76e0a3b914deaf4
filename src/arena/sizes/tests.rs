//! The size policy alone: a model of arenas that never allocates, under any sequence of requests.

use super::*;
use proptest::prelude::*;

/// Rounds a chunk up as bumpalo does.
fn rounded(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        _ => (bytes + OVERHEAD).next_multiple_of(PAGE) - OVERHEAD,
    }
}

/// What a request does.
#[derive(Clone, Copy, Debug)]
struct Request {
    /// The most bytes in use at any time.
    needs: usize,
    /// The bytes in use at its end.
    leaves: usize,
    /// Whether it needs its bytes in one piece.
    at_once: bool,
}

impl Request {
    fn of(bytes: usize) -> Self {
        Self {
            needs: bytes,
            leaves: bytes,
            at_once: false,
        }
    }
}

struct Arena {
    size: Size,
    /// The model's count of requests at the first quiet one since this arena was last used well.
    quiet_since: usize,
    is_quiet: bool,
}

/// Arenas, each used by one request at a time.
struct Model {
    sizes: Sizes,
    arenas: Vec<Arena>,
    /// What each request so far took, in bytes: all chunks of an arena that it has grown, and otherwise what it needed.
    took: Vec<usize>,
}

impl Model {
    fn new(arenas: usize) -> Self {
        let sizes = Sizes::new(FIRST, usize::MAX);
        let arena = |_| Arena {
            size: Size::new(rounded(FIRST), &sizes),
            quiet_since: 0,
            is_quiet: false,
        };
        let arenas = (0..arenas).map(arena).collect();
        Self {
            sizes,
            arenas,
            took: Vec::new(),
        }
    }

    /// Applies a request to an arena; returns `Some` if its chunk was replaced.
    fn serve(&mut self, at: usize, request: Request) -> Option<End> {
        let arena = &mut self.arenas[at];
        let size = &mut arena.size;
        let (mut total, mut newest) = (size.kept(), size.kept());
        while total < request.needs {
            let piece = if request.at_once {
                request.needs
            } else {
                request.needs - total
            };
            newest = rounded((2 * newest).max(piece.min(1000)));
            if request.at_once {
                newest = newest.max(rounded(piece));
            }
            total += newest;
        }
        let free = newest.min(total - request.leaves);
        let used = total - free;
        let grew = total > size.kept();
        self.took.push(if grew { total } else { request.needs });
        let quiet = total == size.kept() && used < self.sizes.least(total);
        if quiet && !arena.is_quiet {
            arena.quiet_since = self.took.len();
        }
        arena.is_quiet = quiet;
        if size.is_usual(total, free, |size, used| size.tell(used, &self.sizes)) {
            return None;
        }
        let end = size.end(total, used, &self.sizes);
        match end {
            End::Keep => return None,
            End::Remake(bytes) => size.remade(rounded(bytes), &self.sizes),
            End::Refuse => unreachable!("there is no limit"),
        }
        Some(end)
    }

    fn kept(&self) -> Vec<usize> {
        self.arenas.iter().map(|arena| arena.size.kept()).collect()
    }

    fn patience(&self) -> usize {
        PATIENCE[self.sizes.patience()]
    }

    /// Returns how many requests may not have been counted yet.
    fn uncounted(&self) -> usize {
        usize::from(PERIOD) * self.arenas.len()
    }

    /// Asserts the bound on what an arena that has just come back keeps.
    fn check(&self, at: usize, patience: usize) {
        let arena = &self.arenas[at];
        let kept = arena.size.kept();
        let window = patience + self.uncounted();
        let served = self.took.len();
        let lately = &self.took[served.saturating_sub(window)..];
        let most = lately.iter().copied().max().unwrap_or(0);
        let is_spared = !arena.is_quiet || served - arena.quiet_since <= window;
        // A quarter of what is kept is at most the level of what was taken, which is rounded up to a power of two.
        let bound = 8 * (most.max(FIRST) + OVERHEAD);
        assert!(
            kept <= self.sizes.floor() || kept <= bound || is_spared,
            "{kept} bytes, and {most} were the most that {window} requests took"
        );
    }
}

#[derive(Clone, Debug)]
enum Op {
    Serve(usize, Request),
    /// The same small request in each arena in turn, this many times.
    Quiet(usize),
    Pass,
}

const ARENAS: usize = 6;

fn request() -> impl Strategy<Value = Request> {
    let bytes = prop_oneof![
        4 => 0_usize..4_000,
        2 => 4_000_usize..60_000,
        1 => 60_000_usize..20_000_000,
    ];
    (bytes, 0_usize..=4, any::<bool>()).prop_map(|(needs, quarters, at_once)| Request {
        needs,
        leaves: needs * quarters / 4,
        at_once,
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => (0..ARENAS, request()).prop_map(|(at, request)| Op::Serve(at, request)),
        2 => (1_usize..12).prop_map(Op::Quiet),
        1 => Just(Op::Pass),
    ]
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// What an arena keeps is bounded by what the pool's last requests took; and after any
    /// history, a spike is gone after a bounded number of quiet requests of the pool.
    #[test]
    fn what_arenas_keep_is_bounded_by_what_was_taken_lately(
        arenas in 1..=ARENAS,
        ops in prop::collection::vec(op(), 0..400),
    ) {
        let mut model = Model::new(arenas);
        for op in ops {
            match op {
                Op::Serve(at, request) => {
                    let patience = model.patience();
                    let _ = model.serve(at % arenas, request);
                    model.check(at % arenas, patience);
                }
                Op::Quiet(rounds) => {
                    for at in (0..arenas).cycle().take(rounds * arenas) {
                        let patience = model.patience();
                        let _ = model.serve(at, Request::of(100));
                        model.check(at, patience);
                    }
                }
                Op::Pass => model.sizes.pass(),
            }
        }
        // One request per arena to see that it is quiet, then the patience, then one per arena to
        // be cut.
        let bound = model.patience() + model.uncounted() + 2 * arenas;
        for at in (0..arenas).cycle().take(bound) {
            let _ = model.serve(at, Request::of(100));
        }
        for kept in model.kept() {
            prop_assert!(kept <= model.sizes.floor(), "{kept} after {bound} quiet requests");
        }
    }

    #[test]
    fn an_arena_of_which_a_quarter_is_used_each_time_is_never_cut(
        uses in prop::collection::vec(25_usize..=100, 1..200),
        bytes in 20_000_usize..20_000_000,
    ) {
        let mut model = Model::new(1);
        let _ = model.serve(0, Request::of(bytes));
        let kept = model.kept();
        for percent in uses {
            let _ = model.serve(0, Request::of((kept[0] * percent).div_ceil(100)));
            prop_assert_eq!(&model.kept(), &kept);
        }
    }

    #[test]
    fn the_same_request_never_grows_an_arena_twice_in_a_row(request in request()) {
        let mut model = Model::new(1);
        let _ = model.serve(0, request);
        let kept = model.kept();
        for _ in 0..3 {
            let _ = model.serve(0, request);
            prop_assert_eq!(&model.kept(), &kept);
        }
    }
}

/// Returns the number of quiet requests of arena 0 until it is cut.
fn until_cut(model: &mut Model) -> usize {
    (1..=2 * PATIENCE[PATIENCE.len() - 1])
        .find(|_| model.serve(0, Request::of(100)).is_some())
        .expect("it is cut some time")
}

#[test]
fn a_cut_arena_that_grows_again_soon_raises_the_patience() {
    let mut model = Model::new(1);
    for patience in PATIENCE.into_iter().chain([PATIENCE[PATIENCE.len() - 1]]) {
        let _ = model.serve(0, Request::of(1 << 20));
        assert_eq!(until_cut(&mut model), patience);
    }
}

/// Returns a model whose arena was cut too early three times.
fn most_patient() -> Model {
    let mut model = Model::new(1);
    for _ in 0..3 {
        let _ = model.serve(0, Request::of(1 << 20));
        let _ = until_cut(&mut model);
    }
    assert_eq!(model.patience(), 80);
    model
}

#[test]
fn a_cut_that_stands_its_trial_lowers_the_patience_by_one_step() {
    let mut model = most_patient();
    for patience in [20, 5, 5] {
        for _ in 0..TRIAL * 80 + usize::from(PERIOD) {
            let _ = model.serve(0, Request::of(100));
        }
        let _ = model.serve(0, Request::of(1 << 20));
        assert_eq!(until_cut(&mut model), patience);
    }
}

#[test]
fn a_pass_lowers_the_patience_by_one_step() {
    let model = most_patient();
    for patience in [20, 5, 5] {
        model.sizes.pass();
        assert_eq!(model.patience(), patience);
    }
}

#[test]
fn one_spike_on_many_arenas_is_one_mistake() {
    let mut model = Model::new(ARENAS);
    let spike = |model: &mut Model| {
        for at in 0..ARENAS {
            let _ = model.serve(at, Request::of(4 << 20));
        }
    };
    spike(&mut model);
    for at in (0..ARENAS).cycle().take(2 * ARENAS) {
        let _ = model.serve(at, Request::of(100));
    }
    spike(&mut model);
    assert_eq!(model.patience(), 20);
}

#[test]
fn a_spike_is_gone_once_each_arena_has_served_one_request_after_the_patience() {
    let mut model = Model::new(16);
    for at in 0..16 {
        let _ = model.serve(at, Request::of(4 << 20));
    }
    // Two rounds: 4 of the first are within the patience.
    for round in [12, 16] {
        for at in 0..16 {
            let _ = model.serve(at, Request::of(100));
        }
        let small = model.kept().iter().filter(|kept| **kept == FIRST).count();
        assert_eq!(small, round);
    }
}

#[test]
fn a_cycle_that_the_patience_outlasts_costs_nothing_after_a_few_rounds() {
    for quiet in 1..=24 {
        let mut model = Model::new(1);
        let round = |model: &mut Model| {
            let mut remade = usize::from(model.serve(0, Request::of(1 << 20)).is_some());
            for _ in 0..quiet {
                remade += usize::from(model.serve(0, Request::of(500)).is_some());
            }
            remade
        };
        let first: usize = (0..4).map(|_| round(&mut model)).sum();
        assert!(first <= 5, "{quiet}: {first}");
        let later: usize = (0..100).map(|_| round(&mut model)).sum();
        assert_eq!(later, 0, "{quiet}");
    }
}

#[test]
fn what_one_arena_is_used_for_keeps_the_others_large() {
    // Also if requests are reported only once in a period.
    let mut model = Model::new(2);
    for _ in 0..3 {
        let _ = model.serve(0, Request::of(1 << 20));
        let _ = until_cut(&mut model);
    }
    for at in [0, 1] {
        let _ = model.serve(at, Request::of(1 << 20));
    }
    let kept = model.kept();
    assert!(kept[1] > 1 << 20 && model.patience() > 3 * usize::from(PERIOD));
    for _ in 0..200 {
        let _ = model.serve(0, Request::of(1 << 20));
        let _ = model.serve(1, Request::of(100));
    }
    assert_eq!(model.kept(), kept);
}

#[test]
fn an_arena_above_the_limit_is_refused_and_one_within_is_not() {
    let sizes = Sizes::new(FIRST, 100_000);
    let mut size = Size::new(FIRST, &sizes);
    assert_eq!(size.end(50_000, 40_000, &sizes), End::Remake(50_000));
    size.remade(50_000, &sizes);
    assert_eq!(size.end(100_000, 60_000, &sizes), End::Remake(100_000));
    assert_eq!(size.end(100_001, 60_000, &sizes), End::Refuse);
    assert_eq!(size.kept(), 100_001, "what the pool refuses it for");
    assert_eq!(Sizes::new(FIRST, 1_000).first(), 1_000);
}

#[test]
fn each_level_holds_what_is_within_its_bound_and_nothing_less() {
    for at in 0..LEVELS - 1 {
        assert_eq!(level(bound(at)), at);
        assert_eq!(level(bound(at) + 1), at + 1);
    }
    assert_eq!((level(0), bound(0)), (0, FIRST));
    assert_eq!(
        (level(usize::MAX), bound(LEVELS - 1)),
        (LEVELS - 1, usize::MAX)
    );
}

#[test]
fn an_arena_of_the_first_size_is_never_quiet() {
    for first in [0, 1000, FIRST, FIRST + 1, 100_000] {
        let sizes = Sizes::new(first, usize::MAX);
        let floor = sizes.floor();
        assert!(floor >= rounded(first) && floor % PAGE == 0);
        assert_eq!((sizes.least(floor), sizes.least(1)), (0, 0));
        assert_eq!(sizes.least(floor + QUIET), (floor + QUIET) / QUIET);
    }
    assert_eq!(Sizes::new(100, 77).limit(), 77);
}

#[test]
fn a_late_report_hides_no_newer_need() {
    let sizes = Sizes::new(FIRST, usize::MAX);
    let bytes = bound(5);
    sizes.need(bytes, 100, 100);
    assert_eq!(sizes.lately(104, 5), bytes);
    assert_eq!(sizes.lately(105, 5), 0);
    sizes.need(bytes, 10, 100);
    assert_eq!(sizes.lately(104, 5), bytes);
    sizes.need(bytes, 102, 103);
    assert_eq!(sizes.lately(106, 5), bytes);
    // The count wraps around.
    sizes.need(bytes, usize::MAX, usize::MAX);
    sizes.need(bytes, 0, 1);
    assert_eq!(sizes.lately(3, 5), bytes);
}

#[test]
fn a_request_that_fits_and_is_not_quiet_takes_the_fast_path() {
    let sizes = Sizes::new(FIRST, usize::MAX);
    let mut size = Size::new(100_000, &sizes);
    let spare = 100_000 - 25_000;
    let never = |_: &mut Size, _| panic!("not a period yet");
    assert!(!size.is_usual(100_001, 0, never) && !size.is_usual(99_999, 0, never));
    assert!(!size.is_usual(100_000, spare + 1, never));
    let mut told = Vec::new();
    for requests in 1..=2 * usize::from(PERIOD) {
        let tell = |size: &mut Size, used| {
            size.tell(used, &sizes);
            told.push((requests, used));
        };
        assert!(size.is_usual(100_000, spare, tell));
    }
    assert_eq!(told, [(16, 25_000), (32, 25_000)]);
    assert_eq!((sizes.count(0), sizes.lately(32, 1)), (32, bound(3)));
    size.set_unusual();
    assert!(!size.is_usual(100_000, 0, never));
}

#[test]
fn the_patience_stays_within_its_steps() {
    let sizes = Sizes::new(FIRST, usize::MAX);
    let last = PATIENCE.len() - 1;
    let cut = |patience| Cut {
        at: 0,
        passes: 0,
        from: 0,
        patience,
    };
    sizes.was_mistaken(cut(0));
    assert_eq!(sizes.patience(), 1);
    sizes.was_mistaken(cut(last));
    sizes.was_mistaken(cut(last));
    assert_eq!(sizes.patience(), last);
    sizes.was_mistaken(cut(0));
    assert_eq!(sizes.patience(), last, "an old mistake lowers nothing");
    sizes.was_right(cut(0));
    assert_eq!(sizes.patience(), last, "nor is it right about a longer one");
    sizes.was_right(cut(last));
    assert_eq!(sizes.patience(), last - 1);
    (0..10).for_each(|_| sizes.pass());
    assert_eq!(sizes.patience(), 0);
}

#[test]
fn a_cut_is_old_after_two_passes() {
    let sizes = Sizes::new(FIRST, usize::MAX);
    sizes.pass();
    let cut = Cut {
        at: 0,
        passes: 1,
        from: 0,
        patience: 0,
    };
    let is_old = || {
        let is_old = sizes.is_old(cut);
        sizes.pass();
        is_old
    };
    assert_eq!(
        [is_old(), is_old(), is_old(), is_old()],
        [false, false, true, true]
    );
}

#[test]
fn the_first_quiet_request_after_others_never_cuts() {
    let sizes = Sizes::new(FIRST, usize::MAX);
    let mut size = Size::new(100_000, &sizes);
    // The pool does not know yet that the arena was used well.
    for _ in 0..3 {
        assert!(size.is_usual(100_000, 0, |_, _| ()));
    }
    assert_eq!(size.end(100_000, 0, &sizes), End::Keep);
    assert_eq!(
        size.end(100_000, 0, &sizes),
        End::Keep,
        "used one request ago"
    );
    sizes.count(PATIENCE[0]);
    assert_eq!(size.end(100_000, 25_000, &sizes), End::Keep, "not quiet");
    sizes.count(PATIENCE[0]);
    assert_eq!(size.end(100_000, 24_999, &sizes), End::Remake(FIRST));
}

#[test]
fn a_quarter_of_an_arena_is_no_need_for_all_of_it() {
    let sizes = Sizes::new(FIRST, usize::MAX);
    let quarter = bound(5);
    let mut size = Size::new(4 * quarter, &sizes);
    sizes.need(quarter, 0, 0);
    assert_eq!(size.end(4 * quarter, 0, &sizes), End::Remake(quarter));
    let mut size = Size::new(4 * quarter, &sizes);
    sizes.need(quarter + 1, 1, 1);
    assert_eq!(size.end(4 * quarter, 0, &sizes), End::Keep);
}

#[test]
fn only_growth_to_a_quarter_of_the_old_size_shows_a_mistake() {
    let sizes = Sizes::new(FIRST, usize::MAX);
    let mut size = Size::new(FIRST, &sizes);
    size.cut = Some(Cut {
        at: 0,
        passes: 0,
        from: 100_000,
        patience: 0,
    });
    for (total, patience) in [(24_999, 0), (25_000, 1), (50_000, 1)] {
        assert_eq!(size.end(total, total, &sizes), End::Remake(total));
        size.remade(total, &sizes);
        assert_eq!(sizes.patience(), patience, "{total}");
    }
}

#[test]
fn a_trial_ends_after_four_times_the_patience() {
    let sizes = Sizes::new(FIRST, usize::MAX);
    sizes.patience.store(1, Ordering::Relaxed);
    let mut size = Size::new(FIRST, &sizes);
    size.cut = Some(Cut {
        at: 0,
        passes: 0,
        from: 100_000,
        patience: 1,
    });
    sizes.count(TRIAL * PATIENCE[1]);
    size.tell(100, &sizes);
    assert_eq!((size.cut.is_some(), sizes.patience()), (true, 1));
    sizes.count(2);
    size.tell(100, &sizes);
    assert_eq!((size.cut.is_some(), sizes.patience()), (false, 0));
}
