//! The depot: batches of idle nodes that all threads share.
//!
//! One lock guards a stack of batches; threads take it once per batch (Bonwick and Adams, "Magazines and Vmem", 2001).
//! Gets take from the hot end, passes trim from the cold end. The lock is held for a few instructions: nothing is
//! allocated, freed or walked under it, and no user code runs (I5). A caller that cannot lock before its timeout
//! creates or drops an object instead.
//!
//! The hottest batch is a field beside the stack. So a pool with at most one batch here allocates no memory for the
//! stack, and touches only the depot's own cache lines.
//!
//! `objects` and `bytes` say what the stack holds. They are written under the lock, and read without it as well.

use super::indexed::IndexedBatch;
use super::node::{Batch, End, Link};
use super::stats::Reason;
use crate::sync::{AtomicUsize, IN_MODELS, Mutex, Ordering, StatUsize, Timeout};
use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct Depot {
    stack: Mutex<Stack>,
    objects: AtomicUsize,
    bytes: StatUsize,
}

#[derive(Debug)]
struct Stack {
    /// The batch at the hot end. May be empty.
    hottest: IndexedBatch,
    /// The other batches, none of which is empty. Front: the cold end. Back: the hot end.
    batches: VecDeque<IndexedBatch>,
    objects: usize,
    /// The low-water mark: the fewest objects since the last pass.
    low: u32,
    /// The objects that no thread needed in the previous interval.
    low_before: u32,
    closed: bool,
}

const _: () = assert!(
    IN_MODELS || size_of::<Depot>() <= 192,
    "the depot fits into three cache lines"
);

/// Saturates: only that many objects are tracked.
fn in_32_bits(objects: usize) -> u32 {
    u32::try_from(objects).unwrap_or(u32::MAX)
}

/// Why the depot did not take a batch, which comes back with this.
#[derive(Debug)]
pub(crate) enum Refused {
    Contended(Batch),
    Closed(Batch),
}

impl Refused {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Refused::Contended(_) => Reason::Full,
            Refused::Closed(_) => Reason::Closed,
        }
    }
}

impl Depot {
    pub(crate) fn new() -> Self {
        Self {
            stack: Mutex::new(Stack {
                hottest: IndexedBatch::EMPTY,
                batches: VecDeque::new(),
                objects: 0,
                low: 0,
                low_before: 0,
                closed: false,
            }),
            objects: AtomicUsize::new(0),
            bytes: StatUsize::new(0),
        }
    }

    /// Puts a batch at one end.
    pub(crate) fn give(&self, batch: Batch, end: End, timeout: Timeout) -> Result<(), Refused> {
        self.give_indexed(&mut IndexedBatch::new(batch), end, timeout)
    }

    /// Puts a batch with its index at one end.
    pub(crate) fn give_indexed(
        &self,
        batch: &mut IndexedBatch,
        end: End,
        timeout: Timeout,
    ) -> Result<(), Refused> {
        if batch.is_empty() {
            return Ok(());
        }
        let Some(mut stack) = self.stack.lock_bounded(timeout) else {
            return Err(Refused::Contended(batch.batch_mut().take()));
        };
        if stack.closed {
            drop(stack);
            return Err(Refused::Closed(batch.batch_mut().take()));
        }
        let len = stack.batches.len();
        if !stack.takes_hottest(end) && len == stack.batches.capacity() {
            drop(stack);
            return self.give_to_larger(batch, end, timeout, len);
        }
        self.put(&mut stack, batch, end);
        Ok(())
    }

    /// Puts a batch at one end of a stack that has to grow beyond `len` for it.
    #[cold]
    fn give_to_larger(
        &self,
        batch: &mut IndexedBatch,
        end: End,
        timeout: Timeout,
        mut len: usize,
    ) -> Result<(), Refused> {
        loop {
            // Allocated outside the lock: the allocator may be the user's code.
            let mut larger = VecDeque::with_capacity(2 * len + 4);
            let Some(mut stack) = self.stack.lock_bounded(timeout) else {
                return Err(Refused::Contended(batch.batch_mut().take()));
            };
            if stack.closed {
                drop(stack);
                return Err(Refused::Closed(batch.batch_mut().take()));
            }
            len = stack.batches.len();
            if len == stack.batches.capacity() {
                if larger.capacity() <= len {
                    continue;
                }
                larger.extend(stack.batches.drain(..));
                std::mem::swap(&mut stack.batches, &mut larger);
            }
            self.put(&mut stack, batch, end);
            drop(stack);
            // Frees the old stack, which is empty, outside the lock.
            drop(larger);
            return Ok(());
        }
    }

    /// Puts one node on the hot end, into the batch there if that has room.
    ///
    /// # Safety
    /// The caller holds the node, and gives it up on `Ok`. `Err` returns it as a batch of one.
    pub(crate) unsafe fn give_one(&self, link: *mut Link) -> Result<(), Refused> {
        // SAFETY: the caller holds the node.
        let weight = unsafe { Link::weight(link) };
        if let Some(mut stack) = self.stack.lock_bounded(Timeout::Short) {
            let closed = stack.closed;
            let open = stack.top().filter(|_| !closed);
            if let Some(top) = open.filter(|top| top.batch().has_room_for(weight)) {
                // SAFETY: the caller holds the node and gives it up.
                unsafe { top.batch_mut().push(link) };
                self.came(&mut stack, 1, weight);
                return Ok(());
            }
        }
        // SAFETY: the caller holds the node and gives it up.
        let batch = unsafe { Batch::of_one(link) };
        self.give(batch, End::Hot, Timeout::Short)
    }

    /// Takes the hottest batch into `to`, which is empty. `false` if there is none, or the lock could not be taken.
    pub(crate) fn take(&self, to: &mut IndexedBatch) -> bool {
        let stack = self
            .nonempty()
            .and_then(|stack| stack.lock_bounded(Timeout::Short));
        let Some(mut stack) = stack else {
            return false;
        };
        if !stack.hottest.is_empty() {
            stack.hottest.move_to(to);
        } else if let Some(below) = stack.batches.pop_back() {
            *to = below;
        } else {
            return false;
        }
        self.took(&mut stack, to.batch().len, to.batch().bytes);
        true
    }

    /// Takes the hottest node; null if there is none, or the lock could not be taken.
    pub(crate) fn take_one(&self) -> *mut Link {
        let stack = self
            .nonempty()
            .and_then(|stack| stack.lock_bounded(Timeout::Short));
        let Some(mut stack) = stack else {
            return std::ptr::null_mut();
        };
        let Some(top) = stack.top() else {
            return std::ptr::null_mut();
        };
        let batch = top.batch_mut();
        let before = batch.bytes;
        let link = batch.pop();
        let weight = before.wrapping_sub(batch.bytes);
        self.took(&mut stack, 1, weight);
        link
    }

    /// Takes the hottest node for which `pick` returns `true`; null if there is none. Calls `pick` under the lock, for
    /// one node after the other: only for pools with diagnostics.
    #[allow(dead_code, reason = "for pools with diagnostics, which are a feature")]
    pub(crate) fn take_where(&self, mut pick: impl FnMut(*mut Link) -> bool) -> *mut Link {
        let stack = self
            .nonempty()
            .and_then(|stack| stack.lock_bounded(Timeout::Long));
        let Some(mut stack) = stack else {
            return std::ptr::null_mut();
        };
        let Stack {
            hottest, batches, ..
        } = &mut *stack;
        for batch in std::iter::once(hottest).chain(batches.iter_mut().rev()) {
            let batch = batch.batch_mut();
            let before = batch.bytes;
            let link = batch.take_where(&mut pick);
            if link.is_null() {
                continue;
            }
            let weight = before.wrapping_sub(batch.bytes);
            batches.retain(|batch| !batch.is_empty());
            self.took(&mut stack, 1, weight);
            return link;
        }
        std::ptr::null_mut()
    }

    /// Takes everything, the coldest batch first. With `close`, the depot takes nothing in from then on.
    pub(crate) fn drain(&self, close: bool) -> impl Iterator<Item = Batch> + use<> {
        let (mut batches, mut hottest) = (VecDeque::new(), None);
        // If this fails, the holder of the lock was lost in a fork. What the lock guards leaks.
        if let Some(mut stack) = self.stack.lock_bounded(Timeout::Long) {
            stack.closed |= close;
            let objects = stack.objects;
            self.took(&mut stack, objects, self.bytes());
            stack.low_before = 0;
            hottest = Some(stack.hottest.take());
            batches = std::mem::take(&mut stack.batches);
        }
        batches
            .into_iter()
            .chain(hottest)
            .map(IndexedBatch::into_batch)
    }

    /// At the start of a pass: how many objects no thread needed during the last one or two `intervals`. `None` if the
    /// lock could not be taken.
    pub(crate) fn surplus(&self, intervals: u32) -> Option<usize> {
        let mut stack = self.stack.lock_bounded(Timeout::Short)?;
        let surplus = if intervals > 1 {
            stack.low.min(stack.low_before)
        } else {
            stack.low
        };
        // The rest of the low-water mark, once the surplus has gone.
        stack.low_before = stack.low - surplus;
        Some(surplus as usize)
    }

    /// At the end of a pass, which has moved `unneeded` objects from caches to the cold end. No thread needed them in
    /// the interval that ends, so they count as if they had been here all the time. `None` if the lock could not be
    /// taken.
    pub(crate) fn end_interval(&self, unneeded: usize) -> Option<()> {
        let mut stack = self.stack.lock_bounded(Timeout::Short)?;
        let unneeded = in_32_bits(unneeded);
        stack.low = in_32_bits(stack.objects);
        stack.low_before = stack.low_before.saturating_add(unneeded).min(stack.low);
        Some(())
    }

    /// For a pass that drops the `unneeded` objects at once: takes them out of the count of [`Depot::end_interval`],
    /// and returns how many there are.
    pub(crate) fn uncount_unneeded(&self, unneeded: usize) -> Option<usize> {
        let mut stack = self.stack.lock_bounded(Timeout::Short)?;
        let count = in_32_bits(unneeded).min(stack.low_before);
        stack.low_before -= count;
        Some(count as usize)
    }

    /// Shrinks the stack's own memory after a burst.
    pub(crate) fn shrink(&self) {
        let Some(stack) = self.stack.lock_bounded(Timeout::Short) else {
            return;
        };
        let (len, capacity) = (stack.batches.len(), stack.batches.capacity());
        drop(stack);
        if capacity < 64 || len > capacity / 4 {
            return;
        }
        // Allocated and freed outside the lock.
        let mut smaller = VecDeque::with_capacity(2 * len);
        if let Some(mut stack) = self.stack.lock_bounded(Timeout::Short) {
            if stack.batches.len() <= smaller.capacity() {
                smaller.extend(stack.batches.drain(..));
                std::mem::swap(&mut stack.batches, &mut smaller);
            }
        }
        drop(smaller);
    }

    /// Takes up to `count` of the coldest objects, at most a batch per call. `None` if there are no more.
    pub(crate) fn take_cold(&self, count: usize) -> Option<Batch> {
        if count == 0 {
            return None;
        }
        let mut stack = self.nonempty()?.lock_bounded(Timeout::Short)?;
        let mut batch = stack.coldest()?.batch_mut().take();
        // The top of the batch is its hot end. That part goes back.
        let stays = batch.len.saturating_sub(count);
        if stays > 0 {
            let top = batch.split_top(stays);
            if let Some(coldest) = stack.batches.front_mut() {
                *coldest = IndexedBatch::new(top);
            } else {
                stack.hottest = IndexedBatch::new(top);
            }
        } else {
            stack.batches.pop_front();
        }
        self.took(&mut stack, batch.len, batch.bytes);
        Some(batch)
    }

    /// The number of objects in the depot, which may be slightly out of date.
    pub(crate) fn objects(&self) -> usize {
        // Relaxed: a hint. Objects are taken under the lock.
        self.objects.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> usize {
        // Relaxed: as above.
        self.bytes.load(Ordering::Relaxed)
    }

    fn nonempty(&self) -> Option<&Mutex<Stack>> {
        (self.objects() != 0).then_some(&self.stack)
    }

    /// Puts a batch at one end of the stack, which has capacity for it, and counts it. The caller holds the lock.
    fn put(&self, stack: &mut Stack, batch: &mut IndexedBatch, end: End) {
        self.came(stack, batch.batch().len, batch.batch().bytes);
        stack.put(batch, end);
    }

    /// Counts what comes in. The caller holds the lock.
    fn came(&self, stack: &mut Stack, objects: usize, bytes: usize) {
        stack.objects += objects;
        // Relaxed: as in `objects`.
        self.objects.store(stack.objects, Ordering::Relaxed);
        self.bytes
            .store(self.bytes().wrapping_add(bytes), Ordering::Relaxed);
    }

    /// Counts what was taken. The caller holds the lock.
    fn took(&self, stack: &mut Stack, objects: usize, bytes: usize) {
        stack.objects -= objects;
        stack.low = stack.low.min(in_32_bits(stack.objects));
        // Relaxed: as in `objects`.
        self.objects.store(stack.objects, Ordering::Relaxed);
        self.bytes
            .store(self.bytes().wrapping_sub(bytes), Ordering::Relaxed);
    }
}

impl Stack {
    /// Whether a batch for this end becomes the hottest one without the stack.
    fn takes_hottest(&self, end: End) -> bool {
        self.hottest.is_empty() && (end == End::Hot || self.batches.is_empty())
    }

    /// Puts a batch at one end. The stack has capacity for it.
    fn put(&mut self, batch: &mut IndexedBatch, end: End) {
        if !self.takes_hottest(end) {
            if end == End::Cold {
                return self.batches.push_front(batch.take());
            }
            self.batches.push_back(self.hottest.take());
        }
        batch.move_to(&mut self.hottest);
    }

    /// The hottest batch, moved out of the stack.
    fn top(&mut self) -> Option<&mut IndexedBatch> {
        if self.hottest.is_empty() {
            self.hottest = self.batches.pop_back()?;
        }
        Some(&mut self.hottest)
    }

    fn coldest(&mut self) -> Option<&mut IndexedBatch> {
        let hottest = Some(&mut self.hottest).filter(|batch| !batch.is_empty());
        self.batches.front_mut().or(hottest)
    }
}

#[cfg(test)]
mod tests;
