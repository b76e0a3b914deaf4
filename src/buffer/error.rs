//! [`CapacityError`]: a buffer that cannot be had.

use std::{error, fmt};

/// No buffer of that capacity can be had; from
/// [`BufferPool::try_with_capacity`](crate::BufferPool::try_with_capacity).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CapacityError {
    /// The capacity that was requested, in bytes.
    pub requested: usize,
    /// The most bytes that any buffer can have. A request for less fails when the allocator has no
    /// memory.
    pub max: usize,
}

impl CapacityError {
    pub(super) fn of(requested: usize) -> Self {
        Self {
            requested,
            max: isize::MAX as usize,
        }
    }

    /// The former name of `requested`.
    #[doc(hidden)]
    #[must_use]
    pub fn asked(&self) -> usize {
        self.requested
    }

    /// The former name of `max`.
    #[doc(hidden)]
    #[must_use]
    pub fn possible(&self) -> usize {
        self.max
    }
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requested, max } = self;
        if requested > max {
            write!(
                f,
                "capacity overflow: {requested} bytes requested, at most {max} possible"
            )
        } else {
            write!(f, "no memory for a buffer of {requested} bytes")
        }
    }
}

impl error::Error for CapacityError {}
