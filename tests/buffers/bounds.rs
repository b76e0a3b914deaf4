//! The bounds that [`BufferPool`] states, for any sequence of requests, growth, consumption,
//! freezes and passes.

use crate::{assert_balanced, manual};
use bytes::{Buf, Bytes};
use proptest::collection::vec;
use proptest::prelude::*;
use repool::{Buffer, BufferPool};
use std::collections::BTreeMap;

/// Up to this capacity, in bytes, a grown buffer is left alone.
const SMALL: usize = 1 << 10;
/// After this many small uses a buffer is cut, whatever happened before.
const MOST: usize = 80;

#[derive(Clone, Debug)]
enum Op {
    Get(usize),
    Fill(usize, usize),
    Reserve(usize, usize),
    Advance(usize, usize),
    SplitTo(usize, usize),
    Clear(usize),
    Freeze(usize),
    DropView(usize),
    Drop(usize),
    Pass,
}

fn op() -> impl Strategy<Value = Op> {
    let request =
        || proptest::sample::select(vec![64_usize, 100, 700, 1_500, 4_096, 5_000, 64 << 10]);
    let size =
        || prop_oneof![8 => 1_usize..2_000, 3 => 2_000_usize..60_000, 1 => Just(1_usize << 20)];
    let at = || 0_usize..8;
    prop_oneof![
        8 => request().prop_map(Op::Get),
        8 => (at(), size()).prop_map(|(at, size)| Op::Fill(at, size)),
        1 => (at(), size()).prop_map(|(at, size)| Op::Reserve(at, size)),
        2 => (at(), size()).prop_map(|(at, size)| Op::Advance(at, size)),
        2 => (at(), size()).prop_map(|(at, size)| Op::SplitTo(at, size)),
        1 => at().prop_map(Op::Clear),
        2 => at().prop_map(Op::Freeze),
        3 => at().prop_map(Op::DropView),
        7 => at().prop_map(Op::Drop),
        1 => Just(Op::Pass),
    ]
}

/// Returns the capacity of the class that serves this request: powers of two with three steps in
/// between.
fn class_of(request: usize) -> usize {
    let mut sizes = (0_usize..).map(|step| (4 + step % 4) << (step / 4 + 4));
    sizes
        .find(|size| *size >= request)
        .expect("there is no largest")
}

struct InUse {
    buffer: Buffer,
    class: usize,
    /// All bytes that its user wrote and reserved.
    used: usize,
}

#[derive(Default)]
struct Model {
    in_use: Vec<InUse>,
    views: Vec<Bytes>,
    /// The most bytes that one use of a request of this class has written so far.
    most_used: BTreeMap<usize, usize>,
    /// The most buffers of each class in use at the same time so far.
    most_in_use: BTreeMap<usize, u64>,
}

impl Model {
    /// Returns the largest capacity in this class: its own requests may have made a buffer grow,
    /// and so may those of the class below.
    fn bound(&self, class: usize) -> usize {
        let of_below = self.most_used.range(..class).next_back();
        // (Only the next smaller class looks here.)
        let below = of_below.filter(|(below, _)| class_of(*below + 1) == class);
        let below = below.map_or(0, |(_, used)| *used);
        let own = self.most_used.get(&class).copied().unwrap_or(0);
        (class + class / 4).max(SMALL).max(4 * own.max(below))
    }

    fn run(&mut self, pool: &BufferPool, op: Op) {
        let in_use = self.in_use.len().max(1);
        let mut used = |one: &mut InUse, more: usize| {
            one.used += more;
            let most = self.most_used.entry(one.class).or_default();
            *most = one.used.max(*most);
        };
        match op {
            Op::Get(request) => {
                let buffer = pool.get(request);
                let class = class_of(request);
                let bound = self.bound(class).max(self.bound(class_of(class + 1)));
                let is = buffer.capacity();
                assert!(
                    (request..=bound).contains(&is),
                    "{is} for {request}, bound {bound}"
                );
                self.in_use.push(InUse {
                    buffer,
                    class,
                    used: 0,
                });
            }
            Op::Fill(at, size) => {
                if let Some(one) = self.in_use.get_mut(at % in_use) {
                    let len = one.buffer.len() + size;
                    one.buffer.resize(len, 7);
                    used(one, size);
                }
            }
            Op::Reserve(at, size) => {
                if let Some(one) = self.in_use.get_mut(at % in_use) {
                    one.buffer.reserve(size);
                    used(one, size);
                }
            }
            Op::Advance(at, size) => {
                if let Some(one) = self.in_use.get_mut(at % in_use) {
                    let size = size.min(one.buffer.len());
                    one.buffer.advance(size);
                }
            }
            Op::SplitTo(at, size) => {
                if let Some(one) = self.in_use.get_mut(at % in_use) {
                    let size = size.min(one.buffer.len());
                    self.views.push(one.buffer.split_to(size).freeze());
                }
            }
            Op::Clear(at) => {
                if let Some(one) = self.in_use.get_mut(at % in_use) {
                    one.buffer.clear();
                }
            }
            Op::Freeze(at) if !self.in_use.is_empty() => {
                let one = self.in_use.swap_remove(at % in_use);
                self.views.push(one.buffer.freeze());
            }
            Op::DropView(at) if !self.views.is_empty() => {
                drop(self.views.swap_remove(at % self.views.len()));
            }
            Op::Drop(at) if !self.in_use.is_empty() => drop(self.in_use.swap_remove(at % in_use)),
            Op::Freeze(_) | Op::DropView(_) | Op::Drop(_) => {}
            Op::Pass => drop(pool.trim()),
        }
    }

    fn check(&mut self, pool: &BufferPool) {
        for class in pool.class_stats() {
            let most = self.most_in_use.entry(class.capacity).or_default();
            *most = class.in_use.max(*most);
            assert!(
                class.idle <= *most,
                "{} idle, {most} were in use: {class:?}",
                class.idle
            );
            let bound = self.bound(class.capacity) as u64 * class.idle;
            assert!(class.idle_bytes <= bound, "bound {bound}: {class:?}");
        }
    }
}

fn run(ops: Vec<Op>) {
    let pool = manual();
    let mut model = Model::default();
    for op in ops {
        model.run(&pool, op);
        model.check(&pool);
    }
    let classes: Vec<usize> = model.most_used.keys().copied().collect();
    drop((model.in_use, model.views));
    // Whatever happened before, small uses bring each buffer back to its class.
    for class in classes {
        let at_once = model
            .most_in_use
            .get(&class)
            .map_or(1, |most| *most as usize);
        let hold = || (0..at_once).map(|_| pool.get(class)).collect::<Vec<_>>();
        for _ in 0..MOST {
            hold()
                .iter_mut()
                .for_each(|buffer| buffer.extend_from_slice(&[1; 10]));
        }
        let largest = hold().iter().map(|buffer| buffer.capacity()).max();
        // A buffer that serves the class below belongs to this class.
        let most = (class_of(class + 1) * 5 / 4).max(SMALL);
        assert!(
            largest <= Some(most),
            "{largest:?} of {class} after {MOST} small uses"
        );
    }
    // Buffers that wait for parts of each other are given up by the third pass.
    for _ in 0..6 {
        let _ = pool.trim();
    }
    let stats = pool.stats();
    assert_eq!((stats.idle, stats.idle_bytes, stats.in_use), (0, 0, 0));
    assert_balanced(&pool);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    #[cfg_attr(miri, ignore = "thousands of requests")]
    fn idle_bytes_follow_use_and_a_buffer_follows_its_request(
        ops in vec(op(), 1..300),
    ) {
        run(ops);
    }
}
