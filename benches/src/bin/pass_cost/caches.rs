//! One pass over many pools with many caches, in each state that a cache can be in.

use repool::Pool;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const POOLS: usize = 1_000;
const CACHES: usize = 100;
/// Milliseconds for one pass over all of them.
const TARGET: f64 = 50.0;

/// What successive passes find after every thread has used every pool once and then sleeps.
const STATES: [&str; 4] = [
    "used, one object each: set aside",
    "unused, one object each: moved",
    "empty, all in the depots: dropped",
    "empty",
];

/// Whether a thread of the process runs on another core. The process-wide barrier of a pool
/// interrupts those, and only those.
const SETTINGS: [(&str, bool); 2] = [("all others parked", false), ("one other busy", true)];

/// One pass over all pools: how long it took, and what it dropped.
struct Pass {
    took: Duration,
    /// The part of it on a core, on a machine that is busy with other things.
    cpu: Duration,
    dropped: u64,
}

pub(crate) fn run(rounds: u64) {
    let pools: Vec<Pool<Vec<u8>>> = (0..POOLS)
        .map(|_| {
            Pool::builder(|| Vec::with_capacity(64))
                .trim_manually()
                .build()
        })
        .collect();
    let barrier = Barrier::new(CACHES + 1);
    let over = AtomicBool::new(false);
    let mut passes: [[Vec<Pass>; STATES.len()]; SETTINGS.len()] = Default::default();
    thread::scope(|scope| {
        for _ in 0..CACHES {
            scope.spawn(|| {
                loop {
                    barrier.wait();
                    if over.load(Ordering::Acquire) {
                        return;
                    }
                    for pool in &pools {
                        pool.get().push(1);
                    }
                    barrier.wait();
                }
            });
        }
        for _ in 0..rounds {
            for ((_, busy), passes) in SETTINGS.iter().zip(&mut passes) {
                barrier.wait(); // use them
                barrier.wait(); // used
                with_company(*busy, || {
                    for passes in passes {
                        passes.push(pass(&pools));
                    }
                });
            }
        }
        over.store(true, Ordering::Release);
        barrier.wait();
    });

    println!("one pass over {POOLS} pools with {CACHES} caches each, {rounds} rounds; ms;");
    println!("cpu: the median of the time on a core; target for a pass: below {TARGET} ms\n");
    println!(
        "{:<40} {:>8} {:>8} {:>8} {:>9}",
        "", "median", "max", "cpu", "dropped"
    );
    for ((setting, _), passes) in SETTINGS.iter().zip(&passes) {
        println!("{setting}");
        for (state, passes) in STATES.iter().zip(passes) {
            line(state, passes);
        }
    }
}

fn pass(pools: &[Pool<Vec<u8>>]) -> Pass {
    let (start, cpu) = (Instant::now(), cpu_time());
    let dropped = pools.iter().map(|pool| pool.trim().objects).sum();
    Pass {
        took: start.elapsed(),
        cpu: cpu_time() - cpu,
        dropped,
    }
}

/// Runs `work`, while another thread keeps a core busy if requested.
fn with_company(busy: bool, work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let here = AtomicBool::new(false);
    thread::scope(|scope| {
        if busy {
            scope.spawn(|| {
                here.store(true, Ordering::Relaxed);
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            while !here.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        }
        work();
        over.store(true, Ordering::Relaxed);
    });
}

fn line(name: &str, passes: &[Pass]) {
    let sorted = |time: fn(&Pass) -> Duration| {
        let mut times: Vec<f64> = passes
            .iter()
            .map(|pass| time(pass).as_secs_f64() * 1e3)
            .collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let took = sorted(|pass| pass.took);
    let cpu = sorted(|pass| pass.cpu);
    let middle = passes.len() / 2;
    let least = passes.iter().map(|pass| pass.dropped).min().unwrap_or(0);
    let most = passes.iter().map(|pass| pass.dropped).max().unwrap_or(0);
    let dropped = if least == most {
        least.to_string()
    } else {
        format!("{least} - {most}")
    };
    println!(
        "  {name:<38} {:>8.2} {:>8.2} {:>8.2} {dropped:>9}",
        took[middle],
        took[passes.len() - 1],
        cpu[middle],
    );
}

/// Returns the time that the calling thread has spent on a core so far.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock exists on every Linux, and `time` is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
