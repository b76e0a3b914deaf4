//! Nodes: the heap cells that objects live in for as long as the pool owns them.
//!
//! A node is `{ link, value }`. Everything that moves nodes about (caches, depot, trim) sees only
//! the untyped [`Link`] at its head, so that code exists once and not once per `T`; what needs the
//! type (creating, dropping) goes through the core's vtable.
//!
//! Who may touch what:
//! - `next`, `weight`: whoever holds the list that the node is on (I1, I2, I8).
//! - `home`: likewise; it names the cache that the node was last on, which need not be a cache of
//!   the thread that holds the node. A node that was never on one points to its core's `orphan`.
//! - `value`: the guard while the node is out; nobody while it is idle; whoever drops it.
//!
//! A node holds a strong reference to its core from its creation on (I6), reached by `home.core`.

use crate::raw::cache::{Home, LIST_BYTES, LIST_LEN};
use crate::raw::pool::Core;
use crate::sync::UnsafeCell;
use std::ptr;

/// The untyped head of a node.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Link {
    next: UnsafeCell<*mut Link>,
    home: UnsafeCell<*const Home>,
    /// `retained_bytes()` when the object came back.
    weight: UnsafeCell<usize>,
}

// Each of these takes a live node that the caller holds (I1).
impl Link {
    pub(crate) fn new(home: *const Home) -> Self {
        Self {
            next: UnsafeCell::new(ptr::null_mut()),
            home: UnsafeCell::new(home),
            weight: UnsafeCell::new(0),
        }
    }

    /// # Safety
    /// `link` is a live node that the caller holds (I1), for this and each function below.
    #[inline(always)]
    unsafe fn of<'a>(link: *mut Link) -> &'a Link {
        // SAFETY: the caller holds the node. Every field is a cell, so a shared reference claims
        // nothing of their content.
        unsafe { &*link }
    }

    /// # Safety
    /// As [`Link::of`].
    #[inline(always)]
    pub(crate) unsafe fn next(link: *mut Link) -> *mut Link {
        // SAFETY: the caller's.
        let this = unsafe { Link::of(link) };
        // SAFETY: the caller holds the node, so nobody writes `next`.
        this.next.with(|next| unsafe { *next })
    }

    /// # Safety
    /// As [`Link::of`].
    #[inline(always)]
    pub(crate) unsafe fn set_next(link: *mut Link, to: *mut Link) {
        // SAFETY: the caller's.
        let this = unsafe { Link::of(link) };
        // SAFETY: the caller holds the node, so nobody else reads or writes `next`.
        this.next.with_mut(|next| unsafe { *next = to });
    }

    /// # Safety
    /// As [`Link::of`].
    #[inline(always)]
    pub(crate) unsafe fn home(link: *mut Link) -> *const Home {
        // SAFETY: the caller's.
        let this = unsafe { Link::of(link) };
        // SAFETY: the caller holds the node, so nobody writes `home`.
        this.home.with(|home| unsafe { *home })
    }

    /// # Safety
    /// As [`Link::of`]; and `to` belongs to the same core.
    #[inline(always)]
    pub(crate) unsafe fn set_home(link: *mut Link, to: *const Home) {
        // SAFETY: the caller's.
        let this = unsafe { Link::of(link) };
        // SAFETY: the caller holds the node, so nobody else reads or writes `home`.
        this.home.with_mut(|home| unsafe { *home = to });
    }

    /// # Safety
    /// As [`Link::of`].
    #[inline(always)]
    pub(crate) unsafe fn weight(link: *mut Link) -> usize {
        // SAFETY: the caller's.
        let this = unsafe { Link::of(link) };
        // SAFETY: the caller holds the node, so nobody writes `weight`.
        this.weight.with(|weight| unsafe { *weight })
    }

    /// # Safety
    /// As [`Link::of`].
    #[inline(always)]
    pub(crate) unsafe fn set_weight(link: *mut Link, to: usize) {
        // SAFETY: the caller's.
        let this = unsafe { Link::of(link) };
        // SAFETY: the caller holds the node, so nobody else reads or writes `weight`.
        this.weight.with_mut(|weight| unsafe { *weight = to });
    }

    /// The weights of a whole list.
    ///
    /// # Safety
    /// The caller holds the list that starts at `link`, or it is null.
    pub(crate) unsafe fn weights(mut link: *mut Link) -> usize {
        let mut bytes = 0;
        while !link.is_null() {
            // SAFETY: the caller holds the list.
            bytes = usize::wrapping_add(bytes, unsafe { Link::weight(link) });
            // SAFETY: as above.
            link = unsafe { Link::next(link) };
        }
        bytes
    }

    /// The core that owns this node.
    ///
    /// # Safety
    /// As [`Link::of`].
    #[inline(always)]
    pub(crate) unsafe fn core(link: *mut Link) -> *const Core {
        // SAFETY: the caller holds the node.
        let home = unsafe { Link::home(link) };
        // SAFETY: a home lives as long as its core, which the node keeps alive (I6).
        unsafe { (*home).core() }
    }
}

/// A list of nodes with its figures, moved as one pointer.
///
/// Bytes are added up wrapping: what comes off was put on, so sums are right in the end whatever
/// users' `retained_bytes` say.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) head: *mut Link,
    pub(crate) len: usize,
    pub(crate) bytes: usize,
}

// SAFETY: a batch owns its nodes (I1), and every pooled object is `Send` (a bound of `Pool<T>`).
unsafe impl Send for Batch {}

impl Batch {
    pub(crate) const EMPTY: Self = Self {
        head: ptr::null_mut(),
        len: 0,
        bytes: 0,
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
        // SAFETY: the caller holds the node.
        unsafe { Link::set_next(link, ptr::null_mut()) };
        // SAFETY: as above.
        let bytes = unsafe { Link::weight(link) };
        Self {
            head: link,
            len: 1,
            bytes,
        }
    }

    /// Puts a node on top.
    ///
    /// # Safety
    /// The caller holds the node and gives it up.
    pub(crate) unsafe fn push(&mut self, link: *mut Link) {
        // SAFETY: the caller holds the node.
        unsafe { Link::set_next(link, self.head) };
        // SAFETY: as above.
        self.bytes = self.bytes.wrapping_add(unsafe { Link::weight(link) });
        self.head = link;
        self.len += 1;
    }

    /// Takes the top node; null when empty.
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

    /// Takes the top `count` nodes (all of them, if there are fewer) in their order.
    pub(crate) fn split_top(&mut self, count: usize) -> Self {
        if count >= self.len {
            return self.take();
        }
        let mut top = Self::EMPTY;
        let mut last = ptr::null_mut();
        let head = self.head;
        for _ in 0..count {
            last = self.pop();
            // SAFETY: I1: just taken from the batch, so held here.
            top.bytes = top.bytes.wrapping_add(unsafe { Link::weight(last) });
            top.len += 1;
        }
        if !last.is_null() {
            // SAFETY: as above; `last` ends the part that leaves.
            unsafe { Link::set_next(last, ptr::null_mut()) };
            top.head = head;
        }
        top
    }

    /// Takes the top nodes that make a full list, by number and by bytes; at least one.
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

    /// Whether one more object of this weight still makes a list.
    pub(crate) fn has_room_for(&self, weight: usize) -> bool {
        self.len < LIST_LEN && self.bytes.saturating_add(weight) <= LIST_BYTES
    }

    /// Puts the other batch on top of this one, in its order; walks the other one.
    pub(crate) fn append(&mut self, other: Self) {
        if other.is_empty() {
            return;
        }
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
        self.head = other.head;
        self.len += other.len;
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }

    /// Puts the other batch below this one; walks this one.
    pub(crate) fn append_below(&mut self, mut other: Self) {
        other.append(self.take());
        *self = other;
    }

    /// Makes `home` the home of every node; the largest weight among them.
    ///
    /// # Safety
    /// `home` belongs to the core of these nodes.
    pub(crate) unsafe fn settle(&self, home: *const Home) -> usize {
        let mut heaviest = 0;
        let mut link = self.head;
        while !link.is_null() {
            // SAFETY: I1: the batch holds its nodes; `home` is of their core.
            unsafe { Link::set_home(link, home) };
            // SAFETY: as above.
            heaviest = heaviest.max(unsafe { Link::weight(link) });
            // SAFETY: as above.
            link = unsafe { Link::next(link) };
        }
        heaviest
    }
}
