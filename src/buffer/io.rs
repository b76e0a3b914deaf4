//! What else a [`Buffer`] is: a `BufMut` and `Buf`, a writer, and a place to read into.

use super::guard::Buffer;
use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::borrow::{Borrow, BorrowMut};
use std::{cmp, fmt, io};

/// Reads get this much at a time, or what is left of the capacity if that is more.
const CHUNK: usize = 8 << 10;
/// One read gets this much at most: what a reader is given has to be zeroed first.
const LARGEST_CHUNK: usize = 64 << 10;

impl Buffer {
    /// Reads once from `reader` and appends what came: the bytes read, 0 at the end.
    ///
    /// It reads into the free capacity, and grows only when there is none. A `Read` wants memory
    /// that is initialised, so each call zeroes what it offers, at most 64 KiB;
    /// `tokio`'s `read_buf` does without.
    ///
    /// # Errors
    /// What `reader` returns; the content is then as before.
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// let mut buffer = BufferPool::global().get(4096);
    /// let read = buffer.read_from(&mut "from a socket".as_bytes())?;
    /// assert_eq!((read, &buffer[..4]), (13, &b"from"[..]));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_from(&mut self, reader: &mut (impl io::Read + ?Sized)) -> io::Result<usize> {
        let bytes: &mut BytesMut = self;
        let start = bytes.len();
        if bytes.capacity() == start {
            bytes.reserve(CHUNK);
        }
        let room = (bytes.capacity() - start).min(LARGEST_CHUNK);
        bytes.resize(start + room, 0);
        // Back to what was really read, also when the reader panics.
        let mut filled = Filled { bytes, len: start };
        let read = reader.read(&mut filled.bytes[start..])?;
        assert!(read <= room, "a reader says it read more than it could");
        filled.len += read;
        Ok(read)
    }

    /// Reads until the end and appends everything: the bytes read.
    ///
    /// # Errors
    /// What `reader` returns, except [`Interrupted`](io::ErrorKind::Interrupted), which is tried
    /// again; what was read before stays.
    ///
    /// # Examples
    /// ```
    /// # use repool::BufferPool;
    /// let mut buffer = BufferPool::global().get(1024);
    /// let all = vec![7; 100_000];
    /// assert_eq!(buffer.read_to_end_from(&mut all.as_slice())?, 100_000);
    /// assert_eq!(&buffer[..], all);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_to_end_from(&mut self, reader: &mut (impl io::Read + ?Sized)) -> io::Result<usize> {
        let start = self.len();
        loop {
            match self.read_from(reader) {
                Ok(0) => return Ok(self.len() - start),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`read_from`](Buffer::read_from), from an async reader, and without zeroing.
    ///
    /// # Errors
    /// What `reader` returns.
    #[cfg(feature = "tokio")]
    pub async fn read_from_async(
        &mut self,
        reader: &mut (impl tokio::io::AsyncRead + Unpin + ?Sized),
    ) -> io::Result<usize> {
        if self.capacity() == self.len() {
            self.reserve(CHUNK);
        }
        tokio::io::AsyncReadExt::read_buf(reader, self).await
    }
}

/// Cuts a buffer back to what is filled.
struct Filled<'a> {
    bytes: &'a mut BytesMut,
    len: usize,
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        self.bytes.truncate(self.len);
    }
}

// SAFETY: everything is `BytesMut`'s own implementation.
unsafe impl BufMut for Buffer {
    #[inline]
    fn remaining_mut(&self) -> usize {
        (**self).remaining_mut()
    }

    #[inline]
    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller's.
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

/// By [`Buffer::freeze`].
impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Self {
        buffer.freeze()
    }
}

/// By [`Buffer::into_inner`].
impl From<Buffer> for BytesMut {
    fn from(buffer: Buffer) -> Self {
        buffer.into_inner()
    }
}
