//! [`PooledBump`]: the object of an arena pool, a bump allocator with the pool's bookkeeping; and its
//! reset.
//!
//! [`sizes`](super::sizes) decides, this file carries the decision out. At the end of a request,
//! two figures of the bump allocator show what the request needed: the bytes of all chunks, and
//! those still free in the newest chunk.
//!
//! - *One chunk*, as at the start: the bump pointer goes back to the chunk's end, and nothing else
//!   happens. The cost does not depend on what the request allocated, nor on how many requests
//!   there were before.
//! - *More than one chunk*: bumpalo's reset would keep only the newest, and the same request would
//!   need more than one again. So one chunk of their total size replaces them now. It has to be the
//!   total size, not what is in use at the end: a collection dropped last returns its bytes, so the
//!   end does not show the peak.
//!
//! # The fast path
//! Most requests fit into their one chunk and use enough of it. [`PooledBump::end`] runs as the arena
//! is dropped and does all that these need: it counts the request and resets the bump allocator. If
//! there is more to do, it leaves everything to [`PooledBump::settle`], which runs only if the pool is
//! going to keep the arena. Either one runs once per request, even though the pool may ask for a
//! reset twice.
//!
//! While pooling is off, each request creates and drops its arena ([`PooledBump::unpooled`]), which
//! is then treated like a plain `Bump`.
//!
//! # Limits
//! A user's limit bounds what a request allocates, but bumpalo's limit counts the chunk that the
//! pool made, and has no effect on an arena that is already above it. So [`PooledBump::limit`] uses up
//! the part of that chunk that the request must not use, and sets bumpalo's limit to what the
//! request may allocate beyond the chunk.

use super::sizes::{End, Size, Sizes};
use crate::object::diagnostics::poison;
use crate::object::recycle::Recycle;
use crate::object::word_copy;
use crate::raw::limits::MAX_WEIGHT;
use crate::sync::rare::Arc;
use bumpalo::Bump;
use std::alloc::Layout;
use std::cell::Cell;
use std::mem::{self, MaybeUninit};

pub(crate) struct PooledBump {
    pub(super) bump: Bump,
    size: Size,
    /// Whether the last request ended on the fast path.
    settled: bool,
    /// Bytes of the chunk that a limit keeps from the request.
    withheld: Cell<usize>,
    /// `None` for an unpooled arena, whose end is not examined.
    sizes: Option<Arc<Sizes>>,
}

impl PooledBump {
    pub(super) fn new(sizes: Arc<Sizes>) -> Self {
        let bump = bump_of(sizes.first(), sizes.limit());
        let object = Self {
            size: Size::new(bump.allocated_bytes(), &sizes),
            bump,
            settled: false,
            withheld: Cell::new(0),
            sizes: Some(sizes),
        };
        object.look_at_weight();
        object
    }

    /// Writes the object of a pool that is switched off in place, field by field: as a whole it
    /// would be built elsewhere and then copied. Its first chunk has `first` bytes, and never more
    /// than `limit`.
    #[inline]
    pub(super) fn unpooled(slot: &mut MaybeUninit<Self>, first: usize, limit: usize) {
        let made = match limit {
            usize::MAX => Bump::try_with_capacity(first),
            limit => Ok(bump_of(first, limit)),
        };
        let object = slot.as_mut_ptr();
        // SAFETY: in bounds of the slot; the same holds for the pointers below.
        let to = unsafe { &raw mut (*object).bump };
        match &made {
            // SAFETY: the slot is empty, as for the fields below. The value is not used again at
            // its old place.
            Ok(bump) => unsafe { word_copy::copy(bump, to) },
            // SAFETY: as above.
            Err(_) => unsafe { to.write(Bump::new()) },
        }
        mem::forget(made); // moved, without a third place in between
        // SAFETY: as above.
        let size = unsafe { &raw mut (*object).size };
        // SAFETY: as above.
        unsafe { size.write(Size::none()) };
        // SAFETY: as above.
        let settled = unsafe { &raw mut (*object).settled };
        // SAFETY: as above.
        unsafe { settled.write(false) };
        // SAFETY: as above.
        let withheld = unsafe { &raw mut (*object).withheld };
        // SAFETY: as above.
        unsafe { withheld.write(Cell::new(0)) };
        // SAFETY: as above.
        let to_sizes = unsafe { &raw mut (*object).sizes };
        // SAFETY: as above. This was the last field.
        unsafe { to_sizes.write(None) };
    }

    /// Ends a request by the fast path, if the request allows it.
    #[inline]
    pub(super) fn end(&mut self) {
        // Stored at both ends: that is cheaper than a branch.
        self.settled = false;
        let total = self.bump.allocated_bytes();
        let free = self.bump.chunk_capacity();
        let sizes = &self.sizes;
        let tell = |size: &mut Size, used: usize| {
            if let Some(sizes) = sizes {
                size.tell(used, sizes);
            }
        };
        if self.size.is_usual(total, free, tell) {
            self.bump.reset();
            self.bump.set_allocation_limit(None);
            self.settled = true;
        }
    }

    /// Fills the spare memory with the poison byte.
    #[cold]
    pub(super) fn poison(&mut self) {
        let spare = self.bump.chunk_capacity();
        // It always fits, so this does not allocate.
        if let Ok(memory) = self
            .bump
            .try_alloc_slice_fill_copy(spare, MaybeUninit::<u8>::uninit())
        {
            poison::fill(memory);
        }
        self.bump.reset();
    }

    /// Returns the weight of the arena if there is nothing left to do.
    #[inline(always)]
    pub(crate) fn settled(&self) -> Option<usize> {
        self.settled.then_some(self.size.kept())
    }

    /// Ends a request by the slow path.
    #[cold]
    #[inline(never)]
    fn settle(&mut self) {
        let Some(sizes) = &self.sizes else {
            return;
        };
        let total = self.bump.allocated_bytes();
        let spared = self.bump.chunk_capacity() + self.withheld.take();
        let used = total.saturating_sub(spared);
        // The request may have set a limit; the next one has not.
        self.bump.set_allocation_limit(None);
        self.bump.reset();
        match self.size.end(total, used, sizes) {
            End::Keep => {}
            End::Refuse => self.bump = Bump::new(),
            // The newest chunk may be its only one: the arena started without a chunk.
            End::Remake(bytes) if bytes == self.bump.allocated_bytes() => {}
            End::Remake(bytes) => {
                // First, so that the old and the new memory never exist at the same time.
                self.bump = Bump::new();
                self.bump = bump_of(bytes, sizes.limit());
                self.size.remade(self.bump.allocated_bytes(), sizes);
            }
        }
        self.look_at_weight();
        self.settled = true;
    }

    /// Ensures that an arena that the pool refuses for its weight does not look as if it could be
    /// kept.
    fn look_at_weight(&self) {
        if self.size.kept() > MAX_WEIGHT {
            self.size.set_unusual();
        }
    }

    /// Limits the bytes that the request may allocate, in the existing chunk and beyond it.
    pub(super) fn limit(&self, bytes: Option<usize>) {
        let Some(bytes) = bytes else {
            return self.bump.set_allocation_limit(None);
        };
        let total = self.bump.allocated_bytes();
        let withheld = self.withheld.get();
        let more = total.saturating_sub(bytes).saturating_sub(withheld);
        let more = more.min(self.bump.chunk_capacity());
        if more > 0 {
            let layout = Layout::array::<u8>(more).expect("not more than the chunk holds");
            // It always fits, so this does not allocate.
            let _ = self.bump.try_alloc_layout(layout);
            self.withheld.set(withheld + more);
            // The fast path would count the withheld bytes as used.
            self.size.set_unusual();
        }
        // The withheld bytes do not count as the request's.
        let limit = bytes.saturating_add(self.withheld.get()).max(total);
        self.bump.set_allocation_limit(Some(limit));
    }
}

/// Creates a bump allocator with one chunk of this many bytes, or of what the limit allows; without
/// a chunk if there is no memory, so that the user's first allocation fails.
fn bump_of(bytes: usize, limit: usize) -> Bump {
    let bytes = bytes.min(limit);
    let made = |bytes| {
        let bump = Bump::try_with_capacity(bytes).ok()?;
        (bump.allocated_bytes() <= limit).then_some(bump)
    };
    // bumpalo rounds up by less than a factor of two.
    made(bytes).or_else(|| made(bytes / 2)).unwrap_or_default()
}

impl Recycle for PooledBump {
    fn recycle(&mut self) {
        if !self.settled {
            self.settle();
        }
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.size.kept()
    }
}

/// For arenas in a typed pool of your own. Uses bumpalo's `reset`, which keeps the newest chunk,
/// whatever its size. [`ArenaPool`](crate::ArenaPool) does better.
impl Recycle for Bump {
    #[inline]
    fn recycle(&mut self) {
        self.reset();
        self.set_allocation_limit(None);
    }

    #[inline]
    fn retained_bytes(&self) -> usize {
        self.allocated_bytes()
    }

    #[inline]
    fn used_bytes(&self) -> usize {
        self.allocated_bytes() - self.chunk_capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 64 << 10;

    /// An object with one chunk of slightly more than [`CHUNK`] bytes.
    fn grown() -> PooledBump {
        let sizes = Arc::new(Sizes::new(100, usize::MAX));
        let mut object = PooledBump::new(sizes);
        assert!(!serve(&mut object, CHUNK));
        object
    }

    fn alloc(object: &PooledBump, bytes: usize) -> bool {
        let layout = Layout::array::<u8>(bytes).expect("not too large");
        object.bump.try_alloc_layout(layout).is_ok()
    }

    /// Runs a request to its end; returns whether it ended on the fast path.
    fn serve(object: &mut PooledBump, bytes: usize) -> bool {
        assert!(alloc(object, bytes));
        object.end();
        let short = object.settled().is_some();
        object.recycle();
        short
    }

    #[test]
    fn a_usual_request_takes_the_fast_path_and_no_other_does() {
        let mut object = grown();
        for (bytes, short) in [
            (CHUNK / 2, true),
            (CHUNK / 2, true),
            (10, false),
            // The request after a quiet one always takes the slow path.
            (CHUNK / 2, false),
            (CHUNK / 2, true),
            (2 * CHUNK, false),
            (CHUNK, true),
            (0, false),
        ] {
            assert_eq!(serve(&mut object, bytes), short, "{bytes}");
            assert_eq!(object.bump.chunk_capacity(), object.size.kept(), "{bytes}");
        }
    }

    #[test]
    fn a_request_counts_once_however_often_the_pool_asks_for_the_reset() {
        let mut object = grown();
        for _ in 0..3 {
            let _ = serve(&mut object, 10);
            (0..10).for_each(|_| object.recycle());
        }
        assert!(object.size.kept() > CHUNK, "three requests are not five");
        (0..2).for_each(|_| _ = serve(&mut object, 10));
        assert!(object.size.kept() < CHUNK);
    }

    #[test]
    fn a_usual_request_between_quiet_ones_starts_the_count_again() {
        let mut object = grown();
        let kept = object.size.kept();
        for _ in 0..3 {
            (0..4).for_each(|_| _ = serve(&mut object, 10));
            assert!(!serve(&mut object, CHUNK / 2));
        }
        assert_eq!(object.size.kept(), kept);
        (0..5).for_each(|_| _ = serve(&mut object, 10));
        assert!(object.size.kept() < CHUNK / 2);
    }

    #[test]
    fn what_a_limit_puts_out_of_reach_is_not_taken_for_used() {
        let mut object = grown();
        for _ in 0..5 {
            object.limit(Some(10));
            assert!(alloc(&object, 10) && !alloc(&object, 1));
            object.end();
            object.recycle();
        }
        assert!(object.size.kept() < CHUNK / 2, "five quiet requests");
    }
}
