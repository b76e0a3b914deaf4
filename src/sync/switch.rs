//! [`Switch`]: a flag that any thread may set at any time, and whose value threads apply to other state.
//!
//! # Orderings
//! - the flag: a thread sets it, and reads it to apply it, by a read-modify-write with AcqRel. All of these have one
//!   order, and each sees what happened before the earlier ones. Suppose that one thread makes an item and applies
//!   the switch to it while another thread sets the switch. Then the maker reads the new value, or the other thread
//!   finds the item.

use super::{AtomicBool, Ordering};

/// On or off.
#[derive(Debug)]
pub(crate) struct Switch(AtomicBool);

impl Switch {
    pub(crate) fn new(on: bool) -> Self {
        Self(AtomicBool::new(on))
    }

    /// The present value. A hint: another thread may set it at the same time.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        // Relaxed: it publishes nothing.
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the value. The caller then has to [apply](Switch::apply) it.
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

/// Calls `apply` with the result of `look`, and repeats that until `look` returns the same result afterwards. So the
/// last of several threads that apply a value has seen the latest one. Each later change comes with its own call.
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

#[cfg(all(test, not(repool_loom)))]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    #[test]
    fn a_switch_applies_what_was_set_last() {
        let switch = Switch::new(true);
        let applied = Cell::new(None);
        for on in [false, true, true, false] {
            switch.set(on);
            assert_eq!(switch.is_on(), on);
            switch.apply(|on| applied.set(Some(on)));
            assert_eq!(applied.take(), Some(on));
        }
    }

    #[test]
    fn a_value_that_changes_meanwhile_is_applied_again() {
        let on = Cell::new(false);
        let applied = RefCell::new(Vec::new());
        let apply = |now| {
            applied.borrow_mut().push(now);
            // Another thread switches during the first call.
            on.set(true);
        };
        apply_latest(|| on.get(), apply);
        assert_eq!(applied.into_inner(), [false, true]);
    }
}
