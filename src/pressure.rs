//! [`Pressure`]: the source that tells the janitor how short memory is.
//!
//! The janitor asks the installed source before each round of passes (`background/source.rs`).
//! `sys/memory.rs` reads what the system reports; a program may install a source of its own.

use crate::background::source;
use crate::background::worker;
use crate::sync::rare::Arc;
use crate::sync::{AtomicU8, Ordering};
use crate::sys::memory::{Level, Memory};
use crate::sys::panics::catch_panic;
use std::fmt;

/// A source of memory pressure for the janitor.
///
/// # Examples
/// A program that knows more than the system can set the level itself:
/// ```
/// use repool::{Level, Pressure};
/// let pressure = Pressure::manual();
/// pressure.install();
/// pressure.set(Level::Critical); // whatever pools keep idle goes with the janitor's next round
/// # pressure.set(Level::Normal);
/// # Pressure::system().install();
/// ```
#[derive(Clone)]
pub struct Pressure {
    source: Source,
}

#[derive(Clone)]
enum Source {
    System,
    Cgroup(Arc<Memory>),
    Manual(Arc<AtomicU8>),
    Plugged(Arc<dyn Fn() -> Level + Send + Sync>),
}

impl Pressure {
    /// The system's figures (the default). On Linux: this process's cgroups of either version,
    /// those above them, and pressure-stall information. Elsewhere always [`Level::Normal`].
    ///
    /// | level | memory in use, of the limit | or stalls (10 s average) |
    /// |---|---|---|
    /// | elevated | 80 % | `some` from 10 % |
    /// | critical | 95 % | `full` from 10 % |
    ///
    /// The limit is the lower one of `memory.high` and `memory.max`, or `memory.limit_in_bytes`
    /// under version 1. Page cache and slab that the kernel can drop do not count as in use,
    /// because they fill whatever a limit leaves; if losing them hurts, that shows as stalls.
    /// Version 1 has no figures for stalls and slab per cgroup; the machine's stalls count instead.
    ///
    /// The source finds out once, at the first look, which files to read.
    #[must_use]
    pub fn system() -> Self {
        Self {
            source: Source::System,
        }
    }

    /// Reads the cgroup in this directory, of version 2 (`/sys/fs/cgroup/…`) or 1
    /// (`/sys/fs/cgroup/memory/…`), by the rules of [`Pressure::system`]. Missing or unreadable
    /// files count as no pressure.
    #[must_use]
    pub fn cgroup(directory: impl Into<std::path::PathBuf>) -> Self {
        Self {
            source: Source::Cgroup(Arc::new(Memory::at(directory.into()))),
        }
    }

    /// A level that the program sets itself with [`Pressure::set`].
    #[must_use]
    pub fn manual() -> Self {
        Self {
            source: Source::Manual(Arc::new(AtomicU8::new(Level::Normal as u8))),
        }
    }

    /// A level returned by `source`. The janitor calls it about once a second while anything is
    /// idle. If `source` panics, that counts as [`Level::Normal`].
    pub fn from_fn(source: impl Fn() -> Level + Send + Sync + 'static) -> Self {
        Self {
            source: Source::Plugged(Arc::new(source)),
        }
    }

    /// Installs this as the janitor's source, in place of the previous one.
    pub fn install(&self) {
        let pressure = self.clone();
        source::install(match self.source {
            Source::System => None,
            _ => Some(Arc::new(move || pressure.level())),
        });
        worker::wake();
    }

    /// Sets the level of a [`Pressure::manual`] source and wakes the janitor. Has no effect on any
    /// other source.
    pub fn set(&self, level: Level) {
        if let Source::Manual(now) = &self.source {
            // Relaxed: an independent number; waking the janitor orders the rest.
            now.store(level as u8, Ordering::Relaxed);
            worker::wake();
        }
    }

    /// Returns the current level of this source.
    #[must_use]
    pub fn level(&self) -> Level {
        match &self.source {
            Source::System => Memory::system().level(),
            Source::Cgroup(files) => files.level(),
            Source::Manual(level) => match level.load(Ordering::Relaxed) {
                0 => Level::Normal,
                1 => Level::Elevated,
                _ => Level::Critical,
            },
            Source::Plugged(source) => catch_panic(|| source()).unwrap_or_default(),
        }
    }
}

// A source that panics counts as no pressure and is asked again.
impl std::panic::UnwindSafe for Pressure {}
impl std::panic::RefUnwindSafe for Pressure {}

impl fmt::Debug for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::System => "system",
            Source::Cgroup(_) => "cgroup",
            Source::Manual(_) => "manual",
            Source::Plugged(_) => "from_fn",
        };
        f.debug_struct("Pressure")
            .field("source", &source)
            .field("level", &self.level())
            .finish()
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    /// Programs that use the old names of the levels still build.
    #[test]
    fn the_old_names_of_levels_still_work() {
        let old = |level: Level| match level {
            Level::None => 0,
            Level::Some => 1,
            Level::High => 2,
        };
        let levels = [Level::Normal, Level::Elevated, Level::Critical];
        assert_eq!(levels.map(old), [0, 1, 2]);
    }

    #[test]
    fn a_source_of_ones_own_is_believed_and_may_panic() {
        assert_eq!(
            Pressure::from_fn(|| Level::Elevated).level(),
            Level::Elevated
        );
        assert_eq!(
            Pressure::from_fn(|| panic!("no idea")).level(),
            Level::Normal
        );
        let manual = Pressure::manual();
        assert_eq!(manual.level(), Level::Normal);
        for level in [Level::Elevated, Level::Critical, Level::Normal] {
            manual.set(level);
            assert_eq!(manual.clone().level(), level);
        }
        let other = Pressure::from_fn(|| Level::Elevated);
        other.set(Level::Critical);
        assert_eq!(other.level(), Level::Elevated, "only a manual one is set");
    }

    #[test]
    fn a_source_shows_what_it_is_and_its_level() {
        let manual = Pressure::manual();
        manual.set(Level::Elevated);
        let shown = |source: &Pressure| format!("{source:?}");
        assert_eq!(
            shown(&manual),
            r#"Pressure { source: "manual", level: Elevated }"#
        );
        assert_eq!(
            shown(&Pressure::from_fn(|| Level::Critical)),
            r#"Pressure { source: "from_fn", level: Critical }"#
        );
        assert_eq!(
            shown(&Pressure::cgroup("/nowhere")),
            r#"Pressure { source: "cgroup", level: Normal }"#
        );
        assert!(shown(&Pressure::system()).starts_with(r#"Pressure { source: "system", "#));
    }
}
