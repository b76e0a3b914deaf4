//! [`ArenaPoolBuilder::diagnostics`].

#![cfg(feature = "diagnostics")]

use super::builder::ArenaPoolBuilder;
use crate::object::diagnostics::settings::{Choice, Diagnostics};

impl ArenaPoolBuilder {
    /// Sets the pool's diagnostics, regardless of what is set for the process or in the environment
    /// (feature `diagnostics`). See [`Builder::diagnostics`](crate::Builder::diagnostics).
    pub fn diagnostics(mut self, diagnostics: Diagnostics) -> Self {
        self.settings.set_diagnostics(Choice::of(diagnostics));
        self
    }
}
