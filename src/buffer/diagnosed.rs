//! [`BufferPoolBuilder::diagnostics`].

#![cfg(feature = "diagnostics")]

use super::builder::BufferPoolBuilder;
use crate::object::diagnosed::settings::{Choice, Diagnostics};

impl BufferPoolBuilder {
    /// What the pool is watched for, whatever the process and the environment say (feature `diagnostics`). See
    /// [`Builder::diagnostics`](crate::Builder::diagnostics).
    pub fn diagnostics(mut self, diagnostics: Diagnostics) -> Self {
        self.settings
            .common
            .set_diagnostics(Choice::of(diagnostics));
        self
    }
}
