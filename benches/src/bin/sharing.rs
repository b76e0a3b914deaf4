//! What another thread does to this thread's own get and drop (I10): this thread's pair alone,
//! beside a thread that drops objects of another pool, and beside one that drops objects that this
//! thread got from the same pool.
//!
//! Each thread has its own processor. Compared is thread processor time per pair, and only in
//! rounds in which both threads ran all the time: if a thread took much longer than its processor
//! time, the machine was busy, and they did not overlap.
//!
//! Usage: `sharing [ROUNDS]` (200)

use repool::{Pool, Pooled};
use repool_bench::report::print_setting;
use repool_bench::{fresh, work};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// The limit of "the same pool" divided by "alone".
const TARGET: f64 = 1.1;
/// A thread that took longer than its processor time by more than this share has waited for a
/// processor.
const WAITED: f64 = 1.15;
const OBJECTS: usize = 20_000;
const PAIRS_ALONE: u64 = 100_000;
const PAIRS_AT_ONCE: u64 = 500;
/// How many rounds in which both ran a figure needs.
const ENOUGH: usize = 5;

static OURS: Pool<Vec<u8>> = Pool::new(fresh);
static OTHER: Pool<Vec<u8>> = Pool::new(fresh);
static DROPPED: AtomicBool = AtomicBool::new(false);
static READY: AtomicUsize = AtomicUsize::new(0);

type Objects = Vec<Pooled<Vec<u8>>>;

const MODES: [&str; 3] = [
    "alone",
    "beside drops to another pool",
    "beside drops of its own",
];

fn nanos(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one `timespec`.
    let code = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(code, 0, "every Linux has this clock");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Pins this thread to a processor; returns `false` if that is not permitted.
fn pin(processor: usize) -> bool {
    // SAFETY: a set of processors is plain bits, and zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: sets a bit of `set`, and checks the number.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: reads one set.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) == 0 }
}

/// Returns the processor time of this thread while `work` runs, in nanoseconds, and how much longer
/// it took.
fn timed(work: impl FnOnce()) -> (f64, f64) {
    let (wall, own) = (
        nanos(libc::CLOCK_MONOTONIC),
        nanos(libc::CLOCK_THREAD_CPUTIME_ID),
    );
    work();
    let own = nanos(libc::CLOCK_THREAD_CPUTIME_ID) - own;
    let wall = nanos(libc::CLOCK_MONOTONIC) - wall;
    (own as f64, wall as f64 / own as f64)
}

#[inline(never)]
fn pairs(n: u64) {
    for _ in 0..n {
        work(&mut OURS.get());
    }
}

fn wait_for(ready: usize) {
    while READY.load(Ordering::SeqCst) < ready {
        std::hint::spin_loop();
    }
}

/// The other thread: drops what it receives, and reports how much longer that took than it ran.
fn dropper(objects: Receiver<Objects>, done: SyncSender<(f64, f64, Objects)>) {
    assert!(pin(1), "there is a second processor");
    for mut objects in objects {
        let count = objects.len() as f64;
        READY.fetch_add(1, Ordering::SeqCst);
        wait_for(2);
        let (own, longer) = timed(|| objects.clear());
        DROPPED.store(true, Ordering::SeqCst);
        let _ = done.send((own / count, longer, objects));
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let rounds = args.get(1).map_or(Some(200), |arg| arg.parse().ok());
    let (Some(rounds), true) = (rounds, args.len() <= 2) else {
        eprintln!("usage: sharing [ROUNDS]");
        return ExitCode::from(2);
    };
    print_setting(&args);
    let (send, objects) = sync_channel::<Objects>(1);
    let (done, dropped) = sync_channel(1);
    std::thread::spawn(move || dropper(objects, done));
    if !pin(0) {
        eprintln!("needs two processors");
        return ExitCode::FAILURE;
    }
    pairs(1_000);
    let mut times: [Vec<f64>; MODES.len()] = Default::default();
    let mut drops: [Vec<f64>; MODES.len()] = Default::default();
    let mut spare = Objects::with_capacity(OBJECTS);
    for round in 0..rounds * MODES.len() {
        let mode = round % MODES.len();
        if mode == 0 {
            let (own, longer) = timed(|| pairs(PAIRS_ALONE));
            if longer < WAITED {
                times[mode].push(own / PAIRS_ALONE as f64);
            }
            continue;
        }
        let pool = if mode == 1 { &OTHER } else { &OURS };
        let mut held = std::mem::take(&mut spare);
        // Twice, so that this thread was the last owner of each: every drop on the other thread
        // crosses.
        for _ in 0..2 {
            held.clear();
            held.extend((0..OBJECTS).map(|_| pool.get()));
        }
        pairs(100);
        DROPPED.store(false, Ordering::SeqCst);
        READY.store(0, Ordering::SeqCst);
        send.send(held).expect("the other thread runs");
        wait_for(1);
        READY.fetch_add(1, Ordering::SeqCst);
        let mut done = 0;
        let (own, longer) = timed(|| {
            while !DROPPED.load(Ordering::Relaxed) {
                pairs(PAIRS_AT_ONCE);
                done += PAIRS_AT_ONCE;
            }
        });
        let (of_drop, longer_there, back) = dropped.recv().expect("the other thread runs");
        spare = back;
        if longer < WAITED && longer_there < WAITED && done > 0 {
            times[mode].push(own / done as f64);
            drops[mode].push(of_drop);
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_unstable_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let mut medians = [0.0; MODES.len()];
    for (at, mode) in MODES.iter().enumerate() {
        let both_ran = times[at].len();
        medians[at] = median(&mut times[at]);
        print!(
            "{:5.2} ns a pair {mode} ({both_ran} of {rounds} rounds)",
            medians[at]
        );
        if at > 0 {
            print!("; {:5.2} ns a drop over there", median(&mut drops[at]));
        }
        println!();
    }
    if [0, 2].iter().any(|&at| times[at].len() < ENOUGH) {
        println!("too few rounds in which both threads ran: no answer");
        return ExitCode::FAILURE;
    }
    let ratio = medians[2] / medians[0];
    println!("beside drops of its own / alone: {ratio:.2}, at most {TARGET}");
    ExitCode::from(u8::from(ratio > TARGET))
}
