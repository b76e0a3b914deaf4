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

    /// The number of nodes. The caller holds the pool's handle.
    pub(super) fn nodes(&self) -> usize {
        // Relaxed: a node's reference is counted before another thread can see the node.
        self.strong.load(Ordering::Relaxed) - 1
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

#[cfg(all(test, not(repool_loom)))]
mod tests {
    use super::*;
    use crate::object::pool::Pool;
    use std::process::Command;

    /// As with `Arc`: otherwise guards that are forgotten in a loop would end in a use after free.
    #[test]
    #[cfg_attr(miri, ignore = "starts processes")]
    fn a_process_ends_before_a_count_of_references_overflows() {
        const BEFORE: &str = "REPOOL_TEST_REFERENCES";
        if let Ok(before) = std::env::var(BEFORE) {
            let pool: Pool<Vec<u8>> = Pool::new(Vec::new);
            let strong = &pool.core().strong;
            strong.store(before.parse().expect("a number"), Ordering::Relaxed);
            pool.core().retain();
            strong.store(1, Ordering::Relaxed);
            return;
        }
        let this = std::env::current_exe().expect("this binary");
        let most = isize::MAX as usize;
        for (before, survives) in [
            (1, true),
            (most, true),
            (most + 1, false),
            (most + 2, false),
        ] {
            let name = "raw::refs::tests::a_process_ends_before_a_count_of_references_overflows";
            let child = Command::new(&this)
                .args(["--exact", name])
                .env(BEFORE, before.to_string())
                .output()
                .expect("this binary runs");
            assert_eq!(child.status.success(), survives, "{before}: {child:?}");
        }
    }

    #[test]
    fn nodes_are_the_references_but_that_of_the_pool() {
        let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
        let core = pool.core();
        assert_eq!(core.nodes(), 0);
        let held = [pool.get(), pool.get()];
        assert_eq!(core.nodes(), 2);
        drop(held);
        assert_eq!(core.nodes(), 2, "idle ones as well");
        pool.clear();
        assert_eq!(core.nodes(), 0);
    }

    #[test]
    fn a_core_is_gone_with_its_last_strong_reference() {
        let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
        let weak = WeakCore::new(pool.core());
        let held = pool.get();
        assert!(!weak.is_gone() && weak.try_retain());
        // SAFETY: the reference that was just added.
        unsafe { Core::release(weak.address()) };
        drop(pool);
        assert!(!weak.is_gone() && weak.try_retain(), "the guard holds one");
        drop(Strong(weak.address()));
        drop(held);
        assert!(weak.is_gone() && !weak.try_retain());
        assert_eq!(weak.strong.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_weak_reference_is_counted_until_it_is_dropped() {
        let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).trim_manually().build();
        let weak = || pool.core().weak.load(Ordering::Relaxed);
        let before = weak();
        let references = [pool.core(), pool.core()].map(WeakCore::new);
        assert_eq!(weak(), before + 2);
        drop(references);
        assert_eq!(weak(), before);
    }

    #[test]
    fn a_closed_pool_is_not_asked_any_more() {
        let pool: Pool<Vec<u8>> = Pool::builder(Vec::new)
            .on_pass(|| true)
            .name("asked")
            .trim_manually()
            .build();
        let weak = WeakCore::new(pool.core());
        let strong = || weak.strong.load(Ordering::Relaxed);
        assert_eq!((weak.on_pass(), weak.name()), (true, Some("asked".into())));
        assert_eq!(strong(), 1, "each reference was released");
        let held = pool.get();
        drop(pool);
        assert_eq!((weak.on_pass(), weak.name()), (false, None), "closed");
        drop(held);
        assert_eq!((weak.on_pass(), weak.name()), (false, None), "gone");
        assert_eq!(strong(), 0);
    }
}
