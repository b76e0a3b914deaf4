//! [`OffCounter`]: how many objects a pool has handed out while it was switched off.
//!
//! Such a request should cost what it costs without a pool, so it must not do a read-modify-write. Each thread with an
//! ID below [`LINES`] counts with a plain store on a cache line that no other thread writes: a thread ID belongs to one
//! thread at a time (I3). All other threads share one line.

use crate::sync::{Ordering, StatUsize};

const LINES: usize = 64;

#[derive(Debug)]
pub(crate) struct OffCounter {
    /// By `CurrentThread::owner`. The first line, which no thread has, is the shared one.
    lines: [Line; LINES],
}

/// A cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Line(StatUsize);

impl OffCounter {
    pub(crate) fn new() -> Self {
        Self {
            lines: std::array::from_fn(|_| Line(StatUsize::new(0))),
        }
    }

    /// Counts one on the line of the calling thread, which has this `CurrentThread::owner`. `false`, and nothing is
    /// counted, if the thread has no line.
    #[inline(always)]
    pub(crate) fn count(&self, owner: u32) -> bool {
        // Relaxed: a statistic.
        match self.lines.get(owner as usize) {
            Some(Line(line)) => {
                line.store(line.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                true
            }
            None => false,
        }
    }

    /// Counts one on the shared line.
    pub(crate) fn count_shared(&self) {
        // Relaxed: as above.
        self.lines[0].0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        let read = |Line(line): &Line| line.load(Ordering::Relaxed) as u64;
        self.lines.iter().map(read).sum()
    }
}
