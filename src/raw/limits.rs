//! What a pool may keep: the number of idle objects, their bytes, and its share of a budget.
//!
//! Nothing is counted on the hit path. A cache is *charged in advance* for the objects that it may
//! hold: `grant` objects of `bar - 1` bytes each, the most it accepts (I7). It asks for more when
//! the grant is used up, one object at first and then a list at a time, and gives the charge back
//! when it is emptied. A batch in the depot is charged for exactly what it holds. So what is idle
//! never exceeds what is charged, and what is charged never exceeds the limit: the slack above a
//! limit is zero. The price is below it: a thread may sit on a charge that it does not use, at
//! most two lists, until a pass takes it back.

#[cfg(not(repool_loom))]
use crate::budget::Budget;
use crate::raw::cache::{FIRST_BAR, MAX_WEIGHT};
use crate::raw::stats::Reason;
#[cfg(not(repool_loom))]
use crate::sync::rare::Arc;
use crate::sync::{Figure, Ordering};

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

    /// So many objects of the most that `bar` lets pass.
    pub(crate) fn of_objects(objects: usize, bar: usize) -> Self {
        Self {
            objects,
            bytes: objects.saturating_mul(bar.saturating_sub(1)),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            objects: self.objects.saturating_add(other.objects),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// A limit and how much of it is taken.
#[derive(Debug)]
pub(crate) struct Account {
    limit: usize,
    used: Figure,
}

impl Account {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: Figure::new(0),
        }
    }

    /// Relaxed, here and below: a number on its own, which publishes nothing.
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

/// What several pools may keep together: those of one buffer pool's classes.
#[derive(Debug)]
pub(crate) struct Group {
    objects: Account,
    bytes: Account,
}

impl Group {
    #[cfg(not(repool_loom))]
    pub(crate) fn new(max_idle: usize, max_idle_bytes: usize) -> Self {
        Self {
            objects: Account::new(max_idle),
            bytes: Account::new(max_idle_bytes),
        }
    }

    fn reserve(&self, objects: usize, bytes: usize) -> bool {
        if !self.objects.reserve(objects) {
            return false;
        }
        let fits = self.bytes.reserve(bytes);
        if !fits {
            self.objects.release(objects);
        }
        fits
    }

    fn release(&self, objects: usize, bytes: usize) {
        self.objects.release(objects);
        self.bytes.release(bytes);
    }
}

/// The limits of one pool.
#[derive(Debug)]
pub(crate) struct Limits {
    objects: Account,
    bytes: Account,
    #[cfg(not(repool_loom))]
    group: Option<Arc<Group>>,
    #[cfg(not(repool_loom))]
    budget: Option<Budget>,
    max_object_bytes: usize,
    /// So many objects are left idle by passes.
    min_idle: usize,
    /// What each object takes besides its weight, which is what it holds on the heap.
    object_bytes: usize,
}

impl Limits {
    pub(crate) fn new(max_idle: usize, max_idle_bytes: usize, max_object_bytes: usize) -> Self {
        Self {
            objects: Account::new(max_idle),
            bytes: Account::new(max_idle_bytes),
            #[cfg(not(repool_loom))]
            group: None,
            #[cfg(not(repool_loom))]
            budget: None,
            max_object_bytes,
            min_idle: 0,
            object_bytes: 0,
        }
    }

    #[cfg(not(repool_loom))]
    pub(crate) fn with_object_bytes(self, object_bytes: usize) -> Self {
        Self {
            object_bytes,
            ..self
        }
    }

    #[cfg(not(repool_loom))]
    pub(crate) fn with_min_idle(self, min_idle: usize) -> Self {
        Self { min_idle, ..self }
    }

    pub(crate) fn min_idle(&self) -> usize {
        self.min_idle
    }

    /// What so many objects take that weigh `weights` together: what limits and users see. A weight
    /// leaves the object's own size out, so that a hit need not add it.
    pub(crate) fn bytes_of(&self, objects: usize, weights: usize) -> usize {
        objects
            .saturating_mul(self.object_bytes)
            .saturating_add(weights)
    }

    #[cfg(not(repool_loom))]
    pub(crate) fn with_budget(self, budget: Option<Budget>) -> Self {
        Self { budget, ..self }
    }

    #[cfg(not(repool_loom))]
    pub(crate) fn with_group(self, group: Option<Arc<Group>>) -> Self {
        Self { group, ..self }
    }

    fn group(&self) -> Option<&Group> {
        #[cfg(not(repool_loom))]
        return self.group.as_deref();
        #[cfg(repool_loom)]
        None
    }

    fn budget(&self) -> Option<&Account> {
        #[cfg(not(repool_loom))]
        return self.budget.as_ref().map(Budget::account);
        #[cfg(repool_loom)]
        None
    }

    /// Whether anything has to be charged at all.
    #[inline]
    pub(crate) fn bounded(&self) -> bool {
        self.objects.limit() != usize::MAX
            || self.bytes.limit() != usize::MAX
            || self.group().is_some()
            || self.budget().is_some()
    }

    /// The most objects and bytes that this pool may keep idle.
    pub(crate) fn most(&self) -> (usize, usize) {
        (self.objects.limit(), self.bytes.limit())
    }

    /// Whether an object of this weight is worth keeping. Its own size, which does not grow, has no
    /// part in that.
    pub(crate) fn accepts(&self, weight: usize) -> bool {
        weight <= self.max_object_bytes.min(MAX_WEIGHT)
    }

    /// The bar of a fresh cache: in a bounded pool nothing is charged for in advance.
    pub(crate) fn first_bar(&self) -> usize {
        if self.bounded() {
            1
        } else {
            FIRST_BAR.min(self.max_bar())
        }
    }

    /// The bar that lets `weight` pass, with some air above it where air costs nothing.
    pub(crate) fn bar_for(&self, weight: usize) -> usize {
        if self.bounded() {
            return weight.saturating_add(1);
        }
        // Up to a power of two, which is what most capacities are, and one of those as it is.
        let most = weight.checked_next_power_of_two().unwrap_or(weight);
        most.saturating_add(1).max(FIRST_BAR).min(self.max_bar())
    }

    fn max_bar(&self) -> usize {
        self.max_object_bytes.min(MAX_WEIGHT) + 1
    }

    /// Takes a charge; `Err` and nothing taken when it does not fit.
    pub(crate) fn reserve(&self, charge: Charge) -> Result<(), Reason> {
        self.trade(Charge::NONE, charge)
    }

    pub(crate) fn release(&self, charge: Charge) {
        let traded = self.trade(charge, Charge::NONE);
        debug_assert!(traded.is_ok(), "giving back always succeeds");
    }

    /// Trades one charge for another; `Err` and nothing changed when the new one does not fit.
    pub(crate) fn trade(&self, have: Charge, need: Charge) -> Result<(), Reason> {
        if !self.bounded() {
            return Ok(());
        }
        let had = self.bytes_of(have.objects, have.bytes);
        let needed = self.bytes_of(need.objects, need.bytes);
        let objects = need.objects.saturating_sub(have.objects);
        let bytes = needed.saturating_sub(had);
        if !self.objects.reserve(objects) {
            return Err(Reason::Full);
        }
        if !self.bytes.reserve(bytes) {
            self.objects.release(objects);
            return Err(Reason::Full);
        }
        let group = self.group();
        if !group.is_none_or(|group| group.reserve(objects, bytes)) {
            self.objects.release(objects);
            self.bytes.release(bytes);
            return Err(Reason::Full);
        }
        if !self.budget().is_none_or(|budget| budget.reserve(bytes)) {
            self.objects.release(objects);
            self.bytes.release(bytes);
            if let Some(group) = group {
                group.release(objects, bytes);
            }
            return Err(Reason::Budget);
        }
        let objects = have.objects.saturating_sub(need.objects);
        let bytes = had.saturating_sub(needed);
        self.objects.release(objects);
        self.bytes.release(bytes);
        if let Some(group) = group {
            group.release(objects, bytes);
        }
        if let Some(budget) = self.budget() {
            budget.release(bytes);
        }
        Ok(())
    }
}
