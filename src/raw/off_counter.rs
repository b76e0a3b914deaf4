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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_on_the_line_of_their_thread_or_on_the_shared_one() {
        let counter = OffCounter::new();
        let line = |owner: usize| counter.lines[owner].0.load(Ordering::Relaxed);
        assert_eq!(counter.sum(), 0);
        for owner in 1..LINES {
            for _ in 0..owner {
                assert!(counter.count(owner as u32));
            }
        }
        for owner in [LINES as u32, u32::MAX] {
            assert!(!counter.count(owner), "a thread without a line");
        }
        counter.count_shared();
        counter.count_shared();
        assert!((1..LINES).all(|owner| line(owner) == owner));
        assert_eq!(line(0), 2);
        assert_eq!(counter.sum(), (LINES * (LINES - 1) / 2 + 2) as u64);
    }
}
