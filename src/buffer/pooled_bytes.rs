//! [`PooledBytes`]: a buffer with the pool's bookkeeping. [`Class`]: what the buffers of one class share.
//!
//! A user may do to a `BytesMut` whatever `bytes` allows: grow it, advance it, split it, or put
//! another one in its place. So a return trusts nothing but what the returned `BytesMut` itself
//! reports. An *unchanged* return needs no check: the buffer has the start and the capacity that it went
//! out with. A buffer that grew in place and was cut back by `split_off` passes that test as well.
//! Therefore the first return of a buffer is not unchanged, nor is one that comes back empty or full.
//! What remains is a buffer in its second use that was made to grow without being filled, was cut
//! back, and was then partly filled. In a pool with limits, which must hold for such a buffer too,
//! no return is unchanged.
//!
//! `pooled_bytes.rs`, `lent.rs` and `returns.rs` import each other. An object knows its class, a class has
//! the rings of its lent objects, and both a ring and a dropped buffer take the same steps to return
//! a buffer. The types are recursive, and a trait that separated them would have a single
//! implementor.

use super::lent::Lent;
use super::memory;
use super::policy::{Record, Seen, Verdict};
use super::wipe;
use crate::background::manual::ensure_watched;
use crate::object::diagnostics::poison;
use crate::object::guard::Pooled;
use crate::object::recycle::Recycle;
use crate::raw::refs::WeakCore;
use crate::raw::stats::Reason;
use crate::sync::lazy::Lazy;
use crate::sync::rare::{Arc, Weak};
use crate::sync::{Ordering, StatUsize};
use bytes::BytesMut;
use std::fmt;

/// What the objects, rings and closures of one class share.
pub(crate) struct Class {
    pub(super) index: usize,
    /// The least capacity of its buffers, in bytes.
    pub(super) size: usize,
    /// The largest capacity, in bytes, at which a buffer is kept.
    pub(super) most: usize,
    /// Why the pool never keeps a buffer of this class; `None` if it does keep them.
    pub(super) refuses: Option<Reason>,
    /// The limit on idle buffers, in bytes of this class; `usize::MAX` means no limit.
    pub(super) limit: usize,
    pub(super) wipes: bool,
    pub(super) lent: Lent,
    /// Trim passes so far.
    pub(super) passes: StatUsize,
    pub(super) origin: Weak<dyn Origin>,
    /// The core of the class's pool, set before any other thread sees the class or the pool.
    pub(super) core: Lazy<WeakCore>,
}

/// The buffer pool as its buffers see it.
pub(crate) trait Origin: Send + Sync {
    /// Called when the class gets its first ring: from then on gets may look there.
    fn has_lent(&self, class: usize);

    /// Returns a buffer with at least this capacity.
    fn get(&self, capacity: usize) -> Option<Pooled<PooledBytes>>;
}

impl Class {
    /// Returns why nothing is kept at the moment; `None` if buffers are kept.
    pub(super) fn barred(&self) -> Option<Reason> {
        let core = self.core.get();
        core.map_or(Some(Reason::Closed), |core| core.inactive_reason())
    }

    /// Returns why nothing of this class is kept, now or ever; `None` if buffers are kept. If there
    /// is a reason, nothing waits for views.
    pub(super) fn keeps_nothing(&self) -> Option<Reason> {
        self.barred().or(self.refuses)
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.limit != usize::MAX
    }

    /// Ensures that a pass looks at waiting handles, even if nothing is idle.
    pub(super) fn tell_janitor(&self) {
        if let Some(core) = self.core.get() {
            ensure_watched(core);
        }
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Class")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// How long a lent buffer waits for its views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// For ever. How much of it was used does not matter.
    Unchecked,
    /// For ever.
    ForEver,
    /// For this many passes. A buffer that was split, grown or replaced does not wait for ever: its
    /// user may have put a part of one buffer into another, and then each would wait for the other.
    Passes(u8),
}

/// Fields in this order: what every return reads comes first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct PooledBytes {
    pub(super) bytes: BytesMut,
    /// The capacity of the whole allocation in bytes, as far as it is known.
    full: usize,
    /// The address where the allocation starts.
    start: usize,
    /// An unchanged return has at least this many bytes of content,
    least: usize,
    /// and less than this many more. 0: no return is unchanged.
    span: usize,
    /// Whether a freeze has to do more than push the object onto a ring.
    freezes_slowly: bool,
    /// Whether a buffer that comes back from a ring has to be checked.
    looked_at: bool,
    /// Whether the memory holds no user data.
    clean: bool,
    /// Whether it has not been returned yet: the first return is always checked.
    fresh: bool,
    waits: Waits,
    pub(super) class: Arc<Class>,
    record: Record,
    /// How much of it was in use, in bytes, while it is lent and has to be checked.
    used: usize,
}

impl Recycle for PooledBytes {
    #[inline(always)]
    fn recycle(&mut self) {
        self.bytes.clear();
    }

    #[inline(always)]
    fn retained_bytes(&self) -> usize {
        self.full
    }
}

impl Drop for PooledBytes {
    /// Overwrites user data before the memory is freed, on every path.
    fn drop(&mut self) {
        if wipe::ON && self.class.wipes && !self.clean {
            wipe::wipe_all(&mut self.bytes);
        }
    }
}

impl PooledBytes {
    /// Creates an object without memory.
    pub(super) fn empty(class: &Arc<Class>) -> Self {
        Self::with(BytesMut::new(), class)
    }

    /// Creates an object for a buffer that covers its whole allocation.
    pub(super) fn with(bytes: BytesMut, class: &Arc<Class>) -> Self {
        let mut object = Self {
            full: 0,
            start: 0,
            least: 0,
            span: 0,
            freezes_slowly: false,
            looked_at: false,
            clean: false,
            fresh: true,
            waits: Waits::Unchecked,
            class: Arc::clone(class),
            record: Record::NEW,
            used: 0,
            bytes: BytesMut::new(),
        };
        object.fill(bytes);
        object
    }

    /// Gives the object its memory: a buffer that covers its whole allocation.
    pub(super) fn fill(&mut self, bytes: BytesMut) {
        self.bytes = bytes;
        self.note();
        self.settle();
    }

    /// Called when the buffer goes out to a user.
    #[inline(always)]
    pub(super) fn goes_out(&mut self) {
        if wipe::ON {
            self.clean = false;
        }
    }

    /// Fills the spare memory with the poison byte.
    pub(super) fn poison(&mut self) {
        poison::fill(self.bytes.spare_capacity_mut());
    }

    pub(super) fn full(&self) -> usize {
        self.full
    }

    /// Records the memory, all of which the handle covers.
    fn note(&mut self) {
        self.full = self.bytes.capacity();
        self.start = self.bytes.as_ptr().addr();
    }

    /// Works out which returns are unchanged.
    fn settle(&mut self) {
        let enough = self.record.least(self.class.size, self.full);
        let bounded = self.class.is_bounded();
        self.looked_at = match enough {
            Some(0) => self.class.wipes || self.waits != Waits::Unchecked,
            // It has grown and is well used. Limits have to know what it weighs.
            Some(_) => self.class.wipes || self.waits != Waits::Unchecked || bounded,
            None => true,
        };
        self.freezes_slowly = self.looked_at || bounded;
        self.least = enough.unwrap_or(0).max(1);
        self.span = match enough {
            Some(_) if !self.class.wipes && !bounded && !self.fresh => {
                self.full.saturating_sub(self.least)
            }
            _ => 0,
        };
    }

    /// Returns whether the handle covers exactly what it went out with.
    #[inline(always)]
    fn is_whole(&self) -> bool {
        self.bytes.capacity() == self.full && self.bytes.as_ptr().addr() == self.start
    }

    /// Returns whether the buffer goes back unchanged and well used. If not,
    /// `returns::give_back_slow` has to check it.
    #[inline(always)]
    pub(super) fn is_unchanged(&self) -> bool {
        self.is_whole() && self.bytes.len().wrapping_sub(self.least) < self.span
    }

    /// Returns whether a freeze only has to push the object onto a ring.
    #[inline(always)]
    pub(super) fn freezes_fast(&self) -> bool {
        !self.freezes_slowly && self.is_whole()
    }

    /// Returns whether a lent buffer without views needs no check. (One that grew in place and was
    /// cut back is not whole any more: it has regained more than it had.)
    #[inline(always)]
    pub(super) fn is_unchanged_after_views(&self) -> bool {
        debug_assert!(self.bytes.is_empty());
        !self.looked_at && self.is_whole()
    }

    /// Returns whether a lent buffer has no views left. If so, it has its memory again, and this
    /// must not be called again.
    #[inline(always)]
    pub(super) fn is_unique(&mut self) -> bool {
        memory::is_unique(&mut self.bytes)
    }

    /// Returns how many bytes the user filled, as far as the pool can see, including what was
    /// consumed or split off.
    pub(super) fn used_now(&self) -> usize {
        self.full.saturating_sub(self.bytes.capacity()) + self.bytes.len()
    }

    /// Returns how many bytes the user had filled when the buffer was lent.
    pub(super) fn used_before(&self) -> usize {
        match self.waits {
            Waits::Unchecked => self.full,
            _ => self.used,
        }
    }

    /// Makes the buffer wait for its views; it has to be checked when they are gone.
    pub(super) fn wait(&mut self, used: usize) {
        self.class.lent.add_extra(self.extra());
        self.used = used;
        self.waits = if self.is_whole() {
            Waits::ForEver
        } else {
            Waits::Passes(3)
        };
        self.settle();
    }

    /// Ends what [`PooledBytes::wait`] began.
    pub(super) fn has_waited(&mut self) {
        if self.waits != Waits::Unchecked {
            self.class.lent.add_extra(self.extra().wrapping_neg());
            self.waits = Waits::Unchecked;
        }
    }

    /// The part of the capacity that the class's figures do not include.
    fn extra(&self) -> usize {
        self.full.wrapping_sub(self.class.size)
    }

    /// Returns whether a freeze has to check the buffer because it has little content: usually
    /// none.
    #[inline(always)]
    pub(super) fn is_little_used(&self) -> bool {
        self.bytes.len() < self.least
    }

    /// Makes the buffer [wait](PooledBytes::wait) before a freeze, if it has to be checked at all.
    pub(super) fn prepare_to_wait(&mut self) {
        if self.looked_at || !self.is_whole() || self.is_little_used() {
            self.wait(self.used_now());
        }
    }

    /// Called when a pass finds the buffer still lent. Returns `false` if it has waited long
    /// enough.
    pub(super) fn goes_on_waiting(&mut self) -> bool {
        if let Waits::Passes(left) = &mut self.waits {
            *left = left.saturating_sub(1);
        }
        !self.has_waited_enough()
    }

    pub(super) fn has_waited_enough(&self) -> bool {
        self.waits == Waits::Passes(0)
    }

    /// Regains the whole allocation; returns `false` if there are other handles to it.
    pub(super) fn regain(&mut self) -> bool {
        self.bytes.clear();
        // Consumed, or split and the other part is gone: one call suffices.
        if self.bytes.capacity() < self.full {
            let _ = self.bytes.try_reclaim(self.full);
        }
        let wipes = wipe::ON && self.class.wipes;
        let lose = |part: &mut BytesMut| {
            if wipes {
                wipe::wipe(part);
            }
        };
        let alone = memory::regain(&mut self.bytes, lose);
        if alone {
            self.note();
        }
        alone
    }

    /// Returns whether the buffer is unchanged and the policy has nothing to decide. If so, it is
    /// cleared.
    pub(super) fn is_unchanged_slow(&mut self) -> bool {
        let calm = self.record.least(self.class.size, self.full) == Some(0);
        let whole = calm && !self.looked_at && !self.fresh && self.is_whole();
        if whole {
            self.bytes.clear();
        }
        whole && memory::is_alone(&mut self.bytes)
    }

    /// Overwrites the whole buffer if the pool wipes its buffers.
    pub(super) fn wipe(&mut self) {
        if wipe::ON && self.class.wipes {
            wipe::wipe(&mut self.bytes);
            self.is_wiped();
        }
    }

    /// Overwrites what the handle covers, which may be a part of the buffer, if the pool wipes its
    /// buffers.
    pub(super) fn wipe_part(&mut self) {
        if wipe::ON && self.class.wipes {
            wipe::wipe(&mut self.bytes);
        }
    }

    /// Notes that the memory holds no user data, if the pool wipes its buffers.
    pub(super) fn is_wiped(&mut self) {
        self.clean = self.class.wipes;
    }

    /// Counts how much of the buffer was used. 0 is not counted: the content may have been
    /// consumed.
    pub(super) fn note_use(&self, used: usize) {
        if used > 0 {
            if let Some(core) = self.class.core.get() {
                core.counters.looked_at(self.full, used);
            }
        }
    }

    /// Decides what happens to a buffer that has its whole allocation. If it is kept, it is as good
    /// as new.
    pub(super) fn judge(&mut self, used: usize) -> Verdict {
        let verdict = self.record.judge(Seen {
            class: self.class.size,
            full: self.full,
            used,
            // Relaxed: a figure.
            passes: self.class.passes.load(Ordering::Relaxed),
        });
        self.fresh = false;
        self.settle();
        verdict
    }

    /// Cuts the buffer back to its class; returns `false` if there is no memory for that.
    pub(super) fn cut(&mut self) -> bool {
        drop(std::mem::take(&mut self.bytes));
        let memory = memory::allocate(self.class.size, true);
        let cut = memory.is_some();
        self.fill(memory.unwrap_or_default());
        cut
    }

    /// Takes the memory out for good.
    pub(super) fn into_bytes(object: Pooled<Self>) -> BytesMut {
        let mut object = Pooled::into_inner(object);
        std::mem::take(&mut object.bytes)
    }
}
