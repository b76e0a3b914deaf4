//! Reading into a [`Buffer`].
//!
//! A `Read` wants memory that is initialised. So what it is offered is zeroed first, but only once: what one
//! read has left of it is offered to the next one.

use super::guard::Buffer;
use bytes::BytesMut;
use std::io::{self, ErrorKind, Read};

/// A single read gets this much at most: what it leaves was zeroed for nothing.
const ONE: usize = 16 << 10;
/// Reads until the end get this much at a time to begin with, and twice as much with each that fills it.
const FIRST: usize = 4 << 10;
const MOST: usize = 128 << 10;
/// Where the buffer is full, one read of this much says whether it has to grow at all.
const PROBE: usize = 32;

impl Buffer {
    /// Reads once from `reader` and appends what came: the bytes read, 0 at the end.
    ///
    /// It reads into the free capacity, and grows only when there is none. A `Read` wants memory
    /// that is initialised, so each call zeroes what it offers, at most 16 KiB;
    /// [`read_to_end_from`](Buffer::read_to_end_from) zeroes it once for all of its reads, and
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
    pub fn read_from(&mut self, reader: &mut (impl Read + ?Sized)) -> io::Result<usize> {
        let mut zeroed = Zeroed::new(self);
        let free = match zeroed.free() {
            0 => FIRST,
            free => free.min(ONE),
        };
        zeroed.offer(free);
        zeroed.read(reader)
    }

    /// Reads until the end and appends everything: the bytes read.
    ///
    /// # Errors
    /// What `reader` returns, except [`Interrupted`](ErrorKind::Interrupted), which is tried
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
    pub fn read_to_end_from(&mut self, reader: &mut (impl Read + ?Sized)) -> io::Result<usize> {
        let start = self.len();
        let mut zeroed = Zeroed::new(self);
        let mut chunk = FIRST;
        loop {
            let read = if zeroed.offered() > 0 {
                zeroed.read(reader)
            } else if zeroed.free() > 0 {
                zeroed.offer(chunk.min(zeroed.free()));
                chunk = (2 * chunk).min(MOST);
                zeroed.read(reader)
            } else {
                zeroed.probe(reader)
            };
            match read {
                Ok(0) => return Ok(zeroed.filled - start),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
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
            self.reserve(FIRST);
        }
        tokio::io::AsyncReadExt::read_buf(reader, self).await
    }
}

/// A buffer whose content ends at `filled`; behind that come initialised bytes. It is cut back to the
/// content in the end, also when a reader panics.
struct Zeroed<'a> {
    bytes: &'a mut BytesMut,
    filled: usize,
}

impl<'a> Zeroed<'a> {
    fn new(bytes: &'a mut BytesMut) -> Self {
        let filled = bytes.len();
        Self { bytes, filled }
    }

    /// Initialised bytes behind the content.
    fn offered(&self) -> usize {
        self.bytes.len() - self.filled
    }

    /// The others.
    fn free(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Initialises some more; grows if there are fewer.
    fn offer(&mut self, more: usize) {
        let len = self.bytes.len() + more;
        self.bytes.resize(len, 0);
    }

    fn read(&mut self, reader: &mut (impl Read + ?Sized)) -> io::Result<usize> {
        let read = reader.read(&mut self.bytes[self.filled..])?;
        assert!(
            read <= self.offered(),
            "a reader says it read more than it could"
        );
        self.filled += read;
        Ok(read)
    }

    /// Reads a little into another place.
    fn probe(&mut self, reader: &mut (impl Read + ?Sized)) -> io::Result<usize> {
        let mut probe = [0; PROBE];
        let read = reader.read(&mut probe)?;
        self.bytes.extend_from_slice(&probe[..read]);
        self.filled += read;
        Ok(read)
    }
}

impl Drop for Zeroed<'_> {
    fn drop(&mut self) {
        self.bytes.truncate(self.filled);
    }
}
