//! Runs one scenario on one contender, for `ci/gates.sh` to count under callgrind.
//!
//! Usage: `counts SCENARIO.CONTENDER` or `counts list`.
//!
//! Only what runs inside [`counts_window`] is counted: getting the objects, writing 64 bytes to
//! each, dropping them. Channels, thread starts, and the warm-up are outside. Threads take strict
//! turns, so a scenario is the same sequence of operations in every run, and its counts are exact.
//!
//! Each run checks that it was what its name says: the objects were held or crossed threads as
//! stated, and the pool's own figures add up to the number of gets. If not, it fails. The last line
//! on stdout is `gets N created M`.

mod contender;
mod scenario;

use std::process::ExitCode;

/// Objects in the counted part of a run.
const OBJECTS: usize = 64_000;
/// Objects before that: enough for every cache and the depot to be filled.
const WARM_UP: usize = 16_000;

/// callgrind collects while this function runs, and nowhere else.
#[unsafe(no_mangle)]
#[inline(never)]
fn counts_window(run: &mut dyn FnMut()) {
    run();
}

fn main() -> ExitCode {
    let Some(argument) = std::env::args().nth(1) else {
        eprintln!("usage: counts SCENARIO.CONTENDER | list");
        return ExitCode::from(2);
    };
    let outcome = match argument.as_str() {
        "list" => {
            for scenario in scenario::ALL {
                for contender in contender::NAMES {
                    println!("{}.{contender}", scenario.name());
                }
            }
            Ok(())
        }
        both => both
            .split_once('.')
            .ok_or_else(|| format!("{both} is not SCENARIO.CONTENDER; `counts list` has them"))
            .and_then(|(scenario, name)| contender::run(scenario::parse(scenario)?, name)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("error: {line}");
            ExitCode::FAILURE
        }
    }
}
