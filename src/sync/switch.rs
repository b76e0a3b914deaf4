//! [`Switch`]: a flag that any thread sets at any time, with work that depends on it.
//!
//! # Orderings
//! - the flag: each thread that sets it, or reads it to apply it, does so by a read-modify-write with AcqRel. These are in one
//!   order, and each sees what happened before the earlier ones. When one thread makes an item and applies the switch to it
//!   while another thread sets the switch, either the maker reads the new value, or the other thread finds the item.

use super::{AtomicBool, Ordering};

/// On or off.
#[derive(Debug)]
pub(crate) struct Switch(AtomicBool);

impl Switch {
    pub(crate) fn new(on: bool) -> Self {
        Self(AtomicBool::new(on))
    }

    /// A hint: another thread may be setting it.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        // Relaxed: it publishes nothing.
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it. The caller then [applies](Switch::apply) it.
    pub(crate) fn set(&self, on: bool) {
        // AcqRel: pairs with itself, and with the look in `apply`.
        self.0.swap(on, Ordering::AcqRel); // mutant: switch-sets
    }

    /// Calls `apply` with the latest value; see [`apply_latest`].
    pub(crate) fn apply(&self, apply: impl Fn(bool)) {
        // AcqRel: pairs with itself, and with `set`.
        let look = || self.0.fetch_or(false, Ordering::AcqRel); // mutant: switch-looks
        apply_latest(look, apply);
    }
}

/// Calls `apply` with what `look` returns, and again until that has not changed meanwhile. So of several threads, the last
/// one to apply a value has found it unchanged afterwards, and each later change comes with a call of its own.
pub(crate) fn apply_latest(look: impl Fn() -> bool, apply: impl Fn(bool)) {
    let mut on = look();
    loop {
        apply(on);
        let now = look();
        if now == on {
            break;
        }
        on = now;
    }
}
