//! Overwriting buffers with zeros, where the feature `zeroize` is there.

use bytes::{Bytes, BytesMut};

/// Whether buffers can be wiped at all.
pub(super) const ON: bool = cfg!(feature = "zeroize");

/// Overwrites all that a handle has, and clears it; without the feature, does nothing.
pub(super) fn wipe(bytes: &mut BytesMut) {
    if ON {
        bytes.resize(bytes.capacity(), 0);
        // Volatile: also when the memory is freed next.
        #[cfg(feature = "zeroize")]
        zeroize::Zeroize::zeroize(bytes.as_mut());
        bytes.clear();
    }
}

/// Freezes a buffer that no pool waits for: its memory is overwritten when the last view goes. Costs an
/// allocation.
pub(super) fn freeze_wiped(bytes: BytesMut) -> Bytes {
    Bytes::from_owner(Wiped(bytes))
}

/// Overwritten when it goes.
struct Wiped(BytesMut);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}
