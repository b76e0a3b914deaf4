//! The level of memory pressure, and how much memory this process may use, as the system's files say.
//!
//! On Linux those are the files of the process's cgroups of either version and of their ancestors (`cgroup.rs`), and
//! the kernel's pressure stall information. On other systems there is nothing to read, so there is no pressure and no
//! limit.
//!
//! Page cache and slab that the kernel can drop do not count as used. A process that reads files fills up its limit
//! with them, and only loses time when the kernel reclaims them. The pressure stall information says how much time.

use super::cgroup;
use crate::sync::rare::OnceLock;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// The level of memory pressure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// There is enough memory: trim passes run at the usual interval, by the usual rule.
    #[default]
    Normal,
    /// Memory is getting short: passes run four times as often, and drop what was not needed for *one* interval.
    Elevated,
    /// Memory is nearly used up: everything idle is dropped at once.
    Critical,
}

/// The former names, for one more version.
#[doc(hidden)]
#[expect(non_upper_case_globals, reason = "they were variants")]
impl Level {
    pub const None: Self = Self::Normal;
    pub const Some: Self = Self::Elevated;
    pub const High: Self = Self::Critical;
}

/// The percentages of the limit in use at which the level becomes elevated, and critical.
const SHARES: (u64, u64) = (80, 95);
/// The stalled time, in hundredths of a percent, at which the level becomes elevated (by the kernel's "some" line), and
/// critical (by its "full" line).
const STALLS: (u64, u64) = (10_00, 10_00);
/// A limit of this or more is none: version 1 writes the largest whole number of pages.
const UNLIMITED: u64 = 1 << 62;

/// The files from which the level and the limit are read. A file that is missing or unreadable is ignored.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The directories of cgroups and of their ancestors, whose limits apply as well.
    directories: Vec<PathBuf>,
    /// The machine's stalls, if no cgroup has its own.
    stalls: Option<PathBuf>,
    /// The machine's memory.
    machine: Option<PathBuf>,
}

impl Memory {
    /// The files of this process.
    pub(crate) fn system() -> &'static Self {
        static SYSTEM: OnceLock<Memory> = OnceLock::new();
        SYSTEM.get().unwrap_or_else(|| {
            // Computed first and then set: a child that is forked while a `OnceLock` initializes would wait forever.
            let found = if cfg!(all(target_os = "linux", not(miri))) {
                Self::under(Path::new("/"))
            } else {
                Self::at(None)
            };
            let _ = SYSTEM.set(found);
            SYSTEM.get().expect("set above, by this or another thread")
        })
    }

    /// The files of one cgroup's directory, of either version.
    pub(crate) fn at(directory: impl Into<Option<PathBuf>>) -> Self {
        Self {
            directories: directory.into().into_iter().collect(),
            stalls: None,
            machine: None,
        }
    }

    /// The files of this process, in a file system that starts at `root`.
    fn under(root: &Path) -> Self {
        let directories = cgroup::directories(root);
        let has_stalls = |at: &PathBuf| at.join("memory.pressure").exists();
        let of_machine = !directories.iter().any(has_stalls);
        Self {
            directories,
            stalls: of_machine.then(|| root.join("proc/pressure/memory")),
            machine: Some(root.join("proc/meminfo")),
        }
    }

    /// The present level.
    pub(crate) fn level(&self) -> Level {
        let cgroups = self.directories.iter().map(|at| level_in(at));
        let machine = self.stalls.iter().map(|file| stall_level(file));
        cgroups.chain(machine).max().unwrap_or_default()
    }

    /// The bytes that this process may use: the least limit of its cgroups, or the memory of the machine.
    pub(crate) fn limit(&self) -> Option<u64> {
        let cgroups = self.directories.iter().filter_map(|at| hard_limit(at));
        cgroups.chain(self.machine.as_deref().and_then(total)).min()
    }
}

fn level_in(directory: &Path) -> Level {
    usage_level(directory).max(stall_level(&directory.join("memory.pressure")))
}

/// The hard limit in bytes.
fn hard_limit(directory: &Path) -> Option<u64> {
    ["memory.max", "memory.limit_in_bytes"]
        .into_iter()
        .filter_map(|name| number_in(&directory.join(name)))
        .find(|&limit| limit < UNLIMITED)
}

fn usage_level(directory: &Path) -> Level {
    let number = |name: &str| number_in(&directory.join(name));
    let limit = hard_limit(directory)
        .into_iter()
        .chain(number("memory.high"))
        .min();
    let current = number("memory.current").or_else(|| number("memory.usage_in_bytes"));
    let (Some(limit), Some(current)) = (limit, current) else {
        return Level::Normal;
    };
    let used = current.saturating_sub(droppable(directory));
    match used.saturating_mul(100).checked_div(limit) {
        None => Level::Critical, // the limit is 0
        Some(percent) if percent >= SHARES.1 => Level::Critical,
        Some(percent) if percent >= SHARES.0 => Level::Elevated,
        Some(_) => Level::Normal,
    }
}

/// The bytes that count as in use, but that the kernel can drop without writing them out.
fn droppable(directory: &Path) -> u64 {
    let Ok(stat) = read_to_string(directory.join("memory.stat")) else {
        return 0;
    };
    let line = |name: &str| {
        stat.lines().find_map(|line| {
            let (found, number) = line.split_once(' ')?;
            (found == name).then(|| number.trim().parse::<u64>().ok())?
        })
    };
    // In version 1 the plain names are of the cgroup alone, and those with `total_` include its descendants.
    let total = |one: &str, two: &str| line(one).or_else(|| line(two)).unwrap_or(0);
    let file = total("total_inactive_file", "inactive_file")
        .saturating_add(total("total_active_file", "active_file"));
    let unwritten = total("total_dirty", "file_dirty")
        .saturating_add(total("total_writeback", "file_writeback"));
    file.saturating_sub(unwritten)
        .saturating_add(line("slab_reclaimable").unwrap_or(0))
}

fn stall_level(file: &Path) -> Level {
    let Ok(text) = read_to_string(file) else {
        return Level::Normal;
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
        Level::Critical
    } else if average("some ").is_some_and(|some| some >= STALLS.0) {
        Level::Elevated
    } else {
        Level::Normal
    }
}

/// The number in a file; `None` for `max`.
fn number_in(file: &Path) -> Option<u64> {
    read_to_string(file).ok()?.trim().parse().ok()
}

/// The machine's memory in bytes, from `/proc/meminfo`.
fn total(meminfo: &Path) -> Option<u64> {
    let text = read_to_string(meminfo).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    /// A directory of files, which is removed on drop.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let at = std::env::temp_dir().join(format!("repool-{name}-{}", std::process::id()));
            for (name, text) in files {
                let file = at.join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
            }
            Self(at)
        }

        /// The level with this as a cgroup's directory.
        fn level(&self) -> Level {
            Memory::at(self.0.clone()).level()
        }

        /// The files with this as the root of the file system.
        fn system(&self) -> Memory {
            Memory::under(&self.0)
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
        assert_eq!(at("799"), Level::Normal);
        assert_eq!(at("800"), Level::Elevated);
        assert_eq!(at("949"), Level::Elevated);
        assert_eq!(at("950"), Level::Critical);
    }

    #[test]
    fn page_cache_is_no_pressure_by_itself() {
        let at = |stat: &str| {
            let files = [
                ("memory.max", "1000"),
                ("memory.current", "960"),
                ("memory.stat", stat),
            ];
            Fake::new("cache", &files).level()
        };
        // A quarter is anonymous memory. The rest is that of a container that reads files all day.
        let active = "anon 250\nfile 710\ninactive_file 0\nactive_file 710\n";
        assert_eq!(at(active), Level::Normal);
        let inactive = "anon 250\nfile 710\ninactive_file 700\nactive_file 10\n";
        assert_eq!(at(inactive), Level::Normal);
        let slab = "anon 250\nslab_reclaimable 700\nslab_unreclaimable 10\n";
        assert_eq!(at(slab), Level::Normal);
        // The same page cache, but the kernel has to write it out first.
        let dirty = "active_file 710\nfile_dirty 600\nfile_writeback 110\n";
        assert_eq!(at(dirty), Level::Critical);
        // Shared memory counts as page cache, but cannot be dropped.
        let shared = "anon 250\nfile 710\nshmem 710\ninactive_file 0\nactive_file 0\n";
        assert_eq!(at(shared), Level::Critical);
        assert_eq!(at("anon 960\nactive_file 0\n"), Level::Critical);
        assert_eq!(at("anon 850\nactive_file 110\n"), Level::Elevated);
    }

    #[test]
    fn page_cache_whose_loss_hurts_is_pressure() {
        let files = [
            ("memory.max", "1000"),
            ("memory.current", "960"),
            ("memory.stat", "anon 250\nactive_file 710\n"),
            (
                "memory.pressure",
                "some avg10=31.00 total=1\nfull avg10=4.00 total=1\n",
            ),
        ];
        assert_eq!(Fake::new("thrash", &files).level(), Level::Elevated);
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
        assert_eq!(at("9.99", "0.00"), Level::Normal);
        assert_eq!(at("10.00", "0.00"), Level::Elevated);
        assert_eq!(at("30.00", "10.00"), Level::Critical);
    }

    #[test]
    fn version_1_is_read_as_well() {
        let at = |usage: &str, cache: &str| {
            let stat = format!(
                "inactive_file 1\nactive_file 1\ndirty 1\n\
                 total_inactive_file 0\ntotal_active_file {cache}\ntotal_dirty 0\n"
            );
            let files = [
                ("memory.limit_in_bytes", "268435456\n"),
                ("memory.usage_in_bytes", usage),
                ("memory.stat", &stat),
            ];
            let fake = Fake::new(&format!("one-{usage}-{cache}"), &files);
            (fake.level(), Memory::at(fake.0.clone()).limit())
        };
        let limit = Some(256 << 20);
        assert_eq!(at("200000000", "0"), (Level::Normal, limit));
        assert_eq!(at("220000000", "0"), (Level::Elevated, limit));
        assert_eq!(at("268435456", "0"), (Level::Critical, limit));
        assert_eq!(at("268435456", "190000000"), (Level::Normal, limit));
        // Without a limit, the file has the largest whole number of pages.
        for unlimited in ["9223372036854771712", "9223372036854710272"] {
            let files = [
                ("memory.limit_in_bytes", unlimited),
                ("memory.usage_in_bytes", "9999999999"),
            ];
            let fake = Fake::new(&format!("one-{unlimited}"), &files);
            assert_eq!(fake.level(), Level::Normal);
            assert_eq!(Memory::at(fake.0.clone()).limit(), None);
        }
    }

    #[test]
    fn no_limit_no_files_and_nonsense_say_nothing() {
        let unlimited = [("memory.max", "max\n"), ("memory.current", "123456789")];
        assert_eq!(Fake::new("unlimited", &unlimited).level(), Level::Normal);
        let nonsense = [
            ("memory.max", "lots"),
            ("memory.current", "-"),
            ("memory.pressure", "?"),
            ("memory.stat", "active_file\n\ninactive_file many\n"),
        ];
        assert_eq!(Fake::new("nonsense", &nonsense).level(), Level::Normal);
        let nowhere = PathBuf::from("/nowhere/at/all");
        assert_eq!(Memory::at(nowhere).level(), Level::Normal);
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16000000 kB\n");
    const MACHINE: u64 = 16_000_000 * 1024;
    const V1: &str =
        "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n";
    const V2: &str = "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_machine_is_the_limit_where_no_cgroup_has_one() {
        assert_eq!(
            Fake::new("bare", &[MEMINFO]).system().limit(),
            Some(MACHINE)
        );
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "4:memory:/a\n"),
            ("proc/self/mountinfo", V1),
            (
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            (
                "sys/fs/cgroup/memory/a/memory.usage_in_bytes",
                "9999999999\n",
            ),
        ];
        let fake = Fake::new("no-limit", &files);
        assert_eq!(fake.system().limit(), Some(MACHINE));
        assert_eq!(fake.system().level(), Level::Normal);
        // Without a cgroup that has them, the machine's stalls count.
        let stalled = "some avg10=50.00 total=1\nfull avg10=20.00 total=1\n";
        let files = [MEMINFO, ("proc/pressure/memory", stalled)];
        assert_eq!(
            Fake::new("stalled", &files).system().level(),
            Level::Critical
        );
    }

    #[test]
    fn limits_of_the_cgroups_above_hold() {
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/cgroup.controllers", "memory\n"),
            ("sys/fs/cgroup/outer/memory.max", "1000000\n"),
            ("sys/fs/cgroup/outer/memory.current", "850000\n"),
            ("sys/fs/cgroup/outer/inner/memory.max", "max\n"),
            ("sys/fs/cgroup/outer/inner/memory.current", "10\n"),
        ];
        let fake = Fake::new("above", &files);
        assert_eq!(fake.system().limit(), Some(1_000_000));
        assert_eq!(fake.system().level(), Level::Elevated);
    }

    /// Docker with version 1: the path is that of the host, but only the part of the container is mounted.
    #[test]
    fn a_container_finds_its_own_part_of_the_hierarchy() {
        let mounts = "1 2 0:3 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        for path in ["/docker/ab", "/", "/../elsewhere"] {
            let cgroups = format!("9:cpu,cpuacct:/x\n4:memory:{path}\n");
            let files = [
                MEMINFO,
                ("proc/self/cgroup", cgroups.as_str()),
                ("proc/self/mountinfo", mounts),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
                ("sys/fs/cgroup/memory/memory.usage_in_bytes", "260000000\n"),
            ];
            let fake = Fake::new("container", &files);
            assert_eq!(fake.system().limit(), Some(256 << 20), "{path}");
            assert_eq!(fake.system().level(), Level::Critical, "{path}");
        }
    }

    /// systemd's hybrid mode: limits under version 1, stalls under version 2.
    #[test]
    fn a_hybrid_system_is_read_under_both_versions() {
        let mounts =
            format!("{V1}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n");
        let stalled = "some avg10=50.00 total=1\nfull avg10=0.00 total=1\n";
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "4:memory:/job\n0::/job\n"),
            ("proc/self/mountinfo", mounts.as_str()),
            (
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes",
                "1000000\n",
            ),
            ("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "10000\n"),
            ("sys/fs/cgroup/unified/job/memory.pressure", stalled),
        ];
        let fake = Fake::new("hybrid", &files);
        assert_eq!(fake.system().limit(), Some(1_000_000));
        assert_eq!(fake.system().level(), Level::Elevated);
    }

    #[test]
    fn an_unusual_mount_point_is_found() {
        let mounts = "1 2 0:3 /a\\040b /mnt/my\\040groups rw - cgroup2 none rw\n";
        let files = [
            MEMINFO,
            ("proc/self/cgroup", "0::/a b/job\n"),
            ("proc/self/mountinfo", mounts),
            ("mnt/my groups/job/memory.max", "4096\n"),
        ];
        assert_eq!(Fake::new("unusual", &files).system().limit(), Some(4096));
    }

    /// For systems where `/proc` does not list the mounts.
    #[test]
    fn the_usual_mount_points_are_looked_at() {
        for at in [
            "memory/memory.limit_in_bytes",
            "memory.max",
            "unified/memory.max",
        ] {
            let file = format!("sys/fs/cgroup/{at}");
            let files = [MEMINFO, (file.as_str(), "4096\n")];
            let name = format!("usual-{}", at.replace('/', "-"));
            assert_eq!(Fake::new(&name, &files).system().limit(), Some(4096));
        }
    }

    #[test]
    fn a_real_system_can_be_asked() {
        // Any answer is right, as long as it does not fail.
        let _ = Memory::system().level();
        assert!(Memory::system().limit().is_none_or(|bytes| bytes > 0));
    }
}
