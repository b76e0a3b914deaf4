//! Memory for buffers: how it is allocated, and how a handle regains the whole of its allocation.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::mem;

/// From this capacity on, a request that may fail asks the allocator whether there is memory.
const WORTH_ASKING: usize = 1 << 20;

/// Where a handle without memory points: no allocation ends there.
const NOWHERE: usize = 1;

/// Memory for exactly this many bytes; `None` if there cannot be that many. With `fallible` also, from
/// 1 MiB, if the allocator has none.
pub(super) fn allocate(capacity: usize, fallible: bool) -> Option<BytesMut> {
    if capacity > isize::MAX as usize {
        return None;
    }
    if !fallible || capacity < WORTH_ASKING {
        return Some(BytesMut::with_capacity(capacity));
    }
    let mut memory = Vec::new();
    memory.try_reserve_exact(capacity).ok()?;
    // From a `Vec` to a `BytesMut` without a copy.
    Some(BytesMut::from(Bytes::from(memory)))
}

/// Clears a handle and gives it the whole of its allocation; `false` while there are other handles to
/// it. [`is_back`] says then when they are gone, and this has to be called again.
pub(super) fn regain(bytes: &mut BytesMut) -> bool {
    bytes.clear();
    // The first look may have moved it to the start, or back over what was consumed.
    if is_alone(bytes) || is_alone(bytes) {
        return true;
    }
    let (whole, alone) = match whole(mem::take(bytes)) {
        Ok(whole) => (whole, true),
        Err(end) => (end, false),
    };
    *bytes = whole;
    alone
}

/// Whether an empty handle is the only one to its memory, and its allocation has just its capacity.
/// If not, the handle may have been moved or enlarged. Neither allocates nor frees.
///
/// A capacity says nothing of what lies behind it: a buffer can grow where it is and have just the new
/// part split off. So the handle is moved forward by a byte, and asked to go back.
pub(super) fn is_alone(bytes: &mut BytesMut) -> bool {
    debug_assert!(bytes.is_empty());
    let (start, full) = (bytes.as_ptr().addr(), bytes.capacity());
    if full == 0 {
        return start == NOWHERE;
    }
    bytes.put_u8(0);
    bytes.advance(1);
    bytes.try_reclaim(full) && bytes.capacity() == full && bytes.as_ptr().addr() == start
}

/// An empty buffer with the whole of its allocation; `Err` while there are other handles to it, with a
/// handle that can be asked again by [`is_back`].
fn whole(mut bytes: BytesMut) -> Result<BytesMut, BytesMut> {
    if bytes.capacity() == 0 && bytes.as_ptr().addr() == NOWHERE {
        return Ok(bytes);
    }
    // A handle at the end of our part. Splitting it off makes the memory a counted one, if it was
    // not, so that a single handle can tell that it is the only one.
    let mut end = bytes.split_off(bytes.capacity());
    drop(bytes);
    if !end.try_reclaim(1) {
        return Err(end);
    }
    // Ours alone: up to the end of the allocation, and then from its start.
    let mut bytes = end
        .freeze()
        .try_into_mut()
        .unwrap_or_else(|_| BytesMut::new());
    let more = bytes.capacity() + 1;
    let _ = bytes.try_reclaim(more);
    Ok(bytes)
}

/// Whether an empty handle to the rest of a buffer is the only one to its memory; it has its memory
/// again then, and must not be asked once more.
#[inline(always)]
pub(super) fn is_back(bytes: &mut BytesMut) -> bool {
    // Not one byte more can be reclaimed unless the handle is the only one.
    let more = bytes.capacity() + 1;
    bytes.try_reclaim(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(capacity: usize, len: usize) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(capacity);
        bytes.resize(len, 7);
        bytes
    }

    fn alone(mut bytes: BytesMut) -> bool {
        bytes.clear();
        is_alone(&mut bytes)
    }

    #[test]
    fn a_handle_knows_that_it_is_alone() {
        assert!(alone(BytesMut::new()));
        assert!(alone(filled(100, 0)));
        assert!(alone(filled(100, 100)));
        // Also when it is a counted one.
        let mut bytes = filled(100, 50);
        drop(bytes.split_off(100));
        assert!(alone(bytes));
    }

    #[test]
    fn a_handle_knows_that_it_is_not() {
        let mut bytes = filled(100, 50);
        let _end = bytes.split_off(100);
        assert!(!alone(bytes));
        let mut bytes = filled(200, 50);
        let tail = bytes.split_off(100);
        assert!(!alone(bytes), "the tail is somewhere else");
        let mut bytes = filled(200, 50);
        drop(bytes.split_off(100));
        assert!(!alone(bytes), "the tail is hidden behind it");
        drop(tail);
    }

    #[test]
    fn the_whole_of_it_comes_back() {
        let mut bytes = filled(200, 150);
        let tail = bytes.split_off(100);
        let head = bytes.split_to(10).freeze();
        let Err(mut rest) = whole(bytes) else {
            panic!("there are two others");
        };
        drop(tail);
        assert!(!is_back(&mut rest));
        drop(head);
        assert!(is_back(&mut rest));
        assert!(regain(&mut rest));
        assert_eq!(rest.capacity(), 200);
        // Consumed.
        let mut bytes = filled(200, 150);
        bytes.advance(120);
        assert!(regain(&mut bytes));
        assert_eq!(bytes.capacity(), 200);
        // As one that grew in place and was cut back.
        let mut bytes = filled(200, 150);
        drop(bytes.split_off(100));
        assert!(regain(&mut bytes));
        assert_eq!(bytes.capacity(), 200);
        // Nothing left, and another handle to all of it.
        let mut bytes = filled(200, 200);
        let all = bytes.split();
        assert!(!regain(&mut bytes));
        drop(all);
        assert!(is_back(&mut bytes) && regain(&mut bytes));
        assert_eq!(bytes.capacity(), 200);
    }

    #[test]
    fn what_cannot_be_had_is_not() {
        assert!(allocate(isize::MAX as usize + 1, false).is_none());
        assert!(cfg!(miri) || allocate(isize::MAX as usize, true).is_none());
        let memory = allocate(1 << 20, true).map(|bytes| bytes.capacity());
        assert_eq!(memory, Some(1 << 20));
    }
}
