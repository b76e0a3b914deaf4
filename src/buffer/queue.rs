//! [`Queue`]: first in, first out, and the first few in place.

use std::collections::VecDeque;

/// So many are in place.
pub(super) const FEW: usize = 16;

/// A queue whose oldest entries are in place: where few wait there is no pointer to follow, and no
/// call to the allocator.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// The oldest: `near` of them, from `first` on, and at the end from the start again.
    few: [Option<T>; FEW],
    first: usize,
    near: usize,
    /// The others. None, unless there are [`FEW`] before them.
    far: VecDeque<T>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            few: [const { None }; FEW],
            first: 0,
            near: 0,
            far: VecDeque::new(),
        }
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        self.near + self.far.len()
    }

    /// Whether one more goes in place.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.near < FEW
    }

    /// Puts one at the end.
    #[inline(always)]
    pub(super) fn push(&mut self, one: T) {
        if self.has_room() {
            let place = &mut self.few[(self.first + self.near) % FEW];
            debug_assert!(place.is_none());
            // Nothing is there to be dropped.
            std::mem::forget(place.replace(one));
            self.near += 1;
        } else {
            self.push_slow(one);
        }
    }

    #[cold]
    #[inline(never)]
    fn push_slow(&mut self, one: T) {
        self.far.push_back(one);
    }

    /// Takes the oldest out. Allocates and frees nothing.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.near == 0 {
            return None;
        }
        let one = self.few[self.first % FEW].take();
        self.first = (self.first + 1) % FEW;
        self.near -= 1;
        if !self.far.is_empty() {
            self.move_up_slow();
        }
        one
    }

    #[cold]
    #[inline(never)]
    fn move_up_slow(&mut self) {
        if let Some(next) = self.far.pop_front() {
            self.push(next);
        }
    }

    /// Gives memory back after a burst.
    pub(super) fn shrink(&mut self) {
        let (len, capacity) = (self.far.len(), self.far.capacity());
        if capacity >= 128 && len <= capacity / 4 {
            self.far.shrink_to(2 * len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 4 } else { 256 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn as_a_deque(steps in prop::collection::vec(0..9_u8, 0..400)) {
            let (mut queue, mut deque) = (Queue::default(), VecDeque::new());
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    0..=4 => {
                        // What is dropped too often, or not at all, is a leak or worse.
                        queue.push(Box::new(n));
                        deque.push_back(n);
                    }
                    5..=7 => prop_assert_eq!(queue.pop().map(|one| *one), deque.pop_front()),
                    _ => queue.shrink(),
                }
                prop_assert_eq!(queue.len(), deque.len());
                prop_assert_eq!(queue.has_room(), deque.len() < FEW);
            }
            let rest: Vec<usize> = std::iter::from_fn(|| queue.pop()).map(|one| *one).collect();
            prop_assert_eq!(rest, Vec::from(deque));
        }
    }

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mut queue = Queue::default();
        (0..10_000).for_each(|n| queue.push(n));
        (0..9_990).for_each(|n| assert_eq!(queue.pop(), Some(n)));
        queue.shrink();
        assert!(queue.far.capacity() < 128, "{}", queue.far.capacity());
    }
}
