//! Limits alone: what is charged, refused and traded, at the exact borders.

#![cfg(not(repool_loom))]

use super::*;

const UNLIMITED: usize = usize::MAX;

fn charge(objects: usize, bytes: usize) -> Charge {
    Charge { objects, bytes }
}

/// Own limits on objects and bytes.
fn limits(max_idle: usize, max_idle_bytes: usize) -> Limits {
    Limits::new(max_idle, max_idle_bytes, UNLIMITED)
}

fn quota(max_idle: usize, max_idle_bytes: usize) -> Arc<Quota> {
    Arc::new(Quota::new(max_idle, max_idle_bytes))
}

#[test]
fn a_charge_is_for_the_heaviest_objects_that_pass() {
    assert_eq!(Charge::of_objects(3, 101), charge(3, 300));
    assert_eq!(Charge::of_objects(3, 1), charge(3, 0));
    assert_eq!(Charge::of_objects(3, 0), charge(3, 0));
    assert_eq!(Charge::of_objects(2, usize::MAX), charge(2, usize::MAX));
    assert_eq!(charge(1, 20).plus(charge(3, 400)), charge(4, 420));
    let most = charge(usize::MAX, usize::MAX);
    assert_eq!(most.plus(charge(1, 1)), most);
}

#[test]
fn a_limit_can_be_used_up_exactly() {
    let limit = Limit::new(10);
    assert!(limit.reserve(4));
    assert!(!limit.reserve(7));
    assert!(limit.reserve(6));
    assert!(!limit.reserve(1));
    assert!(limit.reserve(0));
    assert_eq!((limit.used(), limit.limit()), (10, 10));
    limit.release(3);
    limit.release(0);
    assert_eq!(limit.used(), 7);
    assert!(!limit.reserve(4));
    assert!(limit.reserve(3));
    let unlimited = Limit::new(UNLIMITED);
    assert!(unlimited.reserve(UNLIMITED));
    assert!(!unlimited.reserve(1), "the count must not overflow");
}

#[test]
fn a_quota_that_refuses_the_bytes_takes_no_objects() {
    let quota = Quota::new(10, 1000);
    assert!(!quota.reserve(charge(4, 1001)));
    assert_eq!((quota.objects.used(), quota.bytes().used()), (0, 0));
    assert!(!quota.reserve(charge(11, 1)));
    assert_eq!((quota.objects.used(), quota.bytes().used()), (0, 0));
    assert!(quota.reserve(charge(4, 1000)));
    assert_eq!((quota.objects.used(), quota.bytes().used()), (4, 1000));
    quota.release(charge(3, 600));
    assert_eq!((quota.objects.used(), quota.bytes().used()), (1, 400));
}

#[test]
fn any_limit_makes_a_pool_bounded() {
    assert!(!limits(UNLIMITED, UNLIMITED).bounded());
    assert!(limits(0, UNLIMITED).bounded());
    assert!(limits(UNLIMITED, 0).bounded());
    let unlimited = || limits(UNLIMITED, UNLIMITED);
    assert!(unlimited().with_budget(Some(quota(9, 9))).bounded());
    assert!(unlimited().with_group(Some(quota(9, 9))).bounded());
    assert!(!unlimited().with_budget(None).with_group(None).bounded());
    // The largest object is no limit on what is idle.
    assert!(!Limits::new(UNLIMITED, UNLIMITED, 100).bounded());
}

#[test]
fn a_charge_counts_in_each_limit_or_in_none() {
    for refusing in 0..3 {
        let most = |index| if index == refusing { 1 } else { 10 };
        let (group, budget) = (quota(most(1), 1000), quota(most(2), 1000));
        let limits = limits(most(0), 1000)
            .with_group(Some(group.clone()))
            .with_budget(Some(budget.clone()));
        let reason = [Reason::Full, Reason::Full, Reason::Budget][refusing];
        assert_eq!(limits.reserve(charge(2, 20)), Err(reason));
        let used = || [&limits.own, &group, &budget].map(|quota| quota.objects.used());
        let bytes = || [&limits.own, &group, &budget].map(|quota| quota.bytes.used());
        assert_eq!((used(), bytes()), ([0; 3], [0; 3]));
        assert_eq!(limits.reserve(charge(1, 20)), Ok(()));
        assert_eq!((used(), bytes()), ([1; 3], [20; 3]));
        // A trade is refused only for what it adds, and gives back what it saves.
        assert_eq!(limits.trade(charge(1, 20), charge(2, 1)), Err(reason));
        assert_eq!((used(), bytes()), ([1; 3], [20; 3]));
        assert_eq!(limits.trade(charge(1, 20), charge(1, 900)), Ok(()));
        assert_eq!((used(), bytes()), ([1; 3], [900; 3]));
        assert_eq!(limits.trade(charge(1, 900), charge(1, 30)), Ok(()));
        assert_eq!((used(), bytes()), ([1; 3], [30; 3]));
        limits.release(charge(1, 30));
        assert_eq!((used(), bytes()), ([0; 3], [0; 3]));
    }
}

#[test]
fn the_size_of_the_object_itself_counts_once_for_each() {
    let limits = limits(10, 1000).with_object_bytes(48);
    assert_eq!(limits.bytes_of(3, 100), 244);
    assert_eq!(limits.bytes_of(usize::MAX, 1), usize::MAX);
    assert_eq!(limits.reserve(charge(2, 10)), Ok(()));
    assert_eq!(limits.own.bytes.used(), 106);
    limits.release(charge(2, 10));
    assert_eq!(limits.own.bytes.used(), 0);
    assert!(limits.could_hold(1000 - 48));
    assert!(!limits.could_hold(1000 - 47));
}

#[test]
fn an_object_that_fits_alone_in_each_limit_could_be_held() {
    assert!(limits(1, 100).could_hold(100));
    assert!(!limits(1, 100).could_hold(101));
    assert!(!limits(0, 100).could_hold(1));
    let in_budget = |budget| limits(1, 100).with_budget(Some(budget));
    assert!(in_budget(quota(1, 50)).could_hold(50));
    assert!(!in_budget(quota(1, 50)).could_hold(51));
    assert!(limits(UNLIMITED, UNLIMITED).could_hold(UNLIMITED));
}

#[test]
fn the_heaviest_object_is_set_by_the_pool_and_bounded_in_any() {
    let limits = Limits::new(UNLIMITED, UNLIMITED, 5000);
    assert!(limits.accepts(5000) && !limits.accepts(5001));
    let any = Limits::new(UNLIMITED, UNLIMITED, UNLIMITED);
    assert!(any.accepts(MAX_WEIGHT) && !any.accepts(MAX_WEIGHT + 1));
    // Two lists of such objects do not overflow.
    assert_eq!(any.full_len(any.threshold_for(MAX_WEIGHT)), 1);
    let most = if cfg!(target_pointer_width = "64") {
        128 << 40
    } else {
        256_u64 << 20
    };
    assert_eq!(MAX_WEIGHT as u64, most);
}

#[test]
fn thresholds_of_an_unbounded_pool_have_headroom() {
    let any = Limits::new(UNLIMITED, UNLIMITED, UNLIMITED);
    assert_eq!(any.first_threshold(), FIRST_THRESHOLD);
    assert_eq!(FIRST_THRESHOLD, 2049);
    assert_eq!(any.full_len(FIRST_THRESHOLD), LIST_LEN);
    assert_eq!(
        any.full_len(FIRST_THRESHOLD + 1),
        LIST_BYTES / FIRST_THRESHOLD
    );
    assert_eq!(any.threshold_for(1), FIRST_THRESHOLD);
    assert_eq!(any.threshold_for(5000), 8193);
    assert_eq!(any.threshold_for(8192), 8193);
    assert_eq!(any.threshold_for(8193), 16385);
    // Never beyond the heaviest object that the pool keeps.
    let up_to_5000 = Limits::new(UNLIMITED, UNLIMITED, 5000);
    assert_eq!(up_to_5000.threshold_for(4500), 5001);
    let up_to_100 = Limits::new(UNLIMITED, UNLIMITED, 100);
    assert_eq!(up_to_100.first_threshold(), 101);
    assert_eq!(up_to_100.threshold_for(3), 101);
}

#[test]
fn thresholds_of_a_bounded_pool_have_none() {
    let limits = limits(100, UNLIMITED);
    assert_eq!(limits.first_threshold(), 1, "nothing is charged yet");
    assert_eq!(limits.threshold_for(5000), 5001);
    assert_eq!(limits.threshold_for(0), 1);
}

#[test]
fn a_list_is_an_eighth_of_each_limit_at_most() {
    assert_eq!(limits(100, UNLIMITED).full_len(1), 12);
    assert_eq!(
        limits(8 * LIST_LEN - 1, UNLIMITED).full_len(1),
        LIST_LEN - 1
    );
    assert_eq!(limits(8 * LIST_LEN, UNLIMITED).full_len(1), LIST_LEN);
    assert_eq!(limits(UNLIMITED, 8000).full_len(101), 10);
    assert_eq!(limits(7, UNLIMITED).full_len(1), 1);
    assert_eq!(limits(UNLIMITED, 8000).full_len(1001), 1);
    assert_eq!(limits(UNLIMITED, 8000).full_len(5001), 1);
    // In bytes, an object counts with its own size.
    let with_size = limits(UNLIMITED, 8000).with_object_bytes(100);
    assert_eq!(with_size.full_len(101), 5);
    // The tightest limit decides.
    let shared = |quota| limits(100, 80_000).with_budget(Some(quota));
    assert_eq!(shared(quota(24, UNLIMITED)).full_len(1), 3);
    assert_eq!(shared(quota(UNLIMITED, 800)).full_len(51), 2);
    assert_eq!(shared(quota(UNLIMITED, UNLIMITED)).full_len(1), 12);
    // Not in an unbounded pool, where objects count with their weight only.
    let unlimited = limits(UNLIMITED, UNLIMITED).with_object_bytes(LIST_BYTES);
    assert_eq!(unlimited.full_len(1), LIST_LEN);
}

#[test]
fn a_limit_is_tight_once_half_of_it_is_used() {
    for (used, tight) in [
        (charge(3, 100), false),
        (charge(4, 100), true),
        (charge(3, 500), true),
    ] {
        let own = limits(7, 1000);
        assert_eq!(own.reserve(used), Ok(()));
        assert_eq!(own.is_tight(), tight, "{used:?}");
        let shared = limits(UNLIMITED, UNLIMITED).with_budget(Some(quota(7, 1000)));
        assert_eq!(shared.reserve(used), Ok(()));
        assert_eq!(shared.is_tight(), tight, "{used:?}");
    }
}

#[test]
fn the_use_of_objects_is_checked_above_the_weight_of_a_new_one() {
    let unchecked = limits(UNLIMITED, UNLIMITED);
    unchecked.expect(1 << 20);
    assert_eq!(
        (unchecked.use_check_log2(), unchecked.usual_weight()),
        (0, UNLIMITED)
    );
    let checked = limits(UNLIMITED, UNLIMITED).with_use_checked();
    assert_eq!(checked.usual_weight(), LARGE);
    for light in [0, 1, LARGE - 1, LARGE] {
        checked.expect(light);
        assert_eq!(checked.usual_weight(), 64 << 10);
    }
    checked.expect(LARGE + 1);
    assert_eq!(checked.usual_weight(), 128 << 10);
    checked.expect(1 << 20);
    assert_eq!(
        (checked.use_check_log2(), checked.usual_weight()),
        (20, 1 << 20)
    );
    checked.expect(LARGE + 1);
    assert_eq!(checked.usual_weight(), 1 << 20);
}

#[test]
fn pools_that_share_a_limit_see_what_the_others_were_refused() {
    let (group, budget) = (quota(9, 9), quota(9, 9));
    let pool = || {
        limits(UNLIMITED, UNLIMITED)
            .with_group(Some(group.clone()))
            .with_budget(Some(budget.clone()))
    };
    let (one, two) = (pool(), pool());
    let refuse = |limits: &Limits, times| (0..times).for_each(|_| limits.count_refused());
    assert_eq!((one.wanted_by_others(), two.wanted_by_others()), (0, 0));
    refuse(&one, 3);
    refuse(&two, 5);
    // Once for each quota that they share.
    assert_eq!((one.wanted_by_others(), two.wanted_by_others()), (10, 6));
    assert_eq!(
        (one.wanted_by_others(), two.wanted_by_others()),
        (0, 0),
        "since the last call"
    );
    refuse(&one, 7);
    assert_eq!((one.wanted_by_others(), two.wanted_by_others()), (0, 14));
    let alone = limits(1, 1);
    refuse(&alone, 4);
    assert_eq!(alone.wanted_by_others(), 0);
}

#[test]
fn passes_leave_the_minimum() {
    assert_eq!(limits(1, 1).min_idle(), 0);
    assert_eq!(limits(9, 9).with_min_idle(5).min_idle(), 5);
}

#[test]
fn limits_know_whether_objects_are_weighed() {
    assert!(!limits(1, 1).unweighed());
    assert!(limits(1, 1).with_unweighed(true).unweighed());
    assert!(!limits(1, 1).with_unweighed(false).unweighed());
}

#[test]
fn lists_are_longer_only_while_nothing_is_limited() {
    let longer = |limits: Limits| limits.with_unbounded_list_bytes(2 * LIST_BYTES);
    let unlimited = || limits(UNLIMITED, UNLIMITED);
    assert_eq!(longer(unlimited()).full_len(4097), 64);
    let large = Some(quota(UNLIMITED, 1 << 30));
    for limited in [
        longer(limits(UNLIMITED, 1 << 30)),
        longer(limits(1 << 20, UNLIMITED)),
        longer(unlimited().with_group(large.clone())),
        longer(unlimited()).with_budget(large),
    ] {
        assert_eq!(limited.full_len(4097), 32);
    }
}
