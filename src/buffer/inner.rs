//! One buffer pool's inside: a pool of cells for each class, and how a request finds its buffer.
//!
//! A class's pool is a [`Pool`] like any other: caches per thread, depot, limits, passes, figures
//! are its business. It is made when the class is first used. What is here is the choice between
//! classes: a request looks at its own, then one class up, and then makes a buffer. What it finds one
//! class up goes back there.
//!
//! # What keeps what
//! The user's handle keeps [`Inner`], which keeps the classes' pools. A cell and a pool's closures
//! keep their [`Class`], which knows `Inner` by a weak reference only, so that a buffer that is out
//! does not keep its pool. A class's rings of lent cells keep those cells, and through them the
//! class: dropping `Inner` closes the pool of rings, which breaks the circle.
//!
//! # Orderings
//! `open`: Relaxed, a hint. `enabled`: see `sync/switch.rs`.

use super::cell::{Cell, Class, Origin};
use super::class::{self, ALL, OUTSIDE, SLOTS, SMALLER, UNSIZED};
use super::error::CapacityError;
use super::lent::{self, Ring};
use super::memory;
use super::settings::Settings;
use crate::object::entry::Entry;
use crate::object::free_nodes;
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::raw::off_counter::OffCounter;
use crate::sync::lazy::Lazy;
use crate::sync::rare::{Arc, Weak};
use crate::sync::switch::Switch;
use crate::sync::{AtomicBool, AtomicUsize, Ordering, StatPtr};
use bytes::BytesMut;
use std::ops::Range;
use std::ptr;

/// The entry tables come last to avoid 4 KiB aliasing: a load whose low 12 address bits match a recent
/// store's has to wait for it. An allocator that puts this at the start of a page does so with large
/// buffers too, and most writes go to a buffer's start.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Inner {
    settings: Settings,
    enabled: Switch,
    me: Weak<Inner>,
    /// Whether the pool has entered the roster, if it has a name.
    pub(super) entered: AtomicBool,
    /// Once it was switched off.
    off: Lazy<OffCounter>,
    /// The same while buffers are plain ones; null while they are not.
    plain: StatPtr<OffCounter>,
    /// By class. Made when first used.
    classes: [Lazy<Used>; ALL],
    /// Slots that gets may look at: all, or none while the pool is switched off.
    open: AtomicUsize,
    /// By slot: past [`Used`], which keeps what they lead to, to a class's idle buffers and to its lent
    /// ones. The root of the hot path.
    idle: [Entry<Cell>; SLOTS],
    lent: [Entry<Ring>; SLOTS],
}

/// A class that has been used.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) pool: Pool<Cell>,
    pub(super) class: Arc<Class>,
}

impl Inner {
    pub(super) fn new(mut settings: Settings) -> Arc<Self> {
        settings.common.settle_diagnostics();
        let inner = Arc::new_cyclic(|me| Self {
            idle: std::array::from_fn(|_| Entry::new()),
            lent: std::array::from_fn(|_| Entry::new()),
            classes: std::array::from_fn(|_| Lazy::new()),
            settings,
            off: Lazy::new(),
            plain: StatPtr::new(ptr::null_mut()),
            enabled: Switch::new(true),
            open: AtomicUsize::new(SLOTS),
            me: Weak::clone(me),
            entered: AtomicBool::new(false),
        });
        if inner.settings.common.is_off() {
            inner.set_enabled(false);
        }
        inner
    }

    /// A buffer for a request of this slot: an idle one in this thread's cache, or one that this thread
    /// has lent out and that is back.
    #[inline(always)]
    pub(super) fn hit(&self, slot: usize) -> Option<Pooled<Cell>> {
        // Relaxed: switched off, gets find nothing by themselves; this saves them the way.
        if slot >= self.open.load(Ordering::Relaxed) {
            return None;
        }
        debug_assert!(slot < SLOTS);
        // SAFETY: `open` is 0 or the number of slots.
        let idle = unsafe { self.idle.get_unchecked(slot) };
        match idle.hit() {
            Some(cell) => Some(cell),
            // What was frozen is there again, as a rule.
            None => {
                // SAFETY: as above.
                let lent = unsafe { self.lent.get_unchecked(slot) };
                lent::pop(lent.top()?)
            }
        }
    }

    /// A class, if it has been used.
    pub(super) fn if_used(&self, class: usize) -> Option<&Used> {
        self.classes.get(class)?.get()
    }

    /// An idle buffer of this class, or one that is back, by the slow path.
    fn idle(&self, class: usize) -> Option<Pooled<Cell>> {
        let Used { pool, class } = self.if_used(class)?;
        class
            .lent
            .look()
            .or_else(|| pool.try_get())
            .or_else(|| class.lent.look_elsewhere())
            // One that was back and had to be looked at is idle now.
            .or_else(|| pool.try_get())
    }

    /// A buffer by the slow path: `capacity` is not 0, and this thread has nothing idle of its class.
    pub(super) fn get(
        &self,
        capacity: usize,
        fallible: bool,
    ) -> Result<Pooled<Cell>, CapacityError> {
        let wanted = class::holding(capacity);
        let found = match wanted <= self.settings.top {
            true => self.idle(wanted).or_else(|| self.one_up(wanted)),
            false => None,
        };
        if let Some(cell) = found {
            return Ok(cell);
        }
        let (class, size) = match wanted <= self.settings.top {
            true => (wanted, class::size(wanted)),
            false => (OUTSIDE, capacity),
        };
        match memory::allocate(size, fallible) {
            Some(memory) => Ok(self.create(class, memory)),
            None => Err(CapacityError::of(capacity)),
        }
    }

    /// A buffer of the next class. It goes back there.
    fn one_up(&self, wanted: usize) -> Option<Pooled<Cell>> {
        let class = wanted + 1;
        if class > self.settings.top {
            return None;
        }
        let pool = &self.if_used(class)?.pool;
        pool.try_get_fast().or_else(|| self.idle(class))
    }

    /// A buffer that came back to the class of requests without a size.
    pub(super) fn get_unsized(&self) -> Option<Pooled<Cell>> {
        let pool = &self.if_used(UNSIZED)?.pool;
        pool.try_get_fast().or_else(|| self.idle(UNSIZED))
    }

    /// A buffer for a request without a size that wants memory now.
    pub(super) fn create_unsized(&self) -> Pooled<Cell> {
        self.used(UNSIZED).pool.get_pooled()
    }

    #[cold]
    fn create(&self, class: usize, memory: BytesMut) -> Pooled<Cell> {
        let mut cell = self.used(class).pool.get_pooled();
        // Without memory, unless another thread has given one back in the meantime.
        if cell.full() == 0 {
            cell.fill(memory);
        }
        cell
    }

    /// A class, made if need be.
    fn used(&self, index: usize) -> &Used {
        match self.if_used(index) {
            Some(used) => used,
            None => self.used_slow(index),
        }
    }

    #[cold]
    fn used_slow(&self, index: usize) -> &Used {
        let used = self.classes[index].get_or_make(|| Arc::new(self.unused(index)));
        for entry in &self.idle[slots(index)] {
            // SAFETY: what is in `classes` stays there as long as the entries.
            unsafe { used.pool.enter_by(entry) };
        }
        // A thread that switched while the class was made did not see it. Also if it is another
        // thread's, which may not have come to this yet.
        self.switch(used);
        used
    }

    /// A class with a pool of its own. If another thread is quicker, both go as they came: no object
    /// was in the pool, so nothing knows of it.
    fn unused(&self, index: usize) -> Used {
        let me: Weak<Inner> = Weak::clone(&self.me);
        let class = Arc::new(self.settings.class(index, me));
        let pool = self.settings.pool(&class);
        // Relaxed: whatever this misses, `used_slow` sees.
        if !self.is_enabled() {
            pool.set_enabled(false);
            class.lent.switch(false);
        }
        class.core.get_or_make(|| Arc::new(pool.weak_core()));
        Used { pool, class }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The classes that have been used.
    pub(super) fn all_used(&self) -> impl Iterator<Item = &Used> {
        self.classes.iter().filter_map(Lazy::get)
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.is_on()
    }

    /// Whether buffers are pooled, or have to be overwritten at least; if not, they are plain ones.
    pub(super) fn pools(&self) -> bool {
        self.is_enabled() || self.settings.wipes()
    }

    /// What counts plain ones, if buffers are plain ones.
    #[inline(always)]
    pub(super) fn off(&self) -> Option<&OffCounter> {
        // Acquire: pairs with the Release in `set_enabled`. No mutant: loom leaves statistics to std.
        let plain = self.plain.load(Ordering::Acquire);
        // SAFETY: null, or what `off` keeps.
        unsafe { plain.as_ref() }
    }

    /// Plain buffers handed out.
    pub(super) fn plain_ones(&self) -> u64 {
        self.off.get().map_or(0, OffCounter::sum)
    }

    pub(super) fn set_enabled(&self, on: bool) {
        if !on {
            self.off.get_or_make(|| Arc::new(OffCounter::new()));
        }
        self.enabled.set(on);
        self.enabled.apply(|on| {
            self.open
                .store(if on { SLOTS } else { 0 }, Ordering::Relaxed);
            let plain = self.off.get().filter(|_| !on && !self.settings.wipes());
            let plain = plain.map_or(ptr::null_mut(), |off| ptr::from_ref(off).cast_mut());
            // Release: pairs with the Acquire in `off`. No mutant: as there.
            self.plain.store(plain, Ordering::Release);
        });
        self.all_used().for_each(|used| self.switch(used));
        if on {
            free_nodes::free_shared();
        }
    }

    /// Switches a class as the pool is switched.
    ///
    /// A thread that makes a class calls this once other threads can find the class, and one that switches the pool
    /// calls it for each class that it finds (`sync/switch.rs`).
    fn switch(&self, used: &Used) {
        self.enabled.apply(|on| {
            used.pool.set_enabled(on);
            used.class.lent.switch(on);
        });
    }

    /// For those that may outlive the pool.
    pub(super) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    /// Takes in a buffer that no pool knew, if it can serve any request.
    pub(super) fn adopt(&self, mut bytes: BytesMut) {
        if !memory::regain(&mut bytes) {
            return; // there are other handles to it
        }
        let capacity = bytes.capacity();
        if capacity > class::size(self.settings.top) {
            return;
        }
        if let Some(home) = class::filing(capacity) {
            let Used { pool, class } = self.used(home);
            let mut cell = Cell::with(bytes, class);
            cell.wipe();
            pool.put(cell);
        }
    }
}

impl Origin for Inner {
    fn has_lent(&self, class: usize) {
        // Gets of a diagnosed pool take the slow path.
        if let Some(used) = self
            .if_used(class)
            .filter(|used| !used.pool.has_diagnostics())
        {
            for entry in &self.lent[slots(class)] {
                // SAFETY: what is in `classes` stays there as long as the entries.
                unsafe { used.class.lent.enter_by(entry) };
            }
        }
    }

    fn get(&self, capacity: usize) -> Option<Pooled<Cell>> {
        match self.hit(class::slot(capacity)) {
            Some(cell) => Some(cell),
            None if !self.pools() => None,
            None => self.get(capacity, false).ok(),
        }
    }
}

/// The slots of requests that this class serves first.
fn slots(class: usize) -> Range<usize> {
    match class {
        OUTSIDE | UNSIZED => 0..0,
        0 => 0..SMALLER + 1,
        class => class + SMALLER..class + SMALLER + 1,
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.leave();
        self.all_used().for_each(|used| used.class.lent.close());
    }
}
