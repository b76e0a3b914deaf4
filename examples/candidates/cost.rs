//! What a block costs on this machine, from the allocator and from each kind of pool.
//!
//! Measured on demand, with blocks of the sizes that one visit of the call site allocates, and with
//! as many visits alive at once as the profile recorded, up to [`HELD`]. (A constructor that
//! allocates several tables frees them together: that is when glibc returns memory to the system
//! and has to pay for it again the next time.) The allocator is measured in its own process,
//! because the blocks of the others would lie in its heap. Each contender writes one byte to each
//! page of a block, so that pages which the system has to map are paid for. Contenders take turns,
//! and the figure is a median.

use repool::{ArenaPool, BufferPool, Pool};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The most blocks, and the most bytes, that are held at once while measuring.
const HELD: u64 = 64;
const BYTES: u64 = 16 << 20;

const ROUNDS: usize = 9;
/// How long one contender runs per round.
const SLICE: Duration = Duration::from_micros(400);

const PAGE: usize = 4096;

/// Nanoseconds per block, from creation to drop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) allocator: f64,
    pub(crate) pool: f64,
    pub(crate) buffer: f64,
    pub(crate) arena: f64,
    pub(crate) local: f64,
}

impl Cost {
    /// Assumes one figure for the allocator and one for everything else.
    pub(crate) fn assumed(allocator: f64, pool: f64) -> Self {
        Self {
            allocator,
            pool,
            buffer: pool,
            arena: pool,
            local: pool,
        }
    }
}

/// Returns the name of the allocator of this process, which is the one that was measured.
pub(crate) fn allocator() -> &'static str {
    if cfg!(all(target_os = "linux", target_env = "gnu")) {
        "glibc"
    } else {
        "the system's allocator"
    }
}

/// What one visit of a call site allocates: blocks of these sizes, and the number of visits alive
/// at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Visit {
    sizes: Vec<usize>,
    held: usize,
}

impl Visit {
    /// Cuts a visit that is too large for this machine.
    pub(crate) fn new(sizes: &[u64], held: u64) -> Self {
        let mut left = BYTES;
        let mut cut = Vec::new();
        for &bytes in sizes.iter().take(HELD as usize) {
            let bytes = bytes.clamp(1, left.max(1));
            left -= bytes.min(left);
            cut.push(bytes as usize);
        }
        let whole: u64 = cut.iter().map(|&size| size as u64).sum();
        Self {
            sizes: cut,
            held: held.clamp(1, HELD).min((BYTES / whole.max(1)).max(1)) as usize,
        }
    }

    fn blocks(&self) -> f64 {
        (self.held * self.sizes.len().max(1)) as f64
    }
}

/// The argument that makes this program measure one [`Visit`] and print nanoseconds.
pub(crate) const CHILD: &str = "--measure";

/// Measures the allocator alone, on a heap that nothing else has used.
pub(crate) fn measure_allocator(visit: &str) -> Result<(), String> {
    let visit: Visit = serde_json::from_str(visit).map_err(|error| error.to_string())?;
    println!("{}", allocator_here(&visit));
    Ok(())
}

/// Returns nanoseconds per block.
fn allocator_here(visit: &Visit) -> f64 {
    let mut plain: [Box<dyn FnMut() + '_>; 1] = [Box::new(|| {
        hold(visit.held, || {
            let mut set = Set::new(&visit.sizes);
            set.touch();
            set
        });
    })];
    medians(&mut plain)[0] / visit.blocks()
}

fn allocator_in_child(visit: &Visit) -> Option<f64> {
    let output = Command::new(std::env::current_exe().ok()?)
        .args([CHILD, &serde_json::to_string(visit).ok()?])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Measures all kinds.
pub(crate) fn measure(visit: &Visit) -> Cost {
    let (held, blocks, sizes) = (visit.held, visit.blocks(), visit.sizes.as_slice());

    let made = sizes.to_vec();
    let vectors = Pool::builder(move || Set::new(&made))
        .reset(|_| true)
        .trim_manually()
        .build();
    let buffers = BufferPool::builder().trim_manually().build();
    let arenas = ArenaPool::builder().trim_manually().build();
    let mut local = Set::new(sizes);

    let mut contenders: [Box<dyn FnMut() + '_>; 4] = [
        Box::new(|| {
            hold(held, || {
                let mut set = vectors.get();
                set.touch();
                set
            });
        }),
        Box::new(|| {
            hold(held, || {
                let one = |&size: &usize| {
                    let mut block = buffers.get(size);
                    touch(&mut block.spare_capacity_mut()[..size]);
                    block
                };
                sizes.iter().map(one).collect::<Few<_>>()
            });
        }),
        // One arena for all of them, as it is meant to be used.
        Box::new(|| {
            let arena = arenas.get();
            for _ in 0..held {
                for &size in sizes {
                    touch(arena.alloc_slice_fill_with(size, |_| MaybeUninit::uninit()));
                }
            }
        }),
        Box::new(|| (0..held).for_each(|_| local.touch())),
    ];
    let [pool, buffer, arena, local] = medians(&mut contenders).map(|time| time / blocks);
    Cost {
        // If the child does not start, measures here instead.
        allocator: allocator_in_child(visit).unwrap_or_else(|| allocator_here(visit)),
        pool,
        buffer,
        arena,
        local,
    }
}

/// What one visit allocates. A single vector, by far the most common case, is not put into another
/// vector.
enum Few<T> {
    None,
    One(T),
    Many(Vec<T>),
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items = items.into_iter();
        match (items.next(), items.next()) {
            (None, _) => Self::None,
            (Some(first), None) => Self::One(first),
            (Some(first), Some(second)) => {
                Self::Many([first, second].into_iter().chain(items).collect())
            }
        }
    }
}

struct Set(Few<Vec<u8>>);

impl Set {
    fn new(sizes: &[usize]) -> Self {
        Self(sizes.iter().map(|&size| Vec::with_capacity(size)).collect())
    }

    fn touch(&mut self) {
        match &mut self.0 {
            Few::None => {}
            Few::One(block) => touch(block.spare_capacity_mut()),
            Few::Many(blocks) => blocks
                .iter_mut()
                .for_each(|block| touch(block.spare_capacity_mut())),
        }
    }
}

/// Creates this many, then drops them, oldest first.
fn hold<T>(held: usize, make: impl Fn() -> T) {
    if held == 1 {
        drop(black_box(make()));
        return;
    }
    // On the stack: the container of the blocks must not be measured.
    let mut blocks: [Option<T>; HELD as usize] = [const { None }; HELD as usize];
    for block in blocks.iter_mut().take(held) {
        *block = Some(make());
    }
    black_box(&mut blocks);
}

/// Writes one byte to each page.
fn touch(block: &mut [MaybeUninit<u8>]) {
    for byte in block.iter_mut().step_by(PAGE) {
        byte.write(1);
    }
    black_box(block.as_mut_ptr());
}

/// Returns nanoseconds per call of each contender.
fn medians<const N: usize>(contenders: &mut [Box<dyn FnMut() + '_>; N]) -> [f64; N] {
    let mut calls = [1_u32; N];
    for (contender, calls) in contenders.iter_mut().zip(&mut calls) {
        // Also warms the contender up: a pool allocates when it is first used.
        while time(contender, *calls) * 2 < SLICE && *calls < 1 << 24 {
            *calls *= 2;
        }
    }
    let mut times = [const { Vec::new() }; N];
    for round in 0..ROUNDS {
        for step in 0..N {
            let at = (step + round) % N;
            let took = time(&mut contenders[at], calls[at]);
            times[at].push(took.as_secs_f64() * 1e9 / f64::from(calls[at]));
        }
    }
    times.map(|mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    })
}

fn time(run: &mut impl FnMut(), calls: u32) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        run();
    }
    start.elapsed()
}
