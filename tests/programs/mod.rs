//! Programs of operations, made from bytes: the fuzz targets run them (`fuzz/`), and so does
//! `tests/replay.rs`.

mod arena_ops;
mod buffer_model;
mod buffer_ops;
mod buffer_program;
mod ledger;
mod pool_ops;
mod threads;
mod workers;

use arbitrary::{Arbitrary, Unstructured};

/// A fuzz target.
pub(crate) type Target = fn(&[u8]);

pub(crate) const TARGETS: [(&str, Target); 4] = [
    ("arena_ops", |data| run(data, arena_ops::run)),
    ("buffer_ops", |data| run(data, buffer_ops::run)),
    ("pool_ops", |data| run(data, pool_ops::run)),
    ("threads", |data| run(data, threads::run)),
];

/// Runs one of them.
#[allow(dead_code, reason = "for the fuzz targets")]
pub(crate) fn run_one(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(target, _)| *target == name);
    target.expect("one of the above").1(data);
}

/// Runs the program that these bytes encode, if they do.
fn run<'a, Program: Arbitrary<'a>>(data: &'a [u8], program: fn(Program)) {
    if data.len() < Program::size_hint(0).0 {
        return;
    }
    if let Ok(made) = Program::arbitrary_take_rest(Unstructured::new(data)) {
        program(made);
    }
}
