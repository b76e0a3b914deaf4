//! What a pool may keep: the number of idle objects and their bytes, for one pool, for a group, or within a budget.
//!
//! Nothing is counted on the hit path. A cache is *charged in advance* for the objects that it may hold, each at
//! `threshold - 1` bytes, the most that it accepts (I7). When it has used up its charge it asks for more: one object at
//! first, then a list at a time. It releases the charge when it is emptied. A batch in the depot is charged for exactly
//! what it holds. So what is idle never exceeds what is charged, and what is charged never exceeds the limit: the slack
//! above a limit is zero. The price is slack below the limit: until a pass releases it, a thread may keep a charge that
//! it does not use, of at most two lists. In a bounded pool a list is at most an eighth of each limit.
//!
//! # Orderings
//! - `Limit::used`: Relaxed. It publishes nothing: the objects that it counts are handed over under the depot's lock or
//!   the gate.

use super::node::{LIST_BYTES, LIST_LEN};
use super::stats::Reason;
use crate::sync::rare::Arc;
use crate::sync::{AtomicUsize, Ordering, StatUsize};

/// Heavier objects are not kept. The gate needs the sign bit, and sums of weights must not overflow, or a release would
/// not match its charge. No process has that much memory, but a user's `retained_bytes` may return any number. On 32 bits
/// that is 256 MiB: lists of heavy objects hold a single one, and a few of them stay within 4 GiB.
pub(crate) const MAX_WEIGHT: usize = if usize::BITS > 32 { 1 << 47 } else { 1 << 28 };
/// The initial threshold in an unbounded pool: a list of lighter objects never exceeds `LIST_BYTES`.
pub(crate) const FIRST_THRESHOLD: usize = LIST_BYTES / LIST_LEN + 1;
/// Where the use of objects is checked, only that of heavier objects is.
const LARGE: usize = 64 << 10;
/// A list in a bounded pool is at most one part in this many of each limit.
const LISTS: usize = 8;

/// Objects and bytes that are charged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) objects: usize,
    pub(crate) bytes: usize,
}

impl Charge {
    pub(crate) const NONE: Self = Self {
        objects: 0,
        bytes: 0,
    };

    /// The charge for this many objects, each of the most that passes below `threshold`.
    pub(crate) fn of_objects(objects: usize, threshold: usize) -> Self {
        Self {
            objects,
            bytes: objects.saturating_mul(threshold.saturating_sub(1)),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_add(other.objects),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// A limit, and how much of it is used.
#[derive(Debug)]
pub(crate) struct Limit {
    limit: usize,
    used: AtomicUsize,
}

impl Limit {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
        }
    }

    pub(crate) fn reserve(&self, amount: usize) -> bool {
        if amount == 0 {
            return true;
        }
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            match used.checked_add(amount) {
                Some(after) if after <= self.limit => {
                    match self.used.compare_exchange_weak(
                        used,
                        after,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    ) {
                        Ok(_) => return true,
                        Err(now) => used = now,
                    }
                }
                _ => return false,
            }
        }
    }

    pub(crate) fn release(&self, amount: usize) {
        if amount != 0 {
            let before = self.used.fetch_sub(amount, Ordering::Relaxed);
            debug_assert!(before >= amount, "I7: released more than was reserved");
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }
}

/// A limit on objects and bytes that one pool has, or several share.
#[derive(Debug)]
pub(crate) struct Quota {
    objects: Limit,
    bytes: Limit,
    /// Returns that did not fit. A statistic.
    refused: StatUsize,
}

impl Quota {
    pub(crate) fn new(max_idle: usize, max_idle_bytes: usize) -> Self {
        Self {
            objects: Limit::new(max_idle),
            bytes: Limit::new(max_idle_bytes),
            refused: StatUsize::new(0),
        }
    }

    pub(crate) fn bytes(&self) -> &Limit {
        &self.bytes
    }

    fn is_bounded(&self) -> bool {
        self.objects.limit != usize::MAX || self.bytes.limit != usize::MAX
    }

    fn reserve(&self, charge: Charge) -> bool {
        if !self.objects.reserve(charge.objects) {
            return false;
        }
        let fits = self.bytes.reserve(charge.bytes);
        if !fits {
            self.objects.release(charge.objects);
        }
        fits
    }

    fn release(&self, charge: Charge) {
        self.objects.release(charge.objects);
        self.bytes.release(charge.bytes);
    }

    fn could_hold(&self, charge: Charge) -> bool {
        charge.objects <= self.objects.limit && charge.bytes <= self.bytes.limit
    }

    fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

/// The limits of one pool.
#[derive(Debug)]
pub(crate) struct Limits {
    own: Quota,
    /// The limit that several pools share: those of one buffer pool's classes.
    group: Option<Arc<Quota>>,
    budget: Option<Arc<Quota>>,
    max_object_bytes: usize,
    /// Passes leave this many objects idle.
    min_idle: usize,
    /// The bytes of an object besides its weight: its `size_of`.
    object_bytes: usize,
    /// The use of an object is checked if it weighs more than two to the power of this; 0: of none. New objects never
    /// weigh more.
    use_check_log2: StatUsize,
    /// Whether anything is charged at all.
    bounded: bool,
    /// Whether nothing is known of what objects hold on the heap.
    unweighed: bool,
    /// The most bytes in a full list of an unbounded pool.
    unbounded_list_bytes: usize,
    /// The most objects and bytes in a full list.
    list: Charge,
    /// Returns of this pool that a shared quota refused. A statistic.
    refused: StatUsize,
    /// The refusals that the last pass saw: of all pools that share quotas with this one, and of this pool.
    seen: [StatUsize; 2],
}

impl Limits {
    pub(crate) fn new(max_idle: usize, max_idle_bytes: usize, max_object_bytes: usize) -> Self {
        let limits = Self {
            own: Quota::new(max_idle, max_idle_bytes),
            group: None,
            budget: None,
            max_object_bytes,
            min_idle: 0,
            object_bytes: 0,
            use_check_log2: StatUsize::new(0),
            bounded: false,
            unweighed: false,
            unbounded_list_bytes: LIST_BYTES,
            list: Charge::NONE,
            refused: StatUsize::new(0),
            seen: [StatUsize::new(0), StatUsize::new(0)],
        };
        limits.finished()
    }

    pub(crate) fn with_budget(self, budget: Option<Arc<Quota>>) -> Self {
        Self { budget, ..self }.finished()
    }

    pub(crate) fn with_group(self, group: Option<Arc<Quota>>) -> Self {
        Self { group, ..self }.finished()
    }

    pub(crate) fn with_object_bytes(self, object_bytes: usize) -> Self {
        Self {
            object_bytes,
            ..self
        }
        .finished()
    }

    /// Makes lists longer as long as nothing is bounded.
    pub(crate) fn with_unbounded_list_bytes(self, unbounded_list_bytes: usize) -> Self {
        Self {
            unbounded_list_bytes,
            ..self
        }
        .finished()
    }

    pub(crate) fn with_min_idle(self, min_idle: usize) -> Self {
        Self { min_idle, ..self }
    }

    pub(crate) fn min_idle(&self) -> usize {
        self.min_idle
    }

    /// Objects heavier than [`LARGE`], and heavier than a new one, return on the slow path.
    pub(crate) fn with_use_checked(self) -> Self {
        Self {
            use_check_log2: StatUsize::new(LARGE.ilog2() as usize),
            ..self
        }
    }

    pub(crate) fn with_unweighed(self, unweighed: bool) -> Self {
        Self { unweighed, ..self }
    }

    /// Returns whether nothing is known of what objects hold on the heap.
    pub(crate) fn unweighed(&self) -> bool {
        self.unweighed
    }

    /// Notes the weight of a new object: its use is not checked at that weight.
    pub(crate) fn expect(&self, weight: usize) {
        // Relaxed: publishes nothing.
        let use_check_log2 = self.use_check_log2.load(Ordering::Relaxed);
        let log = weight
            .saturating_sub(1)
            .checked_ilog2()
            .map_or(0, |log| log + 1) as usize;
        if use_check_log2 != 0 && log > use_check_log2 {
            self.use_check_log2.store(log, Ordering::Relaxed);
        }
    }

    /// The binary logarithm of [`Limits::usual_weight`]; 0 if no use is checked.
    pub(super) fn use_check_log2(&self) -> u8 {
        self.use_check_log2.load(Ordering::Relaxed) as u8
    }

    /// Objects up to this weight are kept, however little of them is used.
    pub(crate) fn usual_weight(&self) -> usize {
        match self.use_check_log2() {
            0 => usize::MAX,
            log => 1_usize.checked_shl(log.into()).unwrap_or(usize::MAX),
        }
    }

    /// The bytes of this many objects with this sum of weights, as limits and users count them. Weights leave out the
    /// size of the object itself, so that a hit does not have to add it.
    pub(crate) fn bytes_of(&self, objects: usize, weights: usize) -> usize {
        objects
            .saturating_mul(self.object_bytes)
            .saturating_add(weights)
    }

    /// The same of a charge.
    fn real(&self, charge: Charge) -> Charge {
        Charge {
            bytes: self.bytes_of(charge.objects, charge.bytes),
            ..charge
        }
    }

    /// Computes the fields that follow from the quotas.
    fn finished(mut self) -> Self {
        self.bounded = self.own.is_bounded() || self.shared().next().is_some();
        self.list = Charge {
            objects: LIST_LEN,
            bytes: if self.bounded {
                LIST_BYTES
            } else {
                self.unbounded_list_bytes
            },
        };
        let part = |limit: usize| (limit / LISTS).max(1);
        let parts = self.quotas().map(|(quota, _)| Charge {
            objects: part(quota.objects.limit),
            bytes: part(quota.bytes.limit),
        });
        self.list = parts.fold(self.list, |list, part| Charge {
            objects: list.objects.min(part.objects),
            bytes: list.bytes.min(part.bytes),
        });
        self
    }

    fn shared(&self) -> impl Iterator<Item = &Quota> {
        self.group
            .as_deref()
            .into_iter()
            .chain(self.budget.as_deref())
    }

    /// All quotas, each with the reason for its refusals.
    fn quotas(&self) -> impl Iterator<Item = (&Quota, Reason)> {
        let group = self.group.as_deref().map(|quota| (quota, Reason::Full));
        let budget = self.budget.as_deref().map(|quota| (quota, Reason::Budget));
        std::iter::once((&self.own, Reason::Full))
            .chain(group)
            .chain(budget)
    }

    /// Whether anything is charged at all.
    pub(crate) fn bounded(&self) -> bool {
        self.bounded
    }

    /// Whether an object of this weight may be kept. The size of the object itself does not count, since it does not
    /// grow.
    pub(crate) fn accepts(&self, weight: usize) -> bool {
        weight <= self.max_object_bytes.min(MAX_WEIGHT)
    }

    /// The threshold of a new cache. In a bounded pool it admits nothing, since a new cache has no charge.
    pub(crate) fn first_threshold(&self) -> usize {
        if self.bounded() {
            1
        } else {
            FIRST_THRESHOLD.min(self.max_threshold())
        }
    }

    /// The threshold that lets `weight` pass, with headroom where that costs nothing.
    pub(crate) fn threshold_for(&self, weight: usize) -> usize {
        if self.bounded() {
            return weight.saturating_add(1);
        }
        // The next power of two: most capacities are one.
        let most = weight.checked_next_power_of_two().unwrap_or(weight);
        most.saturating_add(1)
            .max(FIRST_THRESHOLD)
            .min(self.max_threshold())
    }

    fn max_threshold(&self) -> usize {
        self.max_object_bytes.min(MAX_WEIGHT) + 1
    }

    /// The length of a full list of objects that weigh `threshold - 1`.
    ///
    /// In a bounded pool one thread must not hold most of the limit: a list is at most an eighth of each limit, or a
    /// single object.
    pub(crate) fn full_len(&self, threshold: usize) -> usize {
        let mut object = threshold.saturating_sub(1);
        if self.bounded {
            object = self.bytes_of(1, object);
        }
        let object = object.max(1);
        (self.list.bytes / object).clamp(1, self.list.objects)
    }

    /// Reserves a charge. `Err`, and no change, if it does not fit.
    pub(crate) fn reserve(&self, charge: Charge) -> Result<(), Reason> {
        self.trade(Charge::NONE, charge)
    }

    pub(crate) fn release(&self, charge: Charge) {
        let traded = self.trade(charge, Charge::NONE);
        debug_assert!(traded.is_ok(), "a release always succeeds");
    }

    /// Trades one charge for another. `Err`, and no change, if the new one does not fit.
    pub(crate) fn trade(&self, have: Charge, need: Charge) -> Result<(), Reason> {
        if !self.bounded() {
            return Ok(());
        }
        let (have, need) = (self.real(have), self.real(need));
        let more = Charge {
            objects: need.objects.saturating_sub(have.objects),
            bytes: need.bytes.saturating_sub(have.bytes),
        };
        for (taken, (quota, reason)) in self.quotas().enumerate() {
            if !quota.reserve(more) {
                for (quota, _) in self.quotas().take(taken) {
                    quota.release(more); // mutant: drop-take-charge-back
                }
                return Err(reason);
            }
        }
        let less = Charge {
            objects: have.objects.saturating_sub(need.objects),
            bytes: have.bytes.saturating_sub(need.bytes),
        };
        for (quota, _) in self.quotas() {
            quota.release(less);
        }
        Ok(())
    }

    /// The number of objects that are charged.
    #[cfg(test)]
    pub(crate) fn charged(&self) -> usize {
        self.own.objects.used()
    }

    /// Whether half of a limit or more is used. Then a limit may keep a thread from objects that another thread holds.
    pub(crate) fn is_tight(&self) -> bool {
        let tight = |account: &Limit| account.used() >= account.limit.div_ceil(2);
        self.quotas()
            .any(|(quota, _)| tight(&quota.objects) || tight(&quota.bytes))
    }

    /// Whether an object of this weight could be kept if nothing else were.
    pub(crate) fn could_hold(&self, weight: usize) -> bool {
        let alone = self.real(Charge {
            objects: 1,
            bytes: weight,
        });
        self.quotas().all(|(quota, _)| quota.could_hold(alone))
    }

    /// Counts a return that did not fit.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        for quota in self.shared() {
            quota.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many returns of other pools the shared quotas have refused since the last call. Those pools want the room
    /// that this pool takes.
    pub(crate) fn wanted_by_others(&self) -> usize {
        let total = self.shared().map(Quota::refused).sum::<usize>();
        let own = self.refused.load(Ordering::Relaxed) * self.shared().count();
        let total_before = self.seen[0].swap(total, Ordering::Relaxed);
        let own_before = self.seen[1].swap(own, Ordering::Relaxed);
        total
            .wrapping_sub(total_before)
            .saturating_sub(own.wrapping_sub(own_before))
    }
}

#[cfg(test)]
mod tests;
