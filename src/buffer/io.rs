//! The traits of a [`Buffer`]: `BufMut`, `Buf`, writers, comparisons, iteration.

use super::guard::Buffer;
use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::borrow::{Borrow, BorrowMut};
use std::{cmp, fmt, io, slice};

// SAFETY: every call is forwarded to `BytesMut`'s own implementation.
unsafe impl BufMut for Buffer {
    #[inline]
    fn remaining_mut(&self) -> usize {
        (**self).remaining_mut()
    }

    #[inline]
    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: guaranteed by the caller.
        unsafe { (**self).advance_mut(count) };
    }

    #[inline]
    fn chunk_mut(&mut self) -> &mut UninitSlice {
        (**self).chunk_mut()
    }

    #[inline]
    fn put<T: Buf>(&mut self, src: T) {
        (**self).put(src);
    }

    #[inline]
    fn put_slice(&mut self, src: &[u8]) {
        (**self).put_slice(src);
    }

    #[inline]
    fn put_bytes(&mut self, byte: u8, count: usize) {
        (**self).put_bytes(byte, count);
    }
}

impl Buf for Buffer {
    #[inline]
    fn remaining(&self) -> usize {
        (**self).remaining()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        (**self).chunk()
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        (**self).advance(count);
    }

    #[inline]
    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        (**self).copy_to_bytes(len)
    }
}

/// Never fails: the buffer grows.
impl io::Write for Buffer {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let len = parts.iter().map(|part| part.len()).sum();
        self.reserve(len);
        for part in parts {
            self.extend_from_slice(part);
        }
        Ok(len)
    }

    #[inline]
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Never fails: the buffer grows.
impl fmt::Write for Buffer {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl<T> Extend<T> for Buffer
where
    BytesMut: Extend<T>,
{
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        (**self).extend(items);
    }
}

impl AsRef<[u8]> for Buffer {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Buffer {
    #[inline]
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl Borrow<[u8]> for Buffer {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl BorrowMut<[u8]> for Buffer {
    fn borrow_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

macro_rules! equal_to {
    ($($Other:ty),*) => {$(
        impl PartialEq<$Other> for Buffer {
            fn eq(&self, other: &$Other) -> bool {
                **self == *other
            }
        }

        impl PartialEq<Buffer> for $Other {
            fn eq(&self, buffer: &Buffer) -> bool {
                *buffer == *self
            }
        }
    )*};
}

equal_to!([u8], str, Vec<u8>, String, BytesMut, Bytes);

impl<T: ?Sized> PartialEq<&T> for Buffer
where
    Buffer: PartialEq<T>,
{
    fn eq(&self, other: &&T) -> bool {
        *self == **other
    }
}

impl PartialEq<Buffer> for &[u8] {
    fn eq(&self, buffer: &Buffer) -> bool {
        *buffer == **self
    }
}

impl PartialEq<Buffer> for &str {
    fn eq(&self, buffer: &Buffer) -> bool {
        *buffer == **self
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Buffer {}

impl PartialOrd for Buffer {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Buffer {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        (**self).cmp(other)
    }
}

impl std::hash::Hash for Buffer {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// Calls [`Buffer::freeze`].
impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Self {
        buffer.freeze()
    }
}

/// Calls [`Buffer::into_inner`].
impl From<Buffer> for BytesMut {
    fn from(buffer: Buffer) -> Self {
        buffer.into_inner()
    }
}

/// Calls [`Buffer::into_inner`]; copies only if a part of the buffer was split off.
impl From<Buffer> for Vec<u8> {
    fn from(buffer: Buffer) -> Self {
        buffer.into_inner().into()
    }
}

impl<'a> IntoIterator for &'a Buffer {
    type Item = &'a u8;
    type IntoIter = slice::Iter<'a, u8>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Buffer {
    type Item = &'a mut u8;
    type IntoIter = slice::IterMut<'a, u8>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}
