//! The entry of a buffer pool in the registry of named pools.

use super::inner::Inner;
use super::stats;
use crate::object::registry::{self, Look, Member, PoolKind};
use crate::sync::Ordering;
use crate::sync::rare::Weak;
use std::ptr;

impl Inner {
    /// Adds the pool to the registry, once, if it has a name.
    pub(super) fn register(&self) {
        // Relaxed: a single thread adds it, and the registry has a lock.
        if self.registered.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(name) = self.settings().common.name() {
            let member = Box::new(self.weak());
            registry::add(self.address(), PoolKind::Buffers, name, member);
        }
    }

    /// Removes the pool, which is being dropped, from the registry.
    pub(super) fn unregister(&self) {
        if self.settings().common.name().is_some() {
            registry::remove(self.address(), || stats::of_all(self));
        }
    }

    fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }
}

impl Member for Weak<Inner> {
    fn look(&self) -> Option<Look> {
        let inner = self.upgrade()?;
        Some(Look {
            stats: stats::of_all(&inner),
            enabled: inner.is_enabled(),
            kept: Some(inner),
        })
    }
}
