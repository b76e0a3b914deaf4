//! When something is due, told to one of many threads.

use crate::sync::rare::OnceLock;
use crate::sync::{Figure, Ordering};
use std::time::{Duration, Instant};

/// Tells one of many threads that something is due, in whole milliseconds.
#[derive(Debug)]
pub(crate) struct Timer {
    /// Milliseconds since the first look at any timer, plus one; 0: never.
    last: Figure,
}

impl Timer {
    pub(crate) const fn new() -> Self {
        Self {
            last: Figure::new(0),
        }
    }

    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    pub(crate) fn now() -> usize {
        1 // no clock there: nothing is ever due
    }

    #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
    pub(crate) fn now() -> usize {
        static START: OnceLock<Instant> = OnceLock::new();
        let start = START.get().copied().unwrap_or_else(|| {
            let now = Instant::now();
            let _ = START.set(now);
            now
        });
        start.elapsed().as_millis() as usize + 1
    }

    pub(crate) fn restart(&self) {
        // Relaxed, here and below: a number on its own.
        self.last.store(Self::now(), Ordering::Relaxed);
    }

    /// Whether the last restart was less than `interval` ago.
    pub(crate) fn is_within(&self, interval: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last != 0 && Self::now().saturating_sub(last) < interval.as_millis() as usize
    }

    /// `true` for one caller each time that `interval` has gone by; the first call starts it.
    pub(crate) fn is_due(&self, interval: Duration) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        if self.is_within(interval) {
            return false;
        }
        let mine =
            self.last
                .compare_exchange(last, Self::now(), Ordering::Relaxed, Ordering::Relaxed);
        mine.is_ok() && last != 0
    }
}
