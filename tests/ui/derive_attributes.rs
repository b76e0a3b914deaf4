//! Invalid attributes; the derive reports all of them.
use repool::Recycle;

fn weigh(_: &Vec<u8>) -> usize {
    0
}

#[derive(Recycle)]
struct Scratch {
    #[recycle(keeep)]
    misspelt: Vec<u8>,
    #[recycle(skip, keep)]
    both: Option<Vec<u8>>,
    #[recycle(bytes = weigh)]
    weighed: Vec<u8>,
    #[recycle(with)]
    without: Vec<u8>,
    #[recycle(with = |bytes: &mut Vec<u8>| bytes.clear())]
    closure: Vec<u8>,
    #[recycle(skip, bytes = 5)]
    number: Vec<u8>,
}

#[derive(Recycle)]
struct Kept {
    #[recycle(keep)]
    name: String,
}

#[derive(Recycle)]
#[recycle(skip)]
struct All(Vec<u8>);

fn main() {}
