//! [`Root`]: the pointer from a pool to its core. Before the first use it points to an empty header.
//!
//! The first use of a pool creates its core. Threads that race for it create one core each. All use the first that is
//! ready, and the others are released.
//!
//! # Orderings
//! - the pointer: Release when it is set (`init`, `set`), Acquire when it is read: the reader sees a complete core.

use super::empty::empty;
use super::header::Header;
use super::pool::Core;
use crate::sync::{AtomicPtr, Ordering, const_fn};

/// A core, or an empty header.
#[derive(Debug)]
pub(crate) struct Root(AtomicPtr<Core>);

impl Root {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self(AtomicPtr::new(empty()))
        }
    }

    /// The core, if there is one yet.
    #[inline]
    pub(crate) fn core(&self) -> Option<&Core> {
        let core = self.load();
        // SAFETY: not the empty header, so a core, which the caller of `init` or `set` keeps alive.
        (core != empty()).then(|| unsafe { &*core })
    }

    /// The core, or what `make` returns if there is none yet. One test less than [`Root::core`].
    #[inline]
    pub(crate) fn core_or<'a>(&'a self, make: impl FnOnce() -> &'a Core) -> &'a Core {
        let core = self.load();
        if core == empty() {
            return make();
        }
        // SAFETY: as in `core`.
        unsafe { &*core }
    }

    #[inline(always)]
    fn load(&self) -> *mut Core {
        // Acquire: pairs with the Release in `init` and `set`.
        self.0.load(Ordering::Acquire) // mutant: read-root
    }

    /// The header of the core, or an empty one.
    #[inline(always)]
    pub(crate) fn header(&self) -> &Header {
        // Acquire: pairs with the Release in `init` and `set`.
        let core = self.0.load(Ordering::Acquire); // mutant: read-root-on-hits
        // SAFETY: the empty header, or a core, which starts with its header. The caller of `init` or `set` keeps it
        // alive.
        unsafe { &*core.cast::<Header>() }
    }

    /// Points to `fresh` from now on. `Err` has the core of the thread that was first, and `fresh` is released.
    ///
    /// # Safety
    /// `fresh` is a core that no other thread knows. The caller passes its only strong reference on to this root, and
    /// gives that up after the last use of the root.
    pub(crate) unsafe fn init(&self, fresh: *const Core) -> Result<&Core, &Core> {
        let led = self.0.compare_exchange(
            empty(),
            fresh.cast_mut(),
            // Release: pairs with the Acquire of each reader.
            Ordering::Release, // mutant: lead-to-core
            // Acquire: for the core of another thread.
            Ordering::Acquire, // mutant: lead-to-core-lost
        );
        match led {
            // SAFETY: kept alive by the reference that the root holds now.
            Ok(_) => Ok(unsafe { &*fresh }),
            Err(first) => {
                // SAFETY: no other thread knows the core, so this is its only reference.
                unsafe { Core::release(fresh) };
                // SAFETY: as in `core`.
                Err(unsafe { &*first })
            }
        }
    }

    /// Points to this core from now on.
    ///
    /// # Safety
    /// The core outlives each use of the root, and the root never points to another core.
    pub(crate) unsafe fn set(&self, core: &Core) {
        // With the provenance of the whole core, and not only of the borrow.
        let core = core.address().cast_mut();
        // Release: pairs with the Acquire of each reader.
        self.0.store(core, Ordering::Release); // mutant: lead-to-core-by-entry
    }
}
