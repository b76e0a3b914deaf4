//! Finds the directories of this process's cgroups: of version 1, of version 2, or of both at once (systemd's hybrid
//! mode has memory limits under version 1, and pressure stall information under version 2).
//!
//! `/proc/self/cgroup` has the path of the process in each hierarchy. `/proc/self/mountinfo` says which part of a
//! hierarchy is mounted where. In a container, often only the part of the container is mounted. A path outside that
//! part stands for the mount point itself.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// The directories of the process's memory cgroups and of their ancestors, whose limits apply as well. `root` is `/`,
/// except in tests, which have a small file system below it.
pub(super) fn directories(root: &Path) -> Vec<PathBuf> {
    let read = |file: &str| read_to_string(root.join(file)).unwrap_or_default();
    let (cgroups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let mut found = Vec::new();
    for version in [Version::One, Version::Two] {
        let path = version.path_in(&cgroups).unwrap_or(Path::new("/"));
        let usual = version.usual_mounts().map(|at| (PathBuf::from("/"), at));
        for (top, at) in version.mounts_in(&mounts).chain(usual) {
            let at = root.join(at.strip_prefix("/").unwrap_or(&at));
            let below = path.strip_prefix(&top).unwrap_or(Path::new(""));
            for directory in below.ancestors().map(|below| at.join(below)) {
                // `..`: a cgroup outside the namespace, which is not visible from here.
                let inside = !below.components().any(|part| part.as_os_str() == "..");
                if (inside || directory == at) && !found.contains(&directory) {
                    found.push(directory);
                }
            }
        }
    }
    found
}

#[derive(Clone, Copy)]
enum Version {
    One,
    Two,
}

impl Version {
    /// The process's path, from lines like `4:memory:/some/path`; `0::/some/path` for version 2.
    fn path_in(self, cgroups: &str) -> Option<&Path> {
        cgroups.lines().find_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let ours = match self {
                Version::One => controllers.split(',').any(|name| name == "memory"),
                Version::Two => number == "0" && controllers.is_empty(),
            };
            ours.then_some(Path::new(path))
        })
    }

    /// The mounted part of the hierarchy and its mount point, from lines like
    /// `35 31 0:32 /top /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory`.
    fn mounts_in(self, mounts: &str) -> impl Iterator<Item = (PathBuf, PathBuf)> {
        mounts.lines().filter_map(move |line| {
            let (mount, file_system) = line.split_once(" - ")?;
            let mut file_system = file_system.split(' ');
            let (kind, options) = (file_system.next()?, file_system.nth(1)?);
            let ours = match self {
                Version::One => kind == "cgroup" && options.split(',').any(|name| name == "memory"),
                Version::Two => kind == "cgroup2",
            };
            let mut mount = mount.split(' ').skip(3);
            let (top, at) = (unescape(mount.next()?), unescape(mount.next()?));
            ours.then_some((top, at))
        })
    }

    /// The usual mount points, in case there is no list of mounts.
    fn usual_mounts(self) -> impl Iterator<Item = PathBuf> {
        let usual: &[&str] = match self {
            Version::One => &["/sys/fs/cgroup/memory"],
            Version::Two => &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
        };
        usual.iter().map(PathBuf::from)
    }
}

/// Decodes a path of mountinfo, where white space and the backslash are `\` and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                path.push(char::from(code));
                path.push_str(&part[3..]);
            }
            None => {
                path.push('\\');
                path.push_str(part);
            }
        }
    }
    path.into()
}
