//! [`ArenaPoolBuilder::diagnostics`].

#![cfg(feature = "diagnostics")]

use super::builder::ArenaPoolBuilder;
use crate::object::diagnosed::settings::{Choice, Diagnostics};

impl ArenaPoolBuilder {
    /// What the pool is watched for, whatever the process and the environment say (feature `diagnostics`). See
    /// [`Builder::diagnostics`](crate::Builder::diagnostics).
    pub fn diagnostics(mut self, diagnostics: Diagnostics) -> Self {
        self.settings.set_diagnostics(Choice::of(diagnostics));
        self
    }
}
