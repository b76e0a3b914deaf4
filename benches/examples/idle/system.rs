//! What the system reports about this process, and what it can be told.

/// Returns the current resident set, in bytes.
pub(crate) fn rss() -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("cannot read /proc/self/status: {error}"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| "/proc/self/status has no VmRSS".to_owned())
}

pub(crate) const HAS_MALLOC_TRIM: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

/// Makes the allocator return free pages, if it has a call for that.
pub(crate) fn malloc_trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: may be called at any time, by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Returns the bytes that the allocator reports to be in use, if it does.
pub(crate) fn in_use() -> Option<u64> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: may be called at any time, by any thread.
        let info = unsafe { libc::mallinfo2() };
        Some((info.uordblks + info.hblkhd) as u64)
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    None
}

pub(crate) fn allocator() -> String {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: has no requirements.
        let version = unsafe { libc::gnu_get_libc_version() };
        // SAFETY: a string that lives as long as the process.
        let version = unsafe { std::ffi::CStr::from_ptr(version) };
        format!("glibc {} malloc", version.to_string_lossy())
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    "the system's malloc".to_owned()
}
