//! How the cost grows with threads, pools, objects held and their size, and how one depot does on
//! machines with more cores than this one.
//!
//! ```sh
//! cargo run --release --example growth -- --out growth.svg --cores cores.svg
//! ```
//!
//! [`cost`] times get, write and drop while one parameter grows, [`memory`] adds up what pools and
//! threads allocate, [`parts`] measures the parts of a machine with many cores: a cache line that
//! moves, an exchange with the depot, the time that the depot's lock is held. [`model`] combines
//! the parts in a simulation of cores at a depot, first compared with what two cores do here, then
//! run with more cores and with more depots. [`draw`] draws.

mod clock;
mod cost;
mod draw;
mod memory;
mod model;
mod parts;

use clap::Parser;
use repool_bench::report::print_setting;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: memory::Adding = memory::Adding;

/// How does cost grow with threads, pools, objects and cores?
#[derive(Debug, Parser)]
#[command(name = "growth")]
struct Options {
    /// Draw the cost curves into this SVG file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Draw the simulated cores into this SVG file.
    #[arg(long, value_name = "FILE")]
    cores: Option<PathBuf>,

    /// Rounds, whose medians are reported.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
}

fn main() -> ExitCode {
    let options = Options::parse();
    print_setting(&std::env::args().collect::<Vec<_>>());
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("error: {line}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let rounds = options.rounds as usize;
    memory::print();
    let curves = cost::curves(rounds);
    cost::print(&curves);
    if let Some(path) = &options.out {
        draw::costs(path, &curves).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let parts = parts::measure(rounds);
    parts.print();
    let curves = model::run(&parts);
    if let Some(path) = &options.cores {
        draw::cores(path, &curves).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
