//! Stands in for `diagnostics/` without the feature `diagnostics`: does nothing, at no cost.

pub(crate) mod poison {
    use std::mem::MaybeUninit;

    #[allow(dead_code, reason = "for buffers, which are a feature")]
    pub(crate) fn fill<T>(_: &mut [MaybeUninit<T>]) {}
}

pub(crate) mod settings {
    /// No pool has diagnostics.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Choice;

    impl Choice {
        pub(crate) const UNSAID: Self = Self;
        #[allow(dead_code, reason = "for buffers and arenas, which are features")]
        pub(crate) const NEVER: Self = Self;

        #[allow(dead_code, reason = "for buffers, which are a feature")]
        pub(crate) fn settled(self, _: Option<&str>) -> Self {
            self
        }

        pub(crate) fn resolve(self, _: Option<&str>) -> Diagnostics {
            Diagnostics
        }
    }

    pub(crate) struct Diagnostics;

    impl Diagnostics {
        pub(crate) fn is_deterministic(&self) -> bool {
            false
        }
    }
}

pub(crate) mod slot {
    use super::settings::Diagnostics;

    pub(crate) struct Slot;

    impl Slot {
        pub(crate) fn new(_: Diagnostics, _: &str) -> Self {
            Self
        }

        pub(crate) fn is_on(&self) -> bool {
            false
        }

        #[inline(always)]
        pub(crate) fn freed(&self, _: usize) {}
    }
}

#[allow(
    clippy::extra_unused_type_parameters,
    reason = "the real module uses them"
)]
pub(crate) mod steps {
    use crate::raw::node::Link;
    use crate::raw::pool::Core;

    #[allow(dead_code, reason = "for buffers, which are a feature")]
    #[inline(always)]
    pub(crate) fn has_diagnostics(_: &Core) -> bool {
        false
    }

    /// # Safety
    /// None is asked for.
    #[inline(always)]
    pub(crate) unsafe fn take<T>(_: &Core) -> Option<*mut Link> {
        None
    }

    /// # Safety
    /// None is asked for.
    #[inline(always)]
    pub(crate) unsafe fn goes_out<T>(_: *mut Link) {}

    /// # Safety
    /// None is asked for.
    #[allow(dead_code, reason = "for buffers and arenas, which are features")]
    #[inline(always)]
    pub(crate) unsafe fn went_out<T>(_: *mut Link) -> bool {
        false
    }

    /// # Safety
    /// None is asked for.
    #[inline(always)]
    pub(crate) unsafe fn gives_back<T>(_: *const Core, _: *mut Link) -> bool {
        false
    }
}
