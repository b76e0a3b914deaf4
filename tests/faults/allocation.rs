//! Each allocation fails in turn: a fallible request returns an error, and any other request ends
//! the process by the rules of `handle_alloc_error`. Nothing else happens: no other signal, no
//! leak, no hang.

use super::child::{self, End};
use super::ledger::{Ledger, Live};
use super::{alone, balanced};
use repool::{ArenaPool, BufferPool, Pool};
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

/// The system's allocator, with failures, and with a function that runs before it.
struct Failing;

#[global_allocator]
static ALLOCATOR: Failing = Failing;

#[derive(Clone, Copy)]
pub(crate) enum Fault {
    None,
    /// The call after this many others fails.
    Once(usize),
    /// All allocations of at least this many bytes fail.
    Large(usize),
    /// Nothing fails; the call after this many others runs this function first.
    Run(usize, fn()),
}

thread_local! {
    static FAULT: Cell<Fault> = const { Cell::new(Fault::None) };
    static FAILED: Cell<usize> = const { Cell::new(0) };
}

/// Sets the fault for this thread's allocations from now on.
pub(crate) fn set(fault: Fault) {
    FAILED.set(0);
    FAULT.set(fault);
}

/// Returns how many calls have failed since.
fn failed() -> usize {
    FAILED.get()
}

fn fails(size: usize) -> bool {
    let fails = match FAULT.get() {
        Fault::None => false,
        Fault::Once(0) => {
            FAULT.set(Fault::None);
            true
        }
        Fault::Large(bytes) => size >= bytes,
        Fault::Once(more) => {
            FAULT.set(Fault::Once(more - 1));
            false
        }
        Fault::Run(0, what) => {
            FAULT.set(Fault::None);
            FAILED.set(1);
            what();
            return false;
        }
        Fault::Run(more, what) => {
            FAULT.set(Fault::Run(more - 1, what));
            false
        }
    };
    FAILED.set(FAILED.get() + usize::from(fails));
    fails
}

// SAFETY: forwards every call to the system's allocator, or fails as an allocator may.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: guaranteed by the caller.
        unsafe { Ledger.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        unsafe { Ledger.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: guaranteed by the caller.
        unsafe { Ledger.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if fails(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: guaranteed by the caller.
        unsafe { Ledger.realloc(at, layout, size) }
    }
}

const MIB: usize = 1 << 20;

/// Exit code: the program has ended without a failed call; and with failed calls.
const UNHARMED: i32 = 0;
const IN_SPITE: i32 = 3;

/// Runs a program once for each of its allocations, each in a child, with that allocation failing.
/// Returns how many children went on, and how many were aborted.
fn with_each_failing(fault: fn(usize) -> Fault, program: fn()) -> (usize, usize) {
    let (mut went_on, mut ended) = (0, 0);
    for at in 0.. {
        let end = child::run(120, true, || {
            // Creates what is created once per process.
            std::thread::spawn(program).join().expect("no panic");
            let before = Live::now();
            let failed = std::thread::spawn(move || {
                set(fault(at));
                program();
                let failed = failed();
                set(Fault::None);
                failed
            });
            let failed = failed.join().expect("no panic");
            if failed == 0 {
                return UNHARMED;
            }
            let now = Live::now();
            assert_eq!(
                now.blocks, before.blocks,
                "lost by failure {at}: {now:?} {before:?}"
            );
            IN_SPITE
        });
        match end {
            End::Code(UNHARMED) => return (went_on, ended),
            End::Code(IN_SPITE) => went_on += 1,
            End::Signal(libc::SIGABRT) => ended += 1,
            end => panic!("allocation {at}: {end:?}"),
        }
        assert!(at < 5_000, "it never ends");
    }
    unreachable!()
}

/// Objects along every path; a failure can only end the process.
fn objects() {
    // A list is two objects long, so the depot takes part.
    let pool: Pool<Vec<u8>> = Pool::builder(Vec::new).max_idle(16).trim_manually().build();
    let mut held: Vec<_> = (0..12).map(|_| pool.get()).collect();
    held.iter_mut().for_each(|buf| buf.push(1));
    drop(held);
    pool.put(vec![1; 10]);
    drop(pool.attach(vec![2]));
    let _ = pool.prefill(20);
    for _ in 0..4 {
        let _ = pool.trim();
        drop([pool.get(), pool.get()]);
    }
    drop((0..20).map(|_| pool.get()).collect::<Vec<_>>());
    balanced(&pool.stats());
    let _ = pool.clear();
}

/// Large buffers and arenas, through fallible calls.
fn requests_that_may_fail() {
    let pool = BufferPool::builder().trim_manually().build();
    for round in 0..3 {
        let mut held = Vec::new();
        for size in [MIB, MIB + 1, 2 * MIB, 5 * MIB] {
            match pool.try_with_capacity(size) {
                Ok(buffer) => held.push(buffer),
                Err(error) => assert_eq!(error.requested, size),
            }
        }
        for mut buffer in held {
            buffer.extend_from_slice(b"hello");
            assert_eq!(&buffer.freeze()[..], b"hello");
        }
        if round == 1 {
            let _ = pool.clear();
        }
    }
    balanced(&pool.stats());
    let arenas = ArenaPool::builder().trim_manually().build();
    let arena = arenas.get();
    for size in [10, 5_000, MIB] {
        let layout = Layout::array::<u8>(size).expect("a size");
        let _ = arena.try_alloc_layout(layout);
    }
}

#[test]
fn an_allocation_that_fails_ends_the_process_or_leaves_no_trace() {
    let _turn = alone();
    let (went_on, ended) = with_each_failing(Fault::Once, objects);
    println!("objects: {went_on} went on, {ended} ended");
    assert!(ended > 30, "{ended}");
}

#[test]
fn a_request_that_may_fail_returns_an_error_for_each_of_its_large_allocations() {
    let _turn = alone();
    let (went_on, ended) = with_each_failing(Fault::Once, requests_that_may_fail);
    println!("buffers and arenas: {went_on} went on, {ended} ended");
    // Three rounds of large buffers, of which the second and third find some, and the arena's.
    assert!(went_on >= 9, "{went_on}");
}

#[test]
fn a_buffer_pool_goes_on_when_there_is_memory_again() {
    let _turn = alone();
    let pool = BufferPool::builder().trim_manually().build();
    // Creates the class and other small allocations.
    drop(pool.try_with_capacity(3 * MIB).expect("there is memory"));
    let _ = pool.clear();
    let before = Live::now().blocks;
    for round in 0..300 {
        let size = [3 * MIB, 3 * MIB - 5, 40 * MIB][round % 3];
        set(Fault::Large(MIB));
        let error = pool
            .try_with_capacity(size)
            .expect_err("there is no memory");
        assert!(failed() > 0);
        set(Fault::None);
        assert_eq!(error.requested, size);
        assert_eq!(pool.stats().in_use, 0);
    }
    let after = Live::now().blocks;
    // The class of requests above the largest class and what it is made of, and what the test
    // harness does meanwhile.
    assert!(after - before < 100, "{}", after - before);
    let again: Vec<_> = (0..3).map(|_| pool.try_with_capacity(3 * MIB)).collect();
    assert!(again.iter().all(Result::is_ok));
    drop(again);
    let stats = pool.stats();
    balanced(&stats);
    assert_eq!((stats.in_use, stats.idle), (0, 3));
}
