//! The entry of an arena pool in the list of named pools.

use crate::object::roster::{self, PoolKind};
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;

/// Adds an arena pool to the list. The pool of regions removes it.
pub(super) fn enter(name: &str, regions: &Core) {
    let address = regions.address().addr();
    let member = Box::new(WeakCore::new(regions));
    roster::enter(address, PoolKind::Arenas, name, member);
}
