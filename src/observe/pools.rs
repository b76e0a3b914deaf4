//! [`pools`]: the named pools of the process.

use crate::object::one_line::OneLine;
use crate::object::registry::{self, Look, PoolKind};
use crate::raw::stats::Stats;
use std::fmt;

/// A named pool and its figures, from [`pools`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolInfo {
    /// What the pool hands out.
    pub kind: PoolKind,
    /// The pool's name. Two pools may have the same name.
    pub name: String,
    /// Whether the pool keeps objects: `false` if it was switched off.
    pub enabled: bool,
    /// What the pool has done and what it holds.
    pub stats: Stats,
}

impl fmt::Display for PoolInfo {
    /// Prints one line for a log. Control characters in the name are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", OneLine(&self.name), self.kind)?;
        if !self.enabled {
            f.write_str(", off")?;
        }
        write!(f, "): {}", self.stats)
    }
}

/// Returns the named pools of the process with their figures, sorted by name and kind.
///
/// A pool is listed from its first use until it is dropped; a [`BufferPool`](crate::BufferPool)
/// with settings is listed from `build` on. A pool gets its name from its builder or from a
/// constructor like [`Pool::named`](crate::Pool::named). Pools without a name are not listed.
///
/// The figures are those of [`Pool::stats`](crate::Pool::stats) and cost as much: some nanoseconds
/// per pool and thread. No get and no drop waits for this call. A forked child lists its parent's
/// pools as well, except some that another thread of the parent was adding or removing at that
/// moment.
///
/// # Examples
/// ```
/// use repool::Pool;
///
/// static LINES: Pool<String> = Pool::named("lines", String::new);
/// drop(LINES.get());
/// for pool in repool::pools() {
///     println!("{pool}");
/// }
/// # assert!(repool::pools().iter().any(|pool| pool.to_string().starts_with(
/// #     "lines (objects): 0 in use, 1 idle")));
/// ```
#[must_use]
pub fn pools() -> Vec<PoolInfo> {
    let mut pools: Vec<_> = registry::entries()
        .iter()
        .filter_map(|entry| {
            let Look {
                stats,
                enabled,
                kept,
            } = entry.member.look()?;
            drop(kept);
            Some(PoolInfo {
                kind: entry.kind,
                name: entry.name.to_string(),
                enabled,
                stats,
            })
        })
        .collect();
    pools.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
    pools
}
