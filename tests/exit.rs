//! The end of the process. The same pool is used by thread-local destructors of the *main* thread,
//! by `atexit` handlers after them, and by threads that are still running then.
//!
//! Tests run on other threads, so the end of the main thread is tested in a child process: this
//! binary again, which does its work before `main` if the environment says so, and whose main
//! thread then exits normally. Needs a C library that runs the main thread's destructors: glibc.
#![cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]

use repool::{Pool, Pooled};
use std::cell::RefCell;
use std::process::Command;

static POOL: Pool<Vec<u8>> = Pool::new(|| Vec::with_capacity(64));

struct AtEnd(&'static str);

impl Drop for AtEnd {
    fn drop(&mut self) {
        use_pool();
        say(self.0);
    }
}

thread_local! {
    static EARLY: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
    static LATE: RefCell<Option<(AtEnd, Pooled<Vec<u8>>)>> = const { RefCell::new(None) };
}

fn use_pool() {
    let mut held: Vec<_> = (0..40).map(|_| POOL.get()).collect();
    for buf in &mut held {
        assert!(buf.is_empty());
        buf.push(1);
    }
    drop(held);
    drop(POOL.try_get());
    let _ = (POOL.trim(), POOL.stats(), POOL.clear());
    POOL.put(Vec::new());
}

/// Std may have cleaned up already, so this does not use `println!`.
fn say(word: &str) {
    // SAFETY: the buffer is valid for its length.
    let written = unsafe { libc::write(1, word.as_ptr().cast(), word.len()) };
    assert_eq!(written, word.len() as isize);
}

extern "C" fn after_everything() {
    use_pool();
    say("[atexit]");
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    let Some(what) = std::env::var_os("REPOOL_EXIT_CHILD") else {
        return;
    };
    // SAFETY: a function without arguments that lives as long as the process.
    assert_eq!(unsafe { libc::atexit(after_everything) }, 0);
    EARLY.set(Some(AtEnd("[early]"))); // first in, last out
    use_pool();
    LATE.set(Some((AtEnd("[late]"), POOL.get())));
    if what == "threads" {
        for _ in 0..2 {
            std::thread::spawn(|| {
                loop {
                    use_pool();
                }
            });
        }
        while POOL.stats().returned < 1_000 {
            std::thread::yield_now();
        }
    }
}

fn child(what: &str) {
    let this = std::env::current_exe().expect("this binary");
    for barrier in ["on", "off"] {
        let output = Command::new(&this)
            .arg("--list")
            .env("REPOOL_EXIT_CHILD", what)
            .env("REPOOL_BARRIER", barrier)
            .output()
            .expect("a child process");
        let said = String::from_utf8_lossy(&output.stdout);
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{what}, barrier {barrier}: {said}{wrong}"
        );
        for word in ["[early]", "[late]", "[atexit]"] {
            assert!(
                said.contains(word),
                "{what}, barrier {barrier}: no {word} in {said}{wrong}"
            );
        }
    }
}

#[test]
fn the_main_threads_destructors_may_use_a_pool_at_exit() {
    // One of our thread-locals that is gone at exit, or can no longer be created.
    child("alone");
}

#[test]
fn a_process_may_end_while_its_threads_use_a_pool() {
    // The same while other threads work with the static pool, which is never dropped.
    for _ in 0..5 {
        child("threads");
    }
}
