//! The cost of the end of a thread that has used many pools, and of a pass over them.
//!
//! A thread gets and drops one object of each pool, and ends. The destructor of a thread-local
//! hands its caches over, so that is timed from between two others: thread-locals are destroyed in
//! the reverse order of their first use. Measured in thread processor time, so that other programs
//! on the machine hardly matter.
//!
//! Usage: `many_pools [ROUNDS [POOLS]]` (21 rounds, 10,000 pools)

use repool::Pool;
use repool_bench::report::print_setting;
use std::cell::Cell;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The limits for the end of a thread, and for a pass.
const TARGETS: [Duration; 2] = [Duration::from_millis(3), Duration::from_millis(20)];

static BEGUN: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

/// Records the time when its thread-local is destroyed.
struct Note(&'static AtomicU64, Cell<bool>);

impl Drop for Note {
    fn drop(&mut self) {
        self.0.store(thread_nanos(), Ordering::Relaxed);
    }
}

thread_local! {
    static AFTER: Note = const { Note(&ENDED, Cell::new(false)) };
    static BEFORE: Note = const { Note(&BEGUN, Cell::new(false)) };
}

/// Returns the processor time of this thread.
fn thread_nanos() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one `timespec`.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(code, 0, "every Linux has this clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn exit_nanos(pools: &[Pool<Vec<u8>>]) -> u64 {
    std::thread::scope(|scope| {
        let user = scope.spawn(|| {
            AFTER.with(|note| note.1.set(true)); // destroyed last
            for pool in pools {
                pool.get().push(1);
            }
            BEFORE.with(|note| note.1.set(true)); // destroyed first
        });
        user.join().expect("no panic");
    });
    // A thread joined by a scope may not have run its destructors yet; wait for them.
    while ENDED.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    ENDED.swap(0, Ordering::Acquire) - BEGUN.load(Ordering::Relaxed)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize, default: usize| match args.get(at) {
        None => Some(default),
        Some(arg) => arg.parse().ok().filter(|&number| number > 0),
    };
    let (Some(rounds), Some(count), true) = (number(1, 21), number(2, 10_000), args.len() <= 3)
    else {
        eprintln!("usage: many_pools [ROUNDS [POOLS]], whole numbers from 1");
        return ExitCode::from(2);
    };
    print_setting(&args);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let pools: Vec<Pool<Vec<u8>>> = (0..count)
            .map(|_| Pool::builder(Vec::new).trim_manually().build())
            .collect();
        times[0].push(exit_nanos(&pools));
        let idle: u64 = pools.iter().map(|pool| pool.stats().idle).sum();
        assert_eq!(idle, count as u64, "each pool has its object in its depot");
        for pool in &pools {
            pool.get().push(1);
        }
        let begun = thread_nanos();
        for pool in &pools {
            let _ = pool.trim();
        }
        times[1].push(thread_nanos() - begun);
    }
    for (at, what) in ["the end of a thread", "a pass over each"]
        .iter()
        .enumerate()
    {
        let times = &mut times[at];
        times.sort_unstable();
        let [least, median, most] = [0, times.len() / 2, times.len() - 1]
            .map(|at| Duration::from_nanos(times[at]).as_secs_f64() * 1e3);
        let target = TARGETS[at].as_secs_f64() * 1e3;
        println!(
            "{count} pools, {what}: {median:.2} ms (from {least:.2} to {most:.2}); at most {target} ms for 10,000"
        );
    }
    ExitCode::SUCCESS
}
