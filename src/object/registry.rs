//! The registry of named pools of the process, of every kind. `observe/` lists it.
//!
//! A pool with a name is added when it is first used and removed when it is dropped. The registry keeps
//! no pool alive. No hit, return or pass touches it.
//!
//! It is split into parts with a lock each, so that a thread lost in a fork while it changed
//! one part does not take all of them along: a child that cannot lock a part goes on without the
//! pools in it, and pools added later go to another part. Locks are only tried, and nothing is
//! dropped while one is held.

use crate::background::manual::ensure_watched;
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;
use crate::raw::stats::Stats;
use crate::sync::rare::Arc;
use crate::sync::{Mutex, Timeout};
use std::collections::BTreeMap;
use std::fmt;

/// What a named pool hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PoolKind {
    /// Objects of one type: a [`Pool`](crate::Pool).
    Objects,
    /// Byte buffers: a `BufferPool`.
    Buffers,
    /// Arenas: an `ArenaPool`.
    Arenas,
}

impl fmt::Display for PoolKind {
    /// `objects`, `buffers`, `arenas`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Objects => "objects",
            Self::Buffers => "buffers",
            Self::Arenas => "arenas",
        })
    }
}

/// A pool as the registry sees it, without its user's handle.
pub(crate) trait Member: Send + Sync {
    /// Returns what the pool has done and holds; `None` if the pool is gone.
    fn stats(&self) -> Option<Stats>;

    /// Returns whether the pool keeps objects.
    fn is_enabled(&self) -> bool;
}

/// An entry of the registry.
pub(crate) struct Entry {
    pub(crate) kind: PoolKind,
    pub(crate) name: Box<str>,
    pub(crate) member: Box<dyn Member>,
}

/// Maps the address under which a pool is added and removed.
type Part = Mutex<BTreeMap<usize, Arc<Entry>>>;

const PARTS: usize = 16;

static REGISTRY: [Part; PARTS] = [const { Mutex::new(BTreeMap::new()) }; PARTS];

/// The parts, in the order in which a pool at this address tries them.
fn parts(address: usize) -> impl Iterator<Item = &'static Part> {
    // Anything allocated for a pool is larger than a cache line.
    let first = address / 64;
    (first..).take(PARTS).map(|part| &REGISTRY[part % PARTS])
}

/// Adds a pool.
pub(crate) fn add(address: usize, kind: PoolKind, name: &str, member: Box<dyn Member>) {
    let entry = Arc::new(Entry {
        kind,
        name: name.into(),
        member,
    });
    let part = parts(address).find_map(|part| part.lock_bounded(Timeout::Short));
    let before = part.and_then(|mut part| part.insert(address, entry));
    drop(before); // after the lock
}

/// Removes a pool.
pub(crate) fn remove(address: usize) {
    let gone = parts(address).find_map(|part| {
        let mut part = part.lock_bounded(Timeout::Long)?;
        part.remove(&address)
    });
    drop(gone); // after the lock
}

/// Returns the named pools.
pub(crate) fn entries() -> Vec<Arc<Entry>> {
    let mut all = Vec::new();
    for part in &REGISTRY {
        if let Some(part) = part.lock_bounded(Timeout::Long) {
            all.extend(part.values().cloned());
        }
    }
    all
}

impl Member for WeakCore {
    fn stats(&self) -> Option<Stats> {
        (!self.is_closed()).then(|| stats(self))
    }

    fn is_enabled(&self) -> bool {
        Core::is_enabled(self)
    }
}

/// Returns what a pool has done and holds.
pub(crate) fn stats(core: &Core) -> Stats {
    let stats = core.stats();
    if stats.idle > 0 {
        // It is watched already, except in a forked child that has had no return on a slow path
        // yet.
        ensure_watched(core);
    }
    stats
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Member for Nothing {
        fn stats(&self) -> Option<Stats> {
            None
        }

        fn is_enabled(&self) -> bool {
            true
        }
    }

    fn names() -> Vec<String> {
        let mut names: Vec<_> = entries()
            .iter()
            .map(|entry| entry.name.to_string())
            .filter(|name| name.starts_with("registry-test"))
            .collect();
        names.sort();
        names
    }

    /// Simulates a fork in which the holder of a lock was lost.
    #[test]
    fn a_part_that_stays_locked_keeps_no_pool_out_and_none_in() {
        let address = 64 * PARTS * 1_000;
        add(
            address,
            PoolKind::Objects,
            "registry-test-1",
            Box::new(Nothing),
        );
        assert_eq!(names(), ["registry-test-1"]);
        let lost = parts(address).next().and_then(Mutex::try_lock);
        assert!(lost.is_some());
        let other = address + 64 * PARTS;
        add(
            other,
            PoolKind::Arenas,
            "registry-test-2",
            Box::new(Nothing),
        );
        assert_eq!(names(), ["registry-test-2"]);
        remove(other);
        assert!(names().is_empty());
        drop(lost);
        remove(address);
        remove(address);
        assert!(names().is_empty());
    }
}
