//! The output.

use crate::clock::{Figures, Outcome};
use crate::contender::{CELL, GLIBC, JEMALLOC, MIMALLOC, REPOOL, SYNC_PEERS};
use crate::scenario::Scenario;

/// One scenario: a line for each contender.
pub fn print(scenario: &Scenario, outcome: &Outcome) {
    let thrown = match outcome.thrown {
        0 => String::new(),
        thrown => format!(" ({thrown} turns thrown away: the machine was busy with others)"),
    };
    println!("\n{}{thrown}", scenario.name());
    println!(
        "  {:<26}{:>9}  {:<17}{:>8}  {:<15}{:>9}{:>8}{:>8}",
        "", "ns", "quartiles", "repool/", "quartiles", "created", "left", "later"
    );
    for one in &outcome.figures {
        let Some([low, median, high]) = quartiles(one.ns.iter().flatten().copied().collect())
        else {
            println!("  {:<26}  no round counts", one.name);
            continue;
        };
        print!(
            "  {:<26}{median:>9.1}  {:<17}",
            one.name,
            format!("{low:.1} - {high:.1}")
        );
        match ratio(outcome, REPOOL, one.name) {
            Some([low, median, high]) if one.name != REPOOL => {
                print!("{median:>8.3}  {:<15}", format!("{low:.3} - {high:.3}"));
            }
            _ => print!("{:>8}  {:<15}", "", ""),
        }
        // Plain allocators create each; those of other names are not looked at by the counters.
        let counted =
            !matches!(one.name, MIMALLOC | JEMALLOC) && one.left.is_some() && one.created > 0
                || one.name == REPOOL;
        if counted {
            println!(
                "{:>9.2}{:>8}{:>8}",
                1000.0 * one.created as f64 / one.gets.max(1) as f64,
                one.left.unwrap_or(0),
                one.later.unwrap_or(0)
            );
        } else {
            println!("{:>9}{:>8}{:>8}", "", "", "");
        }
    }
}

/// The ratios that were aimed at, and whether they were met.
pub fn print_targets(all: &[(Scenario, Outcome)]) {
    println!("\nTargets: medians of the ratios within rounds");
    let of = |scenario: Scenario| {
        all.iter()
            .find(|(one, _)| *one == scenario)
            .map(|(_, out)| out)
    };
    let held = |threads, objects| of(Scenario::Held { threads, objects });
    let line = |what: &str, target: f64, ratio: Option<f64>| match ratio {
        Some(ratio) => {
            let met = if ratio <= target { "met" } else { "MISSED" };
            println!("  {what:<58}{target:>7.2}{ratio:>9.3}  {met}");
        }
        None => println!("  {what:<58}{target:>7.2}      n/a"),
    };
    let middle = |outcome: Option<&Outcome>, other: &str| Some(ratio(outcome?, REPOOL, other)?[1]);
    let one = held(1, 1);
    line("one thread / thread-local cell", 1.1, middle(one, CELL));
    line("one thread / jemalloc", 0.8, middle(one, JEMALLOC));
    line("one thread / Go", 0.4, middle(one, "Go sync.Pool"));
    line("one thread / best Sync peer", 1.0, best(one));
    line("40 held / jemalloc", 0.2, middle(held(1, 40), JEMALLOC));
    let two = held(2, 1);
    let alone = one
        .zip(two)
        .and_then(|(one, two)| Some(time(two, REPOOL)? / time(one, REPOOL)?));
    line("two threads / one thread", 1.1, alone);
    line("two threads / best Sync peer", 1.0 / 3.0, best(two));
    line("eight threads / best Sync peer", 1.0, best(held(8, 1)));
    for (getters, droppers) in [(1, 1), (1, 3), (3, 1)] {
        let crossing = of(Scenario::Crossing { getters, droppers });
        let name = format!("crossing {getters} to {droppers} / best Sync peer");
        line(&name, 1.0, best(crossing));
    }
    line("crossing 1 to 1 / glibc", 1.0, {
        middle(
            of(Scenario::Crossing {
                getters: 1,
                droppers: 1,
            }),
            GLIBC,
        )
    });
}

fn time(outcome: &Outcome, name: &str) -> Option<f64> {
    let one = find(outcome, name)?;
    Some(quartiles(one.ns.iter().flatten().copied().collect())?[1])
}

/// repool to the fastest of those that all threads share.
fn best(outcome: Option<&Outcome>) -> Option<f64> {
    let outcome = outcome?;
    SYNC_PEERS
        .iter()
        .filter_map(|name| Some(ratio(outcome, REPOOL, name)?[1]))
        .reduce(f64::max)
}

fn find<'o>(outcome: &'o Outcome, name: &str) -> Option<&'o Figures> {
    outcome.figures.iter().find(|one| one.name == name)
}

/// Of two contenders' times in each round that counts for both.
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
