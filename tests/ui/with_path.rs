//! A function of the wrong type.
use repool::Recycle;

fn reset(_: &mut String) {}

#[derive(Recycle)]
struct Scratch {
    #[recycle(with = reset)]
    bytes: Vec<u8>,
}

fn main() {}
