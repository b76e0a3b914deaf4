//! The error points at the field that does not implement `Recycle`.
use repool::Recycle;

struct Foreign;

#[derive(Recycle)]
struct Scratch {
    names: Vec<String>,
    foreign: Foreign,
    line: String,
}

#[derive(Recycle)]
struct Generic<T> {
    value: T,
    pair: (Foreign, u8),
}

fn main() {}
