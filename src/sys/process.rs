//! Whether this process may have a janitor, and whether its threads have caches.

use crate::sync::rare::OnceLock;

/// Whether this process may have a janitor. It may not with `REPOOL_JANITOR=off` in the environment, or on wasm, which
/// has no threads. Miri reports a thread that still runs when `main` returns, so there is a janitor under Miri only
/// with `REPOOL_JANITOR=on`.
pub(crate) fn janitor_is_possible() -> bool {
    janitor() == Janitor::Possible
}

/// Whether threads have caches. Without a janitor they have none, since nothing else would empty the cache of an
/// inactive thread. Under Miri they have caches nevertheless, so that Miri checks the hit path.
pub(crate) fn caches_are_possible() -> bool {
    janitor() == Janitor::Possible || cfg!(miri) && janitor() == Janitor::Unasked
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Janitor {
    Possible,
    /// The target has none by default, and the environment says nothing.
    Unasked,
    Forbidden,
}

fn janitor() -> Janitor {
    // Computed first and then set: a child that is forked while a `OnceLock` initializes would wait forever.
    static FOUND: OnceLock<Janitor> = OnceLock::new();
    FOUND.get().copied().unwrap_or_else(|| {
        let asked = std::env::var_os("REPOOL_JANITOR");
        let says = |word| asked.as_ref().is_some_and(|value| value == word);
        let found = if says("off") {
            Janitor::Forbidden
        } else if cfg!(target_family = "wasm") || cfg!(miri) && !says("on") {
            Janitor::Unasked
        } else {
            Janitor::Possible
        };
        let _ = FOUND.set(found);
        found
    })
}
