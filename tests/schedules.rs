//! Random schedules, for what is too large for loom. Eight threads, several pools of each kind,
//! limits and a shared budget, threads and pools that come and go, freezes, switches, visitors of
//! all kinds, a janitor every millisecond, and signals that hold up owners inside their caches. At
//! each rest, and at the end, everything has to add up.
//!
//! A seed determines a schedule: which pools there are, and what each thread does. (It does not
//! determine how the threads interleave; a failing seed is run until it fails again.)
//!
//! ```sh
//! REPOOL_SCHEDULE_SEED=17 cargo test --test schedules           # this one
//! REPOOL_SCHEDULES=500 cargo test --release --test schedules    # seeds 0 to 499
//! REPOOL_BARRIER=off ...                                        # without the process-wide barrier
//! ```
#![cfg(all(target_os = "linux", feature = "bumpalo", feature = "bytes", not(miri)))]

#[path = "schedules/acts.rs"]
mod acts;
#[path = "schedules/disturb.rs"]
mod disturb;
#[path = "support/ledger.rs"]
mod ledger;
#[path = "support/scale.rs"]
mod scale;
#[path = "schedules/things.rs"]
mod things;
#[path = "schedules/world.rs"]
mod world;

use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: ledger::Ledger = ledger::Ledger;

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn random_schedules_lose_nothing_and_exceed_nothing() {
    let seeds = match number("REPOOL_SCHEDULE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("REPOOL_SCHEDULES").unwrap_or_else(|| scale::n(4, 1)),
    };
    let watchdog = disturb::Watchdog::start();
    // The first schedules create what is created once and stays.
    let mut settled = None;
    for seed in seeds {
        let start = Instant::now();
        // On its own thread, whose end releases what it remembers of pools that are gone.
        let ended = std::thread::spawn(move || world::run(seed, |rounds| rounds == 3)).join();
        let acts = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let live = ledger::Live::now();
        println!(
            "seed {seed}: {acts} acts in {:?}, {live:?}",
            start.elapsed()
        );
        if seed == 1 {
            settled = Some(live);
        }
    }
    drop(watchdog);
    if let Some(settled) = settled {
        // The inside of a pool is some kilobytes; each seed creates and drops a dozen or more.
        let grown = ledger::Live::now().bytes - settled.bytes;
        assert!(
            grown < 64 << 10,
            "{grown} bytes more than after the second seed"
        );
    }
}

/// The figures of a process at rest.
#[derive(Clone, Copy, Debug)]
struct Figures {
    live: ledger::Live,
    resident: i64,
}

impl Figures {
    fn now() -> Self {
        let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        let pages: i64 = pages
            .split(' ')
            .nth(1)
            .and_then(|n| n.parse().ok())
            .expect("a number");
        Self {
            live: ledger::Live::now(),
            resident: pages * 4096,
        }
    }
}

/// Run by `ci/soak.sh`: one schedule, whose pools are replaced now and then, for
/// `REPOOL_SOAK_SECONDS` seconds.
#[test]
#[ignore = "takes a minute and more"]
fn a_long_mixed_load_stays_flat() {
    let seconds = number("REPOOL_SOAK_SECONDS").unwrap_or(60) as u64;
    let seed = number("REPOOL_SCHEDULE_SEED").unwrap_or(2);
    let watchdog = disturb::Watchdog::start();
    let soak = move || {
        let (start, mut told, mut all) = (Instant::now(), 0, Vec::new());
        let acts = world::run(seed, |rounds| {
            let (at, now) = (start.elapsed(), Figures::now());
            all.push((at, now));
            if at.as_secs() >= told {
                told = at.as_secs() + (seconds / 40).max(1);
                let Figures { live, resident } = now;
                println!(
                    "{:>5} s, round {rounds:>5}: {:>6} KiB resident, {:>5} KiB in {:>5} blocks live",
                    at.as_secs(),
                    resident >> 10,
                    live.bytes >> 10,
                    live.blocks
                );
            }
            at >= Duration::from_secs(seconds)
        });
        (acts, all)
    };
    let ended = std::thread::spawn(soak).join();
    let (acts, all) = ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    drop(watchdog);
    println!(
        "{acts} acts in {} rounds, at the end {:?}",
        all.len(),
        Figures::now()
    );
    type Figure = fn(&Figures) -> i64;
    // The highest figure of an early fifth, and of the last fifth.
    let highest = |from: u64, to: u64, figure: Figure| {
        let within = |at: &Duration| (from * seconds..to * seconds).contains(&(at.as_secs() * 10));
        let figures = all
            .iter()
            .filter(|(at, _)| within(at))
            .map(|(_, one)| figure(one));
        figures.max().unwrap_or(0)
    };
    let figures: [(&str, i64, Figure); 3] = [
        ("bytes resident", 16 << 20, |one| one.resident),
        ("bytes live", 4 << 20, |one| one.live.bytes),
        ("blocks live", 4_000, |one| one.live.blocks),
    ];
    for (what, slack, figure) in figures {
        let (early, late) = (highest(2, 4, figure), highest(8, 10, figure));
        println!("{what}, at most: {early} early, {late} late");
        assert!(
            late <= early + early / 4 + slack,
            "{what}: {late}, was {early}"
        );
    }
}
