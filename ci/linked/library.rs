//! A library that uses pools behind a C interface. `host.c` opens and closes it.

use repool::{BufferPool, Pool};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

struct Pools {
    vectors: Pool<Vec<u64>>,
    buffers: BufferPool,
}

static POOLS: Mutex<Option<Arc<Pools>>> = Mutex::new(None);
static LASTING: Pool<String> = Pool::new(String::new);

fn pools() -> Arc<Pools> {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let every = Duration::from_millis(2);
    let make = || Pools {
        vectors: Pool::builder(Vec::new).trim_every(every).build(),
        buffers: BufferPool::builder().trim_every(every).build(),
    };
    pools.get_or_insert_with(|| Arc::new(make())).clone()
}

/// So many requests of each kind; 0 if all were right.
#[unsafe(no_mangle)]
pub extern "C" fn use_pools(rounds: u32) -> i32 {
    let pools = pools();
    let mut wrong = 0;
    for round in 0..u64::from(rounds) {
        let (mut one, mut other) = (pools.vectors.get(), pools.vectors.get());
        one.push(round);
        other.push(!round);
        wrong += i32::from(one[..] != [round] || other[..] != [!round]);
        let mut buffer = pools.buffers.get(512);
        buffer.extend_from_slice(&round.to_le_bytes());
        wrong += i32::from(buffer.freeze()[..] != round.to_le_bytes());
    }
    wrong
}

/// The same with a pool in a static, which lives until the process ends.
#[unsafe(no_mangle)]
pub extern "C" fn use_lasting() -> i32 {
    let mut line = LASTING.get();
    let clean = line.is_empty();
    line.push('x');
    i32::from(!clean)
}

/// Drops the pools; the janitor ends soon.
#[unsafe(no_mangle)]
pub extern "C" fn drop_pools() {
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop(pools);
}

/// Passes of this library's janitor so far.
#[unsafe(no_mangle)]
pub extern "C" fn passes() -> u64 {
    repool::janitor_stats().passes
}
