//! The output: what to pool, what to leave, and what a profile does not show.

use crate::Options;
use crate::advice::{Finding, Use, Why};
use crate::cost;
use crate::digits::grouped;
use crate::profile::Profile;
use crate::site::{Made, Site};
use std::io::{self, Write};

pub(crate) fn print(
    options: &Options,
    profile: &Profile,
    findings: &[Finding<'_>],
) -> io::Result<()> {
    let out = &mut io::stdout().lock();
    let (worth, leave): (Vec<_>, Vec<_>) = findings
        .iter()
        .partition(|finding| !matches!(finding.advice, Use::Leave(_)));
    header(out, options, profile, findings.len())?;

    match worth.len() {
        0 => writeln!(out, "\nNothing here is worth pooling.")?,
        _ => writeln!(out, "\nWorth pooling, best first")?,
    }
    for (number, finding) in worth.iter().take(options.top).enumerate() {
        candidate(out, profile, number + 1, finding)?;
    }
    more(out, worth.len(), options.top)?;
    if let Some(arenas) = arenas(&worth) {
        writeln!(out, "\n{arenas}")?;
    }

    if !leave.is_empty() {
        writeln!(out, "\nLeave as it is, most calls first")?;
        let mut leave = leave;
        leave.sort_by_key(|finding| std::cmp::Reverse(finding.site.blocks));
        for finding in leave.iter().take(options.top) {
            against(out, profile, finding)?;
        }
        more(out, leave.len(), options.top)?;
    }
    writeln!(out, "\nWhat this does not say")?;
    NOT_SAID
        .iter()
        .try_for_each(|line| writeln!(out, "- {line}"))
}

fn header(
    out: &mut impl Write,
    options: &Options,
    profile: &Profile,
    sites: usize,
) -> io::Result<()> {
    writeln!(out, "program  {}", shortened(&profile.command, 90))?;
    let (blocks, bytes) = (grouped(profile.blocks()), size(profile.bytes()));
    match profile.seconds() {
        Some(seconds) => writeln!(
            out,
            "profile  {seconds:.2} s, {blocks} allocations ({}/s), {bytes}, from {sites} call sites",
            grouped((profile.blocks() as f64 / seconds) as u64)
        )?,
        None => writeln!(
            out,
            "profile  {} instructions, {blocks} allocations, {bytes}, from {sites} call sites",
            grouped(profile.end)
        )?,
    }
    match options.assume {
        Some(_) => writeln!(out, "costs    as --assume says"),
        None => writeln!(
            out,
            "costs    measured now: blocks of each site's size, on {} and on pools, both on this machine",
            cost::allocator()
        ),
    }
}

fn candidate(
    out: &mut impl Write,
    profile: &Profile,
    number: usize,
    finding: &Finding<'_>,
) -> io::Result<()> {
    let site = &finding.site;
    writeln!(
        out,
        "\n{number:>3}. {}: {}",
        name(finding.advice),
        place(site)
    )?;
    if let Some(via) = via(site) {
        writeln!(out, "     {via}")?;
    }
    writeln!(out, "     {}", figures(profile, site))?;
    let (each, instead) = (finding.cost.allocator, finding.cost.of(finding.advice));
    write!(
        out,
        "     saves at most {} allocator calls and {}",
        grouped(finding.calls),
        time(finding.saved)
    )?;
    if let Some(seconds) = profile.seconds() {
        write!(
            out,
            " ({} per second of the run)",
            time(finding.saved / seconds)
        )?;
    }
    writeln!(out, ": {} instead of {} each", time(instead), time(each))?;
    match advice(finding) {
        Some(line) => writeln!(out, "     {line}"),
        None => Ok(()),
    }
}

fn name(advice: Use) -> &'static str {
    match advice {
        Use::Local => "a local variable",
        Use::Pool => "Pool",
        Use::BufferPool => "BufferPool",
        Use::ArenaPool => "ArenaPool",
        Use::Leave(_) => "leave",
    }
}

/// Returns what to know about the advice.
fn advice(finding: &Finding<'_>) -> Option<&'static str> {
    let site = &finding.site;
    match finding.advice {
        Use::Local => Some(
            "never two at the same time on one path: keep one outside of the loop, or in a field, and clear it",
        ),
        Use::Pool if site.made == Made::Inside => Some(
            "allocated inside that library: pool the object of the library that you create here",
        ),
        Use::Pool if site.grows => Some(
            "it grows here: pool the object that grows, which keeps its capacity, not this block",
        ),
        Use::Pool => None,
        Use::BufferPool if site.made == Made::Vector => Some(
            "vectors of different sizes: if they hold bytes; otherwise a Pool of what holds them",
        ),
        Use::BufferPool => Some("bytes of different sizes: one pool, with a class for each size"),
        Use::ArenaPool => {
            Some("small ones, many at once: if they are freed together, one arena can hold them")
        }
        Use::Leave(_) => None,
    }
}

fn against(out: &mut impl Write, profile: &Profile, finding: &Finding<'_>) -> io::Result<()> {
    let site = &finding.site;
    let Use::Leave(why) = finding.advice else {
        return Ok(());
    };
    let reason = match why {
        Why::NotYours => {
            "its stack has no frame of yours: a library or std allocates it".to_owned()
        }
        Why::TooFew => "less than a thousandth of all calls and of all bytes".to_owned(),
        Why::LivesOn => match site.lifetime {
            Some(lifetime) if site.left * 2 < site.blocks => format!(
                "lives for {:.0} % of the run: a pool is for short-lived objects",
                100.0 * lifetime / profile.end.max(1) as f64
            ),
            _ => format!(
                "{} of {} are alive at the end: a pool is for short-lived objects",
                grouped(site.left),
                grouped(site.blocks)
            ),
        },
        Why::TooLittle => {
            let gain = (finding.cost.allocator - finding.cost.pool).max(0.0);
            format!(
                "a pool saves {} each: less than a hundred-thousandth of the run in all",
                time(gain)
            )
        }
        Why::NoGain => format!(
            "{} takes {} for one, a pool {}: nothing to gain",
            cost::allocator(),
            time(finding.cost.allocator),
            time(finding.cost.pool)
        ),
    };
    writeln!(out, "\n  -  {}", place(site))?;
    writeln!(out, "     {}", figures(profile, site))?;
    writeln!(out, "     {reason}")
}

/// Prints the call site.
fn place(site: &Site<'_>) -> String {
    match site.at.place {
        "" => site.at.short(),
        _ => format!("{} in {}", site.at.line(), site.at.short()),
    }
}

/// Prints what the site calls, and who called it.
fn via(site: &Site<'_>) -> Option<String> {
    let calls = site.calls.as_ref().map(|frame| {
        let from = frame
            .dependency()
            .map_or_else(String::new, |name| format!(" of {name}"));
        format!("calls {}{from}", frame.short())
    });
    let caller = site
        .caller
        .as_ref()
        .map(|frame| format!("from {}", frame.line()));
    let parts: Vec<_> = calls.into_iter().chain(caller).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn figures(profile: &Profile, site: &Site<'_>) -> String {
    let mut parts = vec![match profile.seconds() {
        Some(seconds) => format!(
            "{} calls ({}/s)",
            grouped(site.blocks),
            grouped((site.blocks as f64 / seconds) as u64)
        ),
        None => format!("{} calls", grouped(site.blocks)),
    }];
    parts.push(if site.one_size {
        format!("{} each", size(site.smallest))
    } else if site.largest > site.smallest {
        format!(
            "{} on average ({} to {} by path)",
            size(site.mean_bytes()),
            size(site.smallest),
            size(site.largest)
        )
    } else {
        format!("{} on average", size(site.mean_bytes()))
    });
    if let Some(lifetime) = site.lifetime {
        parts.push(match profile.seconds() {
            Some(_) => format!("alive for {}", time(lifetime * 1e3)),
            None => format!("alive for {} instructions", grouped(lifetime as u64)),
        });
    }
    if let Some(most) = site.at_once {
        parts.push(format!("{} at once", grouped(most)));
    }
    if let Some(touched) = site.touched {
        parts.push(format!("each byte read or written {touched:.1} times"));
    }
    parts.join(", ")
}

/// Returns what several sites for an arena have in common.
fn arenas(worth: &[&Finding<'_>]) -> Option<String> {
    let of_arena = || worth.iter().filter(|one| one.advice == Use::ArenaPool);
    let (sites, calls) = (of_arena().count(), of_arena().map(|one| one.calls).sum());
    (sites > 1).then(|| {
        format!(
            "The {sites} sites for an arena can share one arena per request: {} calls together.",
            grouped(calls)
        )
    })
}

fn more(out: &mut impl Write, all: usize, shown: usize) -> io::Result<()> {
    match all.checked_sub(shown) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "\n     and {more} more (--top)"),
    }
}

const NOT_SAID: [&str; 4] = [
    "Whether an object can be reset for its next user, and what that costs.",
    "Which thread freed a block: a pool accepts objects on any thread, a local variable does not.",
    "What happens between two allocations: savings are those of a tight loop, so at most that. The \
     profiler slows a program down, so rates and lifetimes are those of the profiled run.",
    "Other allocators: with mimalloc or jemalloc small blocks cost less. `compare` shows what is left \
     of it in real work.",
];

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{} B", grouped(bytes)),
        10_000..10_000_000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ..1e3 => format!("{nanoseconds:.1} ns"),
        ..1e6 => format!("{:.1} µs", nanoseconds / 1e3),
        ..1e9 => format!("{:.1} ms", nanoseconds / 1e6),
        _ => format!("{:.2} s", nanoseconds / 1e9),
    }
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}
