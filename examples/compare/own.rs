//! Your own work, compared like the rest: `cargo run --release --example compare -- --workload
//! own`.
//!
//! This file is a template. Replace three items and keep their names:
//!
//! 1. [`plain`]: what your service does for one request today. It gets the request (the file of
//!    `--input`, or one of the generated JSON bodies) and returns a number that depends on the
//!    whole answer: a hash, a sum, a length.
//! 2. [`pooled`]: the same work with objects from pools. It must return the same number for the
//!    same request; `compare` checks every one and fails if they differ. That is how it detects an
//!    object that was not reset.
//! 3. [`POOLS`]: every pool that `pooled` uses, so that figures, trim passes and the switch (the
//!    column *off*) reach them.
//!
//! Both functions run on all threads at the same time and are called repeatedly. What they keep
//! from one request to the next belongs in pools, or on the plain side in a `thread_local!` if your
//! service has that. Plain code should request the capacity that you would request.
//!
//! The template counts how often each word occurs, and adds up the counts of the most frequent
//! words.

use crate::source::Idle;
use repool::Pool;
use std::collections::HashMap;

/// Handles one request without pools.
pub(crate) fn plain(request: &[u8]) -> u64 {
    let mut words = HashMap::with_capacity(64);
    let mut counts = Vec::with_capacity(64);
    answer(request, &mut words, &mut counts)
}

/// Handles one request with objects from pools.
pub(crate) fn pooled(request: &[u8]) -> u64 {
    let mut words = WORDS.get();
    let mut counts = COUNTS.get();
    answer(request, &mut words, &mut counts)
}

static WORDS: Pool<HashMap<u64, u64>> = Pool::named("words", || HashMap::with_capacity(64));
static COUNTS: Pool<Vec<u64>> = Pool::named("counts", || Vec::with_capacity(64));

/// Every pool that `pooled` uses.
pub(crate) static POOLS: [&(dyn Idle + Sync); 2] = [&WORDS, &COUNTS];

/// What both sides share: only the origin of the map and the vector differs.
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
