//! The registry of named pools of the process, of every kind. `observe/` lists it.
//!
//! A pool with a name is added when it is first used and removed when it is dropped. The registry keeps
//! no pool alive. No hit, return or pass touches it.
//!
//! It is split into parts with a lock each, so that a thread lost in a fork while it changed
//! one part does not take all of them along: a child that cannot lock a part goes on without the
//! pools in it, and pools added later go to another part. Locks are only tried, and nothing is
//! dropped while one is held.
//!
//! Once [`look_with_totals`] has been called, the registry also keeps what pools had counted when
//! they were removed, by name and kind. A removal that cannot take that lock is not counted.

use crate::background::manual::ensure_watched;
use crate::raw::pool::Core;
use crate::raw::refs::WeakCore;
use crate::raw::stats::Stats;
use crate::sync::rare::Arc;
use crate::sync::{Mutex, Timeout};
use std::any::Any;
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
    /// Returns the pool's present state; `None` if the pool is gone.
    fn look(&self) -> Option<Look>;
}

/// The state of a pool, from [`Member::look`].
pub(crate) struct Look {
    /// What the pool has done and holds.
    pub(crate) stats: Stats,
    /// Whether the pool keeps objects.
    pub(crate) enabled: bool,
    /// What this look has kept alive. If it is the last reference, dropping it runs destructors, so
    /// a caller drops it without a lock.
    pub(crate) kept: Option<Arc<dyn Any + Send + Sync>>,
}

/// An entry of the registry.
pub(crate) struct Entry {
    pub(crate) kind: PoolKind,
    pub(crate) name: Box<str>,
    pub(crate) member: Box<dyn Member>,
    /// What the last [`look_with_totals`] has seen.
    last: Mutex<Stats>,
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
        last: Mutex::new(Stats::default()),
    });
    let part = parts(address).find_map(|part| part.lock_bounded(Timeout::Short));
    let before = part.and_then(|mut part| part.insert(address, entry));
    drop(before); // after the lock
}

/// Removes a pool, of which `last` returns the statistics.
pub(crate) fn remove(address: usize, last: impl FnOnce() -> Stats) {
    // While the totals are locked, no caller of `look_with_totals` sees a pool both here and there.
    // A caller holds the lock for as long as it takes to look at all pools.
    let mut totals = TOTALS.lock_bounded(Timeout::Long);
    let gone = parts(address).find_map(|part| {
        let mut part = part.lock_bounded(Timeout::Long)?;
        part.remove(&address)
    });
    let totals_of_names = totals.as_deref_mut().and_then(Option::as_mut);
    if let (Some(totals), Some(gone)) = (totals_of_names, &gone) {
        let key = (gone.name.clone(), gone.kind);
        totals.entry(key).or_default().add(&last());
    }
    drop(totals);
    drop(gone); // after the locks
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

/// What removed pools had counted, by name and kind.
pub(crate) type Totals = BTreeMap<(Box<str>, PoolKind), Stats>;

/// `None` until the first caller of [`look_with_totals`].
static TOTALS: Mutex<Option<Totals>> = Mutex::new(None);

/// A named pool, from [`look_with_totals`].
#[allow(dead_code, reason = "for metrics, which are a feature")]
pub(crate) struct Seen {
    pub(crate) entry: Arc<Entry>,
    /// `None` if the pool is being dropped.
    pub(crate) look: Option<Look>,
    /// What the pool has done, as far as it could last be seen.
    pub(crate) counted: Stats,
}

/// Returns the named pools, and what pools had counted that were removed since the first call. No
/// pool is in both, and none is missing.
///
/// If the lock cannot be taken, there are no totals.
#[allow(dead_code, reason = "for metrics, which are a feature")]
pub(crate) fn look_with_totals() -> (Vec<Seen>, Totals) {
    let mut totals = TOTALS.lock_bounded(Timeout::Long);
    let removed = totals
        .as_deref_mut()
        .map(|totals| totals.get_or_insert_default().clone());
    let see = |entry: Arc<Entry>| {
        let look = entry.member.look();
        let mut counted = Stats::default();
        if let Some(mut last) = entry.last.lock_bounded(Timeout::Short) {
            if let Some(look) = &look {
                *last = look.stats;
            }
            counted = *last;
        }
        Seen {
            entry,
            look,
            counted,
        }
    };
    let seen = entries().into_iter().map(see).collect();
    drop(totals);
    (seen, removed.unwrap_or_default())
}

impl Member for WeakCore {
    fn look(&self) -> Option<Look> {
        (!self.is_closed()).then(|| Look {
            stats: stats(self),
            enabled: Core::is_enabled(self),
            kept: None,
        })
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
        fn look(&self) -> Option<Look> {
            None
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
        remove(other, Stats::default);
        assert!(names().is_empty());
        drop(lost);
        remove(address, Stats::default);
        remove(address, Stats::default);
        assert!(names().is_empty());
    }

    /// As above, for the lock of the totals.
    #[test]
    fn pools_come_and_go_while_the_totals_stay_locked() {
        let address = 64 * PARTS * 2_000;
        let lost = TOTALS.try_lock();
        assert!(lost.is_some());
        add(address, PoolKind::Buffers, "totals-test", Box::new(Nothing));
        let (seen, totals) = look_with_totals();
        let is_ours = |seen: &&Seen| &*seen.entry.name == "totals-test";
        assert!(
            seen.iter()
                .find(is_ours)
                .is_some_and(|seen| seen.look.is_none())
        );
        assert!(totals.is_empty());
        remove(address, || unreachable!("nothing to add it to"));
        drop(lost);
        assert_eq!(look_with_totals().0.iter().filter(is_ours).count(), 0);
        add(address, PoolKind::Buffers, "totals-test", Box::new(Nothing));
        let last = Stats {
            created: 7,
            ..Stats::default()
        };
        remove(address, || last);
        let (_, totals) = look_with_totals();
        assert_eq!(totals[&("totals-test".into(), PoolKind::Buffers)], last);
    }
}
