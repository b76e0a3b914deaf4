//! Nodes: the heap cells that objects live in for as long as the pool owns them.
//!
//! A node is `{ link, value }`. The code that moves nodes (caches, depot, passes) sees only the untyped [`Link`] at
//! the start, so it is compiled once and not once per `T`. Operations that need the type go through the core's vtable.
//!
//! # Who may touch what
//! | field | written by |
//! |---|---|
//! | `core` | no thread, after construction |
//! | `next`, `weight`, `underuse_count` | the holder (I1) |
//! | `last_cache`, `last_owner` | the holder, when a thread other than the last owner returns the node to its cache |
//! | `value` | the guard while the object is in use; no thread while it is idle |
//!
//! # Last cache and last owner
//! `last_cache` is the cache that the node entered last, and `last_owner` holds the ID of that cache's owner. A return
//! compares `last_owner` with the ID of its own thread. It reads only the node for that, and no cache line that another
//! thread's hits write (I10).
//!
//! Both fields may be stale: the node may have moved on, the thread may have ended, and another thread may have its
//! ID. A stale value is harmless. In one core, a thread ID stands for exactly one cache. So if `last_owner` is the ID
//! of the returning thread, `last_cache` is that thread's cache. Caches never move, and live as long as their core,
//! which the node keeps alive (I6). If the thread has not registered with the pool, the gate of that cache is shut.

use crate::sync::{IN_MODELS, UnsafeCell};
use std::ptr;

/// Objects in a full list, where their weight allows. A cache holds two lists.
pub(crate) const LIST_LEN: usize = if IN_MODELS { 2 } else { 64 };
/// Bytes in a full list of more than one object, unless `Limits::with_unbounded_list_bytes`. A cache holds two lists.
pub(crate) const LIST_BYTES: usize = 128 << 10;

/// An end of the depot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Handed out next.
    Hot,
    /// Trimmed next.
    Cold,
}

/// An untyped core, as a node points to it. `Core::of` casts it back.
#[derive(Debug)]
pub(crate) enum OpaqueCore {}

/// An untyped cache, as a node points to it. `Cache::at` casts it back.
#[derive(Debug)]
pub(crate) enum OpaqueCache {}

/// The last owner of a node that has never been in a cache, and of every node of a pool whose returns must not take the
/// hit path. No thread has this ID.
pub(crate) const NO_OWNER: u32 = 0;

/// The untyped part of a node.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Link {
    next: UnsafeCell<*mut Link>,
    last_cache: UnsafeCell<*const OpaqueCache>,
    /// `retained_bytes()` when the object came back.
    weight: UnsafeCell<usize>,
    core: *const OpaqueCore,
    /// `ThreadId::as_owner` of the thread that owns `last_cache`, or [`NO_OWNER`].
    last_owner: UnsafeCell<u32>,
    /// Returns in a row that used little of a large object.
    underuse_count: UnsafeCell<u32>,
}

const _: () = assert!(IN_MODELS || size_of::<Link>() == 4 * size_of::<usize>() + 8);

/// The getter and the setter of a field. Each takes a live node that the caller holds (I1).
macro_rules! field {
    ($(#[$about:meta])* $name:ident, $set:ident: $Type:ty) => {
        $(#[$about])*
        ///
        /// # Safety
        /// As [`Link::of`].
        #[inline(always)]
        pub(crate) unsafe fn $name(link: *mut Link) -> $Type {
            // SAFETY: guaranteed by the caller.
            let this = unsafe { Link::of(link) };
            // SAFETY: the caller holds the node, so no other thread writes the field.
            this.$name.with(|field| unsafe { *field })
        }

        /// # Safety
        /// As [`Link::of`].
        #[inline(always)]
        pub(crate) unsafe fn $set(link: *mut Link, to: $Type) {
            // SAFETY: guaranteed by the caller.
            let this = unsafe { Link::of(link) };
            // SAFETY: the caller holds the node, so no other thread reads or writes the field.
            this.$name.with_mut(|field| unsafe { *field = to });
        }
    };
}

impl Link {
    pub(crate) fn new(core: *const OpaqueCore) -> Self {
        Self {
            next: UnsafeCell::new(ptr::null_mut()),
            last_cache: UnsafeCell::new(ptr::null()),
            weight: UnsafeCell::new(0),
            core,
            last_owner: UnsafeCell::new(NO_OWNER),
            underuse_count: UnsafeCell::new(0),
        }
    }

    /// # Safety
    /// `link` is a live node that the caller holds (I1). The same holds for each function below.
    #[inline(always)]
    unsafe fn of<'a>(link: *mut Link) -> &'a Link {
        // SAFETY: the caller holds the node. Every field that changes is a cell, so a shared reference asserts nothing
        // about its content.
        unsafe { &*link }
    }

    field!(
        /// The next node in the list.
        next, set_next: *mut Link
    );
    field!(
        /// The cache that the node entered last; null if it has never been in one.
        last_cache, set_last_cache: *const OpaqueCache
    );
    field!(
        /// `ThreadId::as_owner` of the thread that owns the last cache.
        last_owner, set_last_owner: u32
    );
    field!(
        /// The bytes that the object retained when it last came back.
        weight, set_weight: usize
    );
    field!(
        /// Returns in a row that used little of a large object.
        underuse_count, set_underuse_count: u32
    );

    /// The core that owns this node.
    ///
    /// # Safety
    /// As [`Link::of`].
    #[inline(always)]
    pub(crate) unsafe fn core(link: *mut Link) -> *const OpaqueCore {
        // SAFETY: guaranteed by the caller.
        unsafe { Link::of(link) }.core
    }

    /// Loads the node's cache line, for the sake of the load.
    ///
    /// # Safety
    /// As [`Link::of`].
    #[inline(always)]
    pub(crate) unsafe fn touch(link: *mut Link) {
        // SAFETY: guaranteed by the caller.
        let this = unsafe { Link::of(link) };
        // SAFETY: the caller holds the node. Volatile, so that the compiler keeps it.
        _ = this.next.with(|field| unsafe { field.read_volatile() });
    }

    /// The sum of the weights of the first `count` nodes of a list.
    ///
    /// # Safety
    /// The caller holds the list that starts at `link`. It has at least `count` nodes.
    pub(crate) unsafe fn weights(mut link: *mut Link, count: usize) -> usize {
        let mut bytes = 0_usize;
        for _ in 0..count / 8 {
            // SAFETY: guaranteed by the caller.
            let (of_eight, next) = unsafe { Link::weights_of_eight(link) };
            bytes = bytes.wrapping_add(of_eight);
            link = next;
        }
        for _ in 0..count % 8 {
            // SAFETY: the caller holds the list.
            bytes = bytes.wrapping_add(unsafe { Link::weight(link) });
            // SAFETY: as above.
            link = unsafe { Link::next(link) };
        }
        bytes
    }

    /// The sum of the weights of eight nodes, and the node after them. Unrolled: this runs for each list that a thread
    /// gives to the depot.
    ///
    /// # Safety
    /// The caller holds the list that starts at `link`. It has at least eight nodes.
    #[inline(always)]
    pub(super) unsafe fn weights_of_eight(mut link: *mut Link) -> (usize, *mut Link) {
        let mut bytes = 0_usize;
        let mut step = || {
            // SAFETY: the caller holds the list.
            bytes = bytes.wrapping_add(unsafe { Link::weight(link) });
            // SAFETY: as above.
            link = unsafe { Link::next(link) };
        };
        step();
        step();
        step();
        step();
        step();
        step();
        step();
        step();
        (bytes, link)
    }
}

/// A list of nodes with its length and weight, moved as one pointer.
///
/// Sums of bytes wrap. Every weight that is subtracted was added before, so the sums stay consistent whatever the
/// user's `retained_bytes` returns.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) head: *mut Link,
    pub(crate) len: usize,
    pub(crate) bytes: usize,
    /// An upper bound of the nodes' weights.
    pub(crate) heaviest: usize,
}

// SAFETY: a batch owns its nodes (I1), and every pooled object is `Send` (a bound of `Pool<T>`).
unsafe impl Send for Batch {}

impl Batch {
    pub(crate) const EMPTY: Self = Self {
        head: ptr::null_mut(),
        len: 0,
        bytes: 0,
        heaviest: 0,
    };

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::EMPTY)
    }

    /// A batch of one.
    ///
    /// # Safety
    /// The caller holds the node and gives it up.
    pub(crate) unsafe fn of_one(link: *mut Link) -> Self {
        let mut batch = Self::EMPTY;
        // SAFETY: guaranteed by the caller.
        unsafe { batch.push(link) };
        batch
    }

    /// Pushes a node on top.
    ///
    /// # Safety
    /// The caller holds the node and gives it up.
    pub(crate) unsafe fn push(&mut self, link: *mut Link) {
        // SAFETY: the caller holds the node.
        unsafe { Link::set_next(link, self.head) };
        // SAFETY: as above.
        let weight = unsafe { Link::weight(link) };
        self.bytes = self.bytes.wrapping_add(weight);
        self.heaviest = self.heaviest.max(weight);
        self.head = link;
        self.len += 1;
    }

    /// Pops the top node; null if the batch is empty.
    pub(crate) fn pop(&mut self) -> *mut Link {
        let link = self.head;
        if !link.is_null() {
            // SAFETY: I1: the batch holds its nodes.
            self.head = unsafe { Link::next(link) };
            // SAFETY: as above.
            self.bytes = self.bytes.wrapping_sub(unsafe { Link::weight(link) });
            self.len -= 1;
        }
        link
    }

    /// Removes the topmost node for which `pick` returns `true`; null if there is none. The others keep their order.
    #[allow(dead_code, reason = "for pools with diagnostics, which are a feature")]
    pub(crate) fn take_where(&mut self, mut pick: impl FnMut(*mut Link) -> bool) -> *mut Link {
        // In reverse order.
        let mut above = Self::EMPTY;
        let found = loop {
            let link = self.pop();
            if link.is_null() || pick(link) {
                break link;
            }
            // SAFETY: I1: just taken from the batch, so held here.
            unsafe { above.push(link) };
        };
        loop {
            let link = above.pop();
            if link.is_null() {
                return found;
            }
            // SAFETY: as above.
            unsafe { self.push(link) };
        }
    }

    /// Calls `look` with each node, topmost first.
    pub(crate) fn each(&self, mut look: impl FnMut(*mut Link)) {
        let mut link = self.head;
        while !link.is_null() {
            look(link);
            // SAFETY: I1: the batch holds its nodes.
            link = unsafe { Link::next(link) };
        }
    }

    /// Splits off the top `count` nodes in their order, or all of them if there are fewer.
    pub(crate) fn split_top(&mut self, count: usize) -> Self {
        if count >= self.len {
            return self.take();
        }
        let mut top = Self {
            heaviest: self.heaviest,
            ..Self::EMPTY
        };
        let mut last = ptr::null_mut();
        let head = self.head;
        for _ in 0..count {
            last = self.pop();
            // SAFETY: I1: just taken from the batch, so held here.
            top.bytes = top.bytes.wrapping_add(unsafe { Link::weight(last) });
            top.len += 1;
        }
        if !last.is_null() {
            // SAFETY: as above. `last` is the end of the part that is split off.
            unsafe { Link::set_next(last, ptr::null_mut()) };
            top.head = head;
        }
        top
    }

    /// Splits off what is below the top `count` nodes.
    #[inline]
    pub(crate) fn split_below(&mut self, count: usize) -> Self {
        if count >= self.len {
            return Self::EMPTY;
        }
        let top = self.split_top(count);
        std::mem::replace(self, top)
    }

    /// Splits off the top nodes that make a full list, by count and by bytes; at least one.
    pub(crate) fn split_list(&mut self) -> Self {
        let (mut count, mut bytes) = (0, 0_usize);
        let mut link = self.head;
        while !link.is_null() && count < LIST_LEN {
            // SAFETY: I1: the batch holds its nodes.
            bytes = bytes.saturating_add(unsafe { Link::weight(link) });
            if count > 0 && bytes > LIST_BYTES {
                break;
            }
            count += 1;
            // SAFETY: as above.
            link = unsafe { Link::next(link) };
        }
        self.split_top(count)
    }

    /// Whether an object of this weight still fits into a list with the nodes of this batch.
    pub(crate) fn has_room_for(&self, weight: usize) -> bool {
        self.len < LIST_LEN && self.bytes.saturating_add(weight) <= LIST_BYTES
    }

    /// Puts the other batch on top of this one, in its order. Walks the other one.
    pub(crate) fn append(&mut self, other: Self) {
        if other.is_empty() {
            return;
        }
        if !self.is_empty() {
            let mut last = other.head;
            loop {
                // SAFETY: I1: `other` holds its nodes.
                let next = unsafe { Link::next(last) };
                if next.is_null() {
                    break;
                }
                last = next;
            }
            // SAFETY: as above.
            unsafe { Link::set_next(last, self.head) };
        }
        self.head = other.head;
        self.len += other.len;
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.heaviest = self.heaviest.max(other.heaviest);
    }

    /// Puts the other batch below this one. Walks this one.
    pub(crate) fn append_below(&mut self, mut other: Self) {
        other.append(self.take());
        *self = other;
    }

    /// Whether `heaviest` is known to be less than twice the true maximum, because the average weight is more than half
    /// of it.
    pub(crate) fn is_weighed(&self) -> bool {
        self.bytes > self.len.saturating_mul(self.heaviest) / 2
    }

    /// Walks the batch to find its `bytes`.
    pub(crate) fn sum_weights(&mut self) {
        // SAFETY: I1: the batch holds its nodes, which are so many.
        self.bytes = unsafe { Link::weights(self.head, self.len) };
    }

    /// Walks the batch to find the true `heaviest`.
    pub(crate) fn weigh(&mut self) {
        let mut heaviest = 0;
        self.each(|link| {
            // SAFETY: I1: the batch holds its nodes.
            heaviest = heaviest.max(unsafe { Link::weight(link) });
        });
        self.heaviest = heaviest;
    }

    /// Sets the last cache and the last owner of every node.
    ///
    /// # Safety
    /// `cache` belongs to these nodes' core, and to the thread that `owner` stands for.
    pub(crate) unsafe fn set_last_cache(&self, cache: *const OpaqueCache, owner: u32) {
        self.each(|link| {
            // SAFETY: I1: the batch holds its nodes.
            unsafe { Link::set_last_cache(link, cache) };
            // SAFETY: as above.
            unsafe { Link::set_last_owner(link, owner) };
        });
    }
}

#[cfg(test)]
pub(super) mod tests;
