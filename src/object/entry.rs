//! [`Entry`]: the root of the hot path. It leads to the pool's core or, before the first use, to an empty
//! header (`raw/root.rs`, with the orderings).

use crate::object::guard::Pooled;
use crate::object::shell::Node;
use crate::raw::cache::Cache;
use crate::raw::node::Link;
use crate::raw::pool::Core;
use crate::raw::root::Root;
use crate::sys::fence;
use crate::sys::thread_id::current;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// The way to the core of a `Pool<T>`.
pub(crate) struct Entry<T> {
    /// To a core whose objects are `T`.
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

    /// The core, if there is one yet.
    #[inline]
    pub(crate) fn core(&self) -> Option<&Core> {
        self.root.core()
    }

    /// Leads to this core from now on; to the one that it leads to already, if it does, and then `fresh` was released.
    ///
    /// # Safety
    /// As [`Root::init`], and the core is of a `Pool<T>`.
    pub(crate) unsafe fn init(&self, fresh: *const Core) -> Result<&Core, &Core> {
        // SAFETY: guaranteed by the caller.
        unsafe { self.root.init(fresh) }
    }

    /// Leads to this core from now on.
    ///
    /// # Safety
    /// As [`Root::set`], and the core is of a `Pool<T>`.
    pub(crate) unsafe fn set(&self, core: &Core) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.root.set(core) };
    }
}

impl<T: Send + 'static> Entry<T> {
    /// The hit path of a get: this thread's place, its cache, the top object.
    #[inline(always)]
    pub(crate) fn hit(&self) -> Option<Pooled<T>> {
        // SAFETY: I3: the cache of this thread's place; threads with a place have the barrier
        // that makes `light` their half of the fence.
        let link = unsafe { self.my_cache()?.pop(fence::light) };
        // SAFETY: a node of the pool that this leads to, taken from this thread's cache.
        NonNull::new(link).map(|link| unsafe { Pooled::from_link(link) })
    }

    /// This thread's cache, if it has one.
    #[inline(always)]
    fn my_cache(&self) -> Option<&Cache> {
        let header = self.root.header();
        let cache = current(|thread| header.cache_table.cache_at(thread));
        // SAFETY: caches live as long as their core.
        unsafe { cache.as_ref() }
    }

    /// Where this thread's next hit would take its object from.
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

/// The top of this thread's cache, for work on an object that stays where it is. It borrows nothing:
/// the pool may go while the work is done.
pub(crate) struct Top<T> {
    cache: *const Cache,
    object: PhantomData<fn(T) -> T>,
}

impl<T: Send + 'static> Top<T> {
    /// Shows the top object to `work`; `None` when there is none, or a visitor is at the cache.
    ///
    /// # Safety
    /// Nothing has happened since [`Entry::top`], and until `work` runs the caller has something that
    /// keeps the core's memory. `work` runs inside the critical section: it may
    /// change the object, but calls no user code, allocates and frees nothing, uses no pool,
    /// and does not panic (I5).
    #[inline(always)]
    pub(crate) unsafe fn with<R>(self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        let on_link = |link: *mut Link| {
            let node = link.cast::<Node<T>>();
            // SAFETY: I1: a node of this pool, in a list that this thread alone may touch (I2); its
            // value is there.
            work(unsafe { &mut (*node).value })
        };
        // SAFETY: the caller keeps the memory until `work` runs; and that runs only in a cache that
        // this thread has, whose core it remembers until it ends, which keeps the memory as well.
        let cache = unsafe { &*self.cache };
        // SAFETY: I3: the cache of this thread's place; threads with a place have the barrier that
        // makes `light` their half of the fence. The rest is the caller's.
        unsafe { cache.with_top(fence::light, on_link) }
    }
}
