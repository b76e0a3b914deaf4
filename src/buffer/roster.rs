//! The entry of a buffer pool in the list of named pools.

use super::inner::Inner;
use super::stats;
use crate::object::roster::{self, Member, PoolKind};
use crate::raw::stats::Stats;
use crate::sync::Ordering;
use crate::sync::rare::Weak;
use std::ptr;

impl Inner {
    /// Adds the pool to the list, once, if it has a name.
    pub(super) fn enter(&self) {
        // Relaxed: a single thread adds it, and the list has a lock.
        if self.entered.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(name) = self.settings().common.name() {
            let member = Box::new(self.weak());
            roster::enter(self.address(), PoolKind::Buffers, name, member);
        }
    }

    /// Removes the pool, which is being dropped, from the list.
    pub(super) fn leave(&self) {
        if self.settings().common.name().is_some() {
            roster::leave(self.address());
        }
    }

    fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }
}

impl Member for Weak<Inner> {
    fn stats(&self) -> Option<Stats> {
        self.upgrade().map(|inner| stats::of_all(&inner))
    }

    fn is_enabled(&self) -> bool {
        self.upgrade().is_some_and(|inner| inner.is_enabled())
    }
}
