//! [`Root`]: the pointer from a pool to its core. Until the first use it leads to an empty header.
//!
//! The first use of a pool makes its core. Threads that race for it make one core each: all use the first that is ready,
//! and the others are released.
//!
//! # Orderings
//! - the pointer: Release when it is set (`init`, `set`), Acquire when it is read: the reader sees a
//!   whole core.

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
        // Acquire: pairs with the Release in `init` and `set`.
        let core = self.0.load(Ordering::Acquire); // mutant: read-root
        // SAFETY: not `EMPTY`, so a core, which the caller of `init` or `set` keeps alive.
        (core != empty()).then(|| unsafe { &*core })
    }

    /// The header of the core, or an empty one.
    #[inline(always)]
    pub(crate) fn header(&self) -> &Header {
        // Acquire: pairs with the Release in `init` and `set`.
        let core = self.0.load(Ordering::Acquire); // mutant: read-root-on-hits
        // SAFETY: `EMPTY`, or a core, which starts with its header; the caller of `init` or `set` keeps it alive.
        unsafe { &*core.cast::<Header>() }
    }

    /// Leads to this core from now on. `Err` has the core of the thread that was first, and `fresh` was released.
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
            // SAFETY: alive by the reference that the root has now.
            Ok(_) => Ok(unsafe { &*fresh }),
            Err(first) => {
                // SAFETY: no other thread knows it, so this is its only reference.
                unsafe { Core::release(fresh) };
                // SAFETY: as in `core`.
                Err(unsafe { &*first })
            }
        }
    }

    /// Leads to this core from now on.
    ///
    /// # Safety
    /// The core outlives each use of the root, which leads to no other core.
    pub(crate) unsafe fn set(&self, core: &Core) {
        // With the provenance of the whole core, not only of what is borrowed here.
        let core = core.address().cast_mut();
        // Release: pairs with the Acquire of each reader.
        self.0.store(core, Ordering::Release); // mutant: lead-to-core-by-entry
    }
}
