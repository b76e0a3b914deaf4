//! A burst and the quiet time after it, sampled: what a service holds after its busy second.
//!
//! Each thread takes [`HELD`] buffers of [`BYTES`] at the same time, writes to every page, drops
//! them, and starts again until the load ends. Then it is parked, and nothing in the process
//! touches a pool. The janitor's passes run at their default interval. A few seconds before the end
//! the allocator is asked to return free pages, on both sides.

use crate::source::Source;
use crate::system;
use crate::task::{Burst, Sample, Task};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) const THREADS: usize = 16;
pub(crate) const HELD: usize = 64;
pub(crate) const BYTES: usize = 64 << 10;
const PAGE: usize = 4096;

/// In seconds: the load, the time until the allocator is asked, and the whole run.
const LOAD: f64 = 2.0;
const TRIM: f64 = 24.0;
const WHOLE: f64 = 27.0;
const EVERY: Duration = Duration::from_millis(100);

/// Rounds shorter than this shorten the burst as well; it then has no passes.
const SHORT: f64 = 0.1;

/// Runs the burst.
pub(crate) fn run<S: Source>(task: &Task) -> Result<Burst, String> {
    let scale = (task.seconds / SHORT).min(1.0);
    let [load, trim, whole] = [LOAD, TRIM, WHOLE].map(|seconds| seconds * scale);
    let stop = &AtomicBool::new(false);
    let barrier = &Barrier::new(THREADS + 1);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    wave::<S>();
                }
                // Parked, with what its caches hold.
                barrier.wait();
            });
        }
        let start = Instant::now();
        let mut samples = Vec::with_capacity(1024);
        let mut burst = Burst {
            samples: Vec::new(),
            load_ended: load,
            allocator_trimmed: trim,
        };
        let mut trimmed = false;
        loop {
            let seconds = start.elapsed().as_secs_f64();
            if seconds >= load {
                stop.store(true, Ordering::Relaxed);
            }
            if seconds >= trim && !trimmed {
                trimmed = true;
                burst.allocator_trimmed = seconds;
                system::trim_allocator();
            }
            let Some(rss) = system::rss() else {
                stop.store(true, Ordering::Relaxed);
                barrier.wait();
                return Err("this system does not report resident memory".to_owned());
            };
            let stats = S::pools().into_iter().map(|pool| pool.stats());
            let (idle_bytes, passed) = stats.fold((0, 0), |(idle, trimmed), stats| {
                (idle + stats.idle_bytes, trimmed + stats.trimmed)
            });
            samples.push(Sample {
                seconds,
                rss,
                idle_bytes,
                trimmed: passed,
            });
            if seconds >= whole {
                break;
            }
            std::thread::sleep(EVERY.mul_f64(scale));
        }
        barrier.wait();
        burst.samples = samples;
        Ok(burst)
    })
}

/// Takes and drops one thread's buffers, all at the same time.
fn wave<S: Source>() {
    let mut held: Vec<S::Message> = Vec::with_capacity(HELD);
    for _ in 0..HELD {
        let mut buffer = S::message(BYTES);
        for _ in 0..BYTES / PAGE {
            let end = buffer.len() + PAGE;
            buffer.extend_from_slice(&[1]);
            buffer.resize(end, 0);
        }
        held.push(buffer);
    }
}
