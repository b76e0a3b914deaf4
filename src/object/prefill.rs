//! [`Pool::prefill`]: creates idle objects before their first use.

use crate::background::manual;
use crate::object::factory::DROP_IT;
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::object::typed_core::TypedCore;
use crate::raw::limits::Charge;
use crate::raw::node::{Batch, End, LIST_LEN, Link};
use crate::raw::pool::Core;
use crate::raw::stats::Reason;
use crate::sync::Timeout;

impl<T: Send + 'static> Pool<T> {
    /// Creates `objects` more objects and keeps them idle in the depot, where every thread can get
    /// them. Returns how many were kept.
    ///
    /// Threads take them one at a time, or if there are more than 64, up to 64 at a time: those that
    /// one thread has taken are out of reach of the others until it ends, or until a pass.
    ///
    /// The call stops at the first object that a limit or the reset refuses, and does nothing while
    /// the pool is switched off.
    ///
    /// The pool resets the objects first, as it does with any object that comes back. Passes drop
    /// what is not needed for three intervals, so call this shortly before the load begins, or also
    /// set [`min_idle`](crate::Builder::min_idle).
    ///
    /// # Panics
    /// If `create` or the reset panics. Objects created before that are kept.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// let pool = Pool::builder(|| Vec::<u8>::with_capacity(1 << 20)).min_idle(8).build();
    /// assert_eq!(pool.prefill(8), 8);
    /// assert_eq!((pool.stats().created, pool.stats().idle), (8, 8));
    /// assert!(pool.try_get().is_some());
    /// ```
    pub fn prefill(&self, objects: usize) -> usize {
        let core = self.core();
        // Also if `create` panics.
        let _watched = Watched(core);
        let mut kept = 0;
        while kept < objects && !core.is_inactive() {
            // SAFETY: the core of this pool is the head of a `TypedCore<T>`.
            let object = unsafe { Pooled::<T>::create(core) };
            if let Err((object, reason)) = keep_in_depot(core, object, objects <= LIST_LEN) {
                Pooled::discard_for(object, reason);
                break;
            }
            kept += 1;
        }
        kept
    }
}

/// When dropped, ensures that the janitor watches the pool.
struct Watched<'a>(&'a Core);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        manual::ensure_watched(self.0);
    }
}

/// Resets an object that was never in a cache, and puts it into the depot. If it is not to be `alone` there, it goes
/// with others to the first thread that takes one of them.
fn keep_in_depot<T: Send + 'static>(
    core: &Core,
    mut object: Pooled<T>,
    alone: bool,
) -> Result<(), (Pooled<T>, Reason)> {
    // If this panics, the guard drops its object.
    // SAFETY: the core of a `Pooled<T>` is the head of a `TypedCore<T>`.
    let weight = unsafe { TypedCore::<T>::reset(core.address(), &mut object) };
    if weight == DROP_IT {
        // SAFETY: as above.
        let factory = unsafe { TypedCore::<T>::factory(core.address()) };
        return Err((object, factory.why_dropped()));
    }
    if !core.limits.accepts(weight) {
        return Err((object, Reason::Oversize));
    }
    let charge = Charge {
        objects: 1,
        bytes: weight,
    };
    if let Err(reason) = core.limits.reserve(charge) {
        return Err((object, reason));
    }
    let link = Pooled::into_link(object);
    // SAFETY: I1: the guard held the node, and is gone.
    unsafe { Link::set_weight(link.as_ptr(), weight) };
    let given = if alone {
        // SAFETY: I1: as above. The node is given up here.
        let batch = unsafe { Batch::of_one(link.as_ptr()) };
        core.depots().give(batch, End::Hot, Timeout::Short)
    } else {
        // SAFETY: I1: as above. The node is given up here.
        unsafe { core.depots().give_one(link.as_ptr()) }
    };
    match given {
        Ok(()) => Ok(()),
        Err(refused) => {
            core.limits.release(charge);
            // SAFETY: I1: refused, so it is still held here.
            Err((unsafe { Pooled::from_link(link) }, refused.reason()))
        }
    }
}
