//! The parent's part: starts the children, in turns, and collects their reports.
//!
//! A round runs every workload on both sides, one child after the other, and the next round starts
//! with the other side: what drifts (clock speed, neighbours) meets both. The counting run of each
//! side comes last.

use crate::options::Options;
use crate::payload::Payload;
use crate::task::{Report, Side, Task, Workload};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// All reports of one workload.
pub(crate) struct Runs {
    pub(crate) workload: Workload,
    /// The timed rounds: plain, pooled.
    pub(crate) timed: Vec<(Report, Report)>,
    /// The counting runs: plain, pooled.
    pub(crate) counted: (Report, Report),
}

pub(crate) fn run(options: &Options, payload: &Payload) -> Result<Vec<Runs>, String> {
    let bar = bar(options);
    let mut timed = Workload::ALL.map(|_| Vec::new());
    for round in 0..options.rounds {
        for (workload, rounds) in Workload::ALL.into_iter().zip(&mut timed) {
            bar.set_message(format!(
                "round {} of {}: {}",
                round + 1,
                options.rounds,
                workload.name()
            ));
            let order = [Side::Plain, Side::Pooled];
            rounds.push(pair(order, round % 2 == 1, |side| {
                start(options, payload, workload, side, false, &bar)
            })?);
        }
    }
    let mut runs = Vec::new();
    for (workload, timed) in Workload::ALL.into_iter().zip(timed) {
        bar.set_message(format!("counting: {}", workload.name()));
        let counted = pair([Side::Plain, Side::Pooled], false, |side| {
            start(options, payload, workload, side, true, &bar)
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

fn bar(options: &Options) -> ProgressBar {
    let children = Workload::ALL.len() * 2 * (options.rounds + 1);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(children as u64).with_style(style)
}

/// Runs both sides, the second one first if `swapped`.
fn pair(
    [first, second]: [Side; 2],
    swapped: bool,
    mut run: impl FnMut(Side) -> Result<Report, String>,
) -> Result<(Report, Report), String> {
    if swapped {
        let second = run(second)?;
        return Ok((run(first)?, second));
    }
    Ok((run(first)?, run(second)?))
}

fn start(
    options: &Options,
    payload: &Payload,
    workload: Workload,
    side: Side,
    counting: bool,
    bar: &ProgressBar,
) -> Result<Report, String> {
    let task = Task {
        workload,
        side,
        threads: options.threads,
        seconds: options.seconds,
        counting,
        body_on_stdin: payload.stdin().is_some(),
    };
    let report = ask(&task, payload.stdin())
        .map_err(|error| format!("{} run of {}: {error}", side.name(), workload.name()))?;
    bar.inc(1);
    Ok(report)
}

/// Starts a child and waits for its report.
fn ask(task: &Task, body: Option<&[u8]>) -> Result<Report, String> {
    let program = std::env::current_exe().map_err(|error| format!("where am I: {error}"))?;
    let argument = serde_json::to_string(task).map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(["--child", &argument])
        .stdin(if body.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("no child process: {error}"))?;
    if let (Some(body), Some(mut stdin)) = (body, child.stdin.take()) {
        // A child that does not read has failed, and says so by its exit code.
        let _ = stdin.write_all(body);
    }
    wait(
        &mut child,
        Duration::from_secs_f64(3.0 * task.seconds + 120.0),
    )?;
    let mut report = String::new();
    let mut stdout = child.stdout.take().ok_or("the child has no stdout")?;
    stdout
        .read_to_string(&mut report)
        .map_err(|error| error.to_string())?;
    serde_json::from_str(&report).map_err(|error| format!("no report: {error}"))
}

/// Bounded, because a run that hangs is a finding too. A report fits into a pipe, so the child
/// never waits for us to read it.
fn wait(child: &mut Child, limit: Duration) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("failed with {status}")),
            None if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(10)),
            None => {
                // It may be gone by now; then there is nothing to end.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no report within {} s; ended it", limit.as_secs()));
            }
        }
    }
}
