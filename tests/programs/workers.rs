//! Programs, and threads that run one job at a time and return its result.

use arbitrary::{Arbitrary, Unstructured};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

type Outcome = Result<Box<dyn Any + Send>, Box<dyn Any + Send>>;
type Job = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// Operations, each with the thread that it runs on. They take the rest of the input, so they come
/// last in a program. (A `Vec` would end where a byte of the input says so, which is soon.)
#[derive(Debug)]
pub(crate) struct Ops<O>(pub(crate) Vec<(u8, O)>);

/// The bytes of the input that each operation takes, used or not: mutating one leaves the later
/// ones as they are.
const RECORD: usize = 12;

impl<'a, O: Arbitrary<'a>> Arbitrary<'a> for Ops<O> {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut ops = Vec::new();
        while !input.is_empty() {
            let record = input.bytes(input.len().min(RECORD))?;
            ops.push(Unstructured::new(record).arbitrary()?);
        }
        Ok(Self(ops))
    }
}

pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    jobs: Option<Sender<Job>>,
    outcomes: Receiver<Outcome>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| Worker::new()).collect())
    }

    /// Runs `job` on this thread, and waits for it. If it panics, so does the caller.
    pub(crate) fn run<R: Send + 'static>(
        &self,
        thread: usize,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        let worker = &self.0[thread % self.0.len()];
        let jobs = worker.jobs.as_ref().expect("not ended");
        jobs.send(Box::new(move || Box::new(job())))
            .expect("the worker waits for jobs");
        match worker.outcomes.recv().expect("the worker answers") {
            Ok(result) => *result.downcast().expect("what the job returns"),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// The same, while the thread unwinds.
    pub(crate) fn unwinding<R: Send + 'static>(
        &self,
        thread: usize,
        job: impl FnOnce() -> R + Send + 'static,
    ) -> R {
        self.run(thread, move || {
            let (mut job, mut result) = (Some(job), None);
            let unwinding = AssertUnwindSafe(|| {
                let _last = OnDrop(|| result = job.take().map(|job| job()));
                // Not `panic!`: libFuzzer's hook would end the run.
                resume_unwind(Box::new("on purpose"));
            });
            assert!(catch_unwind(unwinding).is_err());
            result.expect("unwinding drops what is there")
        })
    }

    /// Ends a thread, with its destructors, and starts another in its place.
    pub(crate) fn replace(&mut self, thread: usize) {
        let at = thread % self.0.len();
        self.0[at].end();
        self.0[at] = Worker::new();
    }

    pub(crate) fn end(mut self) {
        self.0.iter_mut().for_each(Worker::end);
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Worker {
    fn new() -> Self {
        let (jobs, to_do) = channel::<Job>();
        let (report, outcomes) = channel();
        let thread = std::thread::spawn(move || {
            for job in to_do {
                if report.send(catch_unwind(AssertUnwindSafe(job))).is_err() {
                    return;
                }
            }
        });
        Self {
            jobs: Some(jobs),
            outcomes,
            thread: Some(thread),
        }
    }

    fn end(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the worker catches panics");
        }
    }
}
