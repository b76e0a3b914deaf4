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
///
/// A shell that comes back is idle for its own pool, and an arena that was dropped for this one. Under load its
/// figures are read one after the other: of what was handed out, no more has come back.
pub(super) fn together(regions: Stats, off: Stats) -> Stats {
    let handed_out = off.created + off.reused;
    let dropped = (off.returned + off.discarded).min(handed_out);
    let in_panic = off.discarded_by.panic.min(dropped);
    let mut stats = regions;
    stats.created += handed_out;
    stats.in_use += handed_out - dropped;
    stats.peak_in_use += off.peak_in_use;
    stats.discarded += dropped;
    stats.discarded_by.switched_off += dropped - in_panic;
    stats.discarded_by.panic += in_panic;
    stats
}

#[cfg(test)]
mod tests {
    use super::together;
    use crate::raw::stats::Stats;

    /// Other threads get and drop arenas while the figures are read.
    #[test]
    fn figures_that_were_read_one_after_the_other_add_up() {
        for (reused, returned, in_use) in [(10, 5, 7), (10, 12, 0), (10, 12, 2), (0, 3, 1)] {
            let off = Stats {
                created: 2,
                reused,
                returned,
                in_use,
                ..Stats::default()
            };
            let stats = together(Stats::default(), off);
            assert_eq!(stats.created, stats.in_use + stats.discarded, "{off:?}");
            assert_eq!(stats.discarded, stats.discarded_by.total(), "{off:?}");
            assert_eq!(stats.created, 2 + reused);
        }
    }
}
