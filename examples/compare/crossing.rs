//! The workloads in which another thread drops the objects than the one that created them.
//!
//! `handoff` is a service with a reading thread: it copies a body into a buffer, and another thread
//! serves it and drops the buffer. `exchange` is the pool alone: vectors of 1 KiB, 64 in a message,
//! with 64 bytes written to each.

use crate::post::{Desk, Ring, Turn};
use crate::request;
use crate::source::Source;
use std::hint::black_box;

/// Capacity of a vector of `exchange`, the number of bytes written to it, and the number of vectors
/// in a message.
pub(crate) const PARCEL: usize = 1024;
pub(crate) const WRITTEN: usize = 64;
pub(crate) const BATCH: usize = 64;

/// What goes to the next worker, with the number of the body it was made from.
pub(crate) enum Message<S: Source> {
    Body(usize, S::Message),
    Parcels(usize, Vec<S::Parcel>),
}

/// One worker and its neighbours.
pub(crate) struct Place<'a, S: Source> {
    pub(crate) desk: Desk<Message<S>>,
    pub(crate) ring: &'a Ring,
    pub(crate) phase: usize,
    /// The vector of the last served message, for the next one.
    spare: Vec<S::Parcel>,
}

impl<'a, S: Source> Place<'a, S> {
    pub(crate) fn new(desk: Desk<Message<S>>, ring: &'a Ring) -> Self {
        Self {
            desk,
            ring,
            phase: 0,
            spare: Vec::with_capacity(BATCH),
        }
    }

    /// Sends body `number` on, and serves one that arrived; returns its number and the hash of its
    /// reply. Returns `None` if no more arrive.
    pub(crate) fn handoff(
        &mut self,
        body: &[u8],
        number: usize,
    ) -> Option<Result<(usize, u64), String>> {
        self.serve(|_| {
            let mut message = S::message(body.len());
            message.extend_from_slice(body);
            Message::Body(number, message)
        })
    }

    /// Like [`Place::handoff`], with a message of vectors.
    pub(crate) fn exchange(&mut self, number: usize) -> Option<Result<(usize, u64), String>> {
        self.serve(|spare| {
            let mut parcels = std::mem::take(spare);
            parcels.extend((number..number + BATCH).map(|n| {
                let mut parcel = S::parcel();
                parcel.extend_from_slice(&[n as u8; WRITTEN]);
                parcel
            }));
            Message::Parcels(number, parcels)
        })
    }

    fn serve(
        &mut self,
        make: impl FnOnce(&mut Vec<S::Parcel>) -> Message<S>,
    ) -> Option<Result<(usize, u64), String>> {
        let spare = &mut self.spare;
        match self.desk.exchange(self.ring, self.phase, || make(spare)) {
            Turn::Nothing => None,
            Turn::Serve(Message::Body(number, body)) => {
                Some(request::encode::<S>(&body).map(|reply| (number, reply)))
            }
            Turn::Serve(Message::Parcels(number, mut parcels)) => {
                let sum = parcels
                    .drain(..)
                    .zip(number..)
                    .fold(0, |sum, (parcel, n)| sum ^ read(&parcel, n));
                self.spare = parcels;
                Some(Ok((number, sum)))
            }
        }
    }
}

/// Returns the expected result of `exchange` for a message of this number.
pub(crate) fn exchanged(number: usize) -> u64 {
    (number..number + BATCH).fold(0, |sum, n| sum ^ read(&[n as u8; WRITTEN], n))
}

fn read(parcel: &[u8], n: usize) -> u64 {
    // Without this the compiler sees that nothing reads the vector.
    let parcel = black_box(parcel);
    (n as u64).rotate_left(u32::from(parcel[0])) ^ parcel.len() as u64
}
