//! The environment variables, which are read once per process: each case is a child of this binary.
#![cfg(not(any(miri, target_family = "wasm")))]

use repool::{Budget, Pool};
use std::process::{Command, Output};

/// The child uses a pool and prints what it kept.
#[test]
#[ignore = "run by the others, as a child"]
fn child() {
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(1_000 - size_of::<Vec<u8>>()))
        .trim_manually()
        .build();
    drop((0..100).map(|_| pool.get()).collect::<Vec<_>>());
    let stats = pool.stats();
    println!("kept {} refused {}", stats.idle, stats.discarded_by.budget);
}

fn run(budget: Option<&str>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child", "--exact", "--ignored", "--nocapture"]);
    command.env_remove("REPOOL_BUDGET");
    if let Some(budget) = budget {
        command.env("REPOOL_BUDGET", budget);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn said(output: &Output, what: &str) -> bool {
    String::from_utf8_lossy(&output.stdout).contains(what)
}

#[test]
fn without_a_word_there_is_no_budget() {
    let output = run(None);
    assert!(said(&output, "kept 100 refused 0"), "{output:?}");
}

#[test]
fn bytes_and_units_are_understood() {
    let output = run(Some("10000"));
    assert!(said(&output, "kept 10 refused 90"), "{output:?}");
    let output = run(Some("10KiB"));
    assert!(said(&output, "kept 10 refused 90"), "{output:?}");
    let output = run(Some("1GiB"));
    assert!(said(&output, "kept 100 refused 0"), "{output:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_share_of_the_memory_is_understood() {
    let output = run(Some("10%"));
    assert!(
        said(&output, "kept 100 refused 0") && output.stderr.is_empty(),
        "{output:?}"
    );
    let output = run(Some("0%"));
    assert!(said(&output, "kept 0 refused 100"), "{output:?}");
}

/// The child keeps objects of 100,000 bytes.
#[test]
#[ignore = "run by the one below, as a child"]
fn keeping_child() {
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(100_000))
        .trim_manually()
        .build();
    drop((0..1_000).map(|_| pool.get()).collect::<Vec<_>>());
    println!("kept {}", pool.stats().idle);
}

/// Runs [`keeping_child`] in its own mount namespace, where these files are the cgroups. Returns
/// `None` if that is not permitted.
#[cfg(target_os = "linux")]
fn kept_among(name: &str, files: &[(&str, &str)], budget: &str) -> Option<String> {
    use std::os::unix::process::CommandExt;

    let here = std::env::temp_dir().join(format!("repool-{name}-{}", std::process::id()));
    for (file, text) in files {
        let file = here.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let source = std::ffi::CString::new(here.to_str().unwrap()).unwrap();
    let mount = move || {
        let (root, there) = (c"/".as_ptr(), c"/sys/fs/cgroup".as_ptr());
        let (no_text, no_data) = (std::ptr::null(), std::ptr::null());
        let private = libc::MS_REC | libc::MS_PRIVATE;
        // SAFETY: takes an integer.
        let mut failed = unsafe { libc::unshare(libc::CLONE_NEWNS) };
        // SAFETY: the texts end with a zero byte, or are null.
        failed |= unsafe { libc::mount(no_text, root, no_text, private, no_data) };
        // SAFETY: as above.
        failed |= unsafe { libc::mount(source.as_ptr(), there, no_text, libc::MS_BIND, no_data) };
        if failed == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["keeping_child", "--exact", "--ignored", "--nocapture"])
        .env("REPOOL_BUDGET", budget);
    // SAFETY: system calls only.
    let output = unsafe { command.pre_exec(mount) }.output();
    let _ = std::fs::remove_dir_all(&here);
    let output = match output {
        Ok(output) => output,
        Err(why) => {
            println!("not tested, no mount namespace: {why}");
            return None;
        }
    };
    assert!(output.status.success(), "{output:?}");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let kept = words.split("kept ").nth(1).expect("the child's line");
    Some(kept.split_whitespace().next().unwrap().to_owned())
}

#[cfg(target_os = "linux")]
#[test]
fn a_share_of_a_cgroup_is_understood_under_either_version() {
    // 256 MiB: 26,843,545 bytes are 10 %.
    let files = [("memory/memory.limit_in_bytes", "268435456\n")];
    if let Some(kept) = kept_among("one", &files, "10%") {
        assert_eq!(kept, "268", "version 1");
    }
    let files = [
        ("cgroup.controllers", "memory\n"),
        ("memory.max", "268435456\n"),
    ];
    if let Some(kept) = kept_among("two", &files, "10%") {
        assert_eq!(kept, "268", "version 2");
    }
    let files = [("memory/memory.limit_in_bytes", "9223372036854771712\n")];
    if let Some(kept) = kept_among("unlimited", &files, "50%") {
        assert_eq!(kept, "1000", "half of the machine's memory");
    }
}

#[test]
fn nonsense_gets_one_line_and_no_budget() {
    for nonsense in ["lots", "-5", "12 parsecs", "200%", ""] {
        let output = run(Some(nonsense));
        assert!(said(&output, "kept 100 refused 0"), "{output:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let ours: Vec<_> = words
            .lines()
            .filter(|line| line.contains("REPOOL_BUDGET"))
            .collect();
        assert_eq!(ours.len(), 1, "{words}");
        assert!(ours[0].contains("64MiB"), "says what is possible: {words}");
    }
}

#[test]
fn code_has_the_last_word() {
    // In this process, whose environment sets nothing.
    Budget::set_default(Some(Budget::new(5_000)));
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(1_000 - size_of::<Vec<u8>>()))
        .trim_manually()
        .build();
    let own = Pool::builder(|| Vec::<u8>::with_capacity(1_000 - size_of::<Vec<u8>>()))
        .budget(Budget::new(2_000))
        .trim_manually()
        .build();
    for pool in [&pool, &own] {
        drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
    }
    assert_eq!((pool.stats().idle, own.stats().idle), (5, 2));
    Budget::set_default(None);
}

/// The child leaves a burst idle and goes on with one object.
#[test]
#[ignore = "run by the one below, as a child"]
fn riding_child() {
    use std::time::{Duration, Instant};
    let interval = Duration::from_millis(20);
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(1_000 - size_of::<Vec<u8>>()))
        .trim_every(interval)
        .build();
    drop((0..500).map(|_| pool.get()).collect::<Vec<_>>());
    let start = Instant::now();
    while pool.stats().idle > 10 && start.elapsed() < Duration::from_secs(10) {
        drop(pool.get());
        std::thread::sleep(Duration::from_millis(1));
    }
    let janitor = repool::janitor_stats();
    println!("left {} running {}", pool.stats().idle, janitor.running);
}

/// The child prints whether its returns have run passes.
#[test]
#[ignore = "run by the one below, as a child"]
fn passing_child() {
    use std::time::{Duration, Instant};
    let pool = Pool::builder(|| Vec::<u8>::with_capacity(100))
        .trim_every(Duration::from_millis(1))
        .build();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(200) {
        drop(pool.get());
    }
    println!("passes {}", repool::janitor_stats().passes > 0);
}

/// Also those that find room in the cache of their thread, which would be hits if there were a janitor.
#[test]
fn without_a_janitor_any_return_may_run_a_pass() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["passing_child", "--exact", "--ignored", "--nocapture"])
        .env("REPOOL_JANITOR", "off")
        .output()
        .unwrap();
    assert!(said(&output, "passes true"), "{output:?}");
}

#[test]
fn without_a_janitor_passes_ride_on_returns() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["riding_child", "--exact", "--ignored", "--nocapture"])
        .env("REPOOL_JANITOR", "off")
        .output()
        .unwrap();
    assert!(
        output.status.success() && said(&output, "running false"),
        "{output:?}"
    );
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let left = words
        .split("left ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let left: usize = left.expect("the child's line").parse().unwrap();
    assert!(left <= 10, "{left} of 500 are left");
}

/// Four threads make an idle object each, in turn, and then get one. Two of them have one that another thread made if
/// there is one depot, in whatever order it hands objects out.
#[test]
#[ignore = "run by the one below, as a child"]
fn depots_child() {
    use std::cell::Cell;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    thread_local!(static ME: Cell<u64> = const { Cell::new(0) });
    let pool = Pool::builder(|| vec![ME.get()])
        .reset(|_| true)
        .trim_manually()
        .build();
    let (turn, own) = (Barrier::new(4), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for me in 0..4 {
            let (pool, turn, own) = (&pool, &turn, &own);
            scope.spawn(move || {
                ME.set(me);
                for now in 0..4 {
                    if now == me {
                        assert_eq!(pool.prefill(1), 1);
                    }
                    turn.wait();
                }
                for now in [1, 0, 3, 2] {
                    if now == me && pool.get()[0] == me {
                        own.fetch_add(1, Ordering::Relaxed);
                    }
                    turn.wait();
                }
            });
        }
    });
    println!("created {} own {own:?}", pool.stats().created);
}

/// A thread gives to its own depot, and takes from it first.
#[test]
fn a_pool_has_as_many_depots_as_the_environment_says() {
    for (depots, own) in [("1", false), ("4", true), ("16", true), ("many", false)] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["depots_child", "--exact", "--ignored", "--nocapture"])
            .env("REPOOL_DEPOTS", depots)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let found = said(&output, "created 4 own 4\n");
        assert_eq!(found, own, "{depots} {output:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let refused = words.contains("REPOOL_DEPOTS");
        assert_eq!(refused, depots == "many", "{words}");
    }
}
