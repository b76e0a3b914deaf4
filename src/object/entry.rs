//! [`Entry`]: the root of the hot path. It points to the pool's core or, before the first use, to an
//! empty header (`raw/root.rs`, which also has the orderings).

use crate::object::guard::Pooled;
use crate::object::typed_core::Node;
use crate::raw::cache::Cache;
use crate::raw::node::Link;
use crate::raw::pool::Core;
use crate::raw::root::Root;
use crate::sys::fence;
use crate::sys::thread_id::current;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// The root of the hot path: points to the core of a `Pool<T>`.
pub(crate) struct Entry<T> {
    /// Points to a core whose objects are `T`.
    root: Root,
    object: PhantomData<fn() -> T>,
}

impl<T> Entry<T> {
    pub(crate) const fn new() -> Self {
        Self {
            root: Root::new(),
            object: PhantomData,
        }
    }

    /// Returns the core if there is one yet.
    #[inline]
    pub(crate) fn core(&self) -> Option<&Core> {
        self.root.core()
    }

    /// Returns the core, or what `make` returns if there is none yet.
    #[inline]
    pub(crate) fn core_or<'a>(&'a self, make: impl FnOnce() -> &'a Core) -> &'a Core {
        self.root.core_or(make)
    }

    /// Sets the core and returns it. If the entry already has one, releases `fresh` and returns the
    /// existing core as the error.
    ///
    /// # Safety
    /// As [`Root::init`], and the core is of a `Pool<T>`.
    pub(crate) unsafe fn init(&self, fresh: *const Core) -> Result<&Core, &Core> {
        // SAFETY: guaranteed by the caller.
        unsafe { self.root.init(fresh) }
    }

    /// Sets the core.
    ///
    /// # Safety
    /// As [`Root::set`], and the core is of a `Pool<T>`.
    pub(crate) unsafe fn set(&self, core: &Core) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.root.set(core) };
    }
}

impl<T: Send + 'static> Entry<T> {
    /// The hot path of a get: this thread's place, its cache, its top object.
    #[inline(always)]
    pub(crate) fn hit(&self) -> Option<Pooled<T>> {
        // SAFETY: I3: the cache of this thread's place. Threads with a place have the barrier that
        // makes `light` their half of the fence.
        let link = unsafe { self.my_cache()?.pop(fence::light) };
        // SAFETY: a node of the pool that this points to, taken from this thread's cache.
        NonNull::new(link).map(|link| unsafe { Pooled::from_link(link) })
    }

    /// Returns this thread's cache, if it has one.
    #[inline(always)]
    fn my_cache(&self) -> Option<&Cache> {
        let header = self.root.header();
        let cache = current(|thread| header.cache_table.cache_at(thread));
        // SAFETY: caches live as long as their core.
        unsafe { cache.as_ref() }
    }

    /// Returns the place from which this thread's next hit would take its object.
    #[inline(always)]
    pub(crate) fn top(&self) -> Option<Top<T>> {
        Some(Top {
            cache: self.my_cache()?,
            object: PhantomData,
        })
    }
}

impl<T> fmt::Debug for Entry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entry")
            .field(&self.core().is_some())
            .finish()
    }
}

/// The top of this thread's cache, for work on an object that stays there. It borrows nothing:
/// another thread may drop the pool while the work is done.
pub(crate) struct Top<T> {
    cache: *const Cache,
    object: PhantomData<fn(T) -> T>,
}

impl<T: Send + 'static> Top<T> {
    /// Calls `work` with the top object. Returns `None` if there is none, or if a visitor is at the
    /// cache.
    ///
    /// # Safety
    /// Nothing has happened since [`Entry::top`], and until `work` runs the caller has something
    /// that keeps the core's memory. `work` runs inside the critical section: it may change the
    /// object, but must not call user code, allocate, free, use a pool, or panic (I5).
    #[inline(always)]
    pub(crate) unsafe fn with<R>(self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        let on_link = |link: *mut Link| {
            let node = link.cast::<Node<T>>();
            // SAFETY: I1: a node of this pool, in a list that only this thread may touch (I2); its
            // value is there.
            work(unsafe { &mut (*node).value })
        };
        // SAFETY: the caller keeps the memory until `work` runs. `work` runs only in a cache that
        // this thread has; the thread remembers the cache's core until it ends, which keeps the
        // memory as well.
        let cache = unsafe { &*self.cache };
        // SAFETY: I3: the cache of this thread's place. Threads with a place have the barrier that
        // makes `light` their half of the fence. The caller guarantees the rest.
        unsafe { cache.with_top(fence::light, on_link) }
    }
}
