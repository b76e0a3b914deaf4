//! The entry of an arena pool in the registry of named pools.

use crate::object::registry::{self, PoolKind};
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;

/// Adds an arena pool to the registry. The pool of bump allocators removes it.
pub(super) fn add(name: &str, pool: &Core) {
    let address = pool.address().addr();
    let member = Box::new(WeakCore::new(pool));
    registry::add(address, PoolKind::Arenas, name, member);
}
