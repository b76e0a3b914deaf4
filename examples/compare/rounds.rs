//! The parent's part: starts the children in turns and collects their reports.
//!
//! A round runs every workload on all sides, one child after the other, and the next round starts
//! with another side, so that drift (clock speed, neighbours) affects all sides equally. The
//! counting run of each side comes last.

use crate::allocator;
use crate::options::Options;
use crate::payload::Payload;
use crate::task::{Kind, Report, Side, Task, Workload};
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// All reports of one workload, each round in the order of [`Side::ALL`].
pub(crate) struct Runs {
    pub(crate) workload: Workload,
    pub(crate) timed: Vec<[Report; 3]>,
    pub(crate) counted: [Report; 3],
}

pub(crate) fn run(
    options: &Options,
    payload: &Payload,
    allocator: allocator::Name,
) -> Result<Vec<Runs>, String> {
    let start = |kind: Kind, workload, side| {
        let on_stdin = payload.stdin().is_some();
        let task = task(options, kind, workload, side, allocator, on_stdin);
        ask::<Report>(&task, allocator.text(), payload.stdin())
    };
    let children = options.workloads.len() * Side::ALL.len() * (options.rounds + 1);
    let bar = bar(children);
    let workloads = || options.workloads.iter().copied();
    let mut timed: Vec<Vec<[Report; 3]>> = workloads().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        for (workload, rounds) in workloads().zip(&mut timed) {
            bar.set_message(format!(
                "{}, round {} of {}: {}",
                allocator.text(),
                round + 1,
                options.rounds,
                workload.name()
            ));
            rounds.push(all_sides(round, |side| {
                let report = start(Kind::Timed, workload, side)?;
                bar.inc(1);
                Ok(report)
            })?);
        }
    }
    let mut runs = Vec::new();
    for (workload, timed) in workloads().zip(timed) {
        bar.set_message(format!("counting: {}", workload.name()));
        let counted = all_sides(0, |side| {
            let report = start(Kind::Counted, workload, side)?;
            bar.inc(1);
            Ok(report)
        })?;
        runs.push(Runs {
            workload,
            timed,
            counted,
        });
    }
    bar.finish_and_clear();
    Ok(runs)
}

/// Lets children write a heap profile of the plain side, one workload after the other.
pub(crate) fn profile(options: &Options, payload: &Payload, path: &Path) -> Result<(), String> {
    let shown = path.display();
    let path = std::path::absolute(path).map_err(|error| format!("--profile {shown}: {error}"))?;
    let kind = Kind::Profiled(path, options.workloads.clone());
    let (workload, glibc) = (options.workloads[0], allocator::Name::Glibc);
    let on_stdin = payload.stdin().is_some();
    let task = task(options, kind, workload, Side::Plain, glibc, on_stdin);
    let requests: u64 = ask(&task, allocator::PROFILED, payload.stdin())?;
    let names: Vec<_> = options.workloads.iter().map(|one| one.name()).collect();
    println!(
        "wrote {shown}: the heap of {requests} plain requests ({}). What to pool:\n\n  \
         cargo run --release --example candidates -- {shown}",
        names.join(", "),
    );
    Ok(())
}

/// Runs all sides, starting with a different one each round.
fn all_sides(
    round: usize,
    mut run: impl FnMut(Side) -> Result<Report, String>,
) -> Result<[Report; 3], String> {
    let mut reports = [None, None, None];
    for step in 0..Side::ALL.len() {
        let at = (step + round) % Side::ALL.len();
        reports[at] = Some(run(Side::ALL[at])?);
    }
    match reports {
        [Some(plain), Some(pooled), Some(off)] => Ok([plain, pooled, off]),
        _ => Err("a side did not run".to_owned()),
    }
}

fn bar(children: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(children as u64).with_style(style)
}

pub(crate) fn task(
    options: &Options,
    kind: Kind,
    workload: Workload,
    side: Side,
    allocator: allocator::Name,
    body_on_stdin: bool,
) -> Task {
    Task {
        kind,
        workload,
        side,
        threads: options.threads,
        seconds: options.seconds,
        allocator,
        body_on_stdin,
    }
}

/// Starts a child on an allocator and waits for its answer.
pub(crate) fn ask<A: DeserializeOwned>(
    task: &Task,
    allocator: &str,
    body: Option<&[u8]>,
) -> Result<A, String> {
    let failed = |error: String| {
        let (side, workload) = (task.side.name(), task.workload.name());
        format!("{side} run of {workload} on {allocator}: {error}")
    };
    answer(task, allocator, body).map_err(failed)
}

fn answer<A: DeserializeOwned>(
    task: &Task,
    allocator: &str,
    body: Option<&[u8]>,
) -> Result<A, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("no path of this program: {error}"))?;
    let argument = serde_json::to_string(task).map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(["--child", &argument])
        .env(allocator::VARIABLE, allocator)
        .stdin(if body.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start a child process: {error}"))?;
    if let (Some(body), Some(mut stdin)) = (body, child.stdin.take()) {
        // A child that does not read has failed, and its exit code says so.
        let _ = stdin.write_all(body);
    }
    // While waiting, because an answer may be longer than the pipe's buffer.
    let mut stdout = child.stdout.take().ok_or("the child has no stdout")?;
    let reader = std::thread::spawn(move || {
        let mut answer = String::new();
        stdout.read_to_string(&mut answer).map(|_| answer)
    });
    wait(
        &mut child,
        Duration::from_secs_f64(30.0 * task.seconds + 120.0),
    )?;
    let answer = reader
        .join()
        .map_err(|_| "the reader panicked".to_owned())?
        .map_err(|error| error.to_string())?;
    serde_json::from_str(&answer).map_err(|error| format!("no report: {error}"))
}

/// Waits with a limit, because a run that hangs is a finding too.
fn wait(child: &mut Child, limit: Duration) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("failed with {status}")),
            None if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(10)),
            None => {
                // It may be gone by now; then there is nothing to kill.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no report within {} s; killed it", limit.as_secs()));
            }
        }
    }
}
