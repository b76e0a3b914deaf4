//! The cost of trim passes: for the thread that runs them, and for those that use the pools
//! meanwhile.
//!
//! [`caches`] times passes over 1,000 pools with 100 caches each. [`tail`] compares the slowest
//! operations of two busy threads with passes and without.
//!
//! Usage: `pass_cost [ROUNDS [MILLISECONDS]]`: rounds of each (21), and the time of one side in a
//! round of the comparison (200).

mod caches;
mod tail;

use repool_bench::report::print_setting;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize, default: u64| match args.get(at) {
        None => Some(default),
        Some(arg) => arg.parse().ok().filter(|&number| number > 0),
    };
    let (Some(rounds), Some(millis), true) = (number(1, 21), number(2, 200), args.len() <= 3)
    else {
        eprintln!("usage: pass_cost [ROUNDS [MILLISECONDS]], whole numbers from 1");
        return ExitCode::from(2);
    };
    print_setting(&args);
    caches::run(rounds);
    println!();
    tail::run(rounds, Duration::from_millis(millis));
    ExitCode::SUCCESS
}
