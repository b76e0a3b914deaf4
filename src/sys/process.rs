//! What is true of the whole process: whether it may have a janitor, and caches.

use crate::sync::rare::OnceLock;

/// Whether this process may have a janitor at all. `REPOOL_JANITOR=off` in the environment says no;
/// wasm has no threads. Miri reports a thread that is still there when `main` returns, so it has a
/// janitor only where `REPOOL_JANITOR=on` asks for one.
pub(crate) fn janitor_is_possible() -> bool {
    janitor() == Janitor::Possible
}

/// Whether threads have caches. Not without a janitor, which alone sees that a cache is not used any more;
/// but under Miri all the same, so that it sees the hit path.
pub(crate) fn caches_are_possible() -> bool {
    janitor() == Janitor::Possible || cfg!(miri) && janitor() == Janitor::Unasked
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Janitor {
    Possible,
    /// There is none, and nothing in the environment says why.
    Unasked,
    Forbidden,
}

fn janitor() -> Janitor {
    // Read first and then set: a child forked while a `OnceLock` initialises would wait for ever.
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
