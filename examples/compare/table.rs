//! The output: a table per workload, how it was measured, and what it does not show.

use crate::digits::grouped;
use crate::options::Options;
use crate::payload::Payload;
use crate::summary::{Comparison, ENOUGH, MARGIN, Ratio, Row, Summary};
use crate::system;
use crate::task::{Pools, Workload};
use crate::{crossing, small};
use serde_json::json;
use std::io::{self, Write};

pub(crate) fn print(
    options: &Options,
    payload: &Payload,
    comparisons: &[Comparison],
) -> Result<(), String> {
    let out = &mut io::stdout().lock();
    let written = if options.json {
        machine_readable(out, options, payload, comparisons)
    } else {
        tables(out, options, payload, comparisons)
    };
    match written {
        // The reader has closed the pipe, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| format!("writing the result: {error}")),
    }
}

fn machine_readable(
    out: &mut impl Write,
    options: &Options,
    payload: &Payload,
    comparisons: &[Comparison],
) -> io::Result<()> {
    let all = json!({
        "machine": system::machine(),
        "optimised": !cfg!(debug_assertions),
        "threads": options.threads,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "payload": payload.describe(),
        "comparisons": comparisons,
        "how": how(),
        "not_shown": NOT_SHOWN,
    });
    serde_json::to_writer_pretty(&mut *out, &all)?;
    writeln!(out)
}

fn tables(
    out: &mut impl Write,
    options: &Options,
    payload: &Payload,
    comparisons: &[Comparison],
) -> io::Result<()> {
    let Options {
        threads,
        rounds,
        seconds,
        ..
    } = options;
    writeln!(out, "machine    {}", system::machine())?;
    writeln!(out, "payload    {}", payload.describe())?;
    writeln!(
        out,
        "runs       {threads} threads, {rounds} rounds of {seconds} s for each side"
    )?;
    if cfg!(debug_assertions) {
        writeln!(
            out,
            "           NOT OPTIMISED: use --release, these figures mean nothing"
        )?;
    }
    for comparison in comparisons {
        writeln!(out, "\nallocator  {}", comparison.allocator.describe())?;
        for summary in &comparison.summaries {
            workload(out, summary)?;
        }
    }
    writeln!(out, "\nHow it was measured")?;
    how()
        .iter()
        .try_for_each(|line| writeln!(out, "- {line}"))?;
    writeln!(out, "\nWhat these figures do not show")?;
    NOT_SHOWN
        .iter()
        .try_for_each(|line| writeln!(out, "- {line}"))
}

fn workload(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    writeln!(
        out,
        "\n{}: {}\n",
        summary.workload.name(),
        what(summary.workload)
    )?;
    line(
        out,
        [
            "",
            "plain",
            "pooled",
            "off",
            "pooled/plain",
            "(lowest to highest)",
            "off/plain",
            "better",
        ],
    )?;
    for row in &summary.rows {
        print_row(out, row)?;
    }
    if let Some(pools) = &summary.pools {
        writeln!(out, "  {}", describe(pools))?;
        for advice in &pools.advice {
            writeln!(out, "  advice for {advice}")?;
        }
    }
    match summary.crossed {
        Some(share) => writeln!(
            out,
            "  {:.1} % of the objects crossed threads",
            100.0 * share
        ),
        None => Ok(()),
    }
}

pub(crate) fn what(workload: Workload) -> String {
    match workload {
        Workload::Request => {
            "parse JSON, pick and rewrite fields, serialise, compress, hash".to_owned()
        }
        Workload::Encode => {
            "the same without compression: the gain of scratch buffers and the map alone".to_owned()
        }
        Workload::Tiny => format!(
            "{} vectors of {} bytes a request, one after the other; plain allocates each",
            small::OBJECTS,
            small::BYTES
        ),
        Workload::Local => "the same vectors, but plain keeps one in a local variable".to_owned(),
        Workload::Handoff => {
            "encode, of bodies that one thread reads into a buffer and another serves and drops"
                .to_owned()
        }
        Workload::Exchange => format!(
            "{} vectors of {} bytes a request, {} written; each is dropped by another thread",
            crossing::BATCH,
            crossing::PARCEL,
            crossing::WRITTEN
        ),
        Workload::Own => "your own work, examples/compare/own.rs".to_owned(),
    }
}

fn print_row(out: &mut impl Write, row: &Row) -> io::Result<()> {
    let (ratio, spread) = shown(row.ratio);
    line(
        out,
        [
            &row.figure,
            &number(row.plain),
            &number(row.pooled),
            &number(row.off),
            &ratio,
            &spread,
            &shown(row.off_ratio).0,
            row.better.name(),
        ],
    )
}

/// Formats a ratio and its spread.
pub(crate) fn shown(ratio: Option<Ratio>) -> (String, String) {
    match ratio {
        None => ("n/a".to_owned(), String::new()),
        // One run has no spread.
        Some(Ratio {
            median,
            lowest,
            highest,
        }) if lowest == highest => (format!("{median:.3}"), String::new()),
        Some(Ratio {
            median,
            lowest,
            highest,
        }) => (
            format!("{median:.3}"),
            format!("({lowest:.3} to {highest:.3})"),
        ),
    }
}

fn line(
    out: &mut impl Write,
    [figure, plain, pooled, off, ratio, spread, off_ratio, better]: [&str; 8],
) -> io::Result<()> {
    writeln!(
        out,
        "  {figure:<24}{plain:>11}{pooled:>11}{off:>11}{ratio:>13}  {spread:<19}{off_ratio:>10}  \
         {better}"
    )
}

pub(crate) fn describe(pools: &Pools) -> String {
    let gets = (pools.created + pools.reused).max(1);
    format!(
        "pools: {:.3} % hits, {} objects created; idle bytes after the load {}, after three trim \
         passes {}",
        100.0 * pools.reused as f64 / gets as f64,
        pools.created,
        grouped(pools.idle_bytes),
        grouped(pools.trimmed_to_bytes),
    )
}

pub(crate) fn number(value: Option<f64>) -> String {
    match value {
        None => "n/a".to_owned(),
        Some(value) if value >= 1_000.0 => grouped(value.round() as u64),
        Some(value) => format!("{value:.2}"),
    }
}

pub(crate) fn how() -> [String; 7] {
    [
        "Each run is a process of its own; the sides take turns, and another one begins each round. \
         Plain objects are pre-sized. Every reply is checked against the first one to the same \
         body, and the sides against each other."
            .to_owned(),
        "Columns plain, pooled and off (pooled, with every pool switched off) are medians over the \
         rounds; pooled/plain and off/plain are medians of the ratios within rounds. requests/s is \
         over the time from the first thread's start to the last one's end."
            .to_owned(),
        format!(
            "Better names plain or pooled if all rounds agree ({ENOUGH} at least) and the median differs by \
             more than {:.0} %. A percentile without requests above it is n/a.",
            100.0 * MARGIN
        ),
        "Allocator calls (alloc, alloc_zeroed, realloc; bytes as asked for) are counted after \
         warm-up in a separate, untimed run of each side. In timed runs counting is off; all \
         sides pay two relaxed loads and a branch for each call."
            .to_owned(),
        "Page faults are minor ones during the load (/proc/self/stat). When pooled has many more: \
         glibc learns from large blocks that are freed to keep memory, and pooled ones never are. \
         Try again with MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_ set."
            .to_owned(),
        "RSS is of the whole process (VmHWM, VmRSS), with payload and histograms. Peak is up to \
         the end of the load."
            .to_owned(),
        "Idle: the threads are parked; pooled runs three trim passes on each pool, then all sides \
         call malloc_trim(0) where there is one, which most services never do."
            .to_owned(),
    ]
}

pub(crate) const NOT_SHOWN: [&str; 6] = [
    "Other sizes, other machines, and other allocators (see --allocator): the ratios depend on all of them.",
    "Queueing: each thread sends itself the next request when it is done, so latency is service \
     time, not what clients of a loaded server see.",
    "Objects that wander between threads without a pattern: in handoff and exchange they go round a \
     ring, elsewhere a request stays on its thread.",
    "Fragmentation and growth over days; a run lasts seconds.",
    "Reuse by hand: outside of local, plain keeps nothing from one request to the next. A service \
     that keeps a compressor per thread has the difference between request and encode already.",
    "Parsers without allocations of their own: the tree borrows from the body, and lives in an arena (pooled) or in vectors and boxes (plain).",
];
