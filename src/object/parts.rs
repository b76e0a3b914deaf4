//! What pools that are made of pools need from a [`Pool`].

#![allow(dead_code, reason = "for buffers and arenas, which are features")]

use crate::object::diagnostics::steps;
use crate::object::entry::{Entry, Top};
use crate::object::factory::{Factory, Source};
use crate::object::guard::Pooled;
use crate::object::pool::{Pool, get_off, off};
use crate::object::recycle::Recycle;
use crate::object::settings::Role;
use crate::raw::refs::WeakCore;
use crate::sync::Timeout;
use crate::sync::rare::Arc;
use crate::thread::slow;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

impl<T: Send + 'static> Pool<T> {
    /// Returns an idle object from this thread's cache: [`Pool::try_get`] without the slow path.
    #[inline(always)]
    pub(crate) fn try_get_fast(&self) -> Option<Pooled<T>> {
        self.entry.hit()
    }

    /// If the pool is switched off, returns an object of no pool, which `fill` creates.
    ///
    /// # Safety
    /// `fill` writes a value, or panics.
    #[inline(always)]
    pub(crate) unsafe fn get_if_off(
        &self,
        fill: impl FnOnce(&mut MaybeUninit<T>),
    ) -> Option<Pooled<T>> {
        let off = off(self.core())?;
        // SAFETY: guaranteed by the caller.
        Some(unsafe { get_off(off, fill) })
    }

    /// Like [`Pool::get`], but the object belongs to the pool even while the pool is off: it is
    /// counted, and its return checks whether the pool is on again.
    #[track_caller]
    pub(crate) fn get_pooled(&self) -> Pooled<T> {
        match self.entry.hit() {
            Some(object) => object,
            None => self.get_from(self.core()),
        }
    }

    /// Points `entry` at this pool's caches. This saves one load for a caller with many pools.
    ///
    /// # Safety
    /// The pool must outlive all use of the entry.
    pub(crate) unsafe fn enter_by(&self, entry: &Entry<T>) {
        // SAFETY: the pool keeps its core, and outlives the entry.
        unsafe { entry.set(self.core()) };
    }

    /// Returns whether the pool has diagnostics, so threads have no caches in it.
    pub(crate) fn has_diagnostics(&self) -> bool {
        steps::has_diagnostics(self.core())
    }

    /// Returns whether the pool has been used.
    pub(crate) fn is_used(&self) -> bool {
        self.core_if_used().is_some()
    }

    /// Returns the place from which this thread's next hit would take its object.
    #[inline(always)]
    pub(crate) fn top(&self) -> Option<Top<T>> {
        self.entry.top()
    }

    /// Returns the core, for callers that may outlive the pool.
    pub(crate) fn weak_core(&self) -> WeakCore {
        WeakCore::new(self.core())
    }

    /// Creates a pool whose settings are made by its first use as well.
    pub(crate) const fn deferred(
        name: Option<&'static str>,
        role: Role,
        make: fn() -> Arc<Factory<T>>,
    ) -> Self {
        Self {
            entry: Entry::new(),
            source: Source::Deferred { name, role, make },
        }
    }

    /// Calls `keep` for every idle object: takes each out of every thread's cache, then out of the
    /// depot, and drops those for which `keep` returns `false`. Returns `false` if it missed
    /// something: a guard is out, or it did not reach some cache within `patience` (`None` means
    /// one look at each).
    ///
    /// `keep` runs with nothing locked. If it panics, the objects not yet seen leak.
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

    /// Closes the pool before it is dropped: it keeps no idle objects from now on.
    pub(crate) fn close(&self) {
        // Creates the core if there is none: one created later would be open.
        slow::close(self.core());
    }
}

impl<T: Send + 'static> Pooled<T> {
    /// Called by a pool made of pools when the object goes out to its user. Slow path only. Returns
    /// whether to fill the object's spare memory, because the pool has diagnostics.
    #[track_caller]
    #[inline]
    pub(crate) fn went_out(&self) -> bool {
        // SAFETY: the guard holds the node.
        unsafe { steps::went_out::<T>(self.as_link()) }
    }
}
