//! All of `tests/it` once more without the process-wide barrier, as on a system that has none.
//!
//! A process chooses the barrier once, at the first use of a pool, so the environment is set before
//! anything else runs, by a function that the loader calls before `main`. Only Linux has a barrier;
//! elsewhere `tests/it` itself runs without one.
#![cfg(all(target_os = "linux", not(miri)))]

#[path = "it/main.rs"]
mod it;

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = switch_off;

extern "C" fn switch_off() {
    // SAFETY: before `main` there is no other thread that could read the environment.
    unsafe { std::env::set_var("REPOOL_BARRIER", "off") };
}

/// Returns what the kernel says this process has registered for; `None` if it cannot say (before
/// 6.3).
fn registrations() -> Option<i64> {
    const MEMBARRIER_CMD_GET_REGISTRATIONS: libc::c_int = 1 << 9;
    // SAFETY: membarrier(2) takes three integers and touches no memory of the process.
    let mask = unsafe {
        libc::syscall(
            libc::SYS_membarrier,
            MEMBARRIER_CMD_GET_REGISTRATIONS,
            0 as libc::c_uint,
            0,
        )
    };
    (mask >= 0).then_some(mask)
}

#[test]
fn the_barrier_is_really_off() {
    // Otherwise the suite would test the same thing twice. Other tests have used pools by now, or
    // this one does.
    let pool = repool::Pool::<Vec<u8>>::new(Vec::new);
    drop(pool.get());
    drop(pool.get());
    assert_eq!(pool.clear().objects, 1);
    assert_eq!(std::env::var("REPOOL_BARRIER").as_deref(), Ok("off"));
    if let Some(mask) = registrations() {
        assert_eq!(mask, 0, "registered for a barrier all the same");
    }
}
