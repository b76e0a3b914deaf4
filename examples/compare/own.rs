//! Your own work, compared like the rest: `cargo run --release --example compare -- --workload own`.
//!
//! This file is a template. Replace three things and leave their names:
//!
//! 1. [`plain`]: what your service does with one request today. It gets the request (the file of
//!    `--input`, or one of the generated JSON bodies) and returns a number that depends on the whole
//!    answer: a hash, a sum, a length.
//! 2. [`pooled`]: the same work with objects from pools. The number has to be the same for the same
//!    request; `compare` checks each one and fails if it is not. That is how an object that was not
//!    reset shows.
//! 3. [`POOLS`]: every pool that `pooled` uses, so that their figures, trim passes and the switch
//!    (the column *off*) reach them.
//!
//! Both functions run on all threads at once, and are called again and again. What they keep from
//! one request to the next belongs into pools, or into a `thread_local!` on the plain side if that
//! is what your service has. Plain code should ask for the capacity that you would ask for.
//!
//! As it is here: counts how often each word comes up, and sums what the commonest ones have.

use crate::source::Idle;
use repool::Pool;
use std::collections::HashMap;

/// One request, without pools.
pub(crate) fn plain(request: &[u8]) -> u64 {
    let mut words = HashMap::with_capacity(64);
    let mut counts = Vec::with_capacity(64);
    answer(request, &mut words, &mut counts)
}

/// The same, with what it needs from pools.
pub(crate) fn pooled(request: &[u8]) -> u64 {
    let mut words = WORDS.get();
    let mut counts = COUNTS.get();
    answer(request, &mut words, &mut counts)
}

static WORDS: Pool<HashMap<u64, u64>> = Pool::named("words", || HashMap::with_capacity(64));
static COUNTS: Pool<Vec<u64>> = Pool::named("counts", || Vec::with_capacity(64));

/// Every pool of `pooled`.
pub(crate) static POOLS: [&(dyn Idle + Sync); 2] = [&WORDS, &COUNTS];

/// What both sides share: only where the map and the vector come from differs.
fn answer(request: &[u8], words: &mut HashMap<u64, u64>, counts: &mut Vec<u64>) -> u64 {
    for word in request.split(|byte| !byte.is_ascii_alphanumeric()) {
        *words.entry(hash(word)).or_default() += 1;
    }
    counts.extend(words.values());
    counts.sort_unstable();
    counts.iter().rev().take(10).sum()
}

fn hash(word: &[u8]) -> u64 {
    word.iter().fold(0, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
