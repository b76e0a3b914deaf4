//! Unpooled nodes, in which pools that are switched off hand out their objects.
//!
//! A pool that is off creates an object for each get and drops it with its guard, and this has to
//! cost what plain code costs. So the guard's node belongs to no core ([`NO_CORE`] stands in for
//! one): no reference is counted, and dropping the guard reads nothing of the pool. The memory of
//! these nodes is not allocated and freed each time either: empty nodes wait on free lists for the
//! next object of about their size, of any pool and type.
//!
//! # Free lists
//! One per size class ([`CLASSES`]). Each thread has two stacks per class, with at most one *batch*
//! each ([`batch`]: 8 KiB). What does not fit goes, in batches, to a store shared by all threads,
//! from which a thread with empty stacks takes a batch. So objects that one thread gets and another
//! drops make no more allocator calls either. The store holds at most [`SHARED_BYTES`] per class,
//! and is emptied when any pool is switched on. A thread's own empty nodes are freed when it ends.
//! Objects above the largest class, and those with a larger alignment, have no free list.
//!
//! # Who may touch what
//! A thread's stacks: that thread only. It never calls the allocator while they are half changed.
//! The store of each class is in `raw/store.rs`, with its orderings.

use crate::raw::node::Link;
use crate::raw::off_counter::OffCounter;
use crate::raw::pool::Core;
use crate::raw::store::Store;
use crate::sync::AtomicU8;
use crate::sys::thread_id::{CurrentThread, current};
use crate::thread::local;
use std::alloc::{self, Layout};
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// Stands in for the core of an unpooled node, as far as a return looks at it.
#[derive(Debug)]
#[repr(C, align(128))]
struct NoCore {
    before: [u8; Core::STATE_AT],
    /// Not 0, so each return to it is [rare](Core::has_state_bits).
    state: AtomicU8,
}

static NO_CORE: NoCore = NoCore {
    before: [0; Core::STATE_AT],
    state: AtomicU8::new(u8::MAX),
};

fn no_core() -> *const Core {
    (&raw const NO_CORE).cast()
}

/// Returns whether this is the core of an unpooled node. Nothing but [`Core::has_state_bits`] may be
/// called on it.
#[inline(always)]
pub(in crate::object) fn is_no_core(core: *const Core) -> bool {
    ptr::eq(core, no_core())
}

/// Counts an object handed out while its pool is switched off.
#[inline(always)]
pub(crate) fn count_off(off: &OffCounter) {
    if !off.count(current(CurrentThread::owner)) {
        count_off_slow(off);
    }
}

/// For a thread whose number is too high, or that has none yet; it gets one for the next time.
#[cold]
#[inline(never)]
fn count_off_slow(off: &OffCounter) {
    local::thread_id();
    off.count_shared();
}

// -------------------------------------------------------------------- sizes

/// Size classes of unpooled nodes: 128, 192, … 512 bytes, then 1 to 64 KiB by powers of two. (glibc
/// does not merge smaller blocks than the first with their neighbours; see `memory.rs`.)
const CLASSES: usize = 14;
/// Up to this size, classes are [`STEP`] bytes apart.
const SMALL: usize = 512;
const STEP: usize = 64;
const SMALLEST: usize = 128;
const ALIGN: usize = 16;

/// Returns the class that holds this layout; [`CLASSES`] if none does.
const fn class_of(layout: Layout) -> usize {
    if layout.align() > ALIGN {
        return CLASSES;
    }
    let size = layout.size();
    let small = (SMALL - SMALLEST) / STEP + 1;
    let class = if size <= SMALLEST {
        0
    } else if size <= SMALL {
        (size - SMALLEST).div_ceil(STEP)
    } else {
        small + (size.div_ceil(SMALL).next_power_of_two().ilog2() as usize) - 1
    };
    if class < CLASSES { class } else { CLASSES }
}

const fn size_of_class(class: usize) -> usize {
    let small = (SMALL - SMALLEST) / STEP + 1;
    if class < small {
        SMALLEST + STEP * class
    } else {
        SMALL << (class - small + 1)
    }
}

const fn layout_of_class(class: usize) -> Layout {
    match Layout::from_size_align(size_of_class(class), ALIGN) {
        Ok(layout) => layout,
        Err(_) => panic!("the classes are small"),
    }
}

/// Nodes per batch, and per stack of a thread.
const fn batch(class: usize) -> u32 {
    let many = (8 << 10) / size_of_class(class);
    if many == 0 { 1 } else { many as u32 }
}

// -------------------------------------------------------------------- an unpooled node

/// Owns an unpooled node, empty or full. Dropping it frees the node but not the value in it.
///
/// `N` starts with a [`Link`].
pub(crate) struct UnpooledNode<N> {
    link: NonNull<Link>,
    node: PhantomData<*mut N>,
}

impl<N> UnpooledNode<N> {
    const CLASS: usize = class_of(Layout::new::<N>());
    const LAYOUT: Layout = if Self::CLASS < CLASSES {
        layout_of_class(Self::CLASS)
    } else {
        Layout::new::<N>()
    };

    /// Takes an empty node.
    #[inline(always)]
    pub(crate) fn take() -> Self {
        let kept = match Self::CLASS {
            CLASSES => None,
            class => FREE.with(|own| own.0[class].pop()),
        };
        let link = match kept {
            Some(link) => link,
            None => find_slow(Self::CLASS, Self::LAYOUT),
        };
        Self {
            link,
            node: PhantomData,
        }
    }

    /// # Safety
    /// `link` is from [`UnpooledNode::into_raw`] of a `UnpooledNode<N>`; the caller gives it up.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(link: NonNull<Link>) -> Self {
        Self {
            link,
            node: PhantomData,
        }
    }

    /// Releases the node to the caller.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> NonNull<Link> {
        ManuallyDrop::new(self).link
    }

    /// Returns the node, in which only the link is initialised.
    #[inline(always)]
    pub(crate) fn node(&self) -> *mut N {
        self.link.as_ptr().cast()
    }

    /// Returns whether the thread's stack has room for a node.
    #[inline(always)]
    pub(crate) fn has_room() -> bool {
        match Self::CLASS {
            CLASSES => false,
            class => FREE.with(|own| own.0[class].room.get() != 0),
        }
    }
}

impl<N> Drop for UnpooledNode<N> {
    #[inline(always)]
    fn drop(&mut self) {
        let kept = match Self::CLASS {
            CLASSES => false,
            // SAFETY: the node is owned here, given up, and of this class.
            class => FREE.with(|own| unsafe { own.0[class].push(self.link) }),
        };
        if !kept {
            // SAFETY: the node is owned here, given up, and has this layout.
            unsafe { keep_slow(Self::CLASS, Self::LAYOUT, self.link) };
        }
    }
}

// -------------------------------------------------------------------- a thread's own

/// A thread's stack of empty nodes of one class.
struct Stack {
    first: Cell<*mut Link>,
    /// How many more nodes fit.
    room: Cell<u32>,
}

struct FreeLists([Stack; CLASSES]);

/// A thread's second stacks, each null or a whole batch. Its destructor frees both stacks.
struct Full([Cell<*mut Link>; CLASSES]);

thread_local! {
    /// Has no destructor, so a use is a single access. It accepts no node before the first
    /// [`keep_slow`], nor after [`Full`] is gone.
    static FREE: FreeLists = const {
        FreeLists([const {
            Stack {
                first: Cell::new(ptr::null_mut()),
                room: Cell::new(0),
            }
        }; CLASSES])
    };
    static FULL: Full = const { Full([const { Cell::new(ptr::null_mut()) }; CLASSES]) };
}

impl Stack {
    #[inline(always)]
    fn pop(&self) -> Option<NonNull<Link>> {
        let first = NonNull::new(self.first.get())?;
        // SAFETY: the stack owns its nodes.
        self.first.set(unsafe { Link::next(first.as_ptr()) });
        self.room.set(self.room.get() + 1);
        Some(first)
    }

    /// Returns `false` if the stack is full; the caller then still owns the node.
    ///
    /// # Safety
    /// The caller owns the node, which is of this class, and on `true` gives it up.
    #[inline(always)]
    unsafe fn push(&self, link: NonNull<Link>) -> bool {
        let room = self.room.get();
        if room == 0 {
            return false;
        }
        // SAFETY: the caller owns the node.
        unsafe { Link::set_next(link.as_ptr(), self.first.get()) };
        self.first.set(link.as_ptr());
        self.room.set(room - 1);
        true
    }
}

/// Allocates a node with nothing in it.
fn make(layout: Layout) -> NonNull<Link> {
    // SAFETY: a node starts with a link, so its layout is not empty.
    let block = unsafe { alloc::alloc(layout) };
    let link = NonNull::new(block.cast::<Link>());
    let link = link.unwrap_or_else(|| alloc::handle_alloc_error(layout));
    // SAFETY: fresh, and large enough.
    unsafe { link.write(Link::new(no_core().cast())) };
    link
}

/// # Safety
/// The caller owns the node, which has this layout, and gives it up.
unsafe fn free(link: NonNull<Link>, layout: Layout) {
    // SAFETY: I8: from `make`, by the caller with this layout.
    unsafe { alloc::dealloc(link.as_ptr().cast(), layout) };
}

/// Frees the nodes of a list.
///
/// # Safety
/// As [`free`], for each of them.
unsafe fn free_list(mut first: *mut Link, layout: Layout) {
    while let Some(link) = NonNull::new(first) {
        // SAFETY: guaranteed by the caller.
        first = unsafe { Link::next(first) };
        // SAFETY: guaranteed by the caller.
        unsafe { free(link, layout) };
    }
}

/// Finds a node when the thread's stack of this class is empty.
#[cold]
#[inline(never)]
fn find_slow(class: usize, layout: Layout) -> NonNull<Link> {
    if class == CLASSES {
        return make(layout);
    }
    // While the thread ends it has none, and no place for the rest of a batch.
    let whole = FULL.try_with(|full| {
        let whole = full.0[class].replace(ptr::null_mut());
        if whole.is_null() {
            SHARED[class].take()
        } else {
            whole
        }
    });
    let Some(link) = whole.ok().and_then(NonNull::new) else {
        return make(layout);
    };
    FREE.with(|own| {
        let stack = &own.0[class];
        // SAFETY: a whole batch is taken, and owned here.
        stack.first.set(unsafe { Link::next(link.as_ptr()) });
        stack.room.set(1);
    });
    link
}

/// Keeps or frees a node when the thread's stack of this class is full, or does not accept nodes.
///
/// # Safety
/// The caller owns the node, which has this layout, that of the class, and gives it up.
#[cold]
#[inline(never)]
unsafe fn keep_slow(class: usize, layout: Layout, link: NonNull<Link>) {
    if class == CLASSES {
        // SAFETY: guaranteed by the caller.
        return unsafe { free(link, layout) };
    }
    // SAFETY: the caller owns the node.
    unsafe { Link::set_next(link.as_ptr(), ptr::null_mut()) };
    let left = FULL.try_with(|full| {
        let stack = FREE.with(|own| {
            let stack = &own.0[class];
            stack.room.set(batch(class) - 1);
            stack.first.replace(link.as_ptr())
        });
        // It was full without a node: it has not accepted any yet.
        match stack.is_null() {
            true => ptr::null_mut(),
            false => full.0[class].replace(stack),
        }
    });
    let Ok(batch) = left else {
        // SAFETY: the thread is ending, and the caller still owns the node.
        return unsafe { free(link, layout) };
    };
    // SAFETY: a whole batch, taken out of the thread's stack.
    if !batch.is_null() && !unsafe { SHARED[class].put(max_batches(class), batch) } {
        // SAFETY: as above; the store has not accepted it.
        unsafe { free_list(batch, layout) };
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        for (class, full) in self.0.iter().enumerate() {
            let own = FREE.with(|own| {
                own.0[class].room.set(0);
                own.0[class].first.replace(ptr::null_mut())
            });
            for list in [own, full.replace(ptr::null_mut())] {
                // SAFETY: the thread's own, taken out.
                unsafe { free_list(list, layout_of_class(class)) };
            }
        }
    }
}

// -------------------------------------------------------------------- those of all threads

/// The most bytes per class in the store, approximately.
const SHARED_BYTES: usize = 256 << 10;

static SHARED: [Store; CLASSES] = [const { Store::new() }; CLASSES];

/// Returns the most batches of a class that the store holds.
const fn max_batches(class: usize) -> usize {
    SHARED_BYTES / (batch(class) as usize * size_of_class(class))
}

/// Frees the empty nodes in the store.
pub(crate) fn free_shared() {
    for (class, shared) in SHARED.iter().enumerate() {
        loop {
            let batch = shared.take();
            if batch.is_null() {
                break;
            }
            // SAFETY: taken out, so owned here.
            unsafe { free_list(batch, layout_of_class(class)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::thread;

    #[test]
    fn each_class_holds_what_it_is_for_and_no_smaller_one_does() {
        let class = |size| {
            let layout = Layout::from_size_align(size, 8).expect("not too large");
            class_of(layout)
        };
        for at in 0..CLASSES {
            let most = size_of_class(at);
            assert_eq!((class(most), class(most + 1)), (at, at + 1));
        }
        assert_eq!((class(1), size_of_class(CLASSES - 1)), (0, 64 << 10));
        assert_eq!((class(usize::MAX / 4), batch(CLASSES - 1)), (CLASSES, 1));
        let aligned = Layout::from_size_align(64, 64).expect("a power of two");
        assert_eq!(class_of(aligned), CLASSES);
    }

    struct Node {
        _link: Link,
        _value: [u8; 200],
    }

    /// Each thread owns what it takes, and gives it to another thread, which drops it.
    #[test]
    fn no_two_threads_have_the_same_node() {
        struct Sent(UnpooledNode<Node>);
        // SAFETY: it owns its node, which holds no value.
        unsafe impl Send for Sent {}
        let (rounds, threads) = if cfg!(miri) { (5, 2) } else { (2_000, 4) };
        let out = Mutex::new(HashSet::new());
        let given = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for round in 0..rounds {
                        let held: Vec<_> = (0..50).map(|_| Sent(UnpooledNode::take())).collect();
                        let mut seen = out.lock().expect("no panic");
                        assert!(held.iter().all(|node| seen.insert(node.0.node().addr())));
                        drop(seen);
                        let mut given = given.lock().expect("no panic");
                        given.push(held);
                        let at = round % given.len();
                        let dropped = given.swap_remove(at);
                        drop(given);
                        let mut seen = out.lock().expect("no panic");
                        assert!(
                            dropped
                                .iter()
                                .all(|node| seen.remove(&node.0.node().addr()))
                        );
                        drop(seen);
                        drop(dropped);
                    }
                });
            }
        });
        drop(given);
        free_shared();
    }
}
