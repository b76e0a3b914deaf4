//! A deflate compressor that a pool can hold: creating its tables is expensive.

use bytes::BytesMut;
use flate2::{Compress, Compression, FlushCompress, Status};
use repool::Recycle;

/// Heap bytes of one compressor, which flate2 does not report: counted by an allocator for flate2
/// 1.1.11 over miniz_oxide 0.9.1 (six calls). Only the figure of idle bytes depends on it.
const STATE_BYTES: usize = 319_326;

pub(crate) struct Compressor(Compress);

impl Compressor {
    /// Level 1, as web servers use for dynamic content.
    pub(crate) fn new() -> Self {
        Self(Compress::new(Compression::fast(), false))
    }

    /// Compresses `input` to the end of `output`, as one stream. The compressor has to be new or
    /// recycled.
    pub(crate) fn pack(&mut self, input: &[u8], output: &mut BytesMut) -> Result<(), String> {
        loop {
            let (rest, before) = (&input[self.0.total_in() as usize..], self.0.total_out());
            let room = output.spare_capacity_mut();
            let status = self.0.compress_uninit(rest, room, FlushCompress::Finish);
            let packed = (self.0.total_out() - before) as usize;
            // SAFETY: this many bytes of the spare room have just been written.
            unsafe { output.set_len(output.len() + packed) };
            match status {
                Ok(Status::StreamEnd) => return Ok(()),
                // Only a lack of room in `output` ends a call early.
                Ok(Status::Ok | Status::BufError) => output.reserve(output.len().max(256)),
                Err(error) => return Err(format!("compressing failed: {error}")),
            }
        }
    }
}

impl Recycle for Compressor {
    fn recycle(&mut self) {
        self.0.reset();
    }

    fn retained_bytes(&self) -> usize {
        STATE_BYTES
    }
}
