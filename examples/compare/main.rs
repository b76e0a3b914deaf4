//! What would pooling do to my service?
//!
//! Runs the same work twice, with objects from [`repool::Pool`]s and with plain allocation, and
//! prints both sides with their ratio. Without arguments it makes its own payload and takes less
//! than a minute:
//!
//! ```sh
//! cargo run --release --example compare
//! cargo run --release --example compare -- --input body.json --threads 8
//! ```
//!
//! The cast: [`request`] and [`small`] are the work, one body of code for both sides; [`source`]
//! is the only place where the sides differ. [`rounds`] runs each side in a [`child`] process of
//! its own, so that neither inherits the other's heap; [`summary`] pairs the rounds, and [`table`]
//! prints them.

mod child;
mod compressor;
mod counting;
mod document;
mod options;
mod payload;
mod request;
mod rounds;
mod small;
mod source;
mod summary;
mod system;
mod table;
mod task;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// What was asked for cannot be done: same code as for a wrong option.
const BAD_INPUT: u8 = 2;

fn main() -> ExitCode {
    let options = match options::read() {
        Ok(options) => options,
        Err(line) => return fail(&line, BAD_INPUT),
    };
    let outcome = match &options.child {
        Some(task) => child::run(task),
        None => match payload::load(options.input.as_deref()) {
            Ok(payload) => rounds::run(&options, &payload)
                .and_then(|runs| table::print(&options, &payload, &summary::of(&runs)?)),
            Err(line) => return fail(&line, BAD_INPUT),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => fail(&line, 1),
    }
}

fn fail(line: &str, code: u8) -> ExitCode {
    eprintln!("error: {line}");
    ExitCode::from(code)
}
