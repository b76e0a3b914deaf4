//! [`Builder::diagnostics`].

use super::settings::{Choice, Diagnostics};
use crate::object::builder::Builder;

impl<T: Send + 'static, R> Builder<T, R> {
    /// What the pool is watched for, whatever the process and the environment say (feature `diagnostics`).
    pub fn diagnostics(self, diagnostics: Diagnostics) -> Self {
        self.set(|settings| settings.set_diagnostics(Choice::of(diagnostics)))
    }
}
