//! What to do at a call site, and what it saves at most.
//!
//! "At most", because a profile does not say whether the object can be reset, and because a program
//! does more between two allocations than this measurement does.

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
    /// What is there now.
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
    /// Calls of the allocator that go away.
    pub(crate) calls: u64,
    /// Nanoseconds in all.
    pub(crate) saved: f64,
}

/// Fewer allocations than this share of all of them are not worth the trouble, unless the bytes are.
const FEW: f64 = 0.001;
/// What lives longer than this share of the run is kept, not made again and again.
const LONG: f64 = 0.1;
/// Objects that an arena is for: small, and many at once; strings smaller still.
const SMALL: u64 = 1024;
const SMALL_STRING: u64 = 256;
const MANY: u64 = 16;
/// Nor is what saves less than this share of the run.
const LITTLE: f64 = 1e-5;
/// A gain below this many nanoseconds a block is within what the measurement shakes.
const GAIN: f64 = 2.0;

/// Findings, those that save most first.
pub(crate) fn all<'p>(
    profile: &Profile,
    sites: Vec<Site<'p>>,
    assumed: Option<Cost>,
) -> Vec<Finding<'p>> {
    // Sites of like size and count share a measurement.
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

/// To the next eighth of a power of two: sites a few bytes apart cost the same.
fn rounded(figure: u64) -> u64 {
    let step = (figure.next_power_of_two() / 16).max(1);
    figure.div_ceil(step) * step
}

fn finding<'p>(profile: &Profile, site: Site<'p>, cost: Cost) -> Finding<'p> {
    let mut advice = advise(profile, &site, cost);
    // The first ones have to be made all the same.
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
    /// Of what is advised.
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
    // What fits may cost more than the plainest one.
    [fits, Use::Pool]
        .into_iter()
        .find(|&one| cost.allocator - cost.of(one) >= GAIN)
        .unwrap_or(Use::Leave(Why::NoGain))
}
