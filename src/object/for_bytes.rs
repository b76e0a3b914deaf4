//! [`Recycle`] for `BytesMut`, whose memory may be larger than what it shows, and shared.

#![cfg(feature = "bytes")]

use crate::object::recycle::Recycle;
use bytes::{Buf, BufMut, BytesMut};

/// Keeps the whole allocation, also what `split_to` or `advance` have taken off the view; if other
/// views of it are still around, it becomes theirs, and this one starts afresh. For buffers by size
/// class use `BufferPool`.
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

/// Empties `buffer` and makes it show all of its allocation; `false` if that has other views.
///
/// `try_reclaim` looks at the allocation only when the view is too small for what is asked. So the
/// view is made smaller by one byte first: then it succeeds for a sole owner, and for no one else.
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
    // A sole owner may still see only a part. Larger and larger steps find the rest, then smaller and
    // smaller ones. As a rule there is none, and the first step says so.
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

/// Makes an empty view larger by this many bytes at least, without the allocator.
fn grow(buffer: &mut BytesMut, by: usize) -> bool {
    let more = buffer.capacity().checked_add(by);
    more.is_some_and(|more| buffer.try_reclaim(more))
}
