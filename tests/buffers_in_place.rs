//! Buffers on an allocator that lets blocks grow where they are, as most do now and then: a buffer
//! that has grown may begin where it began, and be cut back to what it was.
#![cfg(feature = "bytes")]

use repool::BufferPool;
use std::alloc::{GlobalAlloc, Layout, System};

/// Blocks of a power of four, each larger than what was asked for.
struct Roomy;

#[global_allocator]
static ALLOCATOR: Roomy = Roomy;

fn block(size: usize, align: usize) -> Layout {
    let size = 1 << (size.ilog2() / 2 * 2 + 2);
    Layout::from_size_align(size, align).expect("smaller than what a test allocates")
}

// SAFETY: passes each call on to the system's, with a larger size that follows from the size and from
// nothing else, so that it is the same when the block is freed.
unsafe impl GlobalAlloc for Roomy {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { System.alloc(block(layout.size(), layout.align())) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, block(layout.size(), layout.align())) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (old, new) = (
            block(layout.size(), layout.align()),
            block(size, layout.align()),
        );
        if new == old {
            return at;
        }
        // SAFETY: the caller's.
        unsafe { System.realloc(at, old, new.size()) }
    }
}

const PAGE: usize = 16 << 10;

/// A buffer that has grown where it was and holds `PAGE` bytes again, as far as it says.
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
    // The same by a pass, and by a freeze that finds many.
    drop(grown_and_cut_back(&pool).freeze());
    pool.trim();
    let views: Vec<_> = (0..40)
        .map(|_| grown_and_cut_back(&pool).freeze())
        .collect();
    drop(views);
    let all: Vec<_> = (0..80).map(|_| pool.get(PAGE)).collect();
    assert!(all.iter().all(|one| one.capacity() >= PAGE));
}

#[test]
fn pages_of_a_stream() {
    let pool = BufferPool::builder().trim_manually().build();
    let mut page = pool.get(PAGE);
    for chunk in vec![7; 40 * PAGE].chunks(10_000) {
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
fn what_grew_where_it_was_serves_its_new_class() {
    let pool = BufferPool::builder().trim_manually().build();
    let mut page = pool.get(PAGE);
    let start = page.as_ptr();
    page.resize(2 * PAGE, 7);
    assert_eq!(page.as_ptr(), start, "it was to grow in place");
    drop(page);
    let again = pool.get(2 * PAGE);
    assert_eq!((again.as_ptr(), pool.stats().created), (start, 1));
}
