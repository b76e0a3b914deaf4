//! Buffers on an allocator that grows blocks in place, as most allocators do now and then: a buffer
//! that has grown may start where it started before, and be cut back to its former capacity.
#![cfg(feature = "bytes")]

use repool::{Budget, BufferPool, BufferPoolBuilder};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::SeqCst};

/// Large blocks have more room than requested, and grow in place while it lasts.
///
/// A returned pointer is valid only for what was requested. So the pointer from the system is kept
/// for as long as the block lives, and a grown block is handed out through it.
struct Roomy;

#[global_allocator]
static ALLOCATOR: Roomy = Roomy;

thread_local! {
    /// The bytes that this thread has allocated and not freed.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// Blocks from this size on are large.
const LARGE: usize = 4096;

/// The pointers of large blocks; null for none.
static BLOCKS: [AtomicPtr<u8>; 4096] = [const { AtomicPtr::new(ptr::null_mut()) }; 4096];

/// Returns the whole block at `at`; with `goes`, forgets it.
fn whole(at: *mut u8, goes: bool) -> *mut u8 {
    let found = BLOCKS.iter().find(|block| block.load(SeqCst) == at);
    let block = found.expect("a large block");
    if goes {
        block.swap(ptr::null_mut(), SeqCst)
    } else {
        block.load(SeqCst)
    }
}

/// Records a block. The table has room for all of them.
fn keep(block: *mut u8) {
    let free = |slot: &&AtomicPtr<u8>| {
        slot.compare_exchange(ptr::null_mut(), block, SeqCst, SeqCst)
            .is_ok()
    };
    assert!(BLOCKS.iter().find(free).is_some() || block.is_null());
}

fn count(freed: usize, allocated: usize) {
    let live = LIVE.get().wrapping_add_unsigned(allocated);
    LIVE.set(live.wrapping_sub_unsigned(freed));
}

/// Returns whether this is a buffer of a test: those have no alignment. (A box in an argument
/// protects its block, which only the box's own pointer may free.)
fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() == 1
}

/// The layout of a large allocation: powers of four.
fn block(layout: Layout) -> Layout {
    let size = 1 << (layout.size().ilog2() / 2 * 2 + 2);
    Layout::from_size_align(size, layout.align()).expect("smaller than what a test allocates")
}

// SAFETY: forwards every call to the system's allocator. A large block has a larger size there,
// which depends on the requested size only, and is freed through the pointer from the system.
unsafe impl GlobalAlloc for Roomy {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        if !is_large(layout) {
            // SAFETY: guaranteed by the caller.
            return unsafe { System.alloc(layout) };
        }
        // SAFETY: not of size zero.
        let block = unsafe { System.alloc(block(layout)) };
        keep(block);
        block
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        if !is_large(layout) {
            // SAFETY: guaranteed by the caller.
            return unsafe { System.dealloc(at, layout) };
        }
        // SAFETY: the pointer and the layout that the system has given and expects.
        unsafe { System.dealloc(whole(at, true), block(layout)) };
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let new = Layout::from_size_align(size, layout.align()).expect("the caller's");
        if is_large(layout) && is_large(new) && block(layout) == block(new) {
            count(layout.size(), size);
            return whole(at, false);
        }
        // SAFETY: guaranteed by the caller.
        let to = unsafe { self.alloc(new) };
        if !to.is_null() {
            let len = layout.size().min(size);
            // SAFETY: both have this many bytes, and they are different blocks.
            unsafe { ptr::copy_nonoverlapping(at, to, len) };
            // SAFETY: the caller's; it is not used any more.
            unsafe { self.dealloc(at, layout) };
        }
        to
    }
}

const PAGE: usize = 16 << 10;

/// A buffer that has grown in place and appears to hold `PAGE` bytes again.
fn grown_and_cut_back(pool: &BufferPool) -> repool::Buffer {
    let mut page = pool.get(PAGE);
    let (start, full) = (page.as_ptr(), page.capacity());
    page.resize(2 * PAGE, 7);
    assert_eq!(page.as_ptr(), start, "it was to grow in place");
    drop(page.split_off(full));
    assert_eq!((page.as_ptr(), page.capacity()), (start, full));
    page
}

#[test]
fn what_was_frozen_comes_out_with_what_was_asked_for() {
    let pool = BufferPool::builder().trim_manually().build();
    drop(grown_and_cut_back(&pool).freeze());
    assert!(pool.get(PAGE).capacity() >= PAGE);
    // The same through a pass, and through a freeze that finds many.
    drop(grown_and_cut_back(&pool).freeze());
    pool.trim();
    let views: Vec<_> = (0..if cfg!(miri) { 5 } else { 40 })
        .map(|_| grown_and_cut_back(&pool).freeze())
        .collect();
    drop(views);
    let all: Vec<_> = (0..if cfg!(miri) { 10 } else { 80 })
        .map(|_| pool.get(PAGE))
        .collect();
    assert!(all.iter().all(|one| one.capacity() >= PAGE));
}

#[test]
fn pages_of_a_stream() {
    let pool = BufferPool::builder().trim_manually().build();
    let mut page = pool.get(PAGE);
    for chunk in vec![7; if cfg!(miri) { 4 * PAGE } else { 40 * PAGE }].chunks(10_000) {
        page.extend_from_slice(chunk);
        while page.len() >= PAGE {
            let rest = page.split_off(PAGE);
            assert_eq!(page.freeze(), [7; PAGE][..]);
            page = pool.get(PAGE);
            assert!(page.is_empty() && page.capacity() >= PAGE);
            page.extend_from_slice(&rest);
        }
    }
}

#[test]
fn what_grew_where_it_was_goes_back_to_the_class_of_its_request() {
    let pool = BufferPool::builder().trim_manually().build();
    let mut page = pool.get(PAGE);
    let start = page.as_ptr();
    page.resize(2 * PAGE, 7);
    assert_eq!(page.as_ptr(), start, "it was to grow in place");
    drop(page);
    let again = pool.get(PAGE);
    assert_eq!((again.as_ptr(), pool.stats().created), (start, 1));
    assert!(again.capacity() >= 2 * PAGE);
}

const MANY: usize = if cfg!(miri) { 4 } else { 17 };

/// What a user leaves in a buffer that has grown in place and was cut back.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    All,
    Nothing,
    Some,
}

/// Returns the bytes that the pool keeps of `MANY` buffers that have grown from 4 KiB to 15 KiB in
/// place and were cut back to 4 KiB; their tails are dropped before or after the buffers.
fn kept(pool: &BufferPool, left: Left, tails_last: bool) -> usize {
    let before = LIVE.get();
    let many: Vec<_> = (0..MANY)
        .map(|_| {
            let mut buffer = pool.get(4096);
            let start = buffer.as_ptr();
            buffer.resize(15_000, 7);
            assert_eq!(buffer.as_ptr(), start, "it was to grow in place");
            let tail = buffer.split_off(4096);
            assert_eq!((buffer.as_ptr(), buffer.capacity()), (start, 4096));
            match left {
                Left::All => {}
                Left::Nothing => buffer.clear(),
                Left::Some => buffer.truncate(100),
            }
            (buffer, tails_last.then_some(tail))
        })
        .collect();
    let (buffers, tails): (Vec<_>, Vec<_>) = many.into_iter().unzip();
    drop(buffers);
    drop(tails);
    // A pass finds those whose tails were still alive.
    pool.trim();
    (LIVE.get() - before).max(0) as usize
}

fn builder() -> BufferPoolBuilder {
    BufferPool::builder().trim_manually()
}

#[test]
fn figures_show_what_hides_behind_a_capacity() {
    for left in [Left::All, Left::Nothing] {
        for tails_last in [false, true] {
            let pool = builder().build();
            let bytes = kept(&pool, left, tails_last);
            let shown = pool.stats().idle_bytes as usize;
            assert!(bytes <= shown + 32 * 1024, "{bytes} kept, {shown} shown");
            assert!(shown >= MANY * 15_000, "they are kept");
            // Underused like any buffer that has grown.
            for _ in 0..2 {
                for _ in 0..5 {
                    let all: Vec<_> = (0..MANY).map(|_| pool.get(4096)).collect();
                    drop(all);
                }
            }
            assert_eq!(pool.stats().idle_bytes, MANY as u64 * 4096);
        }
    }
}

#[test]
fn limits_see_what_hides_behind_a_capacity() {
    const LIMIT: usize = MANY * 6_000;
    for left in [Left::All, Left::Nothing, Left::Some] {
        for tails_last in [false, true] {
            for pool in [
                builder().max_idle_bytes(LIMIT).build(),
                builder().budget(Budget::new(LIMIT)).build(),
                builder().max_object_bytes(8192).max_idle(1000).build(),
            ] {
                let bytes = kept(&pool, left, tails_last);
                let shown = pool.stats().idle_bytes as usize;
                assert!(bytes <= shown + 32 * 1024, "{bytes} kept, {shown} shown");
                assert!(bytes <= LIMIT + 32 * 1024, "{bytes} kept: {left:?}");
            }
        }
    }
}
