//! An arena pool in the roster of named pools.

use crate::object::roster::{self, PoolKind};
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;

/// Enters an arena pool. It leaves with the pool of regions.
pub(super) fn enter(name: &str, regions: &Core) {
    let address = regions.address().addr();
    let member = Box::new(WeakCore::new(regions));
    roster::enter(address, PoolKind::Arenas, name, member);
}
