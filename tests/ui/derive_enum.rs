//! Enums cannot be derived; the error says what to do instead.
use repool::Recycle;

#[derive(Recycle)]
enum State {
    Idle,
    Busy(Vec<u8>),
}

#[derive(Recycle)]
union Bits {
    float: f32,
    integer: u32,
}

fn main() {}
