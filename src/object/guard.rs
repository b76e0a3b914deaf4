//! [`Pooled`]: the user's handle to an object, and the return of that object.
//!
//! A guard is the pointer to its node and nothing else. The node points to the cache where it was
//! last idle (`last_cache`), so the thread that got an object finds its own cache with one comparison
//! when it drops the guard. Dropped on any other thread, the object goes to that thread's cache.

use crate::object::diagnostics::steps;
use crate::object::factory::DROP_IT;
use crate::object::recycle;
use crate::object::typed_core::{Node, TypedCore};
use crate::object::unpooled::is_no_core;
use crate::raw::cache::Cache;
use crate::raw::cache_table::CacheTable;
use crate::raw::limits::MAX_WEIGHT;
use crate::raw::node::Link;
use crate::raw::pool::Core;
use crate::raw::refs::DiscardOnDrop;
use crate::raw::stats::Reason;
use crate::sys::fence;
use crate::sys::thread_id::{CurrentThread, current};
use crate::thread::{local, slow};
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;

/// An object on loan from a [`Pool`](crate::Pool); dropping the guard returns it.
///
/// A guard is one pointer wide and `'static`: it has no lifetime parameter, and may outlive its
/// thread and its pool. Any thread may drop it; the object then serves that thread next. The object
/// is dropped instead of returned if the guard is dropped while its thread panics, because its
/// state is then unknown, or if the pool is gone.
///
/// [`std::mem::forget`] on a guard leaks its object and nothing else. If a reset and the object's
/// destructor both panic, the process aborts, as it does for any panic during a panic.
///
/// # Examples
/// ```
/// use repool::Pool;
/// static NAMES: Pool<Vec<String>> = Pool::new(Vec::new);
///
/// let mut names = NAMES.get();
/// names.push("Ada".to_owned());
/// std::thread::spawn(move || assert_eq!(names.len(), 1)).join().unwrap();
/// ```
///
/// A guard compares, hashes, iterates, reads and writes as its object does. Each use of a guard
/// borrows all of the object. To borrow two fields at once, borrow the object first:
/// ```
/// use repool::Pool;
/// #[derive(Default)]
/// struct Parser { text: String, ends: Vec<usize> }
/// let pool = Pool::builder(Parser::default).reset(|_| true).build();
///
/// let mut guard = pool.get();
/// let parser = &mut *guard;
/// parser.ends.extend(parser.text.split(' ').map(str::len));
/// ```
///
/// A guard is invariant in its object's type, so what goes back to the pool fits what comes out:
/// ```
/// use repool::{Pool, Pooled};
/// type Show = for<'a> fn(&'a str) -> usize;
/// let pool = Pool::<Show>::builder(|| str::len).reset(|_| true).build();
/// let guard: Pooled<Show> = pool.get();
/// ```
/// ```compile_fail
/// use repool::{Pool, Pooled};
/// type Show = for<'a> fn(&'a str) -> usize;
/// let pool = Pool::<Show>::builder(|| str::len).reset(|_| true).build();
/// let guard: Pooled<fn(&'static str) -> usize> = pool.get();
/// ```
#[must_use = "a guard that is dropped at once gives its object straight back"]
pub struct Pooled<T: Send + 'static> {
    link: NonNull<Link>,
    /// Owns a `T`, as `Box<T>` does.
    object: PhantomData<T>,
    /// Invariant: the object goes back to a pool that hands it out as exactly this type.
    exactly: PhantomData<fn(T) -> T>,
}

// SAFETY: a guard is the only handle to its object, so sending it sends a `T`. What it shares with
// other threads, the core, is `Sync`.
unsafe impl<T: Send> Send for Pooled<T> {}
// SAFETY: `&Pooled<T>` gives `&T` and nothing else.
unsafe impl<T: Send + Sync> Sync for Pooled<T> {}

// As a `Box`: the object stays where it is when the guard is moved.
impl<T: Send> Unpin for Pooled<T> {}
impl<T: Send + UnwindSafe> UnwindSafe for Pooled<T> {}
impl<T: Send + RefUnwindSafe> RefUnwindSafe for Pooled<T> {}

impl<T: Send> Pooled<T> {
    /// # Safety
    /// `link` is the head of a `Node<T>` that the caller holds and gives up.
    #[inline(always)]
    pub(crate) unsafe fn from_link(link: NonNull<Link>) -> Self {
        Self {
            link,
            object: PhantomData,
            exactly: PhantomData,
        }
    }

    /// Creates a guard with a new object from the pool's `create`, which may panic.
    ///
    /// # Safety
    /// `core` is the head of a live `TypedCore<T>` of which a strong reference is held.
    pub(crate) unsafe fn create(core: &Core) -> Self {
        // SAFETY: guaranteed by the caller.
        let link = unsafe { TypedCore::<T>::create(core) };
        // SAFETY: the head of a node that no other thread knows.
        unsafe { Self::from_link(link) }
    }

    /// Creates a guard with a value that the pool did not make; `value` may panic.
    ///
    /// # Safety
    /// As [`Pooled::create`].
    pub(crate) unsafe fn hold(core: &Core, value: impl FnOnce() -> T) -> Self {
        // SAFETY: guaranteed by the caller.
        let link = unsafe { TypedCore::<T>::node(core, |slot| _ = slot.write(value())) };
        // SAFETY: the head of a node that no other thread knows.
        unsafe { Self::from_link(link) }
    }

    /// Creates a guard with an unpooled object, for a pool that is switched off.
    ///
    /// # Safety
    /// `fill` writes a value, or panics.
    #[inline(always)]
    pub(crate) unsafe fn unpooled(fill: impl FnOnce(&mut MaybeUninit<T>)) -> Self {
        // SAFETY: guaranteed by the caller.
        let link = unsafe { Node::unpooled(fill) };
        // SAFETY: the head of a node that no other thread knows.
        unsafe { Self::from_link(link) }
    }

    /// Tells a pool with diagnostics that the object goes out to the caller. Slow path only.
    #[track_caller]
    #[inline]
    pub(crate) fn note_out(&self) {
        // SAFETY: the guard holds the node.
        unsafe { steps::goes_out::<T>(self.link.as_ptr()) };
    }

    #[inline(always)]
    fn node(&self) -> *mut Node<T> {
        self.link.as_ptr().cast()
    }

    /// Returns the object by the hot path: two flag stores and four tests, without a
    /// read-modify-write, a fence instruction or a call. `false` means that nothing was done and
    /// the return has to take the slow path.
    ///
    /// # Safety
    /// If it returns `true`, the node is given up: the guard must not be used or dropped again.
    /// `weight` is what the object holds. `reset` only changes the object, does not panic, and
    /// calls no user code (I5).
    #[inline(always)]
    unsafe fn push(&mut self, weight: usize, reset: impl FnOnce(&mut T)) -> bool {
        let link = self.link.as_ptr();
        // SAFETY: I1: the guard holds the node.
        if unsafe { Link::last_owner(link) } != current(CurrentThread::owner)
            || std::thread::panicking()
        {
            return false;
        }
        // SAFETY: I1: the guard holds the node.
        let last_cache = unsafe { Link::last_cache(link) };
        // SAFETY: a node with a last owner has a last cache, and keeps the core of that cache alive.
        let cache = unsafe { Cache::at(last_cache) };
        let node = self.node();
        // SAFETY: I1: the guard holds the node; the value is there.
        let reset = || reset(unsafe { &mut (*node).value });
        // SAFETY: I3: this thread has the owner's number, and a place, so `light` is its half of the
        // fence. The caller guarantees the rest.
        unsafe { cache.push(link, weight, fence::light, reset) }
    }

    /// Takes the object out of the pool for good.
    ///
    /// This is an associated function, so that it cannot hide a method of `T`.
    ///
    /// # Examples
    /// ```
    /// use repool::{Pool, Pooled};
    /// static LINES: Pool<String> = Pool::new(String::new);
    ///
    /// let mut line = LINES.get();
    /// line.push_str("keep me");
    /// let owned: String = Pooled::into_inner(line);
    /// assert_eq!(owned, "keep me");
    /// assert_eq!(LINES.stats().taken, 1);
    /// ```
    #[must_use]
    pub fn into_inner(this: Self) -> T {
        let node = this.node();
        std::mem::forget(this);
        // SAFETY: I1: the guard held the node, and is gone without having given it back.
        unsafe { Node::into_value(node) }
    }
}

impl<T: Send> Pooled<T> {
    /// Drops the object instead of returning it, for one that is broken or too large to be worth
    /// keeping. It counts as discarded ([`Discarded::user`](crate::Discarded::user)).
    ///
    /// This is an associated function, so that it cannot hide a method of `T`.
    ///
    /// # Examples
    /// ```
    /// use repool::{Pool, Pooled};
    /// static LINES: Pool<String> = Pool::new(String::new);
    ///
    /// let line = LINES.get();
    /// Pooled::discard(line);
    /// let stats = LINES.stats();
    /// assert_eq!((stats.idle, stats.taken, stats.discarded_by.user), (0, 0, 1));
    /// ```
    pub fn discard(this: Self) {
        Self::discard_for(this, Reason::User);
    }

    /// Returns the node; the guard still holds it.
    #[allow(dead_code, reason = "for buffers and arenas, which are features")]
    pub(super) fn as_link(&self) -> *mut Link {
        self.link.as_ptr()
    }

    /// Returns the node, which the caller holds from then on.
    pub(crate) fn into_link(this: Self) -> NonNull<Link> {
        let link = this.link;
        std::mem::forget(this);
        link
    }

    /// Drops the object instead of returning it, and counts the reason.
    pub(crate) fn discard_for(this: Self, reason: Reason) {
        let link = Self::into_link(this).as_ptr();
        // SAFETY: I1: the guard held the node.
        if is_no_core(unsafe { Core::of(link) }) {
            // SAFETY: I1: the guard held the node, and is gone without having given it back.
            return unsafe { Node::<T>::drop_unpooled(link) };
        }
        // SAFETY: I1: the guard held the node, and is gone without having given it back.
        unsafe { Core::discard(link, reason) };
    }
}

/// For pools made of pools.
#[allow(dead_code, reason = "for buffers and arenas, which are features")]
impl<T: Send> Pooled<T> {
    /// Returns the object by the hot path, or does nothing and gives the guard back as the error.
    ///
    /// `weight` is what the object holds. `reset` only changes the object, does not panic, and
    /// calls no user code: it runs inside the critical section (I5).
    #[inline(always)]
    pub(crate) fn give_back_fast(
        this: Self,
        weight: usize,
        reset: impl FnOnce(&mut T),
    ) -> Result<(), Self> {
        let mut this = ManuallyDrop::new(this);
        // SAFETY: on `true` the guard is not used again, and a `ManuallyDrop` does not drop it. The
        // callers, all in this crate, ensure the rest.
        if unsafe { this.push(weight, reset) } {
            Ok(())
        } else {
            Err(ManuallyDrop::into_inner(this))
        }
    }

    /// Returns an object that has already been reset, by the slow path if necessary. `weight` is
    /// what it holds.
    #[inline(always)]
    pub(crate) fn give_back_clean(this: Self, weight: usize) {
        if let Err(this) = Self::give_back_fast(this, weight, |_| ()) {
            let link = Self::into_link(this).as_ptr();
            // SAFETY: the guard held the node, and is gone without having given it back.
            unsafe { give_back_clean::<T>(link, weight) };
        }
    }

    /// Returns an object that still has to be reset, or that belongs to no pool.
    #[inline(always)]
    pub(crate) fn give_back_slow(this: Self) {
        let link = Self::into_link(this).as_ptr();
        // SAFETY: the guard held the node, and is gone without having given it back.
        unsafe { give_back_missed::<T>(link) };
    }

    /// Gives an object that is ready for its next user to the depot instead of the calling thread's
    /// cache, so that every thread can get it.
    pub(crate) fn give_to_all(this: Self)
    where
        T: crate::object::recycle::Recycle,
    {
        let (link, weight) = (this.link.as_ptr(), this.retained_bytes());
        // SAFETY: I1: the guard holds the node.
        let core = unsafe { Core::of(link) };
        // SAFETY: the node keeps its core alive (I6).
        if is_no_core(core) || steps::has_diagnostics(unsafe { &*core }) {
            return drop(this);
        }
        std::mem::forget(this);
        // SAFETY: the guard held the node, and is gone without having given it back.
        unsafe { slow::give(core, None, link, weight) };
    }
}

impl<T: Send> Deref for Pooled<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: I1: the guard holds the node, whose value is there while it is out; `&self`
        // keeps it from being changed. Nothing else makes a reference to the value.
        unsafe { &(*self.node()).value }
    }
}

impl<T: Send> DerefMut for Pooled<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as `deref`; `&mut self` makes it the only reference.
        unsafe { &mut (*self.node()).value }
    }
}

impl<T: Send> Drop for Pooled<T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(weight) = recycle::inlined_weight::<T>(self) {
            // SAFETY: the guard is going, whether this keeps its node or not; the resets of the inlined types
            // set a length.
            if unsafe { self.push(weight, recycle::inlined_reset::<T>) } {
                return;
            }
            let link = self.link.as_ptr();
            // SAFETY: the guard gives its node up.
            return unsafe { give_back_missed::<T>(link) };
        }
        let link = self.link.as_ptr();
        // SAFETY: the guard gives its node up.
        unsafe { give_back::<T>(link) };
    }
}

/// Returns an object with an inlined reset after the hot path could not.
///
/// # Safety
/// As [`give_back`].
#[inline(never)]
unsafe fn give_back_missed<T: Send + 'static>(link: *mut Link) {
    // SAFETY: the caller holds the node.
    if is_no_core(unsafe { Core::of(link) }) {
        // SAFETY: guaranteed by the caller.
        unsafe { Node::<T>::drop_unpooled(link) };
    } else {
        // SAFETY: guaranteed by the caller.
        unsafe { give_back::<T>(link) };
    }
}

/// Returns an object whose reset is a call, or one that the hot path could not return: among
/// others, one that a different thread got.
///
/// # Safety
/// `link` is the head of a `Node<T>` that the caller holds and gives up.
#[inline(never)]
unsafe fn give_back<T: Send + 'static>(link: *mut Link) {
    // SAFETY: the caller holds the node.
    let core = unsafe { Core::of(link) };
    // Decided once: an object that has not been reset must never be kept.
    // SAFETY: the node keeps its core alive (I6), or is unpooled.
    let is_rare = unsafe { Core::has_state_bits(core) };
    if is_rare || std::thread::panicking() {
        // SAFETY: guaranteed by the caller.
        return unsafe { give_back_unpooled_or_rare::<T>(link) };
    }
    // SAFETY: guaranteed by the caller.
    unsafe { reset_and_keep::<T>(core, link) };
}

/// Like [`give_back`], for an object that has already been reset and weighs `weight`: usually one
/// that a different thread got.
///
/// # Safety
/// As [`give_back`].
#[inline(never)]
unsafe fn give_back_clean<T: Send + 'static>(link: *mut Link, weight: usize) {
    // SAFETY: the caller holds the node.
    let core = unsafe { Core::of(link) };
    // SAFETY: the node keeps its core alive (I6), or is unpooled.
    let is_rare = unsafe { Core::has_state_bits(core) };
    if is_rare || std::thread::panicking() {
        // This resets it once more.
        // SAFETY: guaranteed by the caller.
        return unsafe { give_back_unpooled_or_rare::<T>(link) };
    }
    // SAFETY: guaranteed by the caller.
    unsafe { keep::<T>(core, link, weight) };
}

/// Drops an unpooled object, or continues with [`give_back_rarely`].
///
/// # Safety
/// As [`give_back`].
#[cold]
#[inline(never)]
unsafe fn give_back_unpooled_or_rare<T: Send + 'static>(link: *mut Link) {
    // SAFETY: the caller holds the node.
    if is_no_core(unsafe { Core::of(link) }) {
        // SAFETY: guaranteed by the caller.
        unsafe { Node::<T>::drop_unpooled(link) };
    } else {
        // SAFETY: guaranteed by the caller.
        unsafe { give_back_rarely::<T>(link) };
    }
}

/// Returns an object to a pool that keeps nothing at the moment or has large objects, or while the
/// thread panics.
///
/// # Safety
/// As [`give_back`].
#[cold]
#[inline(never)]
unsafe fn give_back_rarely<T: Send + 'static>(link: *mut Link) {
    // SAFETY: the caller holds the node.
    let core = unsafe { Core::of(link) };
    // SAFETY: the node keeps its core alive (I6).
    let barred = unsafe { (*core).is_inactive() };
    if barred || std::thread::panicking() {
        // SAFETY: guaranteed by the caller.
        return unsafe { refuse_slow(link) };
    }
    // `used_bytes` is user code and may panic.
    let bomb = DiscardOnDrop {
        link,
        reason: Reason::Panic,
    };
    // SAFETY: I1: the caller holds the node; the value is there.
    let object = unsafe { &(*link.cast::<Node<T>>()).value };
    // SAFETY: the core of a `Node<T>` is the head of a `TypedCore<T>`; the caller holds the node.
    let underused = unsafe { TypedCore::is_underused(core, link, object) };
    std::mem::forget(bomb);
    if underused {
        // SAFETY: guaranteed by the caller.
        return unsafe { Core::discard(link, Reason::Underused) };
    }
    // SAFETY: the caller holds the node, which is of this core, and gives it up.
    if unsafe { steps::gives_back::<T>(core, link) } {
        return;
    }
    // SAFETY: guaranteed by the caller.
    unsafe { reset_and_keep::<T>(core, link) };
}

/// # Safety
/// As [`give_back`], and the core is the node's.
#[inline(always)]
unsafe fn reset_and_keep<T: Send + 'static>(core: *const Core, link: *mut Link) {
    // The reset is user code: if it panics, the node must go.
    let bomb = DiscardOnDrop {
        link,
        reason: Reason::Panic,
    };
    // SAFETY: I1: the caller holds the node; the value is there.
    let object = unsafe { &mut (*link.cast::<Node<T>>()).value };
    // SAFETY: the core of a `Node<T>` is the head of a `TypedCore<T>`.
    let weight = unsafe { TypedCore::<T>::reset(core, object) };
    std::mem::forget(bomb);
    // SAFETY: guaranteed by the caller.
    unsafe { keep::<T>(core, link, weight) };
}

/// Keeps an object that has been reset and weighs `weight`.
///
/// # Safety
/// As [`give_back`], and the core is the node's.
#[inline(always)]
unsafe fn keep<T: Send + 'static>(core: *const Core, link: *mut Link, weight: usize) {
    if weight <= MAX_WEIGHT {
        let (mine, look) = (current(CurrentThread::owner), |all: &CacheTable| {
            current(|thread| all.cache_at(thread))
        });
        // SAFETY: the caller holds the node.
        if let Some(cache) = unsafe { Core::cache_for_return(core, link, mine, look) } {
            // SAFETY: I3: the calling thread's cache, and it has a place, so `light` is its half of the fence. The
            // caller gives the node up.
            if unsafe { cache.push(link, weight, fence::light, || ()) } {
                return;
            }
        }
    }
    if weight == DROP_IT {
        // SAFETY: the core of a `Node<T>` is the head of a `TypedCore<T>`, and the node keeps it.
        let reason = unsafe { TypedCore::<T>::factory(core) }.why_dropped();
        // SAFETY: guaranteed by the caller.
        return unsafe { Core::discard(link, reason) };
    }
    // SAFETY: guaranteed by the caller.
    unsafe { keep_slow(link, weight) };
}

/// Drops the object: the pool is closed or switched off, or the thread panics.
///
/// # Safety
/// The node is of this core; the caller holds it and gives it up.
#[cold]
unsafe fn refuse_slow(link: *mut Link) {
    // SAFETY: the caller holds the node.
    let core = unsafe { Core::of(link) };
    // SAFETY: the node keeps its core alive.
    let barred = unsafe { (*core).inactive_reason() };
    // If the pool is no longer barred, it was when the caller decided: a closed pool stays closed,
    // so it was switched off.
    let reason = if std::thread::panicking() {
        Reason::Panic
    } else {
        barred.unwrap_or(Reason::SwitchedOff)
    };
    if reason == Reason::Closed {
        // SAFETY: guaranteed by the caller. This also empties a cache that a visitor left to this thread.
        return unsafe { slow::give(core, local::thread_id(), link, 0) };
    }
    // SAFETY: guaranteed by the caller.
    unsafe { Core::discard(link, reason) };
}

/// Keeps an object that has been reset, by the slow path.
///
/// # Safety
/// As [`refuse_slow`].
#[inline(never)]
unsafe fn keep_slow(link: *mut Link, weight: usize) {
    // SAFETY: the caller holds the node.
    let core = unsafe { Core::of(link) };
    // SAFETY: the node keeps its core alive.
    unsafe { (*core).note_weight(weight) };
    // SAFETY: guaranteed by the caller.
    unsafe { slow::give(core, local::thread_id(), link, weight) };
}

impl<T: Send + fmt::Debug> fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Send + fmt::Display> fmt::Display for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Send + AsRef<U>, U: ?Sized> AsRef<U> for Pooled<T> {
    fn as_ref(&self) -> &U {
        (**self).as_ref()
    }
}

impl<T: Send + AsMut<U>, U: ?Sized> AsMut<U> for Pooled<T> {
    fn as_mut(&mut self) -> &mut U {
        (**self).as_mut()
    }
}
