//! [`Recycle`] for `BytesMut`, whose allocation may be larger than its view, and shared.

#![cfg(feature = "bytes")]

use crate::object::recycle::Recycle;
use bytes::{Buf, BufMut, BytesMut};

/// Keeps the whole allocation, including what `split_to` or `advance` have removed from the view.
/// If other handles to it are alive, they keep it, and this one starts without memory. For buffers
/// by size class use `BufferPool`.
impl Recycle for BytesMut {
    fn recycle(&mut self) {
        if !regain(self) {
            *self = BytesMut::new();
        }
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.capacity()
    }

    #[inline]
    fn used_bytes(&self) -> usize {
        self.len()
    }
}

/// Clears `buffer` and makes it cover its whole allocation; returns `false` if that has other
/// handles.
///
/// `try_reclaim` examines the allocation only if the view is too small for the request. So the view
/// is made smaller by one byte first: then `try_reclaim` succeeds exactly if this is the only
/// handle.
fn regain(buffer: &mut BytesMut) -> bool {
    buffer.clear();
    let seen = buffer.capacity();
    if seen == 0 {
        if !buffer.try_reclaim(1) {
            return false;
        }
    } else {
        buffer.put_u8(0);
        buffer.advance(1);
        if !buffer.try_reclaim(seen) {
            return false;
        }
    }
    // The only handle may still cover only a part. Steps of growing, then shrinking size find the
    // rest. Usually there is none, and the first step shows that.
    let mut step = 1;
    while grow(buffer, step) {
        step *= 2;
    }
    while step > 1 {
        step /= 2;
        grow(buffer, step);
    }
    true
}

/// Enlarges an empty view by at least this many bytes, without calling the allocator.
fn grow(buffer: &mut BytesMut, by: usize) -> bool {
    let more = buffer.capacity().checked_add(by);
    more.is_some_and(|more| buffer.try_reclaim(more))
}
