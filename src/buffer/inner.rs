//! [`Inner`]: the inside of a buffer pool: a pool of objects per class, and the search for a buffer.
//!
//! The pool of a class is a [`Pool`] like any other, with its own caches, depot, limits, passes and
//! figures. It is created by the first use of its class. This file chooses between classes: a
//! request looks in its own class, then in the next larger one, and then creates a buffer. A buffer
//! found in the larger class goes back there.
//!
//! # Ownership
//! The user's handle owns [`Inner`], which owns the pools of the classes. An object and the closures
//! of a pool own their [`Class`], which has only a weak reference to `Inner`, so a buffer that is
//! out does not keep its pool alive. The rings of a class own the lent objects, and through them the
//! class: dropping `Inner` closes the pool of rings, which breaks the cycle.
//!
//! # Orderings
//! `open`: Relaxed, a hint. `enabled`: see `sync/switch.rs`.

use super::class::{self, ALL, OUTSIDE, SLOTS, SMALLER, UNSIZED};
use super::error::CapacityError;
use super::lent::{self, Ring};
use super::memory;
use super::pooled_bytes::{Class, Origin, PooledBytes};
use super::settings::Settings;
use super::wipe;
use crate::object::entry::Entry;
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::object::unpooled;
use crate::raw::off_counter::OffCounter;
use crate::sync::lazy::Lazy;
use crate::sync::rare::{Arc, Weak};
use crate::sync::switch::Switch;
use crate::sync::{AtomicBool, AtomicUsize, Ordering, StatPtr};
use bytes::BytesMut;
use std::ops::Range;
use std::ptr;

/// The entry tables come last to avoid 4 KiB aliasing: a load whose low 12 address bits match those
/// of a recent store has to wait for it. An allocator that puts this struct at the start of a page
/// does the same with large buffers, and most writes go to the start of a buffer.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Inner {
    settings: Settings,
    enabled: Switch,
    me: Weak<Inner>,
    /// Whether the pool is in the registry of named pools, if it has a name.
    pub(super) registered: AtomicBool,
    /// Counts unpooled buffers; made when the pool is first switched off.
    off: Lazy<OffCounter>,
    /// `off` while buffers are unpooled; null otherwise.
    unpooled: StatPtr<OffCounter>,
    /// By class. Each is created by its first use.
    classes: [Lazy<Used>; ALL],
    /// The number of slots that gets may look at: all, or 0 while the pool is switched off.
    open: AtomicUsize,
    /// By slot: pointers to the idle buffers and to the rings of a class, whose owner is `classes`.
    /// The root of the hot path.
    idle: [Entry<PooledBytes>; SLOTS],
    lent: [Entry<Ring>; SLOTS],
}

/// A class that has been used.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) pool: Pool<PooledBytes>,
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
            unpooled: StatPtr::new(ptr::null_mut()),
            enabled: Switch::new(true),
            open: AtomicUsize::new(SLOTS),
            me: Weak::clone(me),
            registered: AtomicBool::new(false),
        });
        if inner.settings.common.is_off() {
            inner.set_enabled(false);
        }
        inner
    }

    /// Returns a buffer for a request of this slot: an idle one from this thread's cache, or one
    /// that this thread has lent and that has no views left.
    #[inline(always)]
    pub(super) fn hit(&self, slot: usize) -> Option<Pooled<PooledBytes>> {
        // Relaxed: while the pool is off, gets would find nothing anyway; this only saves them the
        // work.
        if slot >= self.open.load(Ordering::Relaxed) {
            return None;
        }
        debug_assert!(slot < SLOTS);
        // SAFETY: `open` is 0 or the number of slots.
        let idle = unsafe { self.idle.get_unchecked(slot) };
        match idle.hit() {
            Some(object) => Some(object),
            // A frozen buffer has usually come back.
            None => {
                // SAFETY: as above.
                let lent = unsafe { self.lent.get_unchecked(slot) };
                lent::pop(lent.top()?)
            }
        }
    }

    /// Returns a class if it has been used.
    pub(super) fn if_used(&self, class: usize) -> Option<&Used> {
        self.classes.get(class)?.get()
    }

    /// Returns an idle buffer of this class, or a lent one without views, by the slow path.
    fn idle(&self, class: usize) -> Option<Pooled<PooledBytes>> {
        let Used { pool, class } = self.if_used(class)?;
        class
            .lent
            .look()
            .or_else(|| pool.try_get())
            .or_else(|| class.lent.look_elsewhere())
            // A lent buffer that had to be checked is idle now.
            .or_else(|| pool.try_get())
    }

    /// Returns a buffer by the slow path. `capacity` is not 0, and this thread has no idle buffer
    /// of its class.
    pub(super) fn get(
        &self,
        capacity: usize,
        fallible: bool,
    ) -> Result<Pooled<PooledBytes>, CapacityError> {
        let wanted = class::holding(capacity);
        let found = match wanted <= self.settings.top {
            true => self.idle(wanted).or_else(|| self.one_up(wanted)),
            false => None,
        };
        if let Some(object) = found {
            return Ok(object);
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

    /// Returns a buffer of the next larger class. It goes back to that class.
    fn one_up(&self, wanted: usize) -> Option<Pooled<PooledBytes>> {
        let class = wanted + 1;
        if class > self.settings.top {
            return None;
        }
        let pool = &self.if_used(class)?.pool;
        pool.try_get_fast().or_else(|| self.idle(class))
    }

    /// Returns a buffer that came back to the class of requests for 0 bytes.
    pub(super) fn get_unsized(&self) -> Option<Pooled<PooledBytes>> {
        let pool = &self.if_used(UNSIZED)?.pool;
        pool.try_get_fast().or_else(|| self.idle(UNSIZED))
    }

    /// Returns a buffer for a request for 0 bytes that needs memory now.
    pub(super) fn create_unsized(&self) -> Pooled<PooledBytes> {
        self.used(UNSIZED).pool.get_pooled()
    }

    #[cold]
    fn create(&self, class: usize, memory: BytesMut) -> Pooled<PooledBytes> {
        let mut object = self.used(class).pool.get_pooled();
        // It has no memory, unless another thread has returned one in the meantime.
        if object.full() == 0 {
            object.fill(memory);
        }
        object
    }

    /// Returns a class, and creates it if necessary.
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
            // SAFETY: what is in `classes` stays there for as long as the entries.
            unsafe { used.pool.enter_by(entry) };
        }
        // A thread that switched the pool while this class was being created has not seen it. This
        // holds even if another thread created the class and has not come this far yet.
        self.switch(used);
        used
    }

    /// Creates a class with its own pool. If another thread is faster, this one is dropped: its
    /// pool has never had an object, so nothing refers to it.
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

    /// Returns whether buffers are pooled, or at least have to be overwritten. If not, they are
    /// unpooled.
    pub(super) fn pools(&self) -> bool {
        self.is_enabled() || self.settings.wipes()
    }

    /// Returns the counter for unpooled buffers, if buffers are unpooled at the moment.
    #[inline(always)]
    pub(super) fn off(&self) -> Option<&OffCounter> {
        // Acquire: pairs with the Release in `set_enabled`. No mutant: loom leaves statistics to std.
        let unpooled = self.unpooled.load(Ordering::Acquire);
        // SAFETY: null, or what `off` owns.
        unsafe { unpooled.as_ref() }
    }

    /// The number of unpooled buffers handed out.
    pub(super) fn unpooled_count(&self) -> u64 {
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
            let unpooled = self.off.get().filter(|_| !on && !self.settings.wipes());
            let unpooled = unpooled.map_or(ptr::null_mut(), |off| ptr::from_ref(off).cast_mut());
            // Release: pairs with the Acquire in `off`. No mutant: as there.
            self.unpooled.store(unpooled, Ordering::Release);
        });
        self.all_used().for_each(|used| self.switch(used));
        if on {
            unpooled::free_shared();
        }
    }

    /// Switches a class as the pool is switched.
    ///
    /// A thread that creates a class calls this once the class is visible; a thread that switches
    /// the pool calls it for each visible class (`sync/switch.rs`).
    fn switch(&self, used: &Used) {
        self.enabled.apply(|on| {
            used.pool.set_enabled(on);
            used.class.lent.switch(on);
        });
    }

    /// For objects, which may outlive the pool.
    pub(super) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    /// Takes a buffer made elsewhere into the pool, if it can serve any request.
    pub(super) fn adopt(&self, mut bytes: BytesMut) {
        let wipe = |bytes: &mut BytesMut| {
            if self.settings.wipes() {
                wipe::wipe(bytes);
            }
        };
        if !memory::regain(&mut bytes, wipe) {
            return; // there are other handles to it
        }
        wipe(&mut bytes);
        let capacity = bytes.capacity();
        if capacity > class::size(self.settings.top) {
            return;
        }
        if let Some(class) = class::filing(capacity) {
            let Used { pool, class } = self.used(class);
            let mut object = PooledBytes::with(bytes, class);
            object.is_wiped();
            pool.put(object);
        }
    }
}

impl Origin for Inner {
    fn has_lent(&self, class: usize) {
        // Gets of a pool with diagnostics take the slow path.
        if let Some(used) = self
            .if_used(class)
            .filter(|used| !used.pool.has_diagnostics())
        {
            for entry in &self.lent[slots(class)] {
                // SAFETY: what is in `classes` stays there for as long as the entries.
                unsafe { used.class.lent.enter_by(entry) };
            }
        }
    }

    fn get(&self, capacity: usize) -> Option<Pooled<PooledBytes>> {
        match self.hit(class::slot(capacity)) {
            Some(object) => Some(object),
            None if !self.pools() => None,
            None => self.get(capacity, false).ok(),
        }
    }
}

/// Returns the slots of the requests that look in this class first.
fn slots(class: usize) -> Range<usize> {
    match class {
        OUTSIDE | UNSIZED => 0..0,
        0 => 0..SMALLER + 1,
        class => class + SMALLER..class + SMALLER + 1,
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.unregister();
        self.all_used().for_each(|used| used.class.lent.close());
    }
}
