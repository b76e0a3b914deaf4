//! Where the objects come from. `none` gets nothing: its cost is that of the loop, and
//! `ci/gates.sh` subtracts it from the others.

use crate::OBJECTS;
use crate::scenario::Scenario;
use bytes::{BufMut, BytesMut};
use repool::bumpalo::Bump;
use repool::{ArenaPool, BufferPool, Pool, Stats};
use repool_bench::{Scratch, fresh, work};
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

/// `repool`: `Vec<u8>`; `user`: a type with its own `Recycle`; `custom`: a tuple with a reset
/// closure; `customv`: `Vec<u8>` with a reset closure; `bounded`: `Vec<u8>` with limits that are
/// never met; `buffer`, `freeze`: a 1 KiB buffer, dropped and frozen; `arena`: one with a `u64`.
/// `plain`, `plainbuffer`, `plainfreeze` and `plainarena` allocate; `off`, `offbuffer`, `offfreeze` and `offarena` are the pools
/// that are switched off, which should cost no more.
pub const NAMES: [&str; 17] = [
    "none",
    "repool",
    "user",
    "custom",
    "customv",
    "bounded",
    "buffer",
    "freeze",
    "arena",
    "plain",
    "plainbuffer",
    "plainfreeze",
    "plainarena",
    "off",
    "offbuffer",
    "offfreeze",
    "offarena",
];

/// No pass runs during a measurement.
const NEVER: Duration = Duration::from_secs(3600);

pub fn run(scenario: Scenario, name: &str) -> Result<(), String> {
    match name {
        "none" => measure(scenario, || black_box(1_usize), None),
        "plain" => {
            let get = || {
                let mut bytes = fresh();
                work(&mut bytes);
                bytes
            };
            measure(scenario, get, None)
        }
        "plainbuffer" => measure(scenario, || filled(BytesMut::with_capacity(1024)), None),
        "plainfreeze" => {
            let get = || filled(BytesMut::with_capacity(1024)).freeze();
            measure(scenario, get, None)
        }
        "repool" => vectors(scenario, &Pool::builder(fresh).trim_every(NEVER).build()),
        "off" => {
            let pool = Pool::builder(fresh).trim_every(NEVER).build();
            pool.set_enabled(false);
            vectors(scenario, &pool)
        }
        "bounded" => {
            let builder = Pool::builder(fresh)
                .max_idle(10_000)
                .max_idle_bytes(64 << 20);
            vectors(scenario, &builder.trim_every(NEVER).build())
        }
        "customv" => {
            let builder = Pool::builder(fresh).trim_every(NEVER).reset(|bytes| {
                bytes.clear();
                true
            });
            vectors(scenario, &builder.build())
        }
        "user" => {
            let pool = Pool::builder(Scratch::new).trim_every(NEVER).build();
            let get = || {
                let mut scratch = pool.get();
                work(scratch.bytes());
                scratch
            };
            measure(scenario, get, Some(&|| pool.stats()))
        }
        "custom" => {
            let builder = Pool::builder(|| (fresh(), 0_u32)).trim_every(NEVER);
            let pool = builder
                .reset(|pair| {
                    pair.0.clear();
                    pair.1 = 0;
                    true
                })
                .build();
            let get = || {
                let mut pair = pool.get();
                work(&mut pair.0);
                pair
            };
            measure(scenario, get, Some(&|| pool.stats()))
        }
        "buffer" | "offbuffer" => {
            let pool = BufferPool::builder().trim_every(NEVER).build();
            pool.set_enabled(name == "buffer");
            let get = || filled(pool.get(1024));
            measure(scenario, get, Some(&|| pool.stats()))
        }
        "freeze" | "offfreeze" => {
            let pool = BufferPool::builder().trim_every(NEVER).build();
            pool.set_enabled(name == "freeze");
            let get = || filled(pool.get(1024)).freeze();
            measure(scenario, get, Some(&|| pool.stats()))
        }
        "plainarena" => {
            // With the chunk that a pool's arenas have.
            let get = || {
                let arena = Bump::with_capacity(4032);
                black_box(arena.alloc(7_u64));
                arena
            };
            measure(scenario, get, None)
        }
        "arena" | "offarena" => {
            let pool = ArenaPool::builder().trim_every(NEVER).build();
            pool.set_enabled(name == "arena");
            let get = || {
                let arena = pool.get();
                black_box(arena.alloc(7_u64));
                arena
            };
            measure(scenario, get, Some(&|| pool.stats()))
        }
        _ => Err(format!("{name} is not a contender; `counts list` has them")),
    }
}

#[inline(always)]
fn filled<B: BufMut>(mut buffer: B) -> B {
    buffer.put_slice(black_box(&[7; 64]));
    buffer
}

fn vectors(scenario: Scenario, pool: &Pool<Vec<u8>>) -> Result<(), String> {
    let get = || {
        let mut bytes = pool.get();
        work(&mut bytes);
        bytes
    };
    measure(scenario, get, Some(&|| pool.stats()))
}

/// Runs it, checks that it was what its name says, and prints the line of figures.
fn measure<T: Send>(
    scenario: Scenario,
    get: impl Fn() -> T + Sync,
    stats: Option<&(dyn Fn() -> Stats + Sync)>,
) -> Result<(), String> {
    let before = Mutex::new(None);
    let done = scenario.run(get, || {
        if let (Some(stats), Ok(mut before)) = (stats, before.lock()) {
            *before = Some(stats());
        }
    });
    done.check(scenario)?;
    let mut created = OBJECTS as u64;
    if let Some(stats) = stats {
        let before = before.into_inner().ok().flatten().ok_or("no warm-up")?;
        let after = stats();
        created = after.created - before.created;
        let gets = created + after.reused - before.reused;
        // The pool's own figures: each get of the counted part was either a creation or a reuse.
        if gets != done.gets as u64 {
            return Err(format!(
                "the pool counted {gets} gets and not {}: {created} created; before: {before}; \
                 after: {after}",
                done.gets
            ));
        }
    }
    println!("gets {} created {created}", done.gets);
    Ok(())
}
