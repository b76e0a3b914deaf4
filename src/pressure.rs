//! Memory pressure: where it is read, and what a level means.
//!
//! The janitor asks the source before each round of passes. On Linux the source reads the
//! process's own cgroup (v2) and the kernel's pressure-stall figures; elsewhere there is none,
//! unless the program brings its own.

use crate::background::trim::Level;
use crate::sync::rare::Arc;
use crate::sync::{AtomicU8, Mutex, Ordering, Patience};
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
            source: Source::Cgroup(Arc::new(Files {
                directories: vec![directory.into()],
            })),
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
        if let Some(mut installed) = INSTALLED.lock_bounded(Patience::Long) {
            let before = std::mem::replace(&mut *installed, self.clone());
            drop(installed);
            drop(before); // user code
        }
        crate::background::wake();
    }

    /// Sets the level of a [`Pressure::manual`] source, and wakes the janitor. Of any other source
    /// it changes nothing.
    pub fn set(&self, level: Level) {
        if let Source::Manual(now) = &self.source {
            // Relaxed: a number on its own; waking the janitor orders the rest.
            now.store(level as u8, Ordering::Relaxed);
            crate::background::wake();
        }
    }

    /// What the source says now.
    #[must_use]
    pub fn level(&self) -> Level {
        match &self.source {
            Source::System => system_files().level(),
            Source::Cgroup(files) => files.level(),
            Source::Manual(level) => match level.load(Ordering::Relaxed) {
                0 => Level::None,
                1 => Level::Some,
                _ => Level::High,
            },
            Source::Plugged(source) => {
                let ask = std::panic::AssertUnwindSafe(|| source());
                std::panic::catch_unwind(ask).unwrap_or_else(|panic| {
                    crate::raw::refs::swallow(panic);
                    Level::None
                })
            }
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

static INSTALLED: Mutex<Pressure> = Mutex::new(Pressure {
    source: Source::System,
});

/// What the installed source says.
pub(crate) fn level() -> Level {
    // A clone, so that no user code runs under the lock.
    let installed = INSTALLED
        .lock_bounded(Patience::Long)
        .map(|installed| installed.clone());
    installed
        .map(|pressure| pressure.level())
        .unwrap_or_default()
}

/// Looks for the system's files now: not while another thread may fork, whose child would wait for
/// ever for this look to end.
pub(crate) fn prepare() {
    let _ = system_files();
}

// -------------------------------------------------------------------- the system's files

/// Percent of the limit in use from which on the level is `Some`, and `High`.
const SHARES: (u64, u64) = (80, 95);
/// Hundredths of a percent of time stalled from which on the level is `Some` (by the kernel's
/// "some" line), and `High` (by its "full" line).
const STALLS: (u64, u64) = (10_00, 10_00);

/// A cgroup's directory and those above it, whose limits hold as well.
#[derive(Debug)]
struct Files {
    directories: Vec<std::path::PathBuf>,
}

impl Files {
    fn level(&self) -> Level {
        self.directories
            .iter()
            .map(|directory| level_in(directory))
            .max()
            .unwrap_or_default()
    }

    /// The tightest `memory.max`, in bytes.
    fn limit(&self) -> Option<u64> {
        self.directories
            .iter()
            .filter_map(|at| number_in(&at.join("memory.max")))
            .min()
    }
}

fn level_in(directory: &std::path::Path) -> Level {
    usage_level(directory).max(stall_level(&directory.join("memory.pressure")))
}

fn usage_level(directory: &std::path::Path) -> Level {
    let limit = ["memory.max", "memory.high"]
        .into_iter()
        .filter_map(|name| number_in(&directory.join(name)))
        .min();
    let (Some(limit), Some(current)) = (limit, number_in(&directory.join("memory.current"))) else {
        return Level::None;
    };
    // Pages of files that nobody uses go before anybody is short of memory.
    let used = current.saturating_sub(inactive_file(directory));
    match used.saturating_mul(100).checked_div(limit) {
        None => Level::High, // a limit of nothing
        Some(percent) if percent >= SHARES.1 => Level::High,
        Some(percent) if percent >= SHARES.0 => Level::Some,
        Some(_) => Level::None,
    }
}

fn inactive_file(directory: &std::path::Path) -> u64 {
    let Ok(stat) = std::fs::read_to_string(directory.join("memory.stat")) else {
        return 0;
    };
    let line = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "));
    line.and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

fn stall_level(file: &std::path::Path) -> Level {
    let Ok(text) = std::fs::read_to_string(file) else {
        return Level::None;
    };
    let average = |line: &str| {
        let line = text.lines().find_map(|found| found.strip_prefix(line))?;
        let average = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("avg10="))?;
        let average: f64 = average.parse().ok()?;
        Some((average * 100.0) as u64)
    };
    if average("full ").is_some_and(|full| full >= STALLS.1) {
        Level::High
    } else if average("some ").is_some_and(|some| some >= STALLS.0) {
        Level::Some
    } else {
        Level::None
    }
}

/// A file that holds one number; `max` is none.
fn number_in(file: &std::path::Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The bytes that this process may use: of its cgroup, or of the machine.
pub(crate) fn memory_limit() -> Option<u64> {
    let machine = machine_memory();
    system_files().limit().into_iter().chain(machine).min()
}

#[cfg(all(target_os = "linux", not(miri)))]
fn machine_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn machine_memory() -> Option<u64> {
    None
}

/// This process's cgroup v2 and those above it.
#[cfg(all(target_os = "linux", not(miri)))]
fn system_files() -> &'static Files {
    use crate::sync::rare::OnceLock;
    static FILES: OnceLock<Files> = OnceLock::new();
    // Worked out first and then set: see `janitor::is_possible`.
    if FILES.get().is_none() {
        let _ = FILES.set(find_files());
    }
    FILES.get().expect("just set, by us or somebody else")
}

#[cfg(all(target_os = "linux", not(miri)))]
fn find_files() -> Files {
    {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = own
            .lines()
            .find_map(|line| line.strip_prefix("0::"))
            .unwrap_or("/");
        // The second is where systemd's hybrid set-up mounts version 2.
        let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .into_iter()
            .map(std::path::Path::new)
            .find(|root| root.join("cgroup.controllers").exists());
        let Some(root) = root else {
            return Files {
                directories: Vec::new(),
            };
        };
        let leaf = root.join(path.trim_start_matches('/'));
        let directories = leaf
            .ancestors()
            .take_while(|at| at.starts_with(root))
            .map(Into::into)
            .collect();
        Files { directories }
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn system_files() -> &'static Files {
    static FILES: Files = Files {
        directories: Vec::new(),
    };
    &FILES
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    /// A directory that looks like a cgroup's, removed afterwards.
    struct Fake(std::path::PathBuf);

    impl Fake {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let at = std::env::temp_dir().join(format!("repool-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&at).unwrap();
            for (name, text) in files {
                std::fs::write(at.join(name), text).unwrap();
            }
            Self(at)
        }

        fn level(&self) -> Level {
            Pressure::cgroup(&self.0).level()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn usage_of_the_tighter_limit_counts() {
        let at = |current: &str| {
            let files = [
                ("memory.max", "2000\n"),
                ("memory.high", "1000\n"),
                ("memory.current", current),
            ];
            Fake::new(&format!("usage-{current}"), &files).level()
        };
        assert_eq!(at("799"), Level::None);
        assert_eq!(at("800"), Level::Some);
        assert_eq!(at("949"), Level::Some);
        assert_eq!(at("950"), Level::High);
    }

    #[test]
    fn inactive_file_pages_do_not_count() {
        let files = [
            ("memory.max", "1000"),
            ("memory.current", "990"),
            (
                "memory.stat",
                "anon 500\ninactive_file 400\nactive_file 5\n",
            ),
        ];
        assert_eq!(Fake::new("inactive", &files).level(), Level::None);
    }

    #[test]
    fn stalls_count() {
        let at = |some: &str, full: &str| {
            let text = format!(
                "some avg10={some} avg60=0.00 avg300=0.00 total=1\n\
                 full avg10={full} avg60=0.00 avg300=0.00 total=1\n"
            );
            Fake::new(
                &format!("stalls-{some}-{full}"),
                &[("memory.pressure", &text)],
            )
            .level()
        };
        assert_eq!(at("9.99", "0.00"), Level::None);
        assert_eq!(at("10.00", "0.00"), Level::Some);
        assert_eq!(at("30.00", "10.00"), Level::High);
    }

    #[test]
    fn no_limit_no_files_and_nonsense_say_nothing() {
        let unlimited = [("memory.max", "max\n"), ("memory.current", "123456789")];
        assert_eq!(Fake::new("unlimited", &unlimited).level(), Level::None);
        let nonsense = [
            ("memory.max", "lots"),
            ("memory.current", "-"),
            ("memory.pressure", "?"),
        ];
        assert_eq!(Fake::new("nonsense", &nonsense).level(), Level::None);
        assert_eq!(Pressure::cgroup("/nowhere/at/all").level(), Level::None);
    }

    #[test]
    fn a_real_system_can_be_asked() {
        // Whatever it says: it must not fail.
        let _ = Pressure::system().level();
        assert!(memory_limit().is_none_or(|bytes| bytes > 0));
    }

    #[test]
    fn a_source_of_ones_own_is_believed_and_may_panic() {
        assert_eq!(Pressure::from_fn(|| Level::Some).level(), Level::Some);
        assert_eq!(Pressure::from_fn(|| panic!("no idea")).level(), Level::None);
        let manual = Pressure::manual();
        manual.set(Level::High);
        assert_eq!(manual.clone().level(), Level::High);
    }
}
