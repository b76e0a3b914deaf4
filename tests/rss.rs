//! What stays resident under glibc after `clear()`, compared with plain vectors: nodes must not
//! keep the free memory between them apart. Each case is a child of this binary, so that each
//! starts with a fresh heap.
#![cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]

use repool::Pool;
use std::process::Command;
use std::sync::{Barrier, Mutex};

/// Returns the resident bytes of this process, without those of files: how much of the code is
/// mapped depends on what the kernel has in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = |at| {
        let field = statm.split(' ').nth(at).expect("it has seven fields");
        field.parse::<usize>().expect("a number")
    };
    (pages(1) - pages(2)) * 4096
}

/// The number of objects, and the bytes of each.
fn shape() -> (usize, usize) {
    let number = |name| {
        std::env::var(name)
            .expect("set by `left`")
            .parse::<usize>()
            .expect("a number")
    };
    (number("REPOOL_TEST_OBJECTS"), number("REPOOL_TEST_BYTES"))
}

fn vector(bytes: usize) -> Vec<u8> {
    let mut vector = Vec::with_capacity(bytes);
    vector.resize(bytes, 1);
    vector
}

fn say(before: usize) {
    let freed = resident().saturating_sub(before);
    // SAFETY: a function of glibc that accepts any number.
    unsafe { libc::malloc_trim(0) };
    println!("left {} {}", freed, resident().saturating_sub(before));
}

#[test]
#[ignore = "run by the others, as a child"]
fn pooled() {
    let (objects, bytes) = shape();
    let before = resident();
    let pool = Pool::builder(move || vector(bytes)).trim_manually().build();
    drop((0..objects).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!(pool.clear().objects, objects as u64);
    say(before);
}

#[test]
#[ignore = "run by the others, as a child"]
fn pooled_elsewhere() {
    let (objects, bytes) = shape();
    let before = resident();
    let pool = std::sync::Arc::new(Pool::builder(move || vector(bytes)).trim_manually().build());
    let user = pool.clone();
    std::thread::spawn(move || drop((0..objects).map(|_| user.get()).collect::<Vec<_>>()))
        .join()
        .expect("no panic");
    assert_eq!(pool.clear().objects, objects as u64);
    say(before);
}

#[test]
#[ignore = "run by the others, as a child"]
fn plain() {
    let (objects, bytes) = shape();
    let before = resident();
    let vectors = (0..objects).map(|_| vector(bytes)).collect::<Vec<_>>();
    std::thread::spawn(move || drop(vectors))
        .join()
        .expect("no panic");
    say(before);
}

#[test]
#[ignore = "run by the others, as a child"]
fn plain_elsewhere() {
    let (objects, bytes) = shape();
    let before = resident();
    let vectors =
        std::thread::spawn(move || (0..objects).map(|_| vector(bytes)).collect::<Vec<_>>())
            .join()
            .expect("no panic");
    drop(vectors);
    say(before);
}

const THREADS: usize = 8;

/// Threads that create their shares in turn, and still exist when these are freed.
fn on_threads(share: impl Fn() + Sync, free: impl FnOnce()) {
    let (made, freed) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                share();
                made.wait();
                freed.wait();
            });
        }
        made.wait();
        free();
        freed.wait();
    });
}

#[test]
#[ignore = "run by the others, as a child"]
fn pooled_by_threads() {
    let (objects, bytes) = shape();
    let before = resident();
    let pool = Pool::builder(move || vector(bytes)).trim_manually().build();
    let share = || {
        drop(
            (0..objects / THREADS)
                .map(|_| pool.get())
                .collect::<Vec<_>>(),
        )
    };
    on_threads(share, || {
        pool.clear();
        say(before);
    });
    assert_eq!(pool.stats().idle, 0);
}

#[test]
#[ignore = "run by the others, as a child"]
fn plain_by_threads() {
    let (objects, bytes) = shape();
    let before = resident();
    let all = Mutex::new(Vec::new());
    let share = || {
        let vectors = (0..objects / THREADS)
            .map(|_| vector(bytes))
            .collect::<Vec<_>>();
        all.lock().expect("no panic").push(vectors);
    };
    on_threads(share, || {
        all.lock().expect("no panic").clear();
        say(before);
    });
}

/// Returns the bytes that stay after all objects are freed, and those that stay after `malloc_trim`
/// as well.
fn left(case: &str, objects: usize, bytes: usize) -> (usize, usize) {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args([case, "--exact", "--ignored", "--nocapture"]);
    command.env("REPOOL_TEST_OBJECTS", objects.to_string());
    command.env("REPOOL_TEST_BYTES", bytes.to_string());
    let output = command.output().expect("can be started");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    let mut figures = said
        .split_once("left ")
        .expect("said")
        .1
        .split_whitespace()
        .map(|figure| figure.parse::<usize>().expect("a number"));
    (
        figures.next().expect("the first"),
        figures.next().expect("the second"),
    )
}

/// What the pool itself keeps: its caches, its depot, a few nodes in each thread's list of recently
/// freed blocks.
const OWN: usize = 256 << 10;

fn assert_trimmed_like_plain(pooled: &str, plain: &str) {
    for (objects, bytes) in [
        (8_000, 16_000),
        (8_000, 16 << 10),
        (20_000, 4_000),
        (40_000, 1_000),
    ] {
        let ((_, with), (_, without)) = (left(pooled, objects, bytes), left(plain, objects, bytes));
        assert!(
            with * 10 <= without * 13 + OWN * 10,
            "{objects} objects of {bytes} bytes: {with} bytes stay with a pool, {without} without"
        );
    }
}

#[test]
fn what_clear_frees_of_many_threads_goes_back_as_plain_vectors_do() {
    assert_trimmed_like_plain("pooled_by_threads", "plain_by_threads");
}

#[test]
fn what_clear_frees_of_one_thread_goes_back_as_plain_vectors_do() {
    assert_trimmed_like_plain("pooled", "plain");
    assert_trimmed_like_plain("pooled_elsewhere", "plain_elsewhere");
}

#[test]
fn what_is_freed_by_many_threads_leaves_little_before_the_heap_is_trimmed_as_well() {
    // With a node in one of glibc's lists between every two buffers, it was 95 MB of 128 MB.
    let (objects, bytes) = (8_000, 16_000);
    let (stays, _) = left("pooled_by_threads", objects, bytes);
    assert!(stays < objects * bytes / 2, "{stays} bytes");
}
