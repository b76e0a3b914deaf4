//! `--report`: everything on one page that needs no network, for a browser, a phone or a printer.
//!
//! [`charts`] draws, [`style`] has the colours, and this file writes the page.

mod charts;
mod style;

use crate::allocator;
use crate::options::Options;
use crate::payload::Payload;
use crate::rounds;
use crate::summary::{Better, Comparison, Ratio, Row, Summary};
use crate::task::{Burst, Kind, Side, Workload};
use crate::{burst, system, table};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::fs;
use std::path::Path;

/// What `--report` measures in addition to the tables.
pub(crate) struct Memory {
    plain: Burst,
    pooled: Burst,
}

/// Runs the bursts, one after the other.
pub(crate) fn measure(options: &Options, allocator: allocator::Name) -> Result<Memory, String> {
    let run = |side: Side| {
        let task = rounds::task(
            options,
            Kind::Burst,
            Workload::Request,
            side,
            allocator,
            false,
        );
        rounds::ask::<Burst>(&task, allocator.text(), None)
    };
    Ok(Memory {
        plain: run(Side::Plain)?,
        pooled: run(Side::Pooled)?,
    })
}

/// Writes the page.
pub(crate) fn write(
    path: &Path,
    options: &Options,
    payload: &Payload,
    comparisons: &[Comparison],
    memories: &[Memory],
) -> Result<(), String> {
    let page = page(options, payload, comparisons, memories)?.into_string();
    fs::write(path, page).map_err(|error| format!("--report {}: {error}", path.display()))
}

/// Writes two of the charts into a folder, for a README.
pub(crate) fn write_pictures(
    folder: &Path,
    comparison: &Comparison,
    memory: &Memory,
) -> Result<(), String> {
    let pictures = [
        ("throughput.svg", charts::throughput(&comparison.summaries)?),
        ("memory.svg", charts::memory(&memory.plain, &memory.pooled)?),
    ];
    for (name, picture) in pictures {
        let path = folder.join(name);
        fs::write(&path, style::alone(&picture))
            .map_err(|error| format!("--pictures {}: {error}", path.display()))?;
    }
    Ok(())
}

fn page(
    options: &Options,
    payload: &Payload,
    comparisons: &[Comparison],
    memories: &[Memory],
) -> Result<Markup, String> {
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let sections = comparisons
        .iter()
        .zip(memories)
        .map(|(comparison, memory)| section(comparison, memory))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "repool: plain, pooled, switched off" }
                style { (PreEscaped(style::page())) }
            }
            body {
                h1 { "What pooling does to this service" }
                @for comparison in comparisons {
                    p.verdict { (verdict(comparison)) }
                }
                @if cfg!(debug_assertions) {
                    p.verdict { strong { "Not optimised: use --release, these figures mean nothing." } }
                }
                dl {
                    dt { "machine" } dd { (system::machine()) }
                    dt { "payload" } dd { (payload.describe()) }
                    dt { "runs" } dd {
                        (options.threads) " threads, " (options.rounds) " rounds of "
                        (options.seconds) " s for each side and workload"
                    }
                    dt { "repool" } dd { (env!("CARGO_PKG_VERSION")) }
                    dt { "command" } dd {
                        code { "cargo run --release --example compare -- " (command) }
                    }
                }
                p {
                    "Plain makes each object, pre-sized; pooled takes it from a pool; off is the pooled "
                    "code with every pool switched off."
                }
                @for section in sections { (section) }
                h2 { "How it was measured" }
                ul { @for line in table::how() { li { (line) } } }
                h2 { "What these figures do not show" }
                ul { @for line in table::NOT_SHOWN { li { (line) } } }
            }
        }
    })
}

/// Writes the section of one allocator.
fn section(comparison: &Comparison, memory: &Memory) -> Result<Markup, String> {
    let summaries = &comparison.summaries;
    let curves = summaries
        .iter()
        .map(|summary| Ok((summary, charts::latency(summary)?)))
        .collect::<Result<Vec<_>, String>>()?;
    let throughput = charts::throughput(summaries)?;
    let calls = charts::calls(summaries)?;
    let resident = charts::memory(&memory.plain, &memory.pooled)?;
    let name = comparison.allocator.describe();
    Ok(html! {
        h2 { "On " (name) }
        div.charts {
            (figure(&throughput, "Throughput", "A dot is a round, the bar their median. Further right is better."))
            (figure(&calls, "Allocator calls", "Counted in a run of its own. Further left is better."))
            (figure(&resident, "Resident memory", &describe(memory)))
        }
        h3 { "Latency, " (name) }
        div.charts {
            @for (summary, curve) in &curves {
                (figure(curve, summary.workload.name(), &table::what(summary.workload)))
            }
        }
        h3 { "All figures, " (name) }
        @for summary in summaries { (full(summary)) }
    })
}

fn figure(picture: &str, title: &str, caption: &str) -> Markup {
    html! {
        figure {
            figcaption { strong { (title) } ". " (caption) }
            div role="img" aria-label=(title) { (PreEscaped(picture)) }
        }
    }
}

fn describe(memory: &Memory) -> String {
    let passes = match charts::passes(&memory.pooled).count() {
        1 => "One pass".to_owned(),
        passes => format!("{passes} passes"),
    };
    format!(
        "{} threads hold {} buffers of {} KiB each, again and again, then nothing runs any more. \
         {passes} of the janitor dropped something; malloc_trim is called once, on both sides.",
        burst::THREADS,
        burst::HELD,
        burst::BYTES >> 10,
    )
}

fn full(summary: &Summary) -> Markup {
    html! {
        div.table {
            h3 { (summary.workload.name()) ": " (table::what(summary.workload)) }
            table {
                thead { tr {
                    // A phone shows the first four columns; the others need a swipe.
                    th { "" } th { "plain" } th { "pooled" } th { "pooled/plain" }
                    th { "lowest to highest" } th { "better" } th { "off" } th { "off/plain" }
                } }
                tbody {
                    @for row in &summary.rows { (figures(row)) }
                }
            }
            @if let Some(pools) = &summary.pools {
                p { (table::describe(pools)) }
                @for advice in &pools.advice { p { "Advice for " (advice) } }
            }
            @if let Some(share) = summary.crossed {
                p { (format!("{:.1}", 100.0 * share)) " % of the objects crossed threads" }
            }
        }
    }
}

fn figures(row: &Row) -> Markup {
    let (ratio, spread) = table::shown(row.ratio);
    let won = |side| if row.better == side { "won" } else { "" };
    html! {
        tr {
            td { (row.figure) }
            td class=(won(Better::Plain)) { (table::number(row.plain)) }
            td class=(won(Better::Pooled)) { (table::number(row.pooled)) }
            td { (ratio) }
            td { (spread.trim_matches(['(', ')'])) }
            td { (row.better.name()) }
            td { (table::number(row.off)) }
            td { (table::shown(row.off_ratio).0) }
        }
    }
}

/// Returns the result in one sentence.
pub(crate) fn verdict(comparison: &Comparison) -> String {
    let throughput = |summary: &Summary| {
        let row = summary.rows.first()?;
        Some((summary.workload.name(), row.better, row.ratio?))
    };
    let figures: Vec<_> = comparison.summaries.iter().filter_map(throughput).collect();
    let of = |side: Better| -> Vec<String> {
        let name = |&(name, _, Ratio { median, .. }): &(&str, Better, Ratio)| match side {
            Better::Plain | Better::Pooled => format!("{name} ({median:.2}x)"),
            Better::Even | Better::Unknown => name.to_owned(),
        };
        let won = figures.iter().filter(|(_, better, _)| *better == side);
        won.map(name).collect()
    };
    let mut parts = Vec::new();
    for (side, what) in [
        (
            Better::Pooled,
            "more requests per second pooled than plain in",
        ),
        (Better::Plain, "fewer in"),
        (Better::Even, "no difference that all rounds agree on in"),
        (Better::Unknown, "too few rounds to name a winner in"),
    ] {
        let names = of(side);
        if !names.is_empty() {
            parts.push(format!("{what} {}", list(&names)));
        }
    }
    format!(
        "On {}: {}.",
        comparison.allocator.describe(),
        parts.join("; ")
    )
}

/// Formats "a", "a and b", "a, b and c".
fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
