//! Nodes of no pool, in which pools that are switched off hand out their objects.
//!
//! Such a pool makes an object for each get and drops it with its guard, and this is to cost what it costs code
//! without a pool. So a guard's node then belongs to no core ([`NO_CORE`] stands in for one): no reference is
//! counted, and nothing is found out about the pool when the guard goes. And the memory of nodes is not
//! allocated and freed each time: empty ones, the *free nodes*, wait for the next object of about their size, of
//! whatever pool and type.
//!
//! # Free nodes
//! By size ([`KINDS`]). Each thread has two stacks of a kind of at most a *batch* each ([`batch`]: 8 KiB). What
//! is too much for those goes, by the batch, to a store of all threads, from where a thread without a free node
//! takes a batch: objects that one thread gets and another drops call the allocator no more often either. The
//! store holds [`SHARED_BYTES`] of a kind at most, and is emptied when any pool is switched on; a thread's
//! own free nodes are freed when it ends. Larger objects than the largest kind, and those of a larger alignment, have no
//! free nodes.
//!
//! # Who may touch what
//! A thread's own free nodes: that thread. The allocator is never called while they are half moved. The store of each
//! kind is in `raw/store.rs`, with its orderings.

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

/// What the nodes of no pool have for a core: as much of one as a return looks at.
#[derive(Debug)]
#[repr(C, align(128))]
struct NoCore {
    before: [u8; Core::STATE_AT],
    /// Not 0, so that each return to it is [rare](Core::has_state_bits).
    state: AtomicU8,
}

static NO_CORE: NoCore = NoCore {
    before: [0; Core::STATE_AT],
    state: AtomicU8::new(u8::MAX),
};

fn no_core() -> *const Core {
    (&raw const NO_CORE).cast()
}

/// Whether this is the core of a node of no pool, of which nothing but [`Core::has_state_bits`] may be asked.
#[inline(always)]
pub(in crate::object) fn is_no_core(core: *const Core) -> bool {
    ptr::eq(core, no_core())
}

/// Counts an object that is handed out while its pool is switched off.
#[inline(always)]
pub(crate) fn count_off(off: &OffCounter) {
    if !off.count(current(CurrentThread::owner)) {
        count_off_slow(off);
    }
}

/// A thread whose number is too high, or which has none yet: the next time it does.
#[cold]
#[inline(never)]
fn count_off_slow(off: &OffCounter) {
    local::thread_id();
    off.count_shared();
}

// -------------------------------------------------------------------- sizes

/// Sizes of free nodes: 128, 192, … 512 bytes, then 1 to 64 KiB by powers of two. (glibc joins blocks that are smaller
/// than the first with nothing around them; see `memory.rs`.)
const KINDS: usize = 14;
/// Up to here sizes are [`STEP`] bytes apart.
const SMALL: usize = 512;
const STEP: usize = 64;
const SMALLEST: usize = 128;
const ALIGN: usize = 16;

/// The kind that holds this; [`KINDS`] if none does.
const fn kind_of(layout: Layout) -> usize {
    if layout.align() > ALIGN {
        return KINDS;
    }
    let size = layout.size();
    let small = (SMALL - SMALLEST) / STEP + 1;
    let kind = if size <= SMALLEST {
        0
    } else if size <= SMALL {
        (size - SMALLEST).div_ceil(STEP)
    } else {
        small + (size.div_ceil(SMALL).next_power_of_two().ilog2() as usize) - 1
    };
    if kind < KINDS { kind } else { KINDS }
}

const fn size_of_kind(kind: usize) -> usize {
    let small = (SMALL - SMALLEST) / STEP + 1;
    if kind < small {
        SMALLEST + STEP * kind
    } else {
        SMALL << (kind - small + 1)
    }
}

const fn layout_of_kind(kind: usize) -> Layout {
    match Layout::from_size_align(size_of_kind(kind), ALIGN) {
        Ok(layout) => layout,
        Err(_) => panic!("the kinds are small"),
    }
}

/// Spares in a batch, and in each of a thread's stacks.
const fn batch(kind: usize) -> u32 {
    let many = (8 << 10) / size_of_kind(kind);
    if many == 0 { 1 } else { many as u32 }
}

// -------------------------------------------------------------------- a node of no pool

/// A node of no pool, empty or full. Its memory is given back on drop; what is in it is not dropped.
///
/// `N` starts with a [`Link`].
pub(crate) struct FreeNode<N> {
    link: NonNull<Link>,
    node: PhantomData<*mut N>,
}

impl<N> FreeNode<N> {
    const KIND: usize = kind_of(Layout::new::<N>());
    const LAYOUT: Layout = if Self::KIND < KINDS {
        layout_of_kind(Self::KIND)
    } else {
        Layout::new::<N>()
    };

    /// An empty one.
    #[inline(always)]
    pub(crate) fn take() -> Self {
        let kept = match Self::KIND {
            KINDS => None,
            kind => FREE.with(|own| own.0[kind].pop()),
        };
        let link = match kept {
            Some(link) => link,
            None => find_slow(Self::KIND, Self::LAYOUT),
        };
        Self {
            link,
            node: PhantomData,
        }
    }

    /// # Safety
    /// From [`FreeNode::into_raw`] of a `FreeNode<N>`; the caller gives it up.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(link: NonNull<Link>) -> Self {
        Self {
            link,
            node: PhantomData,
        }
    }

    /// The caller owns the node from then on.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> NonNull<Link> {
        ManuallyDrop::new(self).link
    }

    /// The node, in which only the link is there.
    #[inline(always)]
    pub(crate) fn node(&self) -> *mut N {
        self.link.as_ptr().cast()
    }
}

impl<N> Drop for FreeNode<N> {
    #[inline(always)]
    fn drop(&mut self) {
        let kept = match Self::KIND {
            KINDS => false,
            // SAFETY: the node is owned here, given up, and of this kind.
            kind => FREE.with(|own| unsafe { own.0[kind].push(self.link) }),
        };
        if !kept {
            // SAFETY: the node is owned here, given up, and has this layout.
            unsafe { keep_slow(Self::KIND, Self::LAYOUT, self.link) };
        }
    }
}

// -------------------------------------------------------------------- a thread's own

/// A thread's own free nodes of one kind.
struct Stack {
    first: Cell<*mut Link>,
    /// How many more it takes.
    room: Cell<u32>,
}

struct FreeNodes([Stack; KINDS]);

/// A thread's second stacks, each null or a whole batch. Its destructor ends both.
struct Full([Cell<*mut Link>; KINDS]);

thread_local! {
    /// Without a destructor, so that a use is a single access. It takes nothing before the first [`keep_slow`], nor
    /// after [`Full`] has gone.
    static FREE: FreeNodes = const {
        FreeNodes([const {
            Stack {
                first: Cell::new(ptr::null_mut()),
                room: Cell::new(0),
            }
        }; KINDS])
    };
    static FULL: Full = const { Full([const { Cell::new(ptr::null_mut()) }; KINDS]) };
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

    /// `false`: it is full, and the node is still the caller's.
    ///
    /// # Safety
    /// The caller owns the node, which is of this kind, and on `true` gives it up.
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

/// Makes a node with nothing in it.
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
/// As [`free`], of each of them.
unsafe fn free_list(mut first: *mut Link, layout: Layout) {
    while let Some(link) = NonNull::new(first) {
        // SAFETY: the caller's.
        first = unsafe { Link::next(first) };
        // SAFETY: the caller's.
        unsafe { free(link, layout) };
    }
}

/// The thread's stack of this kind is empty.
#[cold]
#[inline(never)]
fn find_slow(kind: usize, layout: Layout) -> NonNull<Link> {
    if kind == KINDS {
        return make(layout);
    }
    // At the thread's end there is none, and no place for the rest of a batch.
    let whole = FULL.try_with(|full| {
        let whole = full.0[kind].replace(ptr::null_mut());
        if whole.is_null() {
            SHARED[kind].take()
        } else {
            whole
        }
    });
    let Some(link) = whole.ok().and_then(NonNull::new) else {
        return make(layout);
    };
    FREE.with(|own| {
        let stack = &own.0[kind];
        // SAFETY: a whole batch is taken, and owned here.
        stack.first.set(unsafe { Link::next(link.as_ptr()) });
        stack.room.set(1);
    });
    link
}

/// The thread's stack of this kind is full, or takes nothing yet or any more.
///
/// # Safety
/// The caller owns the node, which has this layout, that of the kind, and gives it up.
#[cold]
#[inline(never)]
unsafe fn keep_slow(kind: usize, layout: Layout, link: NonNull<Link>) {
    if kind == KINDS {
        // SAFETY: the caller's.
        return unsafe { free(link, layout) };
    }
    // SAFETY: the caller owns the node.
    unsafe { Link::set_next(link.as_ptr(), ptr::null_mut()) };
    let left = FULL.try_with(|full| {
        let stack = FREE.with(|own| {
            let stack = &own.0[kind];
            stack.room.set(batch(kind) - 1);
            stack.first.replace(link.as_ptr())
        });
        // Full without a node: it has not taken any yet.
        match stack.is_null() {
            true => ptr::null_mut(),
            false => full.0[kind].replace(stack),
        }
    });
    let Ok(batch) = left else {
        // SAFETY: the thread is ending, and the node is the caller's still.
        return unsafe { free(link, layout) };
    };
    // SAFETY: a whole batch, taken out of the thread's own.
    if !batch.is_null() && !unsafe { SHARED[kind].put(most(kind), batch) } {
        // SAFETY: as above; not taken.
        unsafe { free_list(batch, layout) };
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        for (kind, full) in self.0.iter().enumerate() {
            let own = FREE.with(|own| {
                own.0[kind].room.set(0);
                own.0[kind].first.replace(ptr::null_mut())
            });
            for list in [own, full.replace(ptr::null_mut())] {
                // SAFETY: the thread's own, taken out.
                unsafe { free_list(list, layout_of_kind(kind)) };
            }
        }
    }
}

// -------------------------------------------------------------------- those of all threads

/// The store holds this many bytes of a kind at most, about.
const SHARED_BYTES: usize = 256 << 10;

static SHARED: [Store; KINDS] = [const { Store::new() }; KINDS];

/// How many batches of a kind the store holds at most.
const fn most(kind: usize) -> usize {
    SHARED_BYTES / (batch(kind) as usize * size_of_kind(kind))
}

/// Frees the free nodes that no thread has.
pub(crate) fn free_shared() {
    for (kind, shared) in SHARED.iter().enumerate() {
        loop {
            let batch = shared.take();
            if batch.is_null() {
                break;
            }
            // SAFETY: taken out, so owned here.
            unsafe { free_list(batch, layout_of_kind(kind)) };
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
    fn each_kind_holds_what_it_is_for_and_no_smaller_one_does() {
        let kind = |size| {
            let layout = Layout::from_size_align(size, 8).expect("not too large");
            kind_of(layout)
        };
        for at in 0..KINDS {
            let most = size_of_kind(at);
            assert_eq!((kind(most), kind(most + 1)), (at, at + 1));
        }
        assert_eq!((kind(1), size_of_kind(KINDS - 1)), (0, 64 << 10));
        assert_eq!((kind(usize::MAX / 4), batch(KINDS - 1)), (KINDS, 1));
        let aligned = Layout::from_size_align(64, 64).expect("a power of two");
        assert_eq!(kind_of(aligned), KINDS);
    }

    struct Node {
        _link: Link,
        _value: [u8; 200],
    }

    /// Each thread owns what it takes, and gives it to another one that drops it.
    #[test]
    fn no_two_threads_have_one_spare() {
        struct Sent(FreeNode<Node>);
        // SAFETY: a free node owns its node, in which there is nothing.
        unsafe impl Send for Sent {}
        let (rounds, threads) = if cfg!(miri) { (5, 2) } else { (2_000, 4) };
        let out = Mutex::new(HashSet::new());
        let given = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for round in 0..rounds {
                        let held: Vec<_> = (0..50).map(|_| Sent(FreeNode::take())).collect();
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
