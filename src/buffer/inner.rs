//! One buffer pool's inside: a pool of cells for each class, and how a request finds its buffer.
//!
//! A class's pool is a [`Pool`] like any other: caches per thread, depot, limits, passes, figures
//! are its business. It is made when the class is first used. What is here is the choice between
//! classes.
//!
//! # Who keeps whom
//! The user's handle keeps [`Inner`], which keeps the classes' pools. A cell and a pool's closures
//! keep their [`Class`], which knows `Inner` by a weak reference only, so that a buffer that is out
//! does not keep its pool. A class's rings of lent cells keep those cells, and through them the
//! class: dropping `Inner` closes the pool of rings, which breaks the circle.
//!
//! # What is learned
//! Requests of a class whose buffers came back grown, twice, get buffers of the size that was
//! used from then on; a buffer that is dropped after its fifth strike undoes that, or corrects it.

use super::cell::{self, Cell};
use super::class::{self, COUNT, OUTSIDE, SLOTS, SMALLER};
use super::guard::Buffer;
use super::lent::{self, Lent, Ring};
use super::pool::{CapacityError, Settings};
use crate::background::manual::ensure_watched;
use crate::object::entry::Entry;
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::raw::refs::WeakCore;
use crate::raw::stats::Reason;
use crate::sync::lazy::Lazy;
use crate::sync::rare::{Arc, Weak};
use crate::sync::{AtomicBool, AtomicU8, Figure, Ordering};
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// The ways in come last, by intent. An allocator that puts this at the start of a page does so with
/// large buffers too, and a processor takes a look at what is as far into its page as a recent write
/// for a look at what was written, and waits. Most writes go to a buffer's start.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Inner {
    settings: Settings,
    enabled: AtomicBool,
    me: Weak<Inner>,
    learned: [Learned; COUNT + 1],
    /// By class, as the one above; the last one is for what is larger than any. Made when first used.
    classes: [Lazy<Used>; COUNT + 1],
    /// By slot: the ways to a class's idle buffers, and to its lent ones, past [`Used`], which keeps
    /// what they lead to. Where hits come in.
    idle: [Entry<Cell>; SLOTS],
    lent: [Entry<Ring>; SLOTS],
}

/// A class that has been used.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) pool: Pool<Cell>,
    pub(super) class: Arc<Class>,
}

/// What one class's cells, lent handles and closures share.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) index: usize,
    /// Buffers above this capacity are not kept.
    pub(super) top: usize,
    /// Why nothing of this class is ever kept, if so: then nothing waits for its views either.
    refuses: Option<Reason>,
    #[cfg(feature = "zeroize")]
    pub(super) wipes: bool,
    pub(super) lent: Lent,
    pub(super) counts: Counts,
    inner: Weak<Inner>,
    /// Of the pool that was made with this class, before anybody else saw either of them.
    core: Lazy<WeakCore>,
}

/// What the class's pool cannot count.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Its requests that another class served, and requests of others that it served.
    helped: Figure,
    helps: Figure,
    /// Buffers that went to another class, or came from one.
    left: Figure,
    arrived: Figure,
}

/// What the requests of a class have taught. Relaxed, all of it: hints.
#[derive(Debug, Default)]
struct Learned {
    /// The class that a buffer grew to lately, and the one that serves such requests now; 0: none.
    grown: AtomicU8,
    serves: AtomicU8,
}

impl Counts {
    pub(super) fn left(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn arrived(&self) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
    }

    /// helped, helps, left, arrived.
    pub(super) fn read(&self) -> [u64; 4] {
        [&self.helped, &self.helps, &self.left, &self.arrived]
            .map(|count| count.load(Ordering::Relaxed) as u64)
    }
}

impl Class {
    pub(super) fn inner(&self) -> Option<Arc<Inner>> {
        self.inner.upgrade()
    }

    /// Why nothing is kept at the moment, if so.
    pub(super) fn barred(&self) -> Option<Reason> {
        let core = self.core.get();
        core.map_or(Some(Reason::Closed), |core| core.barred())
    }

    /// Why nothing of this class is kept, now or ever, if so.
    pub(super) fn refuses(&self) -> Option<Reason> {
        self.barred().or(self.refuses)
    }

    /// A handle waits: somebody has to look at it, even if nothing is idle.
    pub(super) fn tell_janitor(&self) {
        if let Some(core) = self.core.get() {
            ensure_watched(core);
        }
    }

    /// Looks at all that are lent out; whether there may be something to look at next time.
    pub(super) fn look_at_all(&self) -> bool {
        self.lent.look_at_all(cell::came_back_for_all)
    }
}

impl Inner {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            idle: std::array::from_fn(|_| Entry::new()),
            lent: std::array::from_fn(|_| Entry::new()),
            classes: std::array::from_fn(|_| Lazy::new()),
            learned: std::array::from_fn(|_| Learned::default()),
            settings,
            enabled: AtomicBool::new(true),
            me: Weak::clone(me),
        })
    }

    /// A buffer for a request of this slot: an idle one in this thread's cache, or one that this thread
    /// has lent out and that is back.
    #[inline(always)]
    pub(super) fn hit(&self, slot: usize) -> Option<Pooled<Cell>> {
        match self.idle.get(slot)?.hit() {
            Some(cell) => Some(cell),
            // What was frozen is there again, as a rule.
            None => lent::pop(self.lent.get(slot)?.top()?),
        }
    }

    /// A class, if it has been used.
    pub(super) fn if_used(&self, class: usize) -> Option<&Used> {
        self.classes.get(class)?.get()
    }

    /// An idle buffer of this class, or one that is back, the long way round.
    fn idle(&self, class: usize) -> Option<Pooled<Cell>> {
        let Used { pool, class } = self.if_used(class)?;
        pool.try_get()
            .or_else(|| class.lent.pop_slow())
            // One that was not as it was is idle now.
            .or_else(|| pool.try_get())
    }

    /// A buffer, the long way round: `capacity` is not 0, and nothing of its class is idle.
    pub(super) fn get(&self, capacity: usize, fallible: bool) -> Result<Buffer, CapacityError> {
        let wanted = class::holding(capacity);
        if wanted > self.settings.top {
            let memory = allocate(capacity, fallible)?;
            return Ok(self.create(OUTSIDE, OUTSIDE, memory));
        }
        let serves = self.learned[wanted].serves.load(Ordering::Relaxed) as usize;
        let found = self
            .idle(wanted)
            .or_else(|| self.help(wanted, serves))
            .or_else(|| self.help(wanted, wanted + 1));
        if let Some(mut cell) = found {
            cell.set_asked(wanted);
            return Ok(Buffer::of(cell));
        }
        let class = serves.max(wanted);
        let memory = allocate(class::size(class), fallible)?;
        Ok(self.create(wanted, class, memory))
    }

    /// A buffer of another class than was asked for.
    fn help(&self, wanted: usize, class: usize) -> Option<Pooled<Cell>> {
        if class <= wanted || class > self.settings.top {
            return None;
        }
        let pool = &self.if_used(class)?.pool;
        let cell = pool.try_get_fast().or_else(|| self.idle(class))?;
        self.count_help(wanted, class);
        Some(cell)
    }

    fn count_help(&self, wanted: usize, class: usize) {
        if wanted != class {
            let count = |figure: &Figure| figure.fetch_add(1, Ordering::Relaxed);
            count(&self.used(wanted).class.counts.helped);
            count(&self.used(class).class.counts.helps);
        }
    }

    #[cold]
    fn create(&self, wanted: usize, class: usize, memory: BytesMut) -> Buffer {
        let mut cell = self.used(class).pool.get();
        cell.set_asked(wanted);
        // Nothing in it, unless somebody has given one back in the meantime.
        if cell.bytes.capacity() == 0 {
            cell.fill(memory);
        }
        self.count_help(wanted, class);
        Buffer::of(cell)
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
        // Whoever switched while the class was made did not see it. Also if it is another thread's,
        // which may not have come to this yet.
        self.switch(used);
        used
    }

    /// A class with a pool of its own. If another thread is quicker, both go as they came: no object
    /// was in the pool, so nothing knows of it.
    fn unused(&self, index: usize) -> Used {
        let class = Arc::new(Class {
            index,
            top: class::size(self.settings.top),
            refuses: self.settings.refuses(index),
            #[cfg(feature = "zeroize")]
            wipes: self.settings.wipes,
            lent: Lent::new(),
            counts: Counts::default(),
            inner: Weak::clone(&self.me),
            core: Lazy::new(),
        });
        let pool = self.settings.pool(&class);
        // Relaxed: whatever this misses, `used_slow` sees.
        if !self.enabled.load(Ordering::Relaxed) {
            pool.set_enabled(false);
            class.lent.switch(false);
        }
        class.core.get_or_make(|| Arc::new(pool.weak_core()));
        Used { pool, class }
    }

    /// A class has rings from now on.
    pub(super) fn has_lent(&self, class: usize) {
        if let Some(used) = self.if_used(class) {
            for entry in &self.lent[slots(class)] {
                // SAFETY: what is in `classes` stays there as long as the entries.
                unsafe { used.class.lent.enter_by(entry) };
            }
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The classes that have been used.
    pub(super) fn all_used(&self) -> impl Iterator<Item = &Used> {
        self.classes.iter().filter_map(Lazy::get)
    }

    pub(super) fn set_enabled(&self, on: bool) {
        // AcqRel: see `switch`.
        self.enabled.swap(on, Ordering::AcqRel);
        self.all_used().for_each(|used| self.switch(used));
    }

    /// Switches a class as the pool is switched.
    ///
    /// Whoever makes a class calls this once it is there to be seen, whoever switches the pool calls
    /// it for each class that is there, and both have gone through `enabled` by a read-modify-write in
    /// between. Those are in one order, and each sees what came before the others. So either the
    /// maker finds the new value, or the switcher finds the class.
    ///
    /// Again while it changes, so that the last one to switch a class, whoever that is, has found
    /// the value unchanged after it; and a later change comes with its own call.
    fn switch(&self, used: &Used) {
        // AcqRel: pairs with itself and with `set_enabled`'s, as above.
        let look = || self.enabled.fetch_or(false, Ordering::AcqRel);
        let mut on = look();
        loop {
            used.pool.set_enabled(on);
            used.class.lent.switch(on);
            let now = look();
            if now == on {
                break;
            }
            on = now;
        }
    }

    /// For those that may outlive the pool.
    pub(super) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    /// Takes in a buffer that is in no cell.
    pub(super) fn adopt(&self, home: usize, bytes: BytesMut, strikes: u8) -> &Arc<Class> {
        let Used { pool, class } = self.used(home);
        pool.put(Cell::filed(bytes, class, strikes));
        class
    }

    /// Takes in a buffer that no pool knew, if it can serve anybody.
    #[cold]
    pub(super) fn adopt_loose(&self, mut bytes: BytesMut) {
        bytes.clear();
        let Ok(bytes) = cell::whole(bytes) else {
            return; // somebody has a part of it
        };
        #[cfg(feature = "zeroize")]
        let bytes = {
            let mut bytes = bytes;
            if self.settings.wipes {
                cell::wipe(&mut bytes);
            }
            bytes
        };
        if bytes.capacity() > class::size(self.settings.top) || std::thread::panicking() {
            return;
        }
        if let Some(home) = class::filing(bytes.capacity()) {
            self.adopt(home, bytes, 0);
        }
    }

    /// A buffer came back larger than its request made it.
    pub(super) fn learn_grown(&self, asked: usize, used: usize) {
        let Some(learned) = self.learned.get(asked) else {
            return;
        };
        let used = class::holding(used).min(self.settings.top);
        if asked == OUTSIDE || used <= asked + 1 {
            return;
        }
        let before = learned.grown.swap(used as u8, Ordering::Relaxed);
        if before != 0 {
            learned
                .serves
                .store(before.min(used as u8), Ordering::Relaxed);
        }
    }

    /// A buffer was dropped, because too little of it was used too often.
    pub(super) fn learn_shrunk(&self, asked: usize, used: usize) {
        let Some(learned) = self.learned.get(asked) else {
            return;
        };
        let used = class::holding(used);
        let serves = if used > asked + 1 && asked != OUTSIDE {
            used as u8
        } else {
            0
        };
        learned.grown.store(serves, Ordering::Relaxed);
        learned.serves.store(serves, Ordering::Relaxed);
    }
}

/// Where requests come in that this class serves first.
fn slots(class: usize) -> Range<usize> {
    match class {
        OUTSIDE => 0..0,
        0 => 0..SMALLER + 1,
        class => class + SMALLER..class + SMALLER + 1,
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.all_used().for_each(|used| used.class.lent.close());
    }
}

/// From this capacity on, a request that may fail finds out whether there is memory at all.
const WORTH_ASKING: usize = 1 << 20;

/// Memory for exactly so many bytes.
fn allocate(capacity: usize, fallible: bool) -> Result<BytesMut, CapacityError> {
    if capacity > isize::MAX as usize {
        return Err(CapacityError::of(capacity));
    }
    if !fallible || capacity < WORTH_ASKING {
        return Ok(BytesMut::with_capacity(capacity));
    }
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(capacity)
        .map_err(|_| CapacityError::of(capacity))?;
    // The way from a `Vec` to a `BytesMut` without a copy.
    Ok(BytesMut::from(Bytes::from(memory)))
}
