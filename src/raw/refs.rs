//! A core's references, and what is given up with them.
//!
//! Strong ones keep the user's closures, weak ones the memory.
//!
//! # Orderings
//! - strong, weak: decrement Release, last one loads Acquire: the thread that frees sees what all the
//!   others did. Increments are Relaxed: they start from a reference that is held.

use super::node::Link;
use super::pool::Core;
use super::stats::Reason;
use crate::sync::Ordering;
use std::ptr::NonNull;

impl Core {
    /// One more strong reference.
    pub(crate) fn retain(&self) {
        // Relaxed: the caller holds a reference.
        let before = self.strong.fetch_add(1, Ordering::Relaxed);
        if before > isize::MAX as usize {
            std::process::abort(); // as `Arc`: beyond here the count could overflow
        }
    }

    /// How many nodes there are. The caller has the pool's handle.
    pub(super) fn nodes(&self) -> usize {
        // Relaxed: a node's reference is counted before any thread can see the node.
        self.strong.load(Ordering::Relaxed) - 1
    }

    /// Whether neither the pool nor a guard is left.
    pub(crate) fn is_gone(&self) -> bool {
        // Relaxed: the caller gives up a weak reference next, which has an order of its own, and reads nothing
        // that the last holder wrote.
        self.strong.load(Ordering::Relaxed) == 0
    }

    /// One more strong reference, unless the last one is gone.
    pub(super) fn try_retain(&self) -> bool {
        // Relaxed: as `retain`; the closures are reached through the reference that this is.
        let more = |strong: usize| (strong != 0).then_some(strong + 1);
        self.strong
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// What a pass has to do besides; `true` if it wants to see the next one.
    pub(crate) fn on_pass(&self) -> bool {
        if self.is_closed() || !self.try_retain() {
            return false;
        }
        let core = self.address();
        let _strong = Strong(core);
        // SAFETY: the reference just taken.
        unsafe { (self.vtable.on_pass)(core) }
    }

    /// The pool's name, if it has one.
    #[allow(dead_code, reason = "for events, which are a feature")]
    pub(crate) fn name(&self) -> Option<String> {
        if self.is_closed() || !self.try_retain() {
            return None;
        }
        let core = self.address();
        let _strong = Strong(core);
        // SAFETY: the reference just taken.
        unsafe { (self.vtable.name)(core) }
    }

    /// # Safety
    /// The caller gives up one strong reference of its own.
    pub(crate) unsafe fn release(core: *const Core) {
        // Release: what this holder did happens before the closures are dropped.
        // SAFETY: alive, since the caller holds a reference.
        let before = unsafe { (*core).strong.fetch_sub(1, Ordering::Release) }; // mutant: release-strong
        if before == 1 {
            // Acquire: pairs with every Release above. A load and not a fence, which ThreadSanitizer
            // would not understand.
            // SAFETY: the weak reference of all strong ones is still held.
            let _ = unsafe { (*core).strong.load(Ordering::Acquire) }; // mutant: acquire-strong
            // SAFETY: as above.
            let drop_payload = unsafe { (*core).vtable.drop_payload };
            // Dropped last, also when a closure's destructor panics.
            // SAFETY: not null, being alive.
            let _weak = WeakCore(unsafe { NonNull::new_unchecked(core.cast_mut()) });
            // SAFETY: the last strong reference is gone, so the closures are not called any more.
            unsafe { drop_payload(core) };
        }
    }
}

/// Discards its node on drop, including during unwinding.
#[derive(Debug)]
pub(crate) struct DiscardOnDrop {
    pub(crate) link: *mut Link,
    pub(crate) reason: Reason,
}

impl Drop for DiscardOnDrop {
    fn drop(&mut self) {
        // SAFETY: the maker of this held the node and gave it up.
        unsafe { Core::discard(self.link, self.reason) };
    }
}

/// A strong reference, given up when dropped.
pub(crate) struct Strong(pub(crate) *const Core);

impl Drop for Strong {
    fn drop(&mut self) {
        // SAFETY: the maker of this had taken the reference.
        unsafe { Core::release(self.0) };
    }
}

/// A reference that keeps a core's memory, but not its user's closures.
#[derive(Debug)]
pub(crate) struct WeakCore(NonNull<Core>);

// SAFETY: a core is shared between threads; its parts are `Sync` or guarded.
unsafe impl Send for WeakCore {}
// SAFETY: as above.
unsafe impl Sync for WeakCore {}

impl WeakCore {
    pub(crate) fn new(core: &Core) -> Self {
        // Relaxed: `core` is alive.
        core.weak.fetch_add(1, Ordering::Relaxed);
        let address = NonNull::new(core.address().cast_mut()).expect("a core knows its address");
        Self(address)
    }
}

impl std::ops::Deref for WeakCore {
    type Target = Core;

    fn deref(&self) -> &Core {
        // SAFETY: a weak reference keeps the memory.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for WeakCore {
    fn drop(&mut self) {
        // Release: what this holder did happens before the memory is freed.
        let before = self.weak.fetch_sub(1, Ordering::Release); // mutant: release-weak
        if before == 1 {
            // Acquire: pairs with every Release above.
            let _ = self.weak.load(Ordering::Acquire); // mutant: acquire-weak
            let free = self.vtable.free;
            // SAFETY: the last reference is gone.
            unsafe { free(self.0.as_ptr()) };
        }
    }
}
