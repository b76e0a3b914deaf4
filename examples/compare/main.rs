//! What would pooling do to my service?
//!
//! Runs the same work with plain allocation, with objects from [`repool::Pool`]s, and with those
//! pools switched off, and prints the sides with their ratios. Without arguments it generates its
//! own payload and takes about a minute:
//!
//! ```sh
//! cargo run --release --example compare
//! cargo run --release --example compare -- --input body.json --threads 8 --allocator glibc,mimalloc
//! cargo run --release --example compare -- --workload own        # edit own.rs first
//! cargo run --release --example compare -- --report report.html
//! cargo run --release --example compare -- --profile heap.json   # for the example `candidates`
//! ```
//!
//! The parts: [`request`], [`small`], [`crossing`] and [`own`] are the work, one body of code for
//! all sides; [`source`] is the only place where the sides differ. [`rounds`] runs each side in its
//! own [`child`] process, so that none inherits another's heap; [`summary`] pairs the rounds,
//! [`table`] prints them, and [`report`] draws them.

mod allocator;
mod burst;
mod child;
mod compressor;
mod crossing;
mod digits;
mod document;
mod options;
mod own;
mod parts;
mod payload;
mod post;
mod report;
mod request;
mod rounds;
mod small;
mod source;
mod summary;
mod system;
mod table;
mod task;

use options::Options;
use payload::Payload;
use std::process::ExitCode;
use summary::Comparison;

#[global_allocator]
static ALLOCATOR: allocator::Chosen = allocator::Chosen;

/// Exit code for a request that cannot be carried out; the same as for a wrong option.
const BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    let options = match options::read() {
        Ok(options) => options,
        Err(line) => return fail(&line, BAD_INPUT),
    };
    if let Some(task) = &options.child {
        return finish(child::run(task));
    }
    match payload::load(options.input.as_deref()) {
        Ok(payload) => finish(parent(&options, &payload)),
        Err(line) => fail(&line, BAD_INPUT),
    }
}

fn parent(options: &Options, payload: &Payload) -> Result<(), String> {
    if let Some(path) = &options.profile {
        return rounds::profile(options, payload, path);
    }
    let comparisons = options
        .allocators
        .iter()
        .map(|&allocator| {
            let runs = rounds::run(options, payload, allocator)?;
            Ok(Comparison {
                allocator,
                summaries: summary::of(&runs)?,
            })
        })
        .collect::<Result<Vec<_>, String>>()?;
    table::print(options, payload, &comparisons)?;
    if options.report.is_none() && options.pictures.is_none() {
        return Ok(());
    }
    eprintln!("resident memory through a burst: about a minute for each allocator");
    let memories = options
        .allocators
        .iter()
        .map(|&allocator| report::measure(options, allocator))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = &options.report {
        report::write(path, options, payload, &comparisons, &memories)?;
    }
    match (&options.pictures, comparisons.first(), memories.first()) {
        (Some(folder), Some(comparison), Some(memory)) => {
            report::write_pictures(folder, comparison, memory)
        }
        _ => Ok(()),
    }
}

fn finish(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => fail(&line, 1),
    }
}

fn fail(line: &str, code: u8) -> ExitCode {
    eprintln!("error: {line}");
    ExitCode::from(code)
}
