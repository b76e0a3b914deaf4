//! What a user sets for a [`BufferPool`](crate::BufferPool), and what follows for each class.

use super::class;
use super::lent::Lent;
use super::pooled_bytes::{Class, Origin, PooledBytes};
use crate::object::pool::Pool;
use crate::object::settings::Settings as Common;
use crate::sync::Ordering;
use crate::sync::StatUsize;
use crate::sync::lazy::Lazy;
use crate::sync::rare::{Arc, Weak};

/// The default size of the largest class, in bytes.
const TOP: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) common: Common,
    /// The index of the largest class.
    pub(super) top: usize,
    /// Whether the user wants buffers overwritten.
    pub(super) wipes: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            common: Common::default(),
            top: class::holding(TOP),
            wipes: true,
        }
    }
}

impl Settings {
    /// Whether buffers are overwritten: the user wants it, and the feature `zeroize` is on.
    pub(super) fn wipes(&self) -> bool {
        super::wipe::ON && self.wipes
    }

    pub(super) fn class(&self, index: usize, origin: Weak<dyn Origin>) -> Class {
        let size = class::size(index);
        let largest = self.largest(index);
        Class {
            index,
            size,
            most: class::size(self.top),
            refuses: if largest == 0 {
                Some(crate::raw::stats::Reason::Oversize)
            } else {
                self.common.refuses(size)
            },
            limit: self.common.most_bytes(size),
            wipes: self.wipes(),
            lent: Lent::new(),
            passes: StatUsize::new(0),
            origin,
            core: Lazy::new(),
        }
    }

    /// Creates the pool of a class.
    pub(super) fn pool(&self, class: &Arc<Class>) -> Pool<PooledBytes> {
        let (made, looked_at) = (Arc::clone(class), Arc::clone(class));
        let on_pass = move || {
            // Relaxed: a figure.
            looked_at.passes.fetch_add(1, Ordering::Relaxed);
            looked_at.look_at_all()
        };
        Pool::builder(move || PooledBytes::empty(&made))
            .heap_only()
            .settings(self.common.for_member(self.largest(class.index)))
            .on_pass(on_pass)
            .build()
    }

    /// The largest capacity, in bytes, at which a buffer of this class is kept.
    fn largest(&self, index: usize) -> usize {
        match index {
            class::OUTSIDE => 0,
            _ => class::size(self.top),
        }
    }
}
