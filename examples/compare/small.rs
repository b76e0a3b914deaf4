//! The other end of the scale: small vectors, each used for a few nanoseconds.
//!
//! In `tiny` the plain code allocates each vector, which a modern allocator does quickly. In
//! `local` it needs neither a pool nor the allocator, because its vector stays in a variable.

use crate::source::Source;
use std::hint::black_box;

pub(crate) const BYTES: usize = 32;

/// Objects per "request": a single one would end before the clock is read.
pub(crate) const OBJECTS: u64 = 1_000;

pub(crate) fn tiny<S: Source>(seed: u64) -> u64 {
    (seed..seed + OBJECTS).fold(0, |sum, n| sum ^ fill(&mut S::tiny(), n))
}

/// `kept` is the plain side's variable.
pub(crate) fn local<S: Source>(kept: &mut Vec<u8>, seed: u64) -> u64 {
    (seed..seed + OBJECTS).fold(0, |sum, n| sum ^ fill(&mut S::kept(kept), n))
}

#[inline(always)]
fn fill(bytes: &mut Vec<u8>, n: u64) -> u64 {
    bytes.extend_from_slice(&[n as u8; BYTES]);
    // Without this the compiler sees that the vector is not needed.
    let bytes = black_box(bytes.as_slice());
    n.rotate_left(u32::from(bytes[0])) ^ bytes.len() as u64
}
