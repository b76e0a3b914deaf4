//! [`Off`]: how many objects were handed out while their pool was switched off.
//!
//! Those requests are to cost what plain code costs, which leaves no room for a read-modify-write. So
//! threads with a id below [`MOST`] count by a plain store in a line of their own; the id is
//! theirs alone, and its next owner comes after them (I3). The others share a line.

use crate::sync::{StatUsize, Ordering};

const MOST: usize = 64;

#[derive(Debug)]
pub(crate) struct OffCounter {
    /// By owner's id; the first, which is no id, is shared.
    lines: [Line; MOST],
}

/// Far enough from the next one.
#[derive(Debug)]
#[repr(align(64))]
struct Line(StatUsize);

impl OffCounter {
    pub(crate) fn new() -> Self {
        Self {
            lines: std::array::from_fn(|_| Line(StatUsize::new(0))),
        }
    }

    /// Counts one for the calling thread, by its `CurrentThread::owner`. `false`: it has no line of its own, and nothing
    /// is counted.
    #[inline(always)]
    pub(crate) fn count(&self, owner: u32) -> bool {
        // Relaxed: a figure.
        match self.lines.get(owner as usize) {
            Some(Line(line)) => {
                line.store(line.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                true
            }
            None => false,
        }
    }

    /// Counts one for a thread without a line of its own.
    pub(crate) fn count_shared(&self) {
        // Relaxed: as above.
        self.lines[0].0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        let read = |Line(line): &Line| line.load(Ordering::Relaxed) as u64;
        self.lines.iter().map(read).sum()
    }
}
