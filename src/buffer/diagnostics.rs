//! [`BufferPoolBuilder::diagnostics`].

#![cfg(feature = "diagnostics")]

use super::builder::BufferPoolBuilder;
use crate::object::diagnostics::settings::{Choice, Diagnostics};

impl BufferPoolBuilder {
    /// Sets the pool's diagnostics, regardless of what is set for the process or in the environment
    /// (feature `diagnostics`). See [`Builder::diagnostics`](crate::Builder::diagnostics).
    pub fn diagnostics(mut self, diagnostics: Diagnostics) -> Self {
        self.settings
            .common
            .set_diagnostics(Choice::of(diagnostics));
        self
    }
}
