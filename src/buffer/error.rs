//! [`CapacityError`]: no buffer of the requested capacity.

use std::{error, fmt};

/// Error of [`BufferPool::try_with_capacity`](crate::BufferPool::try_with_capacity): there is no
/// buffer of the requested capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CapacityError {
    /// The capacity that was requested, in bytes.
    pub requested: usize,
    /// The largest capacity that any buffer can have, in bytes. If `requested` is not larger, the
    /// allocator had no memory.
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
