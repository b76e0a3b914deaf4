//! [`Pressure`]: what tells the janitor how short memory is.
//!
//! The janitor asks the installed source before each round of passes (`background/source.rs`). What
//! the system says is read in `sys/memory.rs`; a program may bring a source of its own.

use crate::background::source;
use crate::background::worker;
use crate::sync::rare::Arc;
use crate::sync::{AtomicU8, Ordering};
use crate::sys::memory::{self, Files, Level};
use crate::sys::panics::quietly;
use std::fmt;

/// A source of memory pressure for the janitor.
///
/// # Examples
/// A program that knows better than the system can drive it:
/// ```
/// use repool::{Level, Pressure};
/// let pressure = Pressure::manual();
/// pressure.install();
/// pressure.set(Level::High); // whatever pools keep idle goes with the janitor's next round
/// # pressure.set(Level::None);
/// # Pressure::system().install();
/// ```
#[derive(Clone)]
pub struct Pressure {
    source: Source,
}

#[derive(Clone)]
enum Source {
    System,
    Cgroup(Arc<Files>),
    Manual(Arc<AtomicU8>),
    Plugged(Arc<dyn Fn() -> Level + Send + Sync>),
}

impl Pressure {
    /// What the system says (the default). Linux: this process's cgroup v2 and pressure-stall
    /// information; elsewhere always [`Level::None`].
    ///
    /// | level | memory in use, less inactive file cache, of `memory.high` or `memory.max` | or stalls (10 s average) |
    /// |---|---|---|
    /// | some | 80 % | `some` above 10 % |
    /// | high | 95 % | `full` above 10 % |
    #[must_use]
    pub fn system() -> Self {
        Self {
            source: Source::System,
        }
    }

    /// The cgroup v2 directory given (`/sys/fs/cgroup/…`), by the rules of [`Pressure::system`].
    /// Files that are missing or unreadable say nothing.
    #[must_use]
    pub fn cgroup(directory: impl Into<std::path::PathBuf>) -> Self {
        Self {
            source: Source::Cgroup(Arc::new(Files::at(directory.into()))),
        }
    }

    /// A level that the program sets itself, with [`Pressure::set`].
    #[must_use]
    pub fn manual() -> Self {
        Self {
            source: Source::Manual(Arc::new(AtomicU8::new(Level::None as u8))),
        }
    }

    /// A level that `source` is asked for, by the janitor, about once a second while anything is
    /// idle. If it panics, that counts as [`Level::None`].
    pub fn from_fn(source: impl Fn() -> Level + Send + Sync + 'static) -> Self {
        Self {
            source: Source::Plugged(Arc::new(source)),
        }
    }

    /// Makes this the janitor's source.
    pub fn install(&self) {
        let pressure = self.clone();
        source::install(match self.source {
            Source::System => None,
            _ => Some(Arc::new(move || pressure.level())),
        });
        worker::wake();
    }

    /// Sets the level of a [`Pressure::manual`] source, and wakes the janitor. Of any other source
    /// it changes nothing.
    pub fn set(&self, level: Level) {
        if let Source::Manual(now) = &self.source {
            // Relaxed: a number on its own; waking the janitor orders the rest.
            now.store(level as u8, Ordering::Relaxed);
            worker::wake();
        }
    }

    /// What the source says now.
    #[must_use]
    pub fn level(&self) -> Level {
        match &self.source {
            Source::System => memory::system_files().level(),
            Source::Cgroup(files) => files.level(),
            Source::Manual(level) => match level.load(Ordering::Relaxed) {
                0 => Level::None,
                1 => Level::Some,
                _ => Level::High,
            },
            Source::Plugged(source) => quietly(|| source()).unwrap_or_default(),
        }
    }
}

// A source that panics counts as no pressure, and is asked again.
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

    #[test]
    fn a_source_of_ones_own_is_believed_and_may_panic() {
        assert_eq!(Pressure::from_fn(|| Level::Some).level(), Level::Some);
        assert_eq!(Pressure::from_fn(|| panic!("no idea")).level(), Level::None);
        let manual = Pressure::manual();
        manual.set(Level::High);
        assert_eq!(manual.clone().level(), Level::High);
    }
}
