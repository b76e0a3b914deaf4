//! The loops that are timed and counted: get an object, write 64 bytes, return it.
//!
//! One definition serves the criterion benches, `ratios` and the instruction counts of `hit_path`.
//! Each loop is a separate function with a plain symbol name, so that `ci/hit-path.sh` finds it in
//! the binary.

pub mod report;

use bytes::{BufMut, BytesMut};
use repool::bumpalo::Bump;
use repool::{ArenaPool, BufferPool, Pool, Recycle};
use std::alloc::{GlobalAlloc, Layout, handle_alloc_error};
use std::cell::Cell;
use std::hint::black_box;

/// The initial content of an object.
pub const CAPACITY: usize = 1024;

/// What is written into each object.
pub static BLOCK: [u8; 64] = [0xA5; 64];

/// The pool of the tight loops.
pub static VECS: Pool<Vec<u8>> = Pool::new(fresh);

/// A new 1 KiB vector: plain allocation, and what the pools create.
#[inline]
#[must_use]
pub fn fresh() -> Vec<u8> {
    Vec::with_capacity(CAPACITY)
}

/// The work on one object, the same for all contenders.
///
/// Only the bytes go through the black box, not the vector, which may stay in registers.
#[inline(always)]
pub fn work(bytes: &mut Vec<u8>) {
    // Of a known length: with a slice, the copy would be a call.
    let block: &[u8; 64] = black_box(&BLOCK);
    bytes.extend_from_slice(block);
    black_box(bytes.as_mut_ptr());
}

/// A get and a drop in turn on repool.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_vec(n: u64) {
    for _ in 0..n {
        let mut bytes = VECS.get();
        work(&mut bytes);
    }
}

/// `N` guards held at a time, dropped in the order they were got.
#[inline(always)]
pub fn held<const N: usize>(n: u64) {
    for _ in 0..n {
        let guards: [_; N] = std::array::from_fn(|_| {
            let mut bytes = VECS.get();
            work(&mut bytes);
            bytes
        });
        // All are out before the first goes back.
        black_box(&guards);
        drop(guards);
    }
}

/// Eight guards held, first in, first out. One round is eight pairs.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_held_fifo(n: u64) {
    held::<8>(n);
}

/// Eight guards held, last in, first out. One round is eight pairs.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_held_lifo(n: u64) {
    for _ in 0..n {
        let guards: [_; 8] = std::array::from_fn(|_| {
            let mut bytes = VECS.get();
            work(&mut bytes);
            bytes
        });
        black_box(&guards);
        for guard in guards.into_iter().rev() {
            drop(guard);
        }
    }
}

/// A type whose reset repool cannot inline.
#[derive(Debug)]
pub struct Scratch {
    bytes: Vec<u8>,
    depth: usize,
}

impl Scratch {
    /// A new one.
    #[inline]
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: fresh(),
            depth: 0,
        }
    }

    /// Uses it once more.
    #[inline(always)]
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        self.depth += 1;
        &mut self.bytes
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Recycle for Scratch {
    fn recycle(&mut self) {
        self.bytes.clear();
        self.depth = 0;
    }

    fn retained_bytes(&self) -> usize {
        self.bytes.retained_bytes()
    }
}

static SCRATCH: Pool<Scratch> = Pool::new(Scratch::new);

/// A get and a drop in turn of a type with its own `Recycle`.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_user(n: u64) {
    for _ in 0..n {
        let mut scratch = SCRATCH.get();
        work(scratch.bytes());
    }
}

/// Eight of these held at a time, dropped in the order they were got. One round is eight pairs.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_user_held(n: u64) {
    for _ in 0..n {
        let guards: [_; 8] = std::array::from_fn(|_| {
            let mut scratch = SCRATCH.get();
            scratch.depth += 1;
            work(&mut scratch.bytes);
            scratch
        });
        // All are out before the first goes back.
        black_box(&guards);
        drop(guards);
    }
}

static BUFFERS: BufferPool = BufferPool::new();

/// A get and a drop in turn of a buffer, of a size that the compiler does not know.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_buffer(n: u64) {
    for _ in 0..n {
        let mut buffer = BUFFERS.get(black_box(4096));
        buffer.put_slice(black_box(&[1; 64]));
        black_box(buffer.as_mut_ptr());
    }
}

/// The same with the buffer frozen, and its only view dropped.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_frozen(n: u64) {
    for _ in 0..n {
        let mut buffer = BUFFERS.get(black_box(4096));
        buffer.put_slice(black_box(&[1; 64]));
        drop(black_box(buffer.freeze()));
    }
}

/// The part of the previous loop that is `bytes`' own: a single handle, split, frozen and
/// reclaimed.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_bare(n: u64) {
    let mut kept = BytesMut::with_capacity(4096);
    for _ in 0..n {
        kept.put_slice(black_box(&[1; 64]));
        drop(black_box(kept.split().freeze()));
        assert!(kept.try_reclaim(black_box(4096)));
    }
}

static ARENAS: ArenaPool = ArenaPool::new();

/// A get and a drop in turn of an arena, with 64 bytes allocated in it.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_arena(n: u64) {
    for _ in 0..n {
        let arena = ARENAS.get();
        black_box(arena.alloc::<[u8; 64]>(*black_box(&BLOCK)));
    }
}

/// The same with the pool switched off.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_arena_off(n: u64) {
    let pool = ArenaPool::new();
    pool.set_enabled(false);
    for _ in 0..n {
        let arena = pool.get();
        black_box(arena.alloc::<[u8; 64]>(*black_box(&BLOCK)));
    }
}

/// The same without a pool: a new arena per round, with the chunk that the pool's arenas have.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_plain_arena(n: u64) {
    for _ in 0..n {
        let arena = Bump::with_capacity(4032);
        black_box(arena.alloc::<[u8; 64]>(*black_box(&BLOCK)));
    }
}

/// The part of the first loop that is bumpalo's own: one arena, reset each round.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_bare_arena(n: u64) {
    let mut arena = Bump::with_capacity(4032);
    for _ in 0..n {
        black_box(arena.alloc::<[u8; 64]>(*black_box(&BLOCK)));
        arena.reset();
    }
}

thread_local! {
    static CELL: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
}

/// The floor: one object per thread, in a bare thread-local cell. It holds a single object, has no
/// bounds and gives nothing back.
///
/// Cleared when taken, which is the most favourable form: the vector stays in registers.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_cell(n: u64) {
    for _ in 0..n {
        let mut bytes = CELL.take().unwrap_or_else(fresh);
        bytes.clear();
        work(&mut bytes);
        CELL.set(Some(bytes));
    }
}

/// The cell, cleared on return, as repool's objects are. It is then moved by narrow stores followed
/// by a wide load.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_cell_clean(n: u64) {
    for _ in 0..n {
        let mut bytes = CELL.take().unwrap_or_else(fresh);
        work(&mut bytes);
        bytes.clear();
        CELL.set(Some(bytes));
    }
}

/// The work in a function that is not inlined, as in most programs: the vector cannot stay in
/// registers.
#[inline(never)]
fn work_called(bytes: &mut Vec<u8>) {
    work(bytes);
}

/// A get and a drop in turn on repool, with the work behind a call.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_vec_called(n: u64) {
    for _ in 0..n {
        work_called(&mut VECS.get());
    }
}

/// The cell, cleared when taken, with the work behind a call.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_cell_called(n: u64) {
    for _ in 0..n {
        let mut bytes = CELL.take().unwrap_or_else(fresh);
        bytes.clear();
        work_called(&mut bytes);
        CELL.set(Some(bytes));
    }
}

/// Plain allocation with the program's allocator.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn repool_bench_plain(n: u64) {
    for _ in 0..n {
        let mut bytes = fresh();
        work(&mut bytes);
    }
}

/// The same with a given allocator, and without a vector: alloc, write, dealloc.
#[inline(always)]
pub fn malloc_pairs(allocator: &impl GlobalAlloc, n: u64) {
    let layout = Layout::new::<[u8; CAPACITY]>();
    for _ in 0..n {
        // SAFETY: the layout is not empty.
        let memory = unsafe { allocator.alloc(layout) };
        if memory.is_null() {
            handle_alloc_error(layout);
        }
        let block: &[u8; 64] = black_box(&BLOCK);
        // SAFETY: the first 64 of the 1024 bytes just allocated, which no other code has.
        unsafe { memory.copy_from_nonoverlapping(block.as_ptr(), block.len()) };
        black_box(memory);
        // SAFETY: allocated above with this layout.
        unsafe { allocator.dealloc(memory, layout) };
    }
}
