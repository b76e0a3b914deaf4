//! repool compared with other pools at their best settings, with plain allocation, and with Go.
//!
//! All contenders do the same work: get a vector of 1 KiB, write 64 bytes, return it. They take
//! turns within one process, in a different order each round. A ratio is taken within each round,
//! and the medians of the ratios are reported with their quartiles. Next to the times: the share of
//! gets that found an idle object, and the objects and bytes alive after everything is returned,
//! and 15 s later.
//!
//! Usage: `cargo bench --bench peers [-- [--rounds N] [--window MS] [--only TEXT] [--wait S]]`:
//! rounds (21), the length of one contender's turn (20 ms for one thread, three times that for
//! more), scenarios with this text in their name, seconds until what is alive is counted again
//! (15). Go takes part if `go` is in the PATH.
//!
//! The parts: [`scenario`] says what is done with objects, and [`contender`] has the pools;
//! [`work`], [`crossing`] and [`tasks`] do it, [`clock`] times it and decides which rounds count,
//! [`live`] counts objects, [`go`] talks to the Go program, and [`table`] prints.

mod clock;
mod contender;
mod crossing;
mod go;
mod live;
mod scenario;
mod table;
mod tasks;
mod work;

use clap::Parser;
use repool_bench::report::print_setting;
use scenario::Scenario;

#[global_allocator]
static ALLOCATOR: live::Counting = live::Counting;

#[derive(Debug, Parser)]
#[command(name = "peers")]
struct Options {
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    #[arg(long, default_value_t = 20)]
    window: u64,
    #[arg(long, default_value = "")]
    only: String,
    #[arg(long, default_value_t = 15)]
    wait: u64,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    print_setting(&std::env::args().collect::<Vec<_>>());
    let go = go::Go::start();
    println!(
        "go       {}",
        go.as_ref()
            .map_or("not in the PATH: left out", |go| go.version())
    );
    println!(
        "{} rounds of {} ms for each contender on one thread, {} ms on more",
        options.rounds,
        options.window,
        3 * options.window
    );
    let mut all = Vec::new();
    for (number, scenario) in Scenario::all().into_iter().enumerate() {
        if scenario.name().contains(&options.only) {
            let result = clock::measure(&scenario, number, go.as_ref(), &options);
            table::print(&scenario, &result);
            all.push((scenario, result));
        }
    }
    table::print_targets(&all);
}
