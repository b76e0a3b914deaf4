//! How short memory is, and how much of it this process may use: read from the system's files.
//!
//! Linux: the process's own cgroup (v2), those above it, and the kernel's pressure-stall figures.
//! Elsewhere there is nothing to read, so there is no pressure and no limit.

use crate::sync::rare::OnceLock;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Enough: passes at the usual interval, by the usual rule.
    #[default]
    None,
    /// Getting short: passes four times as often, and what was not needed for *one* interval goes.
    Some,
    /// Nearly out: everything idle goes at once.
    High,
}

/// Percent of the limit in use from which on the level is `Some`, and `High`.
const SHARES: (u64, u64) = (80, 95);
/// Hundredths of a percent of time stalled from which on the level is `Some` (by the kernel's
/// "some" line), and `High` (by its "full" line).
const STALLS: (u64, u64) = (10_00, 10_00);

/// A cgroup's directory and those above it, whose limits hold as well.
#[derive(Debug)]
pub(crate) struct Files {
    directories: Vec<PathBuf>,
}

impl Files {
    /// One directory and none above it.
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self {
            directories: vec![directory],
        }
    }

    pub(crate) fn level(&self) -> Level {
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

fn level_in(directory: &Path) -> Level {
    usage_level(directory).max(stall_level(&directory.join("memory.pressure")))
}

fn usage_level(directory: &Path) -> Level {
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

fn inactive_file(directory: &Path) -> u64 {
    let Ok(stat) = read_to_string(directory.join("memory.stat")) else {
        return 0;
    };
    let line = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "));
    line.and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

fn stall_level(file: &Path) -> Level {
    let Ok(text) = read_to_string(file) else {
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
fn number_in(file: &Path) -> Option<u64> {
    read_to_string(file).ok()?.trim().parse().ok()
}

/// The bytes that this process may use: of its cgroup, or of the machine.
pub(crate) fn memory_limit() -> Option<u64> {
    let machine = machine_memory();
    system_files().limit().into_iter().chain(machine).min()
}

#[cfg(all(target_os = "linux", not(miri)))]
fn machine_memory() -> Option<u64> {
    let text = read_to_string("/proc/meminfo").ok()?;
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
pub(crate) fn system_files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    // Worked out first and then set: a child forked while a `OnceLock` initialises would wait for ever.
    if FILES.get().is_none() {
        let _ = FILES.set(find_files());
    }
    FILES.get().expect("just set, here or by another thread")
}

#[cfg(all(target_os = "linux", not(miri)))]
fn find_files() -> Files {
    {
        let own = read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = own
            .lines()
            .find_map(|line| line.strip_prefix("0::"))
            .unwrap_or("/");
        // The second is where systemd's hybrid set-up mounts version 2.
        let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .into_iter()
            .map(Path::new)
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
pub(crate) fn system_files() -> &'static Files {
    static FILES: Files = Files {
        directories: Vec::new(),
    };
    &FILES
}

#[cfg(all(test, not(any(miri, repool_loom))))]
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
            Files::at(self.0.clone()).level()
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
        assert_eq!(Files::at("/nowhere/at/all".into()).level(), Level::None);
    }

    #[test]
    fn a_real_system_can_be_asked() {
        // Whatever it says: it must not fail.
        let _ = system_files().level();
        assert!(memory_limit().is_none_or(|bytes| bytes > 0));
    }
}
