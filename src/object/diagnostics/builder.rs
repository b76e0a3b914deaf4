//! [`Builder::diagnostics`].

#![cfg(feature = "diagnostics")]

use super::settings::{Choice, Diagnostics};
use crate::object::builder::Builder;

impl<T: Send + 'static, R> Builder<T, R> {
    /// Sets the pool's diagnostics, regardless of what is set for the process or in the environment
    /// (feature `diagnostics`).
    pub fn diagnostics(self, diagnostics: Diagnostics) -> Self {
        self.set(|settings| settings.set_diagnostics(Choice::of(diagnostics)))
    }
}
