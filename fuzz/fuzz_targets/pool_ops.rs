//! Runs `tests/programs/pool_ops.rs`.
#![no_main]

#[path = "../../tests/programs/mod.rs"]
mod programs;

libfuzzer_sys::fuzz_target!(|data: &[u8]| programs::run_one("pool_ops", data));
