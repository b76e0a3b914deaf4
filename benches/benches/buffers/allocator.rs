//! The global allocator, one of three for the whole life of the process.
//!
//! The very first allocation chooses it from the environment, so that what is allocated, even
//! before `main`, is freed by the same allocator. After a later switch, each free would have to
//! know which allocator its block came from, including the pool's bookkeeping and thread-locals.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CStr;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// The value in the environment; glibc if there is none.
pub const VARIABLE: &CStr = c"REPOOL_BENCH_ALLOCATOR";
pub const NAMES: [&str; 3] = ["glibc", "mimalloc", "jemalloc"];

const UNKNOWN: u8 = 0;
const GLIBC: u8 = 1;
const MIMALLOC: u8 = 2;
const JEMALLOC: u8 = 3;

static CHOICE: AtomicU8 = AtomicU8::new(UNKNOWN);

#[inline(always)]
fn choice() -> u8 {
    match CHOICE.load(Relaxed) {
        UNKNOWN => choose(),
        choice => choice,
    }
}

#[cold]
fn choose() -> u8 {
    // Does not use `std::env`, which allocates.
    // SAFETY: the name ends in a zero byte, and nothing changes the environment.
    let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
    let name = if value.is_null() {
        c""
    } else {
        // SAFETY: not null, so a string in the environment, which nothing changes.
        unsafe { CStr::from_ptr(value) }
    };
    let choice = match name.to_bytes() {
        b"mimalloc" => MIMALLOC,
        b"jemalloc" => JEMALLOC,
        _ => GLIBC,
    };
    CHOICE.store(choice, Relaxed);
    choice
}

struct Chosen;

#[global_allocator]
static ALLOCATOR: Chosen = Chosen;

// SAFETY: every call is forwarded to the same allocator for the whole life of the process.
unsafe impl GlobalAlloc for Chosen {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match choice() {
                MIMALLOC => mimalloc::MiMalloc.alloc(layout),
                JEMALLOC => tikv_jemallocator::Jemalloc.alloc(layout),
                _ => System.alloc(layout),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match choice() {
                MIMALLOC => mimalloc::MiMalloc.dealloc(at, layout),
                JEMALLOC => tikv_jemallocator::Jemalloc.dealloc(at, layout),
                _ => System.dealloc(at, layout),
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: guaranteed by the caller.
        unsafe {
            match choice() {
                MIMALLOC => mimalloc::MiMalloc.realloc(at, layout, size),
                JEMALLOC => tikv_jemallocator::Jemalloc.realloc(at, layout, size),
                _ => System.realloc(at, layout, size),
            }
        }
    }
}
