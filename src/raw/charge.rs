//! What a cache may hold: its *grant* of the pool's limits, and the threshold that goes with it.
//!
//! In an unbounded pool nothing is charged: a grant has no limit, and only the threshold moves. All of it runs
//! inside the critical section (I2, I5).

use super::limits::{Charge, Limits};
use super::lists::ListsMut;
use super::node::{Batch, End};
use super::stats::Reason;

impl ListsMut<'_> {
    /// Makes room for one object of this weight; a full list may have to leave.
    pub(super) fn admit(
        &mut self,
        weight: usize,
        limits: &Limits,
        leaving: &mut (Batch, End),
    ) -> Result<(), Reason> {
        self.refresh_use_check(limits);
        if weight >= self.lists.threshold() {
            self.raise_threshold(weight, limits)?;
        }
        if !self.has_room() {
            if self.space() == 0 {
                *leaving = self.rotate(limits);
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

    /// Loads a batch, with its charge, into the empty lists; gives back what does not fit. `keep_charge`:
    /// what is left of the grant serves the objects that this thread has out.
    pub(super) fn admit_batch(&mut self, batch: Batch, limits: &Limits, keep_charge: bool) -> Batch {
        let threshold = limits.threshold_for(batch.heaviest);
        if !limits.bounded() && self.lists.threshold() == threshold {
            self.load_from_depot(batch);
            return Batch::EMPTY;
        }
        let with_it = Charge {
            objects: batch.len,
            bytes: batch.bytes,
        };
        // A thread that only ever gets must not collect all of the limit.
        let objects = (self.lists.charged as usize)
            .saturating_add(batch.len)
            .min(2 * limits.full_len(threshold))
            .max(batch.len);
        let objects = if keep_charge { objects } else { batch.len };
        let charged = self
            .recharge(limits, with_it, objects, threshold)
            .or_else(|_| self.recharge(limits, with_it, batch.len, threshold));
        if charged.is_err() {
            return batch;
        }
        self.load_from_depot(batch);
        Batch::EMPTY
    }

    /// Accepts heavier objects from now on, and fewer of them.
    fn raise_threshold(&mut self, weight: usize, limits: &Limits) -> Result<(), Reason> {
        let threshold = limits.threshold_for(weight).max(self.lists.threshold());
        // With the object itself: one that does not fit must not raise what lighter ones are charged.
        let need = self.idle() + 1;
        let objects = need.max(self.lists.charged as usize);
        self.recharge(limits, Charge::NONE, objects, threshold)
            // Give the unused part of the grant back, and try with what is really there.
            .or_else(|_| self.recharge(limits, Charge::NONE, need, threshold))?;
        self.make_room();
        Ok(())
    }

    /// Asks for more to be charged for: slowly at first, so that many threads share a small
    /// limit, then a list at a time; never for more than the two lists that there is room for.
    fn grow_charge(&mut self, limits: &Limits) -> Result<(), Reason> {
        let (objects, threshold) = (self.lists.charged as usize, self.lists.threshold());
        let full = limits.full_len(threshold);
        let rest = (2 * full).saturating_sub(objects);
        let more = objects.min(full).min(rest).max(1);
        self.recharge(limits, Charge::NONE, objects.saturating_add(more), threshold)
            .or_else(|_| self.recharge(limits, Charge::NONE, objects.saturating_add(1), threshold))?;
        self.make_room();
        Ok(())
    }

    /// The limits allow no more objects of the most that the threshold lets pass: asks for room for one
    /// that weighs `weight`, with all charged by what is really there. Walks both lists.
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

    /// What `recharge` and `shrink_to` trade.
    fn charge(&self) -> Charge {
        Charge::of_objects(self.lists.charged as usize, self.lists.threshold())
    }

    /// Trades the present charge, and what came `with_it`, for one of `grant` objects below `threshold`.
    /// `Err` and nothing changed when the limits do not allow it. `make_room` is to follow.
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

    /// A list leaves with what its objects weigh: the grant shrinks by its length.
    pub(super) fn shrink_for(&mut self, limits: &Limits, leaving: &Batch) {
        let objects = (self.lists.charged as usize).saturating_sub(leaving.len);
        self.shrink_to(limits, &[leaving], objects);
    }

    /// Lowers the charge to `grant` objects, and gives the rest back but what leaves with `leaving`.
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
