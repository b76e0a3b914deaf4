//! An arena pool in the roster of named pools.

use crate::object::roster::{self, Member, PoolKind};
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;
use crate::raw::stats::Stats;

/// Enters an arena pool. It leaves with the pool of regions.
pub(super) fn enter(name: &str, regions: &Core, shells: &Core) {
    let parts = Parts {
        regions: WeakCore::new(regions),
        shells: WeakCore::new(shells),
    };
    let address = regions.address().addr();
    roster::enter(address, PoolKind::Arenas, name, Box::new(parts));
}

struct Parts {
    regions: WeakCore,
    shells: WeakCore,
}

impl Member for Parts {
    fn stats(&self) -> Option<Stats> {
        let regions = Member::stats(&self.regions)?;
        Some(together(regions, Member::stats(&self.shells)?))
    }

    fn is_enabled(&self) -> bool {
        Member::is_enabled(&self.regions)
    }
}

/// What an arena pool has done and holds: its regions, and the arenas that were made while it was off.
pub(super) fn together(regions: Stats, off: Stats) -> Stats {
    let mut stats = regions;
    stats.created += off.created + off.reused;
    stats.in_use += off.in_use;
    stats.peak_in_use += off.peak_in_use;
    stats.discarded += off.returned + off.discarded;
    stats.discarded_by.switched_off += off.returned + off.discarded - off.discarded_by.panic;
    stats.discarded_by.panic += off.discarded_by.panic;
    stats
}
