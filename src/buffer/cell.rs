//! [`Cell`]: a buffer and what the pool knows of it; [`Class`]: what the buffers of one class share.
//!
//! The user may do to a `BytesMut` what `bytes` allows: grow it, advance it, split it, put another
//! one in its place. So nothing is believed of one that comes back except what it says itself. A
//! *plain* return, which needs no look, is one whose start and capacity are what it went out with. That
//! can still be said of a buffer that grew in place and was cut back to what it was (`split_off`). So the
//! first return of a buffer is not plain, nor is one that comes back empty or full: what is left after that
//! is a buffer in its second use that was made to grow without being filled, cut back, and then filled in
//! part. In a pool with limits, which have to hold for such a buffer too, no return is plain.
//!
//! `cell.rs`, `lent.rs` and `comeback.rs` import each other. A cell knows its class, a class has its
//! rings of lent cells, and both a ring and a dropped buffer hand what has come back to the same steps:
//! the types are recursive, and a trait to part them would have one implementor.

use super::lent::Lent;
use super::memory;
use super::policy::{Record, Seen, Verdict};
use super::wipe;
use crate::background::manual::ensure_watched;
use crate::object::diagnosed::poison;
use crate::object::guard::Pooled;
use crate::object::recycle::Recycle;
use crate::raw::refs::WeakCore;
use crate::raw::stats::Reason;
use crate::sync::lazy::Lazy;
use crate::sync::rare::{Arc, Weak};
use crate::sync::{Ordering, StatUsize};
use bytes::BytesMut;
use std::fmt;

/// What one class's cells, rings and closures share.
pub(crate) struct Class {
    pub(super) index: usize,
    /// What its buffers hold at least.
    pub(super) size: usize,
    /// Buffers above this capacity are not kept.
    pub(super) most: usize,
    /// Why nothing of this class is ever kept, if so.
    pub(super) refuses: Option<Reason>,
    /// What the pool keeps idle at most, in bytes of buffers of this class; `usize::MAX`: no limit.
    pub(super) limit: usize,
    pub(super) wipes: bool,
    pub(super) lent: Lent,
    /// Trim passes so far.
    pub(super) passes: StatUsize,
    pub(super) origin: Weak<dyn Origin>,
    /// Of the pool that was made with this class, before anything else saw either of them.
    pub(super) core: Lazy<WeakCore>,
}

/// The buffer pool, as its buffers see it.
pub(crate) trait Origin: Send + Sync {
    /// The class has rings from now on: gets may look there.
    fn has_lent(&self, class: usize);

    /// A buffer with at least this capacity.
    fn get(&self, capacity: usize) -> Option<Pooled<Cell>>;
}

impl Class {
    /// Why nothing is kept at the moment, if so.
    pub(super) fn barred(&self) -> Option<Reason> {
        let core = self.core.get();
        core.map_or(Some(Reason::Closed), |core| core.inactive_reason())
    }

    /// Why nothing of this class is kept, now or ever, if so: then nothing waits for its views.
    pub(super) fn keeps_nothing(&self) -> Option<Reason> {
        self.barred().or(self.refuses)
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.limit != usize::MAX
    }

    /// A handle waits: a pass has to look at it, even if nothing is idle.
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

/// How long a buffer waits for its views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// For ever, and what it was used for need not be looked at.
    Plainly,
    /// For ever.
    ForEver,
    /// For this many passes. A buffer that was split, grown or exchanged does not wait for ever: its user
    /// may have put a part of one buffer into another, and then each would wait for the other.
    Passes(u8),
}

/// In this order: what each return looks at comes first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Cell {
    pub(super) bytes: BytesMut,
    /// The capacity of the whole allocation, as far as it is known.
    full: usize,
    /// Where it starts.
    start: usize,
    /// A plain return has at least this many bytes in it,
    least: usize,
    /// and fewer than this many more. 0: no return is plain.
    span: usize,
    /// Whether a freeze has more to do than to put the cell into a ring.
    freezes_slowly: bool,
    /// Whether what comes back from a ring has to be looked at.
    looked_at: bool,
    /// Whether nothing of a user's is in it.
    clean: bool,
    /// Whether it has not been looked at yet: its first return is.
    fresh: bool,
    waits: Waits,
    pub(super) class: Arc<Class>,
    record: Record,
    /// What its user filled of it, while it is lent and is to be looked at.
    used: usize,
}

impl Recycle for Cell {
    #[inline(always)]
    fn recycle(&mut self) {
        self.bytes.clear();
    }

    #[inline(always)]
    fn retained_bytes(&self) -> usize {
        self.full
    }
}

impl Drop for Cell {
    /// What holds user data is overwritten before it is freed, wherever that happens.
    fn drop(&mut self) {
        if wipe::ON && self.class.wipes && !self.clean {
            // What is this handle's alone, and then all of it, if there are no others.
            wipe::wipe(&mut self.bytes);
            if memory::regain(&mut self.bytes) {
                wipe::wipe(&mut self.bytes);
            }
        }
    }
}

impl Cell {
    /// One without memory.
    pub(super) fn empty(class: &Arc<Class>) -> Self {
        Self::with(BytesMut::new(), class)
    }

    /// A buffer that covers all of its allocation.
    pub(super) fn with(bytes: BytesMut, class: &Arc<Class>) -> Self {
        let mut cell = Self {
            full: 0,
            start: 0,
            least: 0,
            span: 0,
            freezes_slowly: false,
            looked_at: false,
            clean: false,
            fresh: true,
            waits: Waits::Plainly,
            class: Arc::clone(class),
            record: Record::NEW,
            used: 0,
            bytes: BytesMut::new(),
        };
        cell.fill(bytes);
        cell
    }

    /// Gives the cell its memory: a buffer that covers all of its allocation.
    pub(super) fn fill(&mut self, bytes: BytesMut) {
        self.bytes = bytes;
        self.note();
        self.settle();
    }

    /// It goes out to a user.
    #[inline(always)]
    pub(super) fn goes_out(&mut self) {
        if wipe::ON {
            self.clean = false;
        }
    }

    /// Fills the spare memory.
    pub(super) fn poison(&mut self) {
        poison::fill(self.bytes.spare_capacity_mut());
    }

    pub(super) fn full(&self) -> usize {
        self.full
    }

    /// Takes note of the memory, all of which the handle covers.
    fn note(&mut self) {
        self.full = self.bytes.capacity();
        self.start = self.bytes.as_ptr().addr();
    }

    /// Works out which returns are plain.
    fn settle(&mut self) {
        let enough = self.record.least(self.class.size, self.full);
        let bounded = self.class.is_bounded();
        self.looked_at = match enough {
            Some(0) => self.class.wipes || self.waits != Waits::Plainly,
            // A grown one that is in good use. Limits have to know what it weighs.
            Some(_) => self.class.wipes || self.waits != Waits::Plainly || bounded,
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

    /// Whether the handle covers what it went out with.
    #[inline(always)]
    fn is_whole(&self) -> bool {
        self.bytes.capacity() == self.full && self.bytes.as_ptr().addr() == self.start
    }

    /// Whether the buffer goes back as it came, well used. If not, `comeback::give_back_slow` has to
    /// look at it.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.is_whole() && self.bytes.len().wrapping_sub(self.least) < self.span
    }

    /// Whether a freeze has no more to do than to put it into a ring.
    #[inline(always)]
    pub(super) fn freezes_plainly(&self) -> bool {
        !self.freezes_slowly && self.is_whole()
    }

    /// Whether one that was lent and is back needs no look. (What grew in place and was cut back to
    /// what it was is not whole any more: it has got back more than it had.)
    #[inline(always)]
    pub(super) fn is_plain_again(&self) -> bool {
        debug_assert!(self.bytes.is_empty());
        !self.looked_at && self.is_whole()
    }

    /// Whether a lent buffer has no views any more; it then has its memory again. Must not be asked
    /// once more after that.
    #[inline(always)]
    pub(super) fn is_back(&mut self) -> bool {
        memory::is_back(&mut self.bytes)
    }

    /// What its user filled, as far as that is seen: also what was consumed or split off.
    pub(super) fn used_now(&self) -> usize {
        self.full.saturating_sub(self.bytes.capacity()) + self.bytes.len()
    }

    /// What its user filled before it was lent.
    pub(super) fn used_before(&self) -> usize {
        match self.waits {
            Waits::Plainly => self.full,
            _ => self.used,
        }
    }

    /// It is to wait for its views, and then to be looked at.
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

    /// It was told to [wait](Cell::wait), and does not any more.
    pub(super) fn has_waited(&mut self) {
        if self.waits != Waits::Plainly {
            self.class.lent.add_extra(self.extra().wrapping_neg());
            self.waits = Waits::Plainly;
        }
    }

    /// What the class's figures do not know of its capacity.
    fn extra(&self) -> usize {
        self.full.wrapping_sub(self.class.size)
    }

    /// Whether there is so little in it that a freeze has to look at that: nothing, as a rule.
    #[inline(always)]
    pub(super) fn is_little_used(&self) -> bool {
        self.bytes.len() < self.least
    }

    /// The same, where it is frozen: if it has to be looked at at all.
    pub(super) fn prepare_to_wait(&mut self) {
        if self.looked_at || !self.is_whole() || self.is_little_used() {
            self.wait(self.used_now());
        }
    }

    /// A pass has found it lent; `false` if that is enough.
    pub(super) fn goes_on_waiting(&mut self) -> bool {
        if let Waits::Passes(left) = &mut self.waits {
            *left = left.saturating_sub(1);
        }
        !self.has_waited_enough()
    }

    pub(super) fn has_waited_enough(&self) -> bool {
        self.waits == Waits::Passes(0)
    }

    /// Takes the whole allocation back; `false` while there are other handles to it.
    pub(super) fn regain(&mut self) -> bool {
        self.bytes.clear();
        // Consumed, or split and the other part is gone: one call.
        if self.bytes.capacity() < self.full {
            let _ = self.bytes.try_reclaim(self.full);
        }
        let alone = memory::regain(&mut self.bytes);
        if alone {
            self.note();
        }
        alone
    }

    /// Whether it is as it was, and the policy has nothing to say of it: cleared then.
    pub(super) fn is_plain_after_all(&mut self) -> bool {
        let calm = self.record.least(self.class.size, self.full) == Some(0);
        let whole = calm && !self.looked_at && !self.fresh && self.is_whole();
        if whole {
            self.bytes.clear();
        }
        whole && memory::is_alone(&mut self.bytes)
    }

    /// Overwrites everything, where that is wanted.
    pub(super) fn wipe(&mut self) {
        if wipe::ON && self.class.wipes {
            wipe::wipe(&mut self.bytes);
            self.clean = true;
        }
    }

    /// Counts what was used of it, if that is to be seen: it may have been consumed.
    pub(super) fn note_use(&self, used: usize) {
        if used > 0 {
            if let Some(core) = self.class.core.get() {
                core.counters.looked_at(self.full, used);
            }
        }
    }

    /// What becomes of a buffer that has its whole allocation. If it is kept, it is as if new.
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

    /// Cuts it back to its class; `false` if there is no memory for that.
    pub(super) fn cut(&mut self) -> bool {
        drop(std::mem::take(&mut self.bytes));
        let memory = memory::allocate(self.class.size, true);
        let cut = memory.is_some();
        self.fill(memory.unwrap_or_default());
        cut
    }

    /// The memory, for good.
    pub(super) fn into_bytes(cell: Pooled<Self>) -> BytesMut {
        let mut cell = Pooled::into_inner(cell);
        std::mem::take(&mut cell.bytes)
    }
}
