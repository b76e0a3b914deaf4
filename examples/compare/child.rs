//! One run, in a process of its own: warm up, load, idle; the report goes to stdout.
//!
//! The workers stay alive, and parked, while the process idles: what they hold then is what a
//! service with a quiet hour holds.

use crate::source::{Plain, Pooled, Source};
use crate::task::{PERCENTILES, Report, Side, Task, Workload};
use crate::{counting, payload, request, small, system};
use hdrhistogram::Histogram;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Requests that take longer count as this long.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) fn run(task: &Task) -> Result<(), String> {
    // A worker that panics never comes to the barrier, and the others would wait for it.
    let report_panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report_panic(panic);
        std::process::abort();
    }));
    let bodies = payload::bodies(task.body_on_stdin)?;
    let report = match task.side {
        Side::Plain => load::<Plain>(task, &bodies)?,
        Side::Pooled => load::<Pooled>(task, &bodies)?,
    };
    let report = serde_json::to_string(&report).map_err(|error| error.to_string())?;
    println!("{report}");
    Ok(())
}

/// What one worker measured.
struct Measured {
    /// Nanoseconds of each request.
    latency: Histogram<u32>,
    start: Instant,
    end: Instant,
}

fn load<S: Source>(task: &Task, bodies: &[Vec<u8>]) -> Result<Report, String> {
    // The reply to each body, from objects that are new on both sides. Every later reply has to
    // be the same: that is what "an object comes out as its reset left it" means for a service.
    let mut kept = Vec::with_capacity(small::BYTES);
    let expected = (0..bodies.len())
        .map(|n| reply::<S>(task.workload, bodies, n, &mut kept))
        .collect::<Result<Vec<_>, _>>()?;
    let job = Job {
        task,
        bodies,
        expected: &expected,
        wrong: &AtomicBool::new(false),
    };
    // Workers pass it warm, then with counting on, then done, then released.
    let barrier = &Barrier::new(task.threads + 1);

    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..task.threads)
            .map(|number| scope.spawn(move || job.work::<S>(number, barrier)))
            .collect();
        barrier.wait();
        let faults_before = system::faults();
        // Reading figures allocates, so nothing is read while counting is on.
        if task.counting {
            counting::start();
        }
        barrier.wait();
        barrier.wait();
        let (calls, bytes) = counting::stop();
        let faults = system::faults();
        let peak_rss = system::peak_rss();
        let pools = S::idle();
        system::trim_allocator();
        let idle_rss = system::rss();
        barrier.wait();

        let mut latency = histogram();
        // From the first start to the last end: with more threads than cores, the threads' own
        // times hardly overlap, and their rates do not add up.
        let mut start = None;
        let mut end = None;
        for worker in workers {
            let measured = worker.join().map_err(|_| "a worker panicked".to_owned())?;
            latency
                .add(&measured.latency)
                .map_err(|error| error.to_string())?;
            start = start.into_iter().chain([measured.start]).min();
            end = end.into_iter().chain([measured.end]).max();
        }
        let (Some(start), Some(end)) = (start, end) else {
            return Err("no threads, no figures".to_owned());
        };
        if job.wrong.load(Ordering::Relaxed) {
            return Err("a reply differs from the first one to the same body".to_owned());
        }
        Ok(Report {
            requests: latency.len(),
            per_second: latency.len() as f64 / (end - start).as_secs_f64(),
            latency: PERCENTILES.map(|percentile| at(&latency, percentile)),
            checksum: expected
                .iter()
                .fold(0, |sum, reply| sum.rotate_left(1) ^ reply),
            calls,
            bytes,
            faults: faults
                .zip(faults_before)
                .map(|(after, before)| after - before),
            peak_rss,
            idle_rss,
            pools,
        })
    })
}

/// What every worker is given.
#[derive(Clone, Copy)]
struct Job<'a> {
    task: &'a Task,
    bodies: &'a [Vec<u8>],
    expected: &'a [u64],
    /// A reply was not the expected one. Relaxed: read after the workers are joined.
    wrong: &'a AtomicBool,
}

impl Job<'_> {
    fn work<S: Source>(self, number: usize, barrier: &Barrier) -> Measured {
        let mut latency = histogram();
        let mut kept = Vec::with_capacity(small::BYTES);
        // Workers are at different bodies at any time.
        let mut next = number * self.bodies.len() / self.task.threads;
        let seconds = Duration::from_secs_f64(self.task.seconds);
        self.repeat::<S>(seconds / 5, &mut next, &mut kept, |_| {});
        barrier.wait();
        barrier.wait();
        let (start, end) = self.repeat::<S>(seconds, &mut next, &mut kept, |took| {
            latency.saturating_record(took.as_nanos() as u64);
        });
        barrier.wait();
        barrier.wait();
        Measured {
            latency,
            start,
            end,
        }
    }

    /// Handles requests, one at least, until `limit` is over; when it began and ended. Reads
    /// the clock once for each request.
    fn repeat<S: Source>(
        self,
        limit: Duration,
        next: &mut usize,
        kept: &mut Vec<u8>,
        mut each: impl FnMut(Duration),
    ) -> (Instant, Instant) {
        let start = Instant::now();
        let mut before = start;
        loop {
            let n = *next % self.bodies.len();
            *next += 1;
            let reply = reply::<S>(self.task.workload, self.bodies, n, kept);
            if reply.as_ref() != Ok(&self.expected[n]) {
                self.wrong.store(true, Ordering::Relaxed);
            }
            let now = Instant::now();
            each(now - before);
            before = now;
            if now - start >= limit {
                return (start, now);
            }
        }
    }
}

#[inline(always)]
fn reply<S: Source>(
    workload: Workload,
    bodies: &[Vec<u8>],
    n: usize,
    kept: &mut Vec<u8>,
) -> Result<u64, String> {
    match workload {
        Workload::Request => request::handle::<S>(&bodies[n]),
        Workload::Encode => request::encode::<S>(&bodies[n]),
        Workload::Tiny => Ok(small::tiny::<S>(n as u64)),
        Workload::Local => Ok(small::local::<S>(kept, n as u64)),
    }
}

fn histogram() -> Histogram<u32> {
    Histogram::new_with_max(LONGEST.as_nanos() as u64, 3).expect("three digits are possible")
}

/// A percentile, if there are requests above it.
fn at(latency: &Histogram<u32>, percentile: f64) -> Option<u64> {
    let above = latency.len() as f64 * (1.0 - percentile / 100.0);
    // Rounding of the product must not hide the one request that there is.
    (above > 0.999).then(|| latency.value_at_percentile(percentile))
}
