//! Random schedules: what is too large for loom. Eight threads, several pools of each kind, limits and a shared
//! budget, threads and pools that come and go, freezes, switches, visitors of all sorts, a janitor every
//! millisecond, and signals that hold up owners inside their caches. At rest, and at the end, all has to add up.
//!
//! A schedule is made of a seed: which pools there are, and what each thread does. (How the threads interleave is
//! the machine's business; a seed that fails is run again until it does so once more.)
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

use std::time::Instant;

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
    // What is made once and stays is made by the first ones.
    let mut settled = None;
    for seed in seeds {
        let start = Instant::now();
        // On a thread of its own, whose end gives back what it remembers of pools that are gone.
        let ended = std::thread::spawn(move || world::run(seed)).join();
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
        // A pool's inside is some kilobytes; each seed makes and drops a dozen and more.
        let grown = ledger::Live::now().bytes - settled.bytes;
        assert!(
            grown < 64 << 10,
            "{grown} bytes more than after the second seed"
        );
    }
}
