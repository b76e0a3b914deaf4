//! `BufferPool` against a reused local buffer, plain `BytesMut` and peers, as ratios of times taken
//! within the same round; see `ratios` for the method, and `rounds.rs` for what is added to it.
//!
//! Measured on glibc, mimalloc and jemalloc, with all contenders on the same allocator: users of
//! jemalloc have the pool's buffers on jemalloc, too. This process starts one process per
//! allocator, one after the other, and prints what they measured.
//!
//! Usage: `cargo bench --bench buffers [-- ROUNDS [MICROSECONDS]]`: rounds (301) and the time of
//! one contender in one round (300). `REPOOL_BENCH_CASES=frozen` selects the cases with this in
//! their title.

mod allocator;
mod cases;
mod rounds;

use cases::{Case, POOL, cases};
use repool_bench::report::print_setting;
use std::env;
use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Duration;

/// For each case and contender, in the order of `cases`, the times of all rounds.
type Times = Vec<Vec<Vec<f64>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().collect();
    let mut numbers = args.iter().filter_map(|arg| arg.parse().ok());
    let rounds = numbers.next().unwrap_or(301);
    let micros = numbers.next().unwrap_or(300);
    let variable = allocator::VARIABLE.to_str()?;
    if env::var_os(variable).is_some() {
        run(rounds as usize, Duration::from_micros(micros));
        return Ok(());
    }
    print_setting(&args);
    println!("{rounds} rounds of {micros} us for each contender, made anew for each round");
    println!("ns: the median; ratio: pool / contender within a round, median and quartiles");
    let mut all = Vec::new();
    for name in allocator::NAMES {
        let child = Command::new(env::current_exe()?)
            .args([rounds.to_string(), micros.to_string()])
            .env(variable, name)
            .stderr(Stdio::inherit())
            .output()?;
        if !child.status.success() {
            return Err(format!("on {name}: {}", child.status).into());
        }
        let times = parse(&String::from_utf8(child.stdout)?)?;
        print_tables(name, &times);
        all.push(times);
    }
    print_lines(&all);
    Ok(())
}

/// Measures on the allocator of this process; one line per contender.
fn run(rounds: usize, slice: Duration) {
    let mut random = rounds::Random::new();
    for case in cases() {
        for times in rounds::measure(&case, rounds, slice, &mut random) {
            let times: Vec<String> = times.iter().map(|time| format!("{time:.3}")).collect();
            println!("{}", times.join(" "));
        }
    }
}

fn parse(output: &str) -> Result<Times, Box<dyn Error>> {
    let mut lines = output.lines();
    let mut contender = || {
        let line = lines.next().ok_or("a line is missing")?;
        let times: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
        Ok(times?)
    };
    cases()
        .iter()
        .map(|case| case.contenders.iter().map(|_| contender()).collect())
        .collect()
}

fn print_tables(allocator: &str, times: &Times) {
    for (case, times) in cases().iter().zip(times) {
        println!("\n{allocator}, {}", case.title);
        for (contender, own) in case.contenders.iter().zip(times) {
            let [_, ns, _] = quartiles(own.clone());
            print!("  {:<18} {ns:>10.1} ns", contender.name);
            if contender.name != POOL {
                let [low, median, high] = quartiles(ratios(case, times, (POOL, contender.name)));
                print!("   {median:>6.3}  ({low:.3} - {high:.3})");
            }
            println!();
        }
    }
}

fn print_lines(all: &[Times]) {
    println!("\nThe issue's lines, medians of the ratios");
    print!("{:<35}{:<25}{:<7}", "", "", "target");
    allocator::NAMES.iter().for_each(|name| print!("{name:>9}"));
    println!();
    for (which, case) in cases().iter().enumerate() {
        for &(one, other, target) in case.lines {
            let what = format!("{one} / {other}");
            print!("{:<35}{what:<25}{target:<7}", case.title);
            for times in all {
                let [_, median, _] = quartiles(ratios(case, &times[which], (one, other)));
                print!("{median:>9.3}");
            }
            println!();
        }
    }
}

/// The ratios of two contenders' times in each round.
fn ratios(case: &Case, times: &[Vec<f64>], (one, other): (&str, &str)) -> Vec<f64> {
    let of = |name| {
        let which = case.contenders.iter().position(|one| one.name == name);
        &times[which.expect("a contender of this case")]
    };
    of(one).iter().zip(of(other)).map(|(a, b)| a / b).collect()
}

fn quartiles(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|share| figures[(share * (figures.len() - 1) as f64).round() as usize])
}
