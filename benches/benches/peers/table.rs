//! The output.

use crate::clock::{Figures, Outcome};
use crate::contender::{CELL, GLIBC, JEMALLOC, OWN_SLOTS, REPOOL, SYNC_PEERS, THREAD_POOLS};
use crate::go::GO;
use crate::scenario::Scenario;

/// One scenario: a line per contender.
pub fn print(scenario: &Scenario, outcome: &Outcome) {
    let thrown = match outcome.thrown {
        0 => String::new(),
        thrown => format!(" ({thrown} turns thrown away: the machine was busy with others)"),
    };
    println!("\n{}{thrown}", scenario.name());
    println!(
        "  {:<22}{:>10}  {:<19}{:>8}  {:<15}{:>8}{:>8}{:>9}{:>8}{:>9}",
        "", "ns", "quartiles", "repool/", "quartiles", "hits %", "left", "KiB", "later", "KiB"
    );
    for one in &outcome.figures {
        let Some([low, median, high]) = quartiles(one.ns.iter().flatten().copied().collect())
        else {
            println!("  {:<22}  no round counts", one.name);
            continue;
        };
        print!(
            "  {:<22}{median:>10.1}  {:<19}",
            one.name,
            format!("{low:.1} - {high:.1}")
        );
        match ratio(outcome, REPOOL, one.name) {
            Some([low, median, high]) if one.name != REPOOL => {
                print!("{median:>8.3}  {:<15}", format!("{low:.3} - {high:.3}"));
            }
            _ => print!("{:>8}  {:<15}", "", ""),
        }
        print_objects(one);
    }
    let crossed = outcome.figures.iter().filter_map(|one| one.crossed);
    if let Some(least) = crossed.reduce(f64::min) {
        println!(
            "  at least {:.0} % of the objects came back on another worker",
            100.0 * least
        );
    }
}

/// Hits, and what was alive at the end and later.
fn print_objects(one: &Figures) {
    match one.created {
        Some(created) if one.gets > 0 => {
            let hits = 1.0 - created as f64 / one.gets as f64;
            print!("{:>8.2}", 100.0 * hits.max(0.0));
        }
        _ => print!("{:>8}", ""),
    }
    for alive in [one.left, one.later] {
        match alive.filter(|_| one.created.is_some()) {
            Some(alive) => print!("{alive:>8}{:>9}", alive as usize * one.size / 1024),
            None => print!("{:>8}{:>9}", "", ""),
        }
    }
    println!();
}

/// The target ratios, and whether they were met.
pub fn print_targets(all: &[(Scenario, Outcome)]) {
    println!("\nTargets: medians of the ratios within rounds");
    let of = |scenario: Scenario| {
        all.iter()
            .find(|(one, _)| *one == scenario)
            .map(|(_, out)| out)
    };
    let held = |threads, objects| of(Scenario::Held { threads, objects });
    let line = |what: &str, target: f64, ratio: Option<(f64, &str)>| match ratio {
        Some((ratio, other)) => {
            let met = if ratio <= target { "met" } else { "MISSED" };
            println!("  {what:<46}{target:>7.2}{ratio:>9.3}  {met:<8}{other}");
        }
        None => println!("  {what:<46}{target:>7.2}      n/a"),
    };
    let to = |outcome: Option<&Outcome>, other: &'static str| {
        Some((ratio(outcome?, REPOOL, other)?[1], other))
    };
    let one = held(1, 1);
    line("one thread", 1.1, to(one, CELL));
    line("one thread", 0.8, to(one, JEMALLOC));
    line("one thread", 0.4, to(one, GO));
    line("one thread, best Sync peer", 1.0, best(one, &SYNC_PEERS));
    line("40 held", 0.2, to(held(1, 40), JEMALLOC));
    let two = held(2, 1);
    let alone = one
        .zip(two)
        .and_then(|(one, two)| Some((time(two, REPOOL)? / time(one, REPOOL)?, "repool alone")));
    line("two threads, one thread", 1.1, alone);
    let shared = best(two, &SYNC_PEERS);
    line("two threads, best shared pool", 1.0 / 3.0, shared);
    let eight = held(8, 1);
    let pools = [&SYNC_PEERS[..], &THREAD_POOLS].concat();
    line("eight threads, best pool", 1.0, best(eight, &pools));
    let slots = best(eight, &OWN_SLOTS);
    line("eight threads, best slot of its own", 1.0, slots);
    for (getters, droppers) in [(1, 1), (1, 3), (3, 1)] {
        let crossing = of(Scenario::Crossing { getters, droppers });
        let name = format!("crossing {getters} to {droppers}, best Sync peer");
        line(&name, 0.9, best(crossing, &SYNC_PEERS));
    }
    let crossing = of(Scenario::Crossing {
        getters: 1,
        droppers: 1,
    });
    line("crossing 1 to 1", 0.15, to(crossing, GLIBC));
}

fn time(outcome: &Outcome, name: &str) -> Option<f64> {
    let one = find(outcome, name)?;
    Some(quartiles(one.ns.iter().flatten().copied().collect())?[1])
}

/// Returns repool's ratio to the fastest of these.
fn best(outcome: Option<&Outcome>, names: &[&'static str]) -> Option<(f64, &'static str)> {
    let outcome = outcome?;
    names
        .iter()
        .filter_map(|&name| Some((ratio(outcome, REPOOL, name)?[1], name)))
        .max_by(|one, other| one.0.total_cmp(&other.0))
}

fn find<'o>(outcome: &'o Outcome, name: &str) -> Option<&'o Figures> {
    outcome.figures.iter().find(|one| one.name == name)
}

/// Returns the ratio of two contenders' times in each round that counts for both.
fn ratio(outcome: &Outcome, one: &str, other: &str) -> Option<[f64; 3]> {
    let (one, other) = (find(outcome, one)?, find(outcome, other)?);
    let pairs = one.ns.iter().zip(&other.ns);
    quartiles(
        pairs
            .filter_map(|(one, other)| Some((*one)? / (*other)?))
            .collect(),
    )
}

fn quartiles(mut figures: Vec<f64>) -> Option<[f64; 3]> {
    if figures.is_empty() {
        return None;
    }
    figures.sort_by(f64::total_cmp);
    Some(
        [0.25, 0.5, 0.75]
            .map(|share| figures[(share * (figures.len() - 1) as f64).round() as usize]),
    )
}
