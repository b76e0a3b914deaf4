//! A buffer, or a part of one, with the vector that it must equal.

use super::buffer_program::{Edit, Writing, size};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use repool::Buffer;
use std::cell::RefCell;
use std::io::Write;
use std::mem;

pub(crate) struct Tenant {
    pub(crate) buffer: Buffer,
    pub(crate) model: Vec<u8>,
    /// The number of the pool that counts it; `None` if it had no capacity at first.
    pub(crate) home: Option<usize>,
}

pub(crate) enum Part {
    Frozen(Bytes),
    Split(BytesMut),
}

pub(crate) struct Piece {
    pub(crate) part: Part,
    pub(crate) model: Vec<u8>,
}

impl Tenant {
    pub(crate) fn check(&self) {
        assert!(self.buffer[..] == self.model[..], "a buffer has changed");
        assert!(self.buffer.capacity() >= self.buffer.len());
    }

    pub(crate) fn write(&mut self, size: usize, how: Writing, mark: u8) -> Option<Piece> {
        let Self { buffer, model, .. } = self;
        let old = model.len();
        if let Writing::CopyToBytes = how {
            let size = size.min(old);
            let rest = model.split_off(size);
            return Some(Piece {
                part: Part::Frozen(buffer.copy_to_bytes(size)),
                model: mem::replace(model, rest),
            });
        }
        model.resize(old + size, mark);
        let new = &model[old..];
        match how {
            Writing::PutSlice => buffer.put_slice(new),
            Writing::PutBytes => buffer.put_bytes(mark, size),
            Writing::WriteAll => buffer.write_all(new).expect("it grows"),
            Writing::ReadFrom => {
                let mut reader = new;
                let read = buffer.read_to_end_from(&mut reader);
                assert_eq!(read.expect("a slice"), size);
            }
            Writing::Extend => buffer.extend(new),
            Writing::CopyToBytes => unreachable!("has returned"),
        }
        None
    }
}

impl Piece {
    pub(crate) fn check(&self) {
        let content: &[u8] = match &self.part {
            Part::Frozen(bytes) => bytes,
            Part::Split(bytes) => bytes,
        };
        assert!(content == self.model, "a part has changed");
    }
}

/// Edits with up to `room` more bytes.
pub(crate) fn edit(
    bytes: &mut BytesMut,
    model: &mut Vec<u8>,
    edit: Edit,
    room: usize,
    mark: u8,
) -> Option<Piece> {
    let len = model.len();
    let (part, content) = match edit {
        Edit::Extend(more) => {
            model.resize(len + size(more).min(room), mark);
            bytes.extend_from_slice(&model[len..]);
            return None;
        }
        Edit::Fill => {
            // The whole capacity: no other handle may own a byte of it.
            model.resize(bytes.capacity().min(len + room), mark);
            bytes.put_bytes(mark, model.len() - len);
            return None;
        }
        Edit::Resize(to) => {
            let to = size(to).min(len + room);
            bytes.resize(to, mark);
            model.resize(to, mark);
            return None;
        }
        Edit::Truncate(to) => {
            bytes.truncate(size(to));
            model.truncate(size(to));
            return None;
        }
        Edit::Clear => {
            bytes.clear();
            model.clear();
            return None;
        }
        Edit::Reserve(more) => {
            bytes.reserve(size(more));
            assert!(bytes.capacity() >= len + size(more));
            return None;
        }
        Edit::Reclaim(more) => {
            if bytes.try_reclaim(size(more)) {
                assert!(bytes.capacity() >= len + size(more));
            }
            return None;
        }
        Edit::Advance(by) => {
            let by = size(by).min(len);
            bytes.advance(by);
            model.drain(..by);
            return None;
        }
        Edit::Split => (bytes.split(), mem::take(model)),
        Edit::SplitTo(at) => {
            let at = size(at).min(len);
            let rest = model.split_off(at);
            (bytes.split_to(at), mem::replace(model, rest))
        }
        Edit::SplitOff(at) => {
            let at = size(at).min(bytes.capacity());
            (bytes.split_off(at), model.split_off(at.min(len)))
        }
    };
    Some(Piece {
        part: Part::Split(part),
        model: content,
    })
}

/// What a thread's own destructors return, before or after the pool's.
pub(crate) struct Left {
    pub(crate) tenant: Option<Tenant>,
    pub(crate) freeze: bool,
}

thread_local! {
    pub(crate) static LEFT: RefCell<Vec<Left>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Left {
    fn drop(&mut self) {
        let Some(Tenant { buffer, model, .. }) = self.tenant.take() else {
            return;
        };
        if self.freeze {
            assert!(buffer.freeze() == model, "a buffer has changed");
        } else {
            assert!(buffer[..] == model[..], "a buffer has changed");
        }
    }
}
