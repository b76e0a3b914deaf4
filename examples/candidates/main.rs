//! What in my program is worth pooling?
//!
//! Reads a heap profile and lists the call sites worth pooling, best first, with what to use for
//! each and what it saves at most. Ends with the sites that it advises against, and why.
//!
//! ```sh
//! cargo run --release --example compare -- --profile heap.json     # or a profile of your program
//! cargo run --release --example candidates -- heap.json
//! ```
//!
//! A profile of your own program comes from the crate [`dhat`](https://docs.rs/dhat) or from
//! `valgrind --tool=dhat --fullpath-after= ./program`. Build with at least `debug =
//! "line-tables-only"`, or call sites have no names.
//!
//! The parts: [`profile`] reads the file, [`frame`] tells your code from libraries, [`site`] adds
//! up what one place in your code allocates, [`cost`] measures what that costs on this machine with
//! the allocator and with each kind of pool, [`advice`] decides, and [`print`] prints the result.

mod advice;
mod cost;
#[path = "../compare/digits.rs"]
mod digits;
mod frame;
mod print;
mod profile;
mod site;

use clap::Parser;
use clap::error::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

/// What in my program is worth pooling? Reads a heap profile of the dhat crate or of valgrind's DHAT.
#[derive(Debug, Parser)]
#[command(name = "candidates")]
struct Options {
    /// The profile: dhat-heap.json, or dhat.out.PID from valgrind.
    profile: PathBuf,

    /// Call sites to list in each part.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,

    /// Treat frames whose name or file contains this as library code: the call site is their
    /// caller. May be given several times.
    #[arg(long, value_name = "TEXT")]
    skip: Vec<String>,

    /// Measure nothing, and assume these nanoseconds per block from the allocator and from anything
    /// else, such as 20,5.
    #[arg(long, value_name = "NS,NS", value_parser = assumed, allow_hyphen_values = true)]
    assume: Option<cost::Cost>,
}

fn assumed(text: &str) -> Result<cost::Cost, String> {
    let number = |text: &str| text.parse().ok().filter(|ns| (0.0..1e9).contains(ns));
    text.split_once(',')
        .and_then(|(allocator, pool)| Some(cost::Cost::assumed(number(allocator)?, number(pool)?)))
        .ok_or_else(|| "expected two numbers of nanoseconds with a comma between".to_owned())
}

/// Exit code if the profile cannot be read; the same as for a wrong option.
const BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if let (Some(cost::CHILD), Some(visit)) = (arguments.next().as_deref(), arguments.next()) {
        return match cost::measure_allocator(&visit) {
            Ok(()) => ExitCode::SUCCESS,
            Err(line) => {
                eprintln!("error: {line}");
                ExitCode::FAILURE
            }
        };
    }
    let outcome = read_options().and_then(|options| {
        let profile = profile::read(&options.profile)?;
        Ok((options, profile))
    });
    let (options, profile) = match outcome {
        Ok(read) => read,
        Err(line) => {
            eprintln!("error: {line}");
            return ExitCode::from(BAD_INPUT);
        }
    };
    let sites = site::all(&profile, &options.skip);
    let findings = advice::all(&profile, sites, options.assume);
    match print::print(&options, &profile, &findings) {
        // The reader has closed the pipe, as `head` does.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: writing the result: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Returns the options, or a one-line error. Prints the help and exits if that was requested.
fn read_options() -> Result<Options, String> {
    Options::try_parse().map_err(|error| {
        if error.kind() == ErrorKind::DisplayHelp {
            error.exit();
        }
        // clap describes the error in its first paragraph; the rest is advice.
        let text = error.to_string();
        let what: Vec<_> = text
            .lines()
            .take_while(|line| !line.is_empty())
            .map(str::trim)
            .collect();
        let what = what.join(" ");
        format!("{}; see --help", what.trim_start_matches("error: "))
    })
}
