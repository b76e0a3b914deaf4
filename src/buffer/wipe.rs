//! Overwriting buffers with zeros, with the feature `zeroize`.

use super::memory;
use bytes::{Bytes, BytesMut};

/// Whether buffers can be wiped.
pub(super) const ON: bool = cfg!(feature = "zeroize");

/// Overwrites everything that a handle owns and clears it. Does nothing without the feature.
pub(super) fn wipe(bytes: &mut BytesMut) {
    if ON {
        bytes.resize(bytes.capacity(), 0);
        // The writes are volatile, so they happen even if the memory is freed next.
        #[cfg(feature = "zeroize")]
        zeroize::Zeroize::zeroize(bytes.as_mut());
        bytes.clear();
    }
}

/// Overwrites the whole allocation, also what was consumed, and clears the handle. If there are other
/// handles, overwrites what this one covers. Does nothing without the feature.
pub(super) fn wipe_all(bytes: &mut BytesMut) {
    if ON && memory::regain(bytes, wipe) {
        wipe(bytes);
    }
}

/// Freezes a buffer that no pool waits for; the last view overwrites its memory. Costs an
/// allocation.
pub(super) fn freeze_wiped(bytes: BytesMut) -> Bytes {
    Bytes::from_owner(Wiped(bytes))
}

/// Overwrites its memory when dropped.
struct Wiped(BytesMut);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe_all(&mut self.0);
    }
}
