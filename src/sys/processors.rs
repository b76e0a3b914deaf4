//! How many processors the process may use.

/// A set of 65,536 processors. The kernel would refuse one that is too small.
#[cfg(all(target_os = "linux", not(miri)))]
type Processors = [u64; 1024];

/// Returns the number of processors that the process may use; 1 where that is not known. The calling thread may be
/// pinned to one processor, so what the first thread of the process may use counts as well. Quotas of processor time do
/// not: threads that share few processors' time still run on many.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn processors() -> usize {
    let of = |task| {
        let mut set: Processors = [0; 1024];
        // SAFETY: the pointer is valid for writes of this many bytes.
        let known = unsafe {
            libc::sched_getaffinity(task, size_of::<Processors>(), set.as_mut_ptr().cast())
        };
        let count: u32 = set.iter().map(|part| part.count_ones()).sum();
        if known == 0 { count as usize } else { 0 }
    };
    // 0 is the calling thread, and the ID of a process that of its first thread.
    // SAFETY: no arguments, cannot fail.
    let process = unsafe { libc::getpid() };
    of(0).max(of(process)).max(1)
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn processors() -> usize {
    if cfg!(miri) {
        return 1;
    }
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(all(test, target_os = "linux", not(any(miri, repool_loom))))]
mod tests {
    use super::processors;

    #[test]
    fn a_pinned_thread_counts_those_of_the_process() {
        let all = processors();
        let pinned = std::thread::spawn(|| {
            let mut set = [0_u64; 1024];
            // SAFETY: takes no arguments.
            let own = unsafe { libc::sched_getcpu() };
            let own = usize::try_from(own).expect("known");
            set[own / 64] = 1 << (own % 64);
            // SAFETY: the pointer is valid for reads of this many bytes.
            let failed =
                unsafe { libc::sched_setaffinity(0, size_of_val(&set), set.as_ptr().cast()) };
            assert_eq!(failed, 0);
            processors()
        });
        assert_eq!(pinned.join().expect("no panic"), all);
    }
}
