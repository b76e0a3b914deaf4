//! The fork generation: a number that differs between a process and its forked children.
//!
//! A forked child has the parent's memory and none of its other threads. By the generation, code tells what a lost
//! thread left behind from what a live one is doing.
//!
//! On Linux (4.14 and later) the kernel clears one page in each child, however the child was made. A new generation
//! begins when that page reads 0. On other systems, and where the kernel refuses, a handler of `pthread_atfork` counts.
//! It misses a child made by the bare system call. `generation_fixed.rs` stands in where nothing forks.
//!
//! # Orderings
//! - `CURRENT`: publish Release, read Acquire: the reader sees the first generation in the page.
//! - the generation itself, and `LAST`: Relaxed. They change in a child only, and publish nothing.

use crate::sync::{AtomicPtr, AtomicUsize, Ordering};
use std::ptr;

/// Points to the present generation: in the page that the kernel wipes in children, or [`LAST`]. Null before the first
/// call.
static CURRENT: AtomicPtr<AtomicUsize> = AtomicPtr::new(ptr::null_mut());
/// The largest generation so far.
static LAST: AtomicUsize = AtomicUsize::new(1);

/// Differs between a process and its forked children. Never zero.
#[inline]
pub(crate) fn generation() -> usize {
    // Acquire: pairs with the Release in `set_up`. No mutant: no model forks.
    let current = CURRENT.load(Ordering::Acquire);
    if !current.is_null() {
        // SAFETY: a static, or a page that is never unmapped.
        let generation = unsafe { (*current).load(Ordering::Relaxed) };
        if generation != 0 {
            return generation;
        }
    }
    generation_slow(current)
}

/// The first call in a process, or in a forked child.
#[cold]
fn generation_slow(current: *mut AtomicUsize) -> usize {
    if current.is_null() {
        return set_up();
    }
    // Incremented before the page is set, so that a child of this child never copies an older number.
    let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    // SAFETY: as in `generation`.
    let set = unsafe { (*current).compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) };
    // Another thread of the child may have been first.
    set.map_or_else(|first| first, |_| next)
}

fn set_up() -> usize {
    let first = LAST.load(Ordering::Relaxed);
    let page = page::wiped_by_fork();
    let current = if page.is_null() {
        (&raw const LAST).cast_mut()
    } else {
        // SAFETY: a new mapping that is not shared yet.
        unsafe { (*page).store(first, Ordering::Relaxed) };
        page
    };
    // Release: pairs with the Acquire in `generation`. No mutant: as there. Relaxed: this call does not read the page
    // of another thread.
    let published = CURRENT.compare_exchange(
        ptr::null_mut(),
        current,
        Ordering::Release,
        Ordering::Relaxed,
    );
    match published {
        Ok(_) if page.is_null() => count_forks(),
        Ok(_) => {}
        Err(_) if page.is_null() => {}
        // SAFETY: mapped above, and not shared.
        Err(_) => unsafe { page::unmap(page) },
    }
    first
}

fn count_forks() {
    extern "C" fn in_child() {
        LAST.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler only increments an atomic, which is allowed in a child of a process with threads.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod page {
    use crate::sync::AtomicUsize;
    use std::ptr;

    /// The size of the smallest page. The kernel rounds up.
    const LEN: usize = 4096;

    /// Maps a page that the kernel fills with zeros in each forked child. Null if the kernel cannot do that.
    pub(super) fn wiped_by_fork() -> *mut AtomicUsize {
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let page = unsafe { libc::mmap(ptr::null_mut(), LEN, access, kind, -1, 0) };
        if page == libc::MAP_FAILED {
            return ptr::null_mut();
        }
        // SAFETY: mapped above. No kernel accepts this advice, but some emulators accept any.
        let takes_any = unsafe { libc::madvise(page, LEN, -1) } == 0;
        // SAFETY: mapped above.
        if takes_any || unsafe { libc::madvise(page, LEN, libc::MADV_WIPEONFORK) } != 0 {
            // SAFETY: mapped above, and not shared.
            unsafe { unmap(page.cast()) };
            return ptr::null_mut();
        }
        page.cast()
    }

    /// Unmaps a page.
    ///
    /// # Safety
    /// The page is from [`wiped_by_fork`], and no thread uses it any more.
    pub(super) unsafe fn unmap(page: *mut AtomicUsize) {
        // SAFETY: guaranteed by the caller.
        unsafe { libc::munmap(page.cast(), LEN) };
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod page {
    use crate::sync::AtomicUsize;

    /// Null: these systems have no such page.
    pub(super) fn wiped_by_fork() -> *mut AtomicUsize {
        std::ptr::null_mut()
    }

    /// # Safety
    /// Never called, since there is no such page.
    pub(super) unsafe fn unmap(_: *mut AtomicUsize) {}
}
