//! What the system reports about this process and this machine; `None` if it does not.

use std::fs;

/// Returns the highest resident set so far, in bytes.
pub(crate) fn peak_rss() -> Option<u64> {
    status("VmHWM:")
}

/// Returns the current resident set, in bytes.
pub(crate) fn rss() -> Option<u64> {
    status("VmRSS:")
}

#[cfg(target_os = "linux")]
fn status(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// Returns the minor page faults of this process so far, of all threads.
#[cfg(target_os = "linux")]
pub(crate) fn faults() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Fields are counted after the name, which may contain anything; see proc(5).
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(7)?.parse().ok()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn faults() -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
fn status(_: &str) -> Option<u64> {
    None
}

/// Makes the allocator return free pages, if it has a call for that.
pub(crate) fn trim_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: may be called at any time, on any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

pub(crate) fn machine() -> String {
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|info| {
        let line = info.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, {cores} cores, {} {} {}",
        model.as_deref().unwrap_or("unknown processor"),
        std::env::consts::OS,
        kernel.trim(),
        std::env::consts::ARCH,
    )
}
