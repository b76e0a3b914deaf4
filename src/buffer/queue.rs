//! [`Queue`]: a first-in first-out queue in one block of memory. Only [`Queue::grow`] and
//! [`Queue::shrink`] replace the block. No other function allocates, frees or panics.

/// The initial capacity.
const ROOM: usize = 16;

/// Entries from index `first` up to `last`. Both count up for ever and wrap around. Every slot
/// outside that range is empty, so one look at a slot also tells whether the queue is empty or
/// full.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// The number of slots is 0 or a power of two.
    slots: Box<[Option<T>]>,
    first: usize,
    last: usize,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: Box::default(),
            first: 0,
            last: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.last.wrapping_sub(self.first)
    }

    /// Returns how many entries fit.
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    #[inline(always)]
    fn slot(&mut self, at: usize) -> Option<&mut Option<T>> {
        let mask = self.slots.len().wrapping_sub(1);
        self.slots.get_mut(at & mask)
    }

    /// Appends an entry if there is room.
    #[inline(always)]
    pub(super) fn push_in_place(&mut self, one: T) -> Result<(), T> {
        match self.slot(self.last) {
            Some(slot @ None) => {
                // The slot is empty, so there is nothing to drop.
                std::mem::forget(slot.replace(one));
                self.last = self.last.wrapping_add(1);
                Ok(())
            }
            _ => Err(one),
        }
    }

    /// Appends an entry.
    pub(super) fn push(&mut self, one: T) {
        if let Err(one) = self.push_in_place(one) {
            self.grow();
            let pushed = self.push_in_place(one);
            debug_assert!(pushed.is_ok(), "there is room");
        }
    }

    /// Removes the oldest entry.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<T> {
        self.pop_if(|_| true)
    }

    /// Removes the oldest entry if `wanted` returns `true` for it.
    #[inline(always)]
    pub(super) fn pop_if(&mut self, wanted: impl FnOnce(&mut T) -> bool) -> Option<T> {
        let first = self.first;
        let slot = self.slot(first)?;
        if !wanted(slot.as_mut()?) {
            return None;
        }
        let one = slot.take();
        self.first = first.wrapping_add(1);
        one
    }

    /// Returns the entry with `at` older ones before it.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        if at >= self.len() {
            return None;
        }
        self.slot(self.first.wrapping_add(at))?.as_mut()
    }

    /// Doubles the capacity.
    pub(super) fn grow(&mut self) {
        self.resize((2 * self.slots.len()).max(ROOM));
    }

    /// Gives memory back after a burst.
    pub(super) fn shrink(&mut self) {
        let (len, room) = (self.len(), self.slots.len());
        if room > 8 * ROOM && len < room / 4 {
            self.resize((2 * len).next_power_of_two());
        }
    }

    fn resize(&mut self, room: usize) {
        let entries: Vec<T> = std::iter::from_fn(|| self.pop()).collect();
        self.first = 0;
        self.last = entries.len();
        let mut slots: Vec<Option<T>> = entries.into_iter().map(Some).collect();
        slots.resize_with(room, || None);
        self.slots = slots.into_boxed_slice();
    }
}

#[cfg(all(test, not(repool_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 4 } else { 256 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn as_a_deque(steps in prop::collection::vec(0..12_u8, 0..if cfg!(miri) { 60 } else { 400 })) {
            let (mut queue, mut deque) = (Queue::new(), VecDeque::new());
            // Start near the wrap-around of the indices.
            (queue.first, queue.last) = (usize::MAX - 20, usize::MAX - 20);
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    0..=4 => {
                        // Boxes, so that Miri and sanitizers see a double drop or a leak.
                        queue.push(Box::new(n));
                        deque.push_back(n);
                    }
                    5 => {
                        let full = deque.len() == queue.capacity();
                        prop_assert_eq!(queue.push_in_place(Box::new(n)).is_err(), full);
                        if !full {
                            deque.push_back(n);
                        }
                    }
                    6..=8 => prop_assert_eq!(queue.pop().map(|one| *one), deque.pop_front()),
                    9 => {
                        let even = deque.front().is_some_and(|one| one % 2 == 0);
                        let popped = queue.pop_if(|one| **one % 2 == 0).map(|one| *one);
                        prop_assert_eq!(popped, if even { deque.pop_front() } else { None });
                    }
                    10 => {
                        let at = n % 7;
                        prop_assert_eq!(queue.get_mut(at).map(|one| **one), deque.get(at).copied());
                    }
                    _ => queue.shrink(),
                }
                prop_assert_eq!(queue.len(), deque.len());
            }
            let rest: Vec<usize> = std::iter::from_fn(|| queue.pop()).map(|one| *one).collect();
            prop_assert_eq!(rest, Vec::from(deque));
        }
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let many = if cfg!(miri) { 300 } else { 10_000 };
        let mut queue = Queue::new();
        (0..many).for_each(|n| queue.push(n));
        (0..many - 10).for_each(|n| assert_eq!(queue.pop(), Some(n)));
        queue.shrink();
        assert!(queue.capacity() < 128, "{}", queue.capacity());
        (many - 10..many).for_each(|n| assert_eq!(queue.pop(), Some(n)));
    }

    /// The capacity after `len` of `room` entries are left and the queue shrinks.
    fn shrunk(room: usize, len: usize) -> usize {
        let mut queue = Queue::new();
        (0..room).for_each(|n| queue.push(n));
        assert_eq!(queue.capacity(), room);
        (0..room - len).for_each(|n| assert_eq!(queue.pop(), Some(n)));
        queue.shrink();
        assert_eq!(queue.len(), len);
        queue.capacity()
    }

    #[test]
    fn a_queue_shrinks_below_a_quarter_and_not_if_it_is_small() {
        for (room, len, expected) in [
            (8 * ROOM, 0, 8 * ROOM),
            (16 * ROOM, 4 * ROOM, 16 * ROOM),
            (16 * ROOM, 4 * ROOM - 1, 8 * ROOM),
            (16 * ROOM, 40, 128),
            (16 * ROOM, 0, 1),
        ] {
            assert_eq!(shrunk(room, len), expected, "{len} of {room}");
        }
    }
}
