//! The global allocator: one of several for the whole life of a process, and counted when a run
//! asks for it.
//!
//! The very first allocation chooses it, from the environment, so that what is allocated before
//! `main` is freed where it came from. The parent sets the variable for its children and never
//! switches itself.
//!
//! Counting costs two atomic additions on lines that all threads share, so a counting run is never
//! a timed one: it has a child process of its own. In timed runs all sides pay two relaxed loads
//! and a branch that is always predicted.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

/// Set for each child.
pub(crate) const VARIABLE: &str = "REPOOL_COMPARE_ALLOCATOR";

/// What `--allocator` offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Name {
    /// The system's: glibc's malloc on most Linux machines.
    #[value(alias = "system")]
    Glibc,
    Mimalloc,
    Jemalloc,
}

impl Name {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Mimalloc => "mimalloc",
            Self::Jemalloc => "jemalloc",
        }
    }

    /// As it is called in the output.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Glibc if cfg!(all(target_os = "linux", target_env = "gnu")) => {
                "the system's malloc (glibc)"
            }
            Self::Glibc => "the system's malloc",
            Self::Mimalloc => "mimalloc",
            Self::Jemalloc => "jemalloc",
        }
    }

    /// One line if this program was built without it.
    pub(crate) fn check(self) -> Result<(), String> {
        match self {
            Self::Jemalloc if !jemalloc::BUILT_IN => Err(
                "--allocator jemalloc is not built in, because it takes make to build; \
                 RUSTFLAGS='--cfg repool_jemalloc' before cargo run builds it"
                    .to_owned(),
            ),
            Self::Mimalloc | Self::Jemalloc if cfg!(not(unix)) => Err(format!(
                "--allocator {} is possible on Unix only",
                self.text()
            )),
            _ => Ok(()),
        }
    }
}

/// What the environment says in a child that writes a heap profile.
pub(crate) const PROFILED: &str = "dhat";

const UNKNOWN: u8 = 0;
const SYSTEM: u8 = 1;
const MIMALLOC: u8 = 2;
const JEMALLOC: u8 = 3;
const DHAT: u8 = 4;

/// Relaxed: every thread that finds it unknown comes to the same choice.
static CHOICE: AtomicU8 = AtomicU8::new(UNKNOWN);

static COUNTING: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Counts from here on. Call it while the workers wait: a barrier is what orders the flag.
pub(crate) fn start_counting() {
    COUNTING.store(true, Relaxed);
}

/// Stops, and says how many calls there were and how many bytes they asked for.
pub(crate) fn stop_counting() -> (u64, u64) {
    COUNTING.store(false, Relaxed);
    (CALLS.load(Relaxed), BYTES.load(Relaxed))
}

#[inline(always)]
fn count(bytes: usize) {
    if COUNTING.load(Relaxed) {
        count_slow(bytes);
    }
}

#[cold]
fn count_slow(bytes: usize) {
    CALLS.fetch_add(1, Relaxed);
    BYTES.fetch_add(bytes as u64, Relaxed);
}

#[inline(always)]
fn choice() -> u8 {
    match CHOICE.load(Relaxed) {
        UNKNOWN => choose(),
        choice => choice,
    }
}

#[cold]
fn choose() -> u8 {
    let choice = environment::choice();
    CHOICE.store(choice, Relaxed);
    choice
}

#[cfg(unix)]
mod environment {
    use super::{DHAT, JEMALLOC, MIMALLOC, PROFILED, SYSTEM};
    use std::ffi::CStr;

    const NAME: &CStr = c"REPOOL_COMPARE_ALLOCATOR";

    /// Not by `std::env`, which allocates.
    pub(super) fn choice() -> u8 {
        // SAFETY: the name ends in a zero, and this program never changes its environment.
        let value = unsafe { libc::getenv(NAME.as_ptr()) };
        if value.is_null() {
            return SYSTEM;
        }
        // SAFETY: not null, so a string of the environment, which this program never changes.
        match unsafe { CStr::from_ptr(value) }.to_bytes() {
            b"mimalloc" => MIMALLOC,
            b"jemalloc" => JEMALLOC,
            name if name == PROFILED.as_bytes() => DHAT,
            _ => SYSTEM,
        }
    }
}

#[cfg(not(unix))]
mod environment {
    pub(super) fn choice() -> u8 {
        super::SYSTEM
    }
}

#[cfg(repool_jemalloc)]
mod jemalloc {
    pub(super) use tikv_jemallocator::Jemalloc as Allocator;
    pub(super) const BUILT_IN: bool = true;
}

/// Never chosen: `Name::check` refuses it.
#[cfg(not(repool_jemalloc))]
mod jemalloc {
    pub(super) use std::alloc::System as Allocator;
    pub(super) const BUILT_IN: bool = false;
}

pub(crate) struct Chosen;

/// One call, on the allocator of this process.
macro_rules! chosen {
    ($call:ident($($argument:expr),*)) => {
        match choice() {
            // SAFETY: the caller's.
            MIMALLOC => unsafe { mimalloc::MiMalloc.$call($($argument),*) },
            // SAFETY: the caller's.
            JEMALLOC => unsafe { jemalloc::Allocator.$call($($argument),*) },
            // SAFETY: the caller's.
            DHAT => unsafe { dhat::Alloc.$call($($argument),*) },
            // SAFETY: the caller's.
            _ => unsafe { System.$call($($argument),*) },
        }
    };
}

// SAFETY: every call goes to an allocator as it came, and to the same one in all of the process's
// life; counting does not allocate.
unsafe impl GlobalAlloc for Chosen {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        chosen!(alloc(layout))
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        chosen!(alloc_zeroed(layout))
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        chosen!(realloc(block, layout, size))
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        chosen!(dealloc(block, layout));
    }
}
