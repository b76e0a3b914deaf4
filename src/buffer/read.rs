//! Reading into a [`Buffer`].
//!
//! `Read` needs initialised memory, so the buffer zeroes the memory that it offers to a reader. It
//! does so once: the next read is offered what the previous one left unused.

use super::guard::Buffer;
use bytes::BytesMut;
use std::io::{self, ErrorKind, Read};

/// The most bytes offered to a single read: what the read leaves unused was zeroed for nothing.
const ONE: usize = 16 << 10;
/// The first number of bytes offered by a read to the end. It doubles with each read that fills it,
/// up to `MOST`.
const FIRST: usize = 4 << 10;
const MOST: usize = 128 << 10;
/// Bytes read on the stack when the buffer is full, to learn whether it has to grow at all.
const PROBE: usize = 32;

impl Buffer {
    /// Reads once from `reader`, appends what it returned, and returns the number of bytes; 0 at
    /// the end.
    ///
    /// The call reads into the free capacity, and grows the buffer only if there is none. `Read`
    /// needs initialised memory, so each call zeroes what it offers, at most 16 KiB.
    /// [`read_to_end_from`](Buffer::read_to_end_from) zeroes memory once for all of its reads, and
    /// `tokio`'s `read_buf` needs no zeroing.
    ///
    /// # Errors
    /// Returns the error of `reader`. The content is unchanged.
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

    /// Reads until the end, appends everything, and returns the number of bytes.
    ///
    /// # Errors
    /// Returns the error of `reader`, except [`Interrupted`](ErrorKind::Interrupted), after which
    /// it reads again. What was read before the error stays.
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

    /// Like [`read_from`](Buffer::read_from), from an async reader and without zeroing.
    ///
    /// # Errors
    /// Returns the error of `reader`.
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

/// A buffer whose content ends at `filled`, followed by initialised bytes. Dropping this truncates
/// the buffer to its content, also when a reader panics.
struct Zeroed<'a> {
    bytes: &'a mut BytesMut,
    filled: usize,
}

impl<'a> Zeroed<'a> {
    fn new(bytes: &'a mut BytesMut) -> Self {
        let filled = bytes.len();
        Self { bytes, filled }
    }

    /// The number of initialised bytes behind the content.
    fn offered(&self) -> usize {
        self.bytes.len() - self.filled
    }

    /// The number of uninitialised bytes of the capacity.
    fn free(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Initialises `more` bytes; grows the buffer if it has fewer left.
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

    /// Reads a few bytes into a stack array.
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
