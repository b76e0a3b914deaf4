//! An arena pool in the roster of named pools.

use super::ArenaPool;
use crate::object::roster::{self, Member, PoolKind};
use crate::raw::refs::WeakCore;
use crate::raw::stats::Stats;
use crate::sync::Ordering;

impl ArenaPool {
    /// Enters the pool, once, if it has a name. It leaves with the pool of regions.
    #[inline]
    pub(super) fn enter(&self) {
        // Relaxed: one thread enters it, and the roster has a lock.
        if !self.entered.load(Ordering::Relaxed) {
            self.enter_slow();
        }
    }

    #[cold]
    fn enter_slow(&self) {
        // Relaxed: as above.
        if self.entered.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(name) = self.name() {
            let regions = self.pool.core();
            let parts = Parts {
                regions: WeakCore::new(regions),
                shells: WeakCore::new(self.shells.core()),
            };
            let address = regions.address().addr();
            roster::enter(address, PoolKind::Arenas, name, Box::new(parts));
        }
    }
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
