//! [`Off`]: how many buffers were handed out while the pool was switched off.
//!
//! Those requests are to cost what plain code costs, which leaves no room for a read-modify-write. So
//! threads with a number below [`MOST`] count by a plain store in a line of their own; the number is
//! theirs alone, and its next owner comes after them (I3). The others share a line.

use crate::sync::{Figure, Ordering};
use crate::sys::place::{Place, place};
use crate::thread::attach::number;

const MOST: usize = 64;

#[derive(Debug)]
pub(super) struct Off {
    /// By owner's number; the first, which is no number, is shared.
    lines: [Line; MOST],
}

/// Far enough from the next one.
#[derive(Debug)]
#[repr(align(128))]
struct Line(Figure);

impl Off {
    pub(super) fn new() -> Self {
        Self {
            lines: std::array::from_fn(|_| Line(Figure::new(0))),
        }
    }

    #[inline(always)]
    pub(super) fn count(&self) {
        // Relaxed: a figure.
        let owner = place(Place::owner) as usize;
        if owner < MOST {
            let Line(line) = &self.lines[owner];
            line.store(line.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            self.count_slow();
        }
    }

    /// For a thread whose number is too high, or which has none yet: the next time it does.
    #[cold]
    #[inline(never)]
    fn count_slow(&self) {
        number();
        self.lines[0].0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sum(&self) -> u64 {
        let read = |Line(line): &Line| line.load(Ordering::Relaxed) as u64;
        self.lines.iter().map(read).sum()
    }
}
