//! Disturbances of a schedule: signals that hold up threads anywhere, also inside their caches. And
//! a watchdog for a schedule that no longer moves.

use super::world::Random;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The threads that may be disturbed.
static TASKS: Mutex<Vec<libc::pid_t>> = Mutex::new(Vec::new());

/// While this exists, the thread that created it may be disturbed.
pub(crate) struct Enlisted(libc::pid_t);

pub(crate) fn enlist() -> Enlisted {
    // SAFETY: no arguments.
    let task = unsafe { libc::gettid() };
    TASKS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(task);
    Enlisted(task)
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        TASKS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|&task| task != self.0);
    }
}

/// Sends signals while it exists.
pub(crate) struct Disturber {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const SIGNAL: libc::c_int = libc::SIGUSR2;

/// Spins for some microseconds, or sleeps for up to two milliseconds.
extern "C" fn delay(_: libc::c_int) {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let next = NEXT.fetch_add(0x9e37_79b9, Relaxed);
    let next = (next ^ next >> 15).wrapping_mul(0x85eb_ca6b);
    if next % 4 == 0 {
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: i64::from(next >> 11),
        };
        // SAFETY: may be called in a signal handler; this thread's own value, valid for its whole
        // life.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above.
        let before = unsafe { *errno };
        // SAFETY: may be called in a signal handler; the pointers are valid or null.
        unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
        // SAFETY: as above.
        unsafe { *errno = before };
    } else {
        (0..next >> 18).for_each(|_| std::hint::spin_loop());
    }
}

impl Disturber {
    pub(crate) fn start(seed: usize) -> Self {
        let handler: extern "C" fn(libc::c_int) = delay;
        // SAFETY: all zero is a valid value of this plain struct: no flags but the one below, an
        // empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler calls only what may be called in one.
        let failed = unsafe { libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut()) };
        assert_eq!(failed, 0);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut random = Random::new(seed);
            while !stopped.load(Relaxed) {
                std::thread::sleep(Duration::from_micros(30 + random.below(200) as u64));
                let tasks = TASKS.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(&task) = tasks.get(random.below(tasks.len().max(1))) {
                    // Enlisted, so it has not ended: that would need the lock first.
                    let process = std::process::id() as libc::pid_t;
                    // SAFETY: takes integers.
                    unsafe { libc::syscall(libc::SYS_tgkill, process, task, SIGNAL) };
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Disturber {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

static ACTS: AtomicUsize = AtomicUsize::new(0);
static SEED: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn progress(acts: usize) {
    ACTS.fetch_add(acts, Relaxed);
}

pub(crate) fn now_running(seed: usize) {
    SEED.store(seed, Relaxed);
    progress(1);
}

/// Ends the process if nothing has happened for a minute: every wait in here takes fractions of a
/// second.
pub(crate) struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut last = (ACTS.load(Relaxed), Instant::now());
            while !stopped.load(Relaxed) {
                std::thread::park_timeout(Duration::from_millis(500));
                let acts = ACTS.load(Relaxed);
                if acts != last.0 {
                    last = (acts, Instant::now());
                } else if last.1.elapsed() > Duration::from_secs(60) {
                    eprintln!("seed {}: nothing moves", SEED.load(Relaxed));
                    std::process::abort();
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
