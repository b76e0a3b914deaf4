//! Programs of operations on buffers against a plain `Vec<u8>`, with frozen and split parts alive,
//! and drops on other threads.

use crate::{assert_balanced, builder};
use bytes::{Buf, Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use repool::Buffer;

#[derive(Clone, Debug)]
enum Op {
    Get(usize),
    Write(usize, usize, u8),
    Truncate(usize, usize),
    Advance(usize, usize),
    Reserve(usize, usize),
    SplitTo(usize, usize),
    SplitOff(usize, usize),
    Unsplit(usize, usize),
    Swap(usize, usize),
    Freeze(usize),
    Slice(usize, usize, usize),
    Drop(usize),
    DropElsewhere(usize),
    DropPart(usize),
    DropPartElsewhere(usize),
    Trim,
    Clear,
    Enable(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let size = || prop_oneof![Just(0usize), 1usize..200, 3000usize..9000, Just(70_000)];
    let at = || 0usize..8;
    prop_oneof![
        6 => size().prop_map(Op::Get),
        6 => (at(), size(), any::<u8>()).prop_map(|(a, b, c)| Op::Write(a, b, c)),
        1 => (at(), size()).prop_map(|(a, b)| Op::Truncate(a, b)),
        2 => (at(), size()).prop_map(|(a, b)| Op::Advance(a, b)),
        1 => (at(), size()).prop_map(|(a, b)| Op::Reserve(a, b)),
        2 => (at(), size()).prop_map(|(a, b)| Op::SplitTo(a, b)),
        2 => (at(), size()).prop_map(|(a, b)| Op::SplitOff(a, b)),
        1 => (at(), at()).prop_map(|(a, b)| Op::Unsplit(a, b)),
        1 => (at(), at()).prop_map(|(a, b)| Op::Swap(a, b)),
        4 => at().prop_map(Op::Freeze),
        2 => (at(), size(), size()).prop_map(|(a, b, c)| Op::Slice(a, b, c)),
        3 => at().prop_map(Op::Drop),
        1 => at().prop_map(Op::DropElsewhere),
        3 => at().prop_map(Op::DropPart),
        1 => at().prop_map(Op::DropPartElsewhere),
        2 => Just(Op::Trim),
        1 => Just(Op::Clear),
        1 => prop_oneof![3 => Just(true), 1 => Just(false)].prop_map(Op::Enable),
    ]
}

/// A part that is no longer a buffer of the pool, or shares the memory of one.
enum Part {
    Frozen(Bytes),
    Split(BytesMut),
}

impl Part {
    fn content(&self) -> &[u8] {
        match self {
            Part::Frozen(bytes) => bytes,
            Part::Split(bytes) => bytes,
        }
    }
}

fn pick<T>(all: &mut [T], at: usize) -> Option<&mut T> {
    let len = all.len();
    (len > 0).then(|| &mut all[at % len])
}

fn take<T>(all: &mut Vec<T>, at: usize) -> Option<T> {
    (!all.is_empty()).then(|| all.swap_remove(at % all.len()))
}

fn elsewhere<T: Send>(value: T) {
    std::thread::scope(|scope| scope.spawn(|| drop(value)).join()).expect("no panic");
}

fn run(ops: Vec<Op>) {
    let pool = builder().max_class(64 << 10).build();
    let mut buffers: Vec<(Buffer, Vec<u8>)> = Vec::new();
    let mut parts: Vec<(Part, Vec<u8>)> = Vec::new();
    for op in ops {
        match op {
            Op::Get(capacity) => {
                let buffer = pool.get(capacity);
                assert!(buffer.is_empty() && buffer.capacity() >= capacity);
                buffers.push((buffer, Vec::new()));
            }
            Op::Write(at, len, byte) => {
                if let Some((buffer, model)) = pick(&mut buffers, at) {
                    buffer.resize(model.len() + len, byte);
                    model.extend_from_slice(&vec![byte; len]);
                }
            }
            Op::Truncate(at, len) => {
                if let Some((buffer, model)) = pick(&mut buffers, at) {
                    buffer.truncate(len);
                    model.truncate(len);
                }
            }
            Op::Advance(at, count) => {
                if let Some((buffer, model)) = pick(&mut buffers, at) {
                    let count = count.min(model.len());
                    buffer.advance(count);
                    model.drain(..count);
                }
            }
            Op::Reserve(at, more) => {
                if let Some((buffer, _)) = pick(&mut buffers, at) {
                    buffer.reserve(more);
                }
            }
            Op::SplitTo(at, len) => {
                if let Some((buffer, model)) = pick(&mut buffers, at) {
                    let len = len.min(model.len());
                    let rest = model.split_off(len);
                    let head = std::mem::replace(model, rest);
                    parts.push((Part::Split(buffer.split_to(len)), head));
                }
            }
            Op::SplitOff(at, len) => {
                if let Some((buffer, model)) = pick(&mut buffers, at) {
                    let len = len.min(buffer.capacity());
                    let tail = model.split_off(len.min(model.len()));
                    parts.push((Part::Split(buffer.split_off(len)), tail));
                }
            }
            Op::Unsplit(at, part) => {
                if let (Some((buffer, model)), Some((Part::Split(part), content))) =
                    (pick(&mut buffers, at), take(&mut parts, part))
                {
                    buffer.unsplit(part);
                    model.extend(content);
                }
            }
            Op::Swap(at, part) => {
                if let (Some((buffer, model)), Some((Part::Split(part), content))) =
                    (pick(&mut buffers, at), pick(&mut parts, part))
                {
                    std::mem::swap(&mut **buffer, part);
                    std::mem::swap(model, content);
                }
            }
            Op::Freeze(at) => {
                if let Some((buffer, model)) = take(&mut buffers, at) {
                    parts.push((Part::Frozen(buffer.freeze()), model));
                }
            }
            Op::Slice(at, from, len) => {
                if let Some((Part::Frozen(bytes), model)) = pick(&mut parts, at) {
                    let from = from.min(model.len());
                    let to = (from + len).min(model.len());
                    let slice = (
                        Part::Frozen(bytes.slice(from..to)),
                        model[from..to].to_vec(),
                    );
                    parts.push(slice);
                }
            }
            Op::Drop(at) => drop(take(&mut buffers, at)),
            Op::DropElsewhere(at) => elsewhere(take(&mut buffers, at)),
            Op::DropPart(at) => drop(take(&mut parts, at)),
            Op::DropPartElsewhere(at) => {
                elsewhere(take(&mut parts, at).map(|(part, _)| match part {
                    Part::Frozen(bytes) => bytes,
                    Part::Split(bytes) => bytes.freeze(),
                }));
            }
            Op::Trim => drop(pool.trim()),
            Op::Clear => drop(pool.clear()),
            Op::Enable(on) => pool.set_enabled(on),
        }
        for (buffer, model) in &buffers {
            assert_eq!(buffer, model);
        }
        for (part, model) in &parts {
            assert_eq!(part.content(), model);
        }
    }
    drop((buffers, parts));
    // Parts may wait for parts.
    for _ in 0..8 {
        pool.trim();
    }
    let stats = pool.stats();
    assert_eq!((stats.in_use, stats.idle), (0, 0), "{stats:?}");
    assert_balanced(&pool);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn buffers_are_vectors(ops in vec(op(), 1..if cfg!(miri) { 20 } else { 60 })) {
        run(ops);
    }
}

#[test]
fn parts_of_one_buffer_in_another() {
    run(vec![
        Op::Get(1),
        Op::SplitTo(0, 0),
        Op::Freeze(0),
        Op::Get(65),
        Op::Swap(0, 0),
    ]);
    run(vec![
        Op::Get(65),
        Op::SplitOff(0, 1),
        Op::Get(65),
        Op::Swap(1, 0),
        Op::DropPart(0),
    ]);
    run(vec![
        Op::Get(65),
        Op::Write(0, 60, 1),
        Op::SplitOff(0, 30),
        Op::Get(65),
        Op::Swap(1, 0),
        Op::Freeze(0),
        Op::Freeze(0),
    ]);
}
