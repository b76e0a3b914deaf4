//! What a cache may hold: its charge, and the threshold that goes with it.
//!
//! The charge of a cache is a number of objects at `threshold - 1` bytes each, the most that passes its gate. In an
//! unbounded pool nothing is charged, and only the threshold changes. Everything here runs inside the critical section
//! (I2, I5).

use super::limits::{Charge, Limits};
use super::lists::{Leaving, ListsMut};
use super::node::Batch;
use super::stats::Reason;

impl ListsMut<'_> {
    /// Makes room for one object of this weight. A full list may have to leave.
    pub(super) fn admit(
        &mut self,
        weight: usize,
        limits: &Limits,
        leaving: &mut Leaving,
    ) -> Result<(), Reason> {
        self.refresh_use_check(limits);
        if weight >= self.lists.threshold() {
            self.raise_threshold(weight, limits)?;
        }
        if !self.has_room() {
            if self.space() == 0 {
                self.rotate(limits, leaving);
            } else {
                self.make_room();
            }
        }
        if self.has_room() {
            return Ok(());
        }
        self.grow_charge(limits).or_else(|reason| {
            self.lower_threshold(weight, limits)
                .ok()
                .filter(|()| self.has_room())
                .ok_or(reason)
        })
    }

    /// Loads a batch, with its charge, into the empty lists. Leaves it as it is if the limits refuse it. With
    /// `keep_charge` the present charge stays as well, for the objects that this thread has in use.
    pub(super) fn admit_batch(&mut self, batch: &mut Batch, limits: &Limits, keep_charge: bool) {
        let threshold = limits.threshold_for(batch.heaviest);
        if !limits.bounded() && self.lists.threshold() == threshold {
            return self.load_from_depot(batch);
        }
        let with_it = Charge {
            objects: batch.len,
            bytes: batch.bytes,
        };
        // Capped: a thread that only gets must not accumulate the whole limit.
        let objects = (self.lists.charged as usize)
            .saturating_add(batch.len)
            .min(2 * limits.full_len(threshold))
            .max(batch.len);
        let objects = if keep_charge { objects } else { batch.len };
        let charged = self
            .recharge(limits, with_it, objects, threshold)
            .or_else(|_| self.recharge(limits, with_it, batch.len, threshold));
        if charged.is_ok() {
            self.load_from_depot(batch);
        }
    }

    /// Raises the threshold, so that heavier objects pass, and fewer of them.
    fn raise_threshold(&mut self, weight: usize, limits: &Limits) -> Result<(), Reason> {
        let threshold = limits.threshold_for(weight).max(self.lists.threshold());
        // This includes the object itself: if it does not fit, the charge of lighter ones must not rise.
        let need = self.idle() + 1;
        let objects = need.max(self.lists.charged as usize);
        self.recharge(limits, Charge::NONE, objects, threshold)
            // Try again with a charge for the objects that are there, and release the rest.
            .or_else(|_| self.recharge(limits, Charge::NONE, need, threshold))?;
        self.make_room();
        Ok(())
    }

    /// Charges more objects: few at first, so that many threads can share a small limit, then a list at a time. Never
    /// more than the two lists that a cache holds.
    fn grow_charge(&mut self, limits: &Limits) -> Result<(), Reason> {
        let (objects, threshold) = (self.lists.charged as usize, self.lists.threshold());
        let full = limits.full_len(threshold);
        let rest = (2 * full).saturating_sub(objects);
        // What this thread does not need, others may.
        let part = if limits.is_tight() { 4 } else { 1 };
        let more = (objects / part).min(full).min(rest).max(1);
        self.recharge(
            limits,
            Charge::NONE,
            objects.saturating_add(more),
            threshold,
        )
        .or_else(|_| self.recharge(limits, Charge::NONE, objects.saturating_add(1), threshold))?;
        self.make_room();
        Ok(())
    }

    /// Lowers the threshold to the heaviest object that is there, or `weight` if that is more, and charges one more
    /// object at that. For limits that allow no more objects at the present threshold. Walks both lists.
    fn lower_threshold(&mut self, weight: usize, limits: &Limits) -> Result<(), Reason> {
        if self.lists.threshold() <= weight.saturating_add(1) {
            return Ok(());
        }
        let threshold = limits.threshold_for(self.heaviest().max(weight));
        if threshold < self.lists.threshold() {
            let need = self.idle() + 1;
            self.recharge(limits, Charge::NONE, need, threshold)?;
            self.make_room();
        }
        Ok(())
    }

    /// The present charge of this cache.
    fn charge(&self) -> Charge {
        Charge::of_objects(self.lists.charged as usize, self.lists.threshold())
    }

    /// Trades the present charge, and the charge `with_it`, for one of this many objects below `threshold`. `Err`, and
    /// no change, if the limits do not allow that. The caller has to call `make_room` afterwards.
    fn recharge(
        &mut self,
        limits: &Limits,
        with_it: Charge,
        objects: usize,
        threshold: usize,
    ) -> Result<(), Reason> {
        if limits.bounded() {
            let need = Charge::of_objects(objects, threshold);
            limits.trade(self.charge().plus(with_it), need)?;
            self.lists.charged = objects as u32;
        }
        self.lists.set_threshold(threshold, limits);
        Ok(())
    }

    /// Reduces the charge by the length of a list that leaves. Its objects stay charged at their own weights.
    pub(super) fn shrink_for(&mut self, limits: &Limits, leaving: &Batch) {
        let objects = (self.lists.charged as usize).saturating_sub(leaving.len);
        self.shrink_to(limits, &[leaving], objects);
    }

    /// Reduces the charge to this many objects, and releases the rest, except for the weight of what leaves.
    pub(super) fn shrink_to(&mut self, limits: &Limits, leaving: &[&Batch], objects: usize) {
        if limits.bounded() {
            let before = self.charge();
            self.lists.charged = objects as u32;
            let keep = leaving.iter().fold(self.charge(), |sum, batch| {
                sum.plus(Charge {
                    objects: batch.len,
                    bytes: batch.bytes,
                })
            });
            let traded = limits.trade(before, keep);
            debug_assert!(
                traded.is_ok(),
                "I7: exact weights never exceed what was charged for them"
            );
        }
    }
}

#[cfg(test)]
mod tests;
