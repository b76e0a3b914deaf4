//! What to do at a call site, and what it saves at most.
//!
//! "At most", because a profile does not show whether the object can be reset, and because a
//! program does more between two allocations than this measurement does.

use crate::cost::{self, Cost, Visit};
use crate::profile::Profile;
use crate::site::{Made, Site};
use std::collections::BTreeMap;

/// What to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Local,
    Pool,
    BufferPool,
    ArenaPool,
    /// Leave the code as it is.
    Leave(Why),
}

/// Why not to pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    NotYours,
    TooFew,
    LivesOn,
    NoGain,
    TooLittle,
}

#[derive(Debug)]
pub(crate) struct Finding<'p> {
    pub(crate) site: Site<'p>,
    pub(crate) advice: Use,
    pub(crate) cost: Cost,
    /// Allocator calls that are saved.
    pub(crate) calls: u64,
    /// Nanoseconds saved in total.
    pub(crate) saved: f64,
}

/// A site with a smaller share of all allocations is not worth the effort, unless its share of the
/// bytes is larger.
const FEW: f64 = 0.001;
/// What lives longer than this share of the run is kept, not created repeatedly.
const LONG: f64 = 0.1;
/// Sizes and numbers of objects for an arena: small and many at once; strings are smaller still.
const SMALL: u64 = 1024;
const SMALL_STRING: u64 = 256;
const MANY: u64 = 16;
/// A site that saves less than this share of the run is not worth the effort.
const LITTLE: f64 = 1e-5;
/// A gain below this many nanoseconds per block is within the noise of the measurement.
const GAIN: f64 = 2.0;

/// Returns the findings, those that save most first.
pub(crate) fn all<'p>(
    profile: &Profile,
    sites: Vec<Site<'p>>,
    assumed: Option<Cost>,
) -> Vec<Finding<'p>> {
    // Sites with similar sizes and counts share a measurement.
    let mut costs = BTreeMap::new();
    let mut findings: Vec<_> = sites
        .into_iter()
        .map(|site| {
            let held = site.at_once.unwrap_or(1);
            let visit: Vec<_> = site.visit.iter().map(|&bytes| rounded(bytes)).collect();
            let visit = Visit::new(&visit, rounded(held.min(64)));
            let cost = assumed.unwrap_or_else(|| {
                *costs
                    .entry(visit.clone())
                    .or_insert_with(|| cost::measure(&visit))
            });
            finding(profile, site, cost)
        })
        .collect();
    findings.sort_by(|one, other| {
        other
            .saved
            .total_cmp(&one.saved)
            .then(other.site.blocks.cmp(&one.site.blocks))
    });
    findings
}

/// Rounds up to the next eighth of a power of two: sites a few bytes apart cost the same.
fn rounded(figure: u64) -> u64 {
    let step = (figure.next_power_of_two() / 16).max(1);
    figure.div_ceil(step) * step
}

fn finding<'p>(profile: &Profile, site: Site<'p>, cost: Cost) -> Finding<'p> {
    let mut advice = advise(profile, &site, cost);
    // The first objects have to be created anyway.
    let calls = site.blocks - site.at_once.unwrap_or(1).min(site.blocks);
    let mut saved = calls as f64 * (cost.allocator - cost.of(advice)).max(0.0);
    let nanoseconds = profile.seconds().map(|seconds| seconds * 1e9);
    if !matches!(advice, Use::Leave(_)) && nanoseconds.is_some_and(|run| saved < LITTLE * run) {
        advice = Use::Leave(Why::TooLittle);
        saved = 0.0;
    }
    Finding {
        site,
        advice,
        cost,
        calls,
        saved,
    }
}

impl Cost {
    /// Returns the cost of what is advised.
    pub(crate) fn of(&self, advice: Use) -> f64 {
        match advice {
            Use::Local => self.local,
            Use::Pool => self.pool,
            Use::BufferPool => self.buffer,
            Use::ArenaPool => self.arena,
            Use::Leave(_) => self.allocator,
        }
    }
}

fn advise(profile: &Profile, site: &Site<'_>, cost: Cost) -> Use {
    if !site.yours {
        return Use::Leave(Why::NotYours);
    }
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    if share(site.blocks, profile.blocks()) < FEW && share(site.bytes, profile.bytes()) < FEW {
        return Use::Leave(Why::TooFew);
    }
    let long = site
        .lifetime
        .is_some_and(|lifetime| lifetime > LONG * profile.end as f64);
    if long || 2 * site.left >= site.blocks {
        return Use::Leave(Why::LivesOn);
    }
    let varied = !site.one_size && site.largest > 2 * site.smallest;
    let small = match site.made {
        Made::Other => SMALL,
        Made::Bytes => SMALL_STRING,
        Made::Vector => SMALL / 2,
        Made::Inside => 0,
    };
    let fits = match site.at_once {
        Some(1) => Use::Local,
        Some(most) if most >= MANY && site.mean_bytes() <= small => Use::ArenaPool,
        _ if site.made == Made::Bytes && (varied || site.grows) => Use::BufferPool,
        _ if site.made == Made::Vector && varied => Use::BufferPool,
        _ => Use::Pool,
    };
    // The suitable pool may cost more than a plain `Pool`.
    [fits, Use::Pool]
        .into_iter()
        .find(|&one| cost.allocator - cost.of(one) >= GAIN)
        .unwrap_or(Use::Leave(Why::NoGain))
}
