//! Does idle memory come back? Idle bytes and resident memory over time, drawn.
//!
//! ```sh
//! cargo run --release --example idle -- --out idle.svg
//! ```
//!
//! 64 threads take 64 KiB buffers until about 1 GiB is out, return all of them, and are parked: a
//! service after its busiest second. No thread calls the pool any more. Four variants of the same
//! program run one after the other, each in its own [`child`] process, so that none inherits the
//! heap of another: see [`variant`]. [`figure`] draws what the children report and [`table`] prints
//! it.
//!
//! A pool returns memory to the allocator; whether the process shrinks then is up to the allocator.
//! glibc keeps what is freed, so the sampling thread calls `malloc_trim(0)` once a second, in every
//! variant; `--no-malloc-trim` shows the same without that. glibc still keeps the top of each arena
//! but the first, tens of MiB at times, with nothing in use there: the table shows what glibc
//! itself reports to be in use, and `--arenas 1` shows the same without such tops.

mod child;
mod figure;
mod options;
mod system;
mod table;
mod variant;

use child::Run;
use options::Options;
use repool_bench::report::print_setting;
use std::process::ExitCode;
use variant::Variant;

fn main() -> ExitCode {
    let options = match options::read() {
        Ok(options) => options,
        Err(line) => return fail(&line, 2),
    };
    let outcome = match options.child {
        Some(variant) => child::run(variant, &options),
        None => all(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => fail(&line, 1),
    }
}

/// Runs the variants, prints the table, draws the figure.
fn all(options: &Options) -> Result<(), String> {
    print_setting(&std::env::args().collect::<Vec<_>>());
    let runs = Variant::ALL
        .into_iter()
        .map(|variant| {
            eprintln!("{} ...", variant.name());
            child::start(variant, options)
        })
        .collect::<Result<Vec<Run>, _>>()?;
    table::print(options, &runs);
    if let Some(path) = &options.out {
        figure::draw(path, options, &runs)
            .map_err(|error| format!("cannot draw {}: {error}", path.display()))?;
        println!("\nfigure   {}", path.display());
    }
    Ok(())
}

fn fail(line: &str, code: u8) -> ExitCode {
    eprintln!("error: {line}");
    ExitCode::from(code)
}
