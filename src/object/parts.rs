//! What pools that are made of pools ask of them.

#![allow(dead_code, reason = "for buffers and arenas, which are features")]

use crate::object::diagnosed::steps;
use crate::object::entry::{Entry, Top};
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::object::recipe::{Recipe, Source};
use crate::object::recycle::Recycle;
use crate::object::settings::Role;
use crate::raw::refs::WeakCore;
use crate::sync::Timeout;
use crate::sync::rare::Arc;
use crate::thread::slow;
use std::ptr::NonNull;

impl<T: Send + 'static> Pool<T> {
    /// An idle object of this thread's cache: [`Pool::try_get`] without the slow path.
    #[inline(always)]
    pub(crate) fn try_get_fast(&self) -> Option<Pooled<T>> {
        self.entry.hit()
    }

    /// Points `entry` at this pool's caches. A caller with many pools saves one load by it.
    ///
    /// # Safety
    /// The pool has to outlive all use of it.
    pub(crate) unsafe fn enter_by(&self, entry: &Entry<T>) {
        // SAFETY: the pool keeps its core, and outlives the entry.
        unsafe { entry.set(self.core()) };
    }

    /// Whether threads have no caches in it, because it is diagnosed.
    pub(crate) fn has_diagnostics(&self) -> bool {
        steps::has_diagnostics(self.core())
    }

    /// Whether the pool has been used.
    pub(crate) fn is_used(&self) -> bool {
        self.core_if_used().is_some()
    }

    /// Where this thread's next hit would take its object from.
    #[inline(always)]
    pub(crate) fn top(&self) -> Option<Top<T>> {
        self.entry.top()
    }

    /// The core, for those that have to tell it something when the pool may be gone.
    pub(crate) fn weak_core(&self) -> WeakCore {
        WeakCore::new(self.core())
    }

    /// A pool whose settings are made by its first use as well.
    pub(crate) const fn deferred(
        name: Option<&'static str>,
        role: Role,
        make: fn() -> Arc<Recipe<T>>,
    ) -> Self {
        Self {
            entry: Entry::new(),
            source: Source::Deferred { name, role, make },
        }
    }

    /// Looks at everything idle, wherever it is: out of every thread's cache, and then in the depot.
    /// What `keep` does not want is dropped. `false` if something was missed: a guard is out, or some
    /// cache was not reached within `patience` (`None`: with one look at each).
    ///
    /// `keep` runs with nothing held; if it panics, what it has not seen leaks.
    pub(crate) fn sift(
        &self,
        patience: Option<Timeout>,
        mut keep: impl FnMut(&mut T) -> bool,
    ) -> bool
    where
        T: Recycle,
    {
        let Some(core) = self.core_if_used() else {
            return true;
        };
        let (mut batch, all) = core.take_all(patience);
        while let Some(link) = NonNull::new(batch.pop()) {
            // SAFETY: a node of this pool, just taken.
            let mut object = unsafe { Pooled::<T>::from_link(link) };
            if keep(&mut object) {
                Pooled::give_to_all(object);
            } else {
                drop(Pooled::into_inner(object));
            }
        }
        all
    }

    /// Ends the pool before it is dropped: no more idle objects, now or later.
    pub(crate) fn close(&self) {
        // Made, if need be: one that is made later would be open.
        slow::close(self.core());
    }
}

impl<T: Send + 'static> Pooled<T> {
    /// It goes out to the caller of a pool that is made of pools, by a slow path. Whether its spare memory is to
    /// be filled, because the pool is diagnosed.
    #[track_caller]
    #[inline]
    pub(crate) fn went_out(&self) -> bool {
        // SAFETY: the guard holds the node.
        unsafe { steps::went_out::<T>(self.as_link()) }
    }
}
