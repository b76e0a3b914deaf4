//! One run in its own process: warm up, load, idle; the report goes to stdout.
//!
//! The workers stay alive and parked while the process idles: what they hold then is what a service
//! holds in a quiet hour.

use crate::crossing::{self, Place};
use crate::post::{self, Desk, Ring};
use crate::source::{Plain, Pooled, Source};
use crate::task::{Kind, PERCENTILES, Report, STEPS, Side, Task, Workload};
use crate::{allocator, burst, payload, request, small, system};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Requests that take longer are counted with this duration.
const LONGEST: Duration = Duration::from_secs(60);

pub(crate) fn run(task: &Task) -> Result<(), String> {
    // A worker that panics never reaches the barrier, and the others would wait for it.
    let report_panic = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report_panic(panic);
        std::process::abort();
    }));
    if task.side == Side::Off {
        Pooled::pools()
            .iter()
            .for_each(|pool| pool.set_enabled(false));
    }
    match task.side {
        Side::Plain => run_side::<Plain>(task),
        Side::Pooled | Side::Off => run_side::<Pooled>(task),
    }
}

fn run_side<S: Source>(task: &Task) -> Result<(), String> {
    match &task.kind {
        Kind::Burst => answer(&burst::run::<S>(task)?),
        Kind::Timed | Kind::Counted => {
            answer(&load::<S>(task, &payload::bodies(task.body_on_stdin)?)?)
        }
        Kind::Profiled(path, workloads) => {
            let bodies = payload::bodies(task.body_on_stdin)?;
            // Deep parsers have deep stacks, with the caller at the end.
            let profiler = dhat::Profiler::builder()
                .file_name(path)
                .trim_backtraces(Some(64))
                .build();
            let mut requests = 0;
            for &workload in workloads {
                let task = Task {
                    workload,
                    ..task.clone()
                };
                requests += load::<S>(&task, &bodies)?.requests;
            }
            drop(profiler);
            answer(&requests)
        }
    }
}

fn answer(answer: &impl Serialize) -> Result<(), String> {
    let answer = serde_json::to_string(answer).map_err(|error| error.to_string())?;
    println!("{answer}");
    Ok(())
}

/// What one worker measured.
struct Measured {
    /// Nanoseconds per request.
    latency: Histogram<u32>,
    start: Instant,
    end: Instant,
    /// Requests whose objects came from another thread, and all requests that could have such
    /// objects.
    crossed: (u64, u64),
}

fn load<S: Source>(task: &Task, bodies: &[Vec<u8>]) -> Result<Report, String> {
    let expected = expected::<S>(task.workload, bodies)?;
    let (ring, desks) = post::ring(task.threads);
    let job = Job {
        task,
        bodies,
        expected: &expected,
        wrong: &AtomicBool::new(false),
        ring: &ring,
    };
    // The workers pass the barrier when they are warm, then with counting on, then when no more
    // messages arrive, then when done, then when released.
    let barrier = &Barrier::new(task.threads + 1);

    std::thread::scope(|scope| {
        let workers: Vec<_> = desks
            .into_iter()
            .enumerate()
            .map(|(number, desk)| scope.spawn(move || job.work::<S>(number, desk, barrier)))
            .collect();
        barrier.wait();
        let faults_before = system::faults();
        // Reading figures allocates, so nothing is read while counting is on.
        if task.kind == Kind::Counted {
            allocator::start_counting();
        }
        barrier.wait();
        barrier.wait();
        let (calls, bytes) = allocator::stop_counting();
        barrier.wait();
        let faults = system::faults();
        let peak_rss = system::peak_rss();
        let pools = S::idle();
        system::trim_allocator();
        let idle_rss = system::rss();
        barrier.wait();

        let mut latency = histogram();
        // From the first start to the last end: with more threads than cores, the times of single
        // threads hardly overlap, so their rates cannot be added.
        let mut start = None;
        let mut end = None;
        let (mut crossed, mut served) = (0, 0);
        for worker in workers {
            let measured = worker.join().map_err(|_| "a worker panicked".to_owned())?;
            latency
                .add(&measured.latency)
                .map_err(|error| error.to_string())?;
            start = start.into_iter().chain([measured.start]).min();
            end = end.into_iter().chain([measured.end]).max();
            crossed += measured.crossed.0;
            served += measured.crossed.1;
        }
        let (Some(start), Some(end)) = (start, end) else {
            return Err("there are no threads".to_owned());
        };
        if job.wrong.load(Ordering::Relaxed) {
            return Err("a reply differs from the first one to the same body".to_owned());
        }
        Ok(Report {
            requests: latency.len(),
            per_second: latency.len() as f64 / (end - start).as_secs_f64(),
            latency: PERCENTILES.map(|percentile| at(&latency, percentile)),
            curve: (0..)
                .map(|step| 100.0 * (1.0 - 10_f64.powf(-f64::from(step) / STEPS as f64)))
                .map_while(|percentile| at(&latency, percentile))
                .collect(),
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
            crossed: (served > 0).then(|| crossed as f64 / served as f64),
        })
    })
}

/// Returns the reply to each body, computed with new objects on all sides. Every later reply has to
/// be the same: for a service, that is what "an object comes out as its reset left it" means.
fn expected<S: Source>(workload: Workload, bodies: &[Vec<u8>]) -> Result<Vec<u64>, String> {
    let mut kept = Vec::with_capacity(small::BYTES);
    bodies
        .iter()
        .enumerate()
        .map(|(n, body)| match workload {
            Workload::Request => request::handle::<S>(body),
            Workload::Encode | Workload::Handoff => request::encode::<S>(body),
            Workload::Tiny => Ok(small::tiny::<S>(n as u64)),
            Workload::Local => Ok(small::local::<S>(&mut kept, n as u64)),
            Workload::Exchange => Ok(crossing::exchanged(n)),
            Workload::Own => Ok(S::own(body)),
        })
        .collect()
}

/// What every worker is given.
#[derive(Clone, Copy)]
struct Job<'a> {
    task: &'a Task,
    bodies: &'a [Vec<u8>],
    expected: &'a [u64],
    /// Whether a reply was wrong. Relaxed: read after the workers are joined.
    wrong: &'a AtomicBool,
    ring: &'a Ring,
}

impl Job<'_> {
    fn work<S: Source>(
        self,
        number: usize,
        desk: Desk<crossing::Message<S>>,
        barrier: &Barrier,
    ) -> Measured {
        let mut latency = histogram();
        let mut worker = Worker {
            kept: Vec::with_capacity(small::BYTES),
            // So that workers are at different bodies at any time.
            next: number * self.bodies.len() / self.task.threads,
            place: Place::new(desk, self.ring),
        };
        let seconds = Duration::from_secs_f64(self.task.seconds);
        worker.place.phase = 1;
        self.repeat(seconds / 5, &mut worker, |_| {});
        self.ring.end(number, 1);
        barrier.wait();
        worker.place.desk.reset();
        worker.place.phase = 2;
        barrier.wait();
        let (start, end) = self.repeat(seconds, &mut worker, |took| {
            latency.saturating_record(took.as_nanos() as u64);
        });
        self.ring.end(number, 2);
        barrier.wait();
        worker.place.desk.clear();
        barrier.wait();
        barrier.wait();
        Measured {
            latency,
            start,
            end,
            crossed: worker.place.desk.crossed(),
        }
    }

    /// Handles at least one request, until `limit` is over; returns when it began and ended. Reads
    /// the clock once per request.
    fn repeat<S: Source>(
        self,
        limit: Duration,
        worker: &mut Worker<'_, S>,
        mut each: impl FnMut(Duration),
    ) -> (Instant, Instant) {
        let start = Instant::now();
        let mut before = start;
        loop {
            let n = worker.next % self.bodies.len();
            worker.next += 1;
            let reply = worker.reply(self.task.workload, &self.bodies[n], n);
            let now = Instant::now();
            match reply {
                // No more messages: not a request.
                None => {}
                Some(Ok((n, reply))) if reply == self.expected[n] => each(now - before),
                Some(_) => self.wrong.store(true, Ordering::Relaxed),
            }
            before = now;
            if now - start >= limit {
                return (start, now);
            }
        }
    }
}

/// A worker's own data.
struct Worker<'a, S: Source> {
    /// The variable of `local`.
    kept: Vec<u8>,
    /// The number of its next body.
    next: usize,
    place: Place<'a, S>,
}

impl<S: Source> Worker<'_, S> {
    /// Handles a request; returns the number of its body and the reply. Returns `None` if another
    /// worker sends the requests and has ended.
    #[inline(always)]
    fn reply(
        &mut self,
        workload: Workload,
        body: &[u8],
        n: usize,
    ) -> Option<Result<(usize, u64), String>> {
        let reply = match workload {
            Workload::Request => request::handle::<S>(body),
            Workload::Encode => request::encode::<S>(body),
            Workload::Tiny => Ok(small::tiny::<S>(n as u64)),
            Workload::Local => Ok(small::local::<S>(&mut self.kept, n as u64)),
            Workload::Own => Ok(S::own(body)),
            Workload::Handoff => return self.place.handoff(body, n),
            Workload::Exchange => return self.place.exchange(n),
        };
        Some(reply.map(|reply| (n, reply)))
    }
}

fn histogram() -> Histogram<u32> {
    Histogram::new_with_max(LONGEST.as_nanos() as u64, 3).expect("three digits are possible")
}

/// Returns a percentile if there are requests above it.
fn at(latency: &Histogram<u32>, percentile: f64) -> Option<u64> {
    let above = latency.len() as f64 * (1.0 - percentile / 100.0);
    // Rounding of the product must not hide the only such request.
    (above > 0.999).then(|| latency.value_at_percentile(percentile))
}
