//! Memory for buffers: allocating it, and regaining a whole allocation for one handle.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::mem;

/// From this capacity on, in bytes, a fallible request asks the allocator whether it has the
/// memory.
const WORTH_ASKING: usize = 1 << 20;

/// The address of a handle without memory: no allocation ends there.
const NOWHERE: usize = 1;

/// Allocates exactly this many bytes; returns `None` if that many are impossible. With `fallible`,
/// also returns `None` if the allocator has no memory for 1 MiB or more.
pub(super) fn allocate(capacity: usize, fallible: bool) -> Option<BytesMut> {
    if capacity > isize::MAX as usize {
        return None;
    }
    if !fallible || capacity < WORTH_ASKING {
        return Some(BytesMut::with_capacity(capacity));
    }
    let mut memory = Vec::new();
    memory.try_reserve_exact(capacity).ok()?;
    // Converts a `Vec` into a `BytesMut` without a copy.
    Some(BytesMut::from(Bytes::from(memory)))
}

/// Clears a handle and regains its whole allocation; returns `false` while there are other handles
/// to it. In that case call this again once [`is_unique`] returns `true`. Until then the handle is
/// out of reach of the part that it covered: `lose` is called with that part first.
pub(super) fn regain(bytes: &mut BytesMut, lose: impl FnOnce(&mut BytesMut)) -> bool {
    bytes.clear();
    // The first call may have moved the handle to the start of the allocation, over what was
    // consumed.
    if is_alone(bytes) || is_alone(bytes) {
        return true;
    }
    lose(bytes);
    let (whole, alone) = match whole(mem::take(bytes)) {
        Ok(whole) => (whole, true),
        Err(end) => (end, false),
    };
    *bytes = whole;
    alone
}

/// Returns whether an empty handle is the only one to its memory and covers its whole allocation.
/// If not, the handle may have been moved or enlarged. Neither allocates nor frees.
///
/// The capacity does not tell what lies behind it: a buffer can grow in place and then have exactly
/// the new part split off. So this function advances the handle by one byte and asks `bytes` to
/// reclaim it.
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

/// Returns an empty buffer with its whole allocation; `Err` while there are other handles to it,
/// with a handle for [`is_unique`].
fn whole(mut bytes: BytesMut) -> Result<BytesMut, BytesMut> {
    if bytes.capacity() == 0 && bytes.as_ptr().addr() == NOWHERE {
        return Ok(bytes);
    }
    // A handle to the end of our part. Splitting it off makes the memory reference-counted if it
    // was not, so that a single handle can tell whether it is the only one.
    let mut end = bytes.split_off(bytes.capacity());
    drop(bytes);
    if !end.try_reclaim(1) {
        return Err(end);
    }
    // We own all of it: up to the end of the allocation, then from its start.
    let mut bytes = end
        .freeze()
        .try_into_mut()
        .unwrap_or_else(|_| BytesMut::new());
    let more = bytes.capacity() + 1;
    let _ = bytes.try_reclaim(more);
    Ok(bytes)
}

/// Returns whether an empty handle to the rest of a buffer is the only one to its memory. If so, it
/// has its memory again, and this must not be called again.
#[inline(always)]
pub(super) fn is_unique(bytes: &mut BytesMut) -> bool {
    // `bytes` can reclaim one more byte only if the handle is the only one.
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

    fn regained(bytes: &mut BytesMut) -> bool {
        regain(bytes, |_| ())
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
        // Also for reference-counted memory.
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
        assert!(!is_unique(&mut rest));
        drop(head);
        assert!(is_unique(&mut rest));
        assert!(regained(&mut rest));
        assert_eq!(rest.capacity(), 200);
        // Consumed.
        let mut bytes = filled(200, 150);
        bytes.advance(120);
        assert!(regained(&mut bytes));
        assert_eq!(bytes.capacity(), 200);
        // Like a buffer that grew in place and was cut back.
        let mut bytes = filled(200, 150);
        drop(bytes.split_off(100));
        assert!(regained(&mut bytes));
        assert_eq!(bytes.capacity(), 200);
        // No content left, and another handle to all of it.
        let mut bytes = filled(200, 200);
        let all = bytes.split();
        assert!(!regained(&mut bytes));
        drop(all);
        assert!(is_unique(&mut bytes) && regained(&mut bytes));
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
