//! The command line, and a one-line error for anything invalid.

use crate::allocator;
use crate::task::{Task, Workload};
use clap::Parser;
use clap::error::ErrorKind;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::thread::available_parallelism;

const THREADS: RangeInclusive<usize> = 1..=1024;
const ROUNDS: RangeInclusive<usize> = 1..=1000;
const SECONDS: RangeInclusive<f64> = 0.01..=3600.0;

/// What would pooling do to my service? Runs the same work with plain and with pooled objects.
#[derive(Debug, Parser)]
#[command(name = "compare")]
pub(crate) struct Options {
    /// A JSON document that every request carries [default: generated bodies of mixed sizes].
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// Threads that handle requests, 1 to 1024.
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true, default_value_t = cores())]
    pub(crate) threads: usize,

    /// How often each side runs; the sides take turns. 1 to 1000; naming a winner takes 3.
    #[arg(long, value_name = "N", value_parser = rounds, allow_negative_numbers = true, default_value_t = 6)]
    pub(crate) rounds: usize,

    /// Seconds of load in each run, 0.01 to 3600.
    #[arg(long, value_name = "S", value_parser = seconds, allow_negative_numbers = true, default_value_t = 0.4)]
    pub(crate) seconds: f64,

    /// What to run: request, encode, tiny, local, handoff, exchange, own [default: all but own].
    #[arg(long = "workload", value_name = "NAME", value_delimiter = ',')]
    pub(crate) workloads: Vec<Workload>,

    /// Allocators to run everything on: glibc (the system's), mimalloc, jemalloc.
    #[arg(
        long = "allocator",
        value_name = "NAME",
        value_delimiter = ',',
        default_value = "glibc"
    )]
    pub(crate) allocators: Vec<allocator::Name>,

    /// Write a heap profile of the plain side to this file, and compare nothing.
    #[arg(long, value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,

    /// Write a page with all charts to this file; takes another minute.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Write two of the page's charts into this folder: throughput.svg and memory.svg.
    #[arg(long, value_name = "DIR")]
    pub(crate) pictures: Option<PathBuf>,

    /// Print JSON instead of tables.
    #[arg(long)]
    pub(crate) json: bool,

    /// Do one run, for the process that started this one.
    #[arg(long, hide = true, value_parser = task)]
    pub(crate) child: Option<Task>,
}

/// Returns the options, or a one-line error. Prints the help and exits if that was requested.
pub(crate) fn read() -> Result<Options, String> {
    let mut options = parse()?;
    if options.workloads.is_empty() {
        options.workloads = Workload::BUILT_IN.to_vec();
    }
    for allocator in &options.allocators {
        allocator.check()?;
    }
    if options.profile.is_some() && cfg!(not(unix)) {
        return Err("--profile needs Unix".to_owned());
    }
    // Fails now, not after everything has run.
    for (option, file) in [("report", &options.report), ("profile", &options.profile)] {
        if let Some(path) = file {
            std::fs::File::create(path)
                .map_err(|error| format!("--{option} {}: {error}", path.display()))?;
        }
    }
    match &options.pictures {
        Some(folder) if !folder.is_dir() => {
            return Err(format!("--pictures {}: not a folder", folder.display()));
        }
        _ => {}
    }
    Ok(options)
}

fn parse() -> Result<Options, String> {
    Options::try_parse().map_err(|error| {
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        ) {
            error.exit();
        }
        // clap describes the error in its first line; the rest is advice.
        let text = error.to_string();
        let line = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        format!("{line}; see --help")
    })
}

fn cores() -> usize {
    available_parallelism()
        .map_or(1, usize::from)
        .min(*THREADS.end())
}

fn threads(text: &str) -> Result<usize, String> {
    within(text, THREADS, "a whole number")
}

fn rounds(text: &str) -> Result<usize, String> {
    within(text, ROUNDS, "a whole number")
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, SECONDS, "a number")
}

fn within<N>(text: &str, possible: RangeInclusive<N>, kind: &str) -> Result<N, String>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    match text.parse() {
        Ok(number) if possible.contains(&number) => Ok(number),
        _ => Err(format!(
            "expected {kind} from {} to {}",
            possible.start(),
            possible.end()
        )),
    }
}

fn task(text: &str) -> Result<Task, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}
