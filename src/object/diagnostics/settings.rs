//! [`Diagnostics`]: what a pool is checked for. [`Choice`]: which pool gets which.
//!
//! A pool decides at its first use. The first of these that says something applies: its builder,
//! [`Diagnostics::set_for`] for its name, [`Diagnostics::set_default`], `REPOOL_DIAGNOSTICS` in the
//! environment. The lock is only tried.

use crate::sync::rare::OnceLock;
use crate::sync::{Mutex, Timeout};
use std::collections::BTreeMap;

/// What a pool is checked for, in tests and in staging (feature `diagnostics`).
///
/// Everything is off at first. A pool gets its diagnostics from its builder, by name, or from the
/// process-wide default, and keeps those that it had at its first use (a
/// [`BufferPool`](crate::BufferPool) with settings: at `build`).
///
/// # Cost
/// A pool without diagnostics pays nothing on a hit: with the feature compiled in, a get and drop
/// executes the same instructions as without it (counted as `ci/hit-path.sh` does, with
/// `--features repool/diagnostics`). Freeing an object takes one more check, and a core is 64 bytes
/// larger.
///
/// A pool with diagnostics has no caches per thread: each get and each return takes a lock of the
/// pool, and one of the process if there are records. Use it in tests and in a part of staging, and
/// measure no speed with it.
///
/// # Examples
/// ```
/// use repool::Pool;
/// use repool::diagnostics::{Diagnostics, leaks};
///
/// let pool = Pool::builder(String::new)
///     .name("lines")
///     .diagnostics(Diagnostics::new().leaks(1))
///     .build();
/// let line = pool.get();
/// let out: Vec<_> = leaks().into_iter().filter(|leak| &*leak.pool == "lines").collect();
/// assert_eq!((out.len(), out[0].guards, out[0].site.file()), (1, 1, file!()));
/// drop(line);
/// assert!(leaks().iter().all(|leak| &*leak.pool != "lines"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "diagnostics do nothing until a pool has them"]
pub struct Diagnostics {
    /// One in this many gets is recorded; 0: none.
    pub(super) one_in: u32,
    /// The seed.
    pub(super) chaos: Option<u64>,
    pub(super) deterministic: bool,
}

impl Diagnostics {
    /// Everything is off. A pool whose builder gets this has no diagnostics, regardless of the
    /// process and the environment.
    pub const fn new() -> Self {
        Self {
            one_in: 0,
            chaos: None,
            deterministic: false,
        }
    }

    /// Records where one in `one_in` gets was called, for [`leaks`](super::records::leaks). 1
    /// records every get.
    ///
    /// # Panics
    /// If `one_in` is 0.
    pub const fn leaks(mut self, one_in: u32) -> Self {
        assert!(one_in > 0, "`leaks(0)`: `one_in` must be at least 1");
        self.one_in = one_in;
        self
    }

    /// Does what a pool may do but rarely does, to find code that relies on more than a pool
    /// promises:
    ///
    /// - it drops a quarter of the objects that come back (they count in
    ///   [`Discarded::reset`](crate::Discarded::reset)), and finds nothing in a quarter of the
    ///   gets;
    /// - it hands out any of the 64 objects that came back last, on whichever thread;
    /// - it fills the spare memory of buffers, arenas, strings and vectors of numbers with the byte
    ///   0xA5 before it hands them out.
    ///
    /// The choices follow from `seed`. If a single thread uses the pool, a run can be repeated.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// use repool::diagnostics::Diagnostics;
    /// let pool = Pool::builder(|| Vec::<u8>::with_capacity(8))
    ///     .diagnostics(Diagnostics::new().chaos(7))
    ///     .build();
    /// (0..100).for_each(|_| drop(pool.get()));
    /// assert!(pool.stats().created > 10);
    /// ```
    pub const fn chaos(mut self, seed: u64) -> Self {
        self.chaos = Some(seed);
        self
    }

    /// For unit tests: a thread gets next what it returned last, and no other thread gets it.
    ///
    /// Each thread sees a pool of its own, last in, first out, whatever other tests do with the
    /// same `static`. Limits apply to all threads together, and make room for what comes back by
    /// dropping what has been idle longest. Passes run only when [`trim`](crate::Pool::trim) is
    /// called. What a thread leaves behind when it ends stays until a pass or `clear` drops it.
    ///
    /// Together with [`chaos`](Diagnostics::chaos), the seed decides which objects are dropped and
    /// handed out; each thread still gets only its own.
    pub const fn deterministic(mut self) -> Self {
        self.deterministic = true;
        self
    }

    /// Sets this as the default for all pools of the process that have not been used yet and have
    /// no diagnostics of their own.
    pub fn set_default(self) {
        set(None, self);
    }

    /// Sets this for pools of this name that have not been used yet.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// use repool::diagnostics::Diagnostics;
    /// static LINES: Pool<String> = Pool::named("lines", String::new);
    ///
    /// Diagnostics::new().deterministic().set_for("lines");
    /// drop(LINES.get());
    /// assert_eq!(LINES.trim().objects, 0);
    /// assert_eq!(LINES.stats().idle, 1);
    /// ```
    pub fn set_for(self, name: impl Into<String>) {
        set(Some(name.into()), self);
    }

    /// Returns whether anything is on.
    pub(super) fn is_on(self) -> bool {
        self != Self::new()
    }

    pub(crate) fn is_deterministic(self) -> bool {
        self.deterministic
    }
}

/// By name; `None` is the process-wide default.
type Set = BTreeMap<Option<String>, Diagnostics>;

static SET: Mutex<Set> = Mutex::new(BTreeMap::new());

fn set(name: Option<String>, diagnostics: Diagnostics) {
    if let Some(mut set) = SET.lock_bounded(Timeout::Long) {
        set.insert(name, diagnostics);
    }
}

/// The diagnostics that a pool's settings choose; `None` leaves the choice to the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice(Option<Diagnostics>);

impl Choice {
    pub(crate) const UNSAID: Self = Self(None);

    /// For the parts of pools that users never see.
    pub(crate) const NEVER: Self = Self(Some(Diagnostics::new()));

    pub(crate) fn of(diagnostics: Diagnostics) -> Self {
        Self(Some(diagnostics))
    }

    /// Resolves the choice now, for all parts of a pool of this name.
    #[allow(dead_code, reason = "for buffers, which are a feature")]
    pub(crate) fn settled(self, name: Option<&str>) -> Self {
        Self::of(self.resolve(name))
    }

    /// Returns the diagnostics of a pool of this name.
    pub(crate) fn resolve(self, name: Option<&str>) -> Diagnostics {
        self.0
            .or_else(|| set_for(name))
            .unwrap_or_else(|| said().of(name))
    }
}

fn set_for(name: Option<&str>) -> Option<Diagnostics> {
    let set = SET.lock_bounded(Timeout::Short)?;
    let own = name.and_then(|name| set.get(&Some(name.to_owned())));
    own.or_else(|| set.get(&None)).copied()
}

/// What the environment says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    diagnostics: Diagnostics,
    /// For pools of these names; empty: for all pools.
    names: Vec<String>,
}

impl Said {
    fn of(&self, name: Option<&str>) -> Diagnostics {
        let listed = name.is_some_and(|name| self.names.iter().any(|listed| listed == name));
        if self.names.is_empty() || listed {
            self.diagnostics
        } else {
            Diagnostics::new()
        }
    }
}

fn said() -> &'static Said {
    // Read first and set afterwards: a child forked while a `OnceLock` initialises would wait for
    // ever.
    static SAID: OnceLock<Said> = OnceLock::new();
    SAID.get().unwrap_or_else(|| {
        let text = std::env::var_os("REPOOL_DIAGNOSTICS").unwrap_or_default();
        let parsed = text.to_str().and_then(parse);
        let understood = parsed.is_some();
        // Only one of the threads that race prints it.
        if SAID.set(parsed.unwrap_or_default()).is_ok() && !understood {
            eprintln!(
                "repool: REPOOL_DIAGNOSTICS={text:?} is not understood; no pool has diagnostics. Use any of \
                 leaks=100 chaos=7 deterministic with commas in between, and :name,name for some pools only."
            );
        }
        SAID.get().expect("set by some thread")
    })
}

/// Parses `leaks=100,chaos=7,deterministic:name,name`, each part of which is optional; `leaks`
/// alone means `leaks=1`.
fn parse(text: &str) -> Option<Said> {
    let (words, names) = match text.split_once(':') {
        Some((words, names)) => (words, Some(names)),
        None => (text, None),
    };
    let mut diagnostics = Diagnostics::new();
    if words.trim().is_empty() {
        return names.is_none().then(Said::default);
    }
    for word in words.split(',') {
        let (what, figure) = match word.split_once('=') {
            Some((what, figure)) => (what, Some(figure.trim())),
            None => (word, None),
        };
        diagnostics = match (what.trim(), figure) {
            ("leaks", None) => diagnostics.leaks(1),
            ("leaks", Some(figure)) => {
                diagnostics.leaks(figure.parse().ok().filter(|one_in| *one_in > 0)?)
            }
            ("chaos", Some(seed)) => diagnostics.chaos(seed.parse().ok()?),
            ("deterministic", None) => diagnostics.deterministic(),
            _ => return None,
        };
    }
    let names: Vec<_> = names.map_or_else(Vec::new, |names| {
        names
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect()
    });
    let complete = names.iter().all(|name| !name.is_empty());
    complete.then_some(Said { diagnostics, names })
}

#[cfg(test)]
mod tests {
    use super::{Diagnostics, Said, parse};

    #[test]
    fn words_figures_and_names_are_understood() {
        let all = |diagnostics| {
            Some(Said {
                diagnostics,
                names: vec![],
            })
        };
        let new = Diagnostics::new;
        assert_eq!(parse(""), all(new()));
        assert_eq!(parse("leaks"), all(new().leaks(1)));
        assert_eq!(
            parse(" leaks = 100 , deterministic"),
            all(new().leaks(100).deterministic())
        );
        let some = parse("chaos=7:frames, lines").expect("understood");
        assert_eq!(some.of(Some("lines")), new().chaos(7));
        assert_eq!(some.of(Some("line")), new());
        assert_eq!(some.of(None), new());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "on",
            "leaks=0",
            "leaks=",
            "chaos",
            "chaos=x",
            "deterministic=1",
            "leaks,",
            ":frames",
            "leaks:",
            "leaks:a,,b",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
