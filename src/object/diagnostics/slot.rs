//! [`Slot`]: a core's diagnostics.
//!
//! # Orderings
//! The counters are Relaxed: their values only have to differ.

use super::records;
use super::settings::Diagnostics;
use crate::raw::node::Link;
use crate::sync::rare::Arc;
use crate::sync::{Ordering, StatUsize};
use std::panic::Location;

/// Chaos drops one in this many returned objects, and finds nothing in one of this many gets.
const ONE_IN: u64 = 4;
/// Chaos hands out one of this many most recently returned objects.
const AMONG: u64 = 64;

/// A core's diagnostics, if it has any.
pub(crate) struct Slot(Option<CoreDiagnostics>);

pub(crate) struct CoreDiagnostics {
    settings: Diagnostics,
    /// What reports call the pool.
    pool: Arc<str>,
    gets: StatUsize,
    rolls: StatUsize,
}

impl Slot {
    pub(crate) fn new(settings: Diagnostics, pool: &str) -> Self {
        Self(settings.is_on().then(|| CoreDiagnostics {
            settings,
            pool: pool.into(),
            gets: StatUsize::new(0),
            rolls: StatUsize::new(0),
        }))
    }

    pub(crate) fn diagnostics(&self) -> Option<&CoreDiagnostics> {
        self.0.as_ref()
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Called before the node at this address is freed.
    #[inline]
    pub(crate) fn freed(&self, node: usize) {
        if self.is_on() {
            records::end(node);
        }
    }
}

impl CoreDiagnostics {
    pub(crate) fn is_chaotic(&self) -> bool {
        self.settings.chaos.is_some()
    }

    /// Called when the object goes out with a guard.
    pub(super) fn goes_out(&self, link: *mut Link, site: &'static Location<'static>) {
        let one_in = self.settings.one_in as usize;
        if one_in > 0 && self.gets.fetch_add(1, Ordering::Relaxed) % one_in == 0 {
            records::out(link.addr(), &self.pool, site);
        } else {
            records::end(link.addr());
        }
    }

    /// Called when the object becomes idle.
    pub(super) fn becomes_idle(&self, link: *mut Link) {
        if self.settings.deterministic {
            records::idle(link.addr());
        } else {
            records::end(link.addr());
        }
    }

    /// Returns whether a get has to find nothing, or a returned object has to be dropped.
    pub(super) fn refuses(&self) -> bool {
        self.roll().is_some_and(|roll| roll % ONE_IN == 0)
    }

    /// Returns a predicate that chooses one of this many idle objects for a get: the first one,
    /// from the hot end on, for which it returns `true`.
    pub(super) fn chooser(&self, idle: usize) -> impl FnMut(*mut Link) -> bool + use<'_> {
        let among = AMONG.min(idle as u64).max(1);
        let mut skip = self.roll().map_or(0, |roll| roll % among);
        move |link| {
            if self.settings.deterministic && !records::is_mine(link.addr()) {
                return false;
            }
            let chosen = skip == 0;
            skip = skip.saturating_sub(1);
            chosen
        }
    }

    /// Returns the next pseudo-random number of the seed, if there is one.
    fn roll(&self) -> Option<u64> {
        let seed = self.settings.chaos?;
        let count = self.rolls.fetch_add(1, Ordering::Relaxed) as u64;
        Some(mixed(
            seed.wrapping_add(count.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        ))
    }
}

/// SplitMix64's output (Steele, Lea and Flood, 2014).
fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}
