//! How many processors the process may use.

/// Returns the number of processors that the calling thread may run on; 1 where that is not known. Quotas of processor
/// time are not taken into account: threads that share few processors' time still run on many.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn processors() -> usize {
    // SAFETY: a set of processors is an array of integers, for which zero is valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is as large as stated; 0 stands for the calling thread.
    let failed = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if failed != 0 {
        return 1; // more processors than the set can hold, or forbidden
    }
    // SAFETY: reads the set.
    let count = unsafe { libc::CPU_COUNT(&set) };
    usize::try_from(count).map_or(1, |count| count.max(1))
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn processors() -> usize {
    if cfg!(miri) {
        return 1;
    }
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
