//! The reference counts of a core. Strong references keep the user's closures, weak ones the memory.
//!
//! # Orderings
//! - strong, weak: decrements are Release, and the last one is followed by an Acquire load, so the thread that frees
//!   sees what all others did. Increments are Relaxed: the caller holds a reference already.

use super::node::Link;
use super::pool::Core;
use super::stats::Reason;
use crate::sync::Ordering;
use std::ptr::NonNull;

impl Core {
    /// Adds a strong reference.
    pub(crate) fn retain(&self) {
        // Relaxed: the caller holds a reference.
        let before = self.strong.fetch_add(1, Ordering::Relaxed);
        if before > isize::MAX as usize {
            std::process::abort(); // as `Arc` does, before the count can overflow
        }
    }

    /// The number of nodes, about; 0 if the pool is gone.
    pub(super) fn nodes(&self) -> usize {
        // Relaxed: a node's reference is counted before another thread can see the node.
        // There is none at the very end.
        self.strong.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Whether the last strong reference is gone: neither the pool nor a node is left.
    pub(crate) fn is_gone(&self) -> bool {
        // Relaxed: the caller only drops a weak reference next, which has its own ordering. It reads nothing that the
        // last holder wrote.
        self.strong.load(Ordering::Relaxed) == 0
    }

    /// Adds a strong reference, unless the last one is gone.
    pub(super) fn try_retain(&self) -> bool {
        // Relaxed: as in `retain`. The new reference keeps the closures.
        let more = |strong: usize| (strong != 0).then_some(strong + 1);
        self.strong
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    /// Runs the pool's hook for passes (`VTable::on_pass`). `true` if the hook has to run at the next pass as well.
    pub(crate) fn on_pass(&self) -> bool {
        if self.is_closed() || !self.try_retain() {
            return false;
        }
        let core = self.address();
        let _strong = Strong(core);
        // SAFETY: `_strong` holds the reference just taken.
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
        // SAFETY: `_strong` holds the reference just taken.
        unsafe { (self.vtable.name)(core) }
    }

    /// Releases a strong reference.
    ///
    /// # Safety
    /// The caller holds a strong reference and gives it up.
    pub(crate) unsafe fn release(core: *const Core) {
        // Release: what this holder did happens before the closures are dropped.
        // SAFETY: alive, since the caller holds a reference.
        let before = unsafe { (*core).strong.fetch_sub(1, Ordering::Release) }; // mutant: release-strong
        if before == 1 {
            // Acquire: pairs with every Release above. A load, since ThreadSanitizer does not support fences.
            // SAFETY: the weak reference that all strong ones hold together is released below.
            let _ = unsafe { (*core).strong.load(Ordering::Acquire) }; // mutant: acquire-strong
            // SAFETY: as above.
            let drop_payload = unsafe { (*core).vtable.drop_payload };
            // Dropped last, even if a closure's destructor panics.
            // SAFETY: not null, since it is alive.
            let _weak = WeakCore(unsafe { NonNull::new_unchecked(core.cast_mut()) });
            // SAFETY: the last strong reference is gone, so no thread calls the closures any more.
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
        // SAFETY: the creator of this held the node and gave it up.
        unsafe { Core::discard(self.link, self.reason) };
    }
}

/// A strong reference, which is released on drop.
pub(crate) struct Strong(pub(crate) *const Core);

impl Drop for Strong {
    fn drop(&mut self) {
        // SAFETY: the creator of this took the reference.
        unsafe { Core::release(self.0) };
    }
}

/// A weak reference: keeps the memory of a core, but not the user's closures.
#[derive(Debug)]
pub(crate) struct WeakCore(NonNull<Core>);

// SAFETY: threads share a core. Each of its parts is `Sync` or guarded.
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

#[cfg(test)]
mod tests;
