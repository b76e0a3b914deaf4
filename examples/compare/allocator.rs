//! The global allocator: one of several for the whole life of a process, and counted if a run
//! requests it.
//!
//! The very first allocation chooses it from the environment, so that what is allocated before
//! `main` is freed by the same allocator. The parent sets the variable for its children and never
//! switches itself.
//!
//! Counting costs two atomic additions on cache lines that all threads share, so a counting run is
//! never timed: it has its own child process. In timed runs all sides pay two relaxed loads and a
//! branch that is always predicted.

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

    /// Returns its name in the output.
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

    /// Returns a one-line error if this program was built without it.
    pub(crate) fn check(self) -> Result<(), String> {
        match self {
            Self::Jemalloc if !jemalloc::BUILT_IN => Err(
                "--allocator jemalloc is not built in, because it takes make to build; \
                 RUSTFLAGS='--cfg repool_jemalloc' before cargo run builds it"
                    .to_owned(),
            ),
            Self::Mimalloc | Self::Jemalloc if cfg!(not(unix)) => {
                Err(format!("--allocator {} needs Unix", self.text()))
            }
            _ => Ok(()),
        }
    }
}

/// The value of the variable in a child that writes a heap profile.
pub(crate) const PROFILED: &str = "dhat";

const UNKNOWN: u8 = 0;
const SYSTEM: u8 = 1;
const MIMALLOC: u8 = 2;
const JEMALLOC: u8 = 3;
const DHAT: u8 = 4;

/// Relaxed: every thread that finds it unknown makes the same choice.
static CHOICE: AtomicU8 = AtomicU8::new(UNKNOWN);

static COUNTING: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// Starts counting. Call it while the workers wait: a barrier orders the flag.
pub(crate) fn start_counting() {
    COUNTING.store(true, Relaxed);
}

/// Stops counting; returns the number of calls and of requested bytes.
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

    /// Does not use `std::env`, which allocates.
    pub(super) fn choice() -> u8 {
        // SAFETY: the name ends in a zero byte, and this program never changes its environment.
        let value = unsafe { libc::getenv(NAME.as_ptr()) };
        if value.is_null() {
            return SYSTEM;
        }
        // SAFETY: not null, so a string in the environment, which this program never changes.
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

/// Forwards one call to the allocator of this process.
macro_rules! chosen {
    ($call:ident($($argument:expr),*)) => {
        match choice() {
            // SAFETY: the arguments are those of the same method of `GlobalAlloc`, whose contract the
            // caller keeps. A block that they name is from this arm: `choice` returns the same value
            // for the whole life of the process.
            MIMALLOC => unsafe { mimalloc::MiMalloc.$call($($argument),*) },
            // SAFETY: as above.
            JEMALLOC => unsafe { jemalloc::Allocator.$call($($argument),*) },
            // SAFETY: as above.
            DHAT => unsafe { dhat::Alloc.$call($($argument),*) },
            // SAFETY: as above.
            _ => unsafe { System.$call($($argument),*) },
        }
    };
}

// SAFETY: every call is forwarded unchanged, to the same allocator for the whole life of the
// process; counting does not allocate.
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
        // `block` is from the same allocator: see `chosen`.
        chosen!(realloc(block, layout, size))
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // As for `realloc`.
        chosen!(dealloc(block, layout));
    }
}
