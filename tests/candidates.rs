//! The example `candidates`, from outside: what it says about profiles of known programs, and what
//! it rejects.
//!
//! The profiles are real: this program runs itself again, recorded by the crate `dhat`, and by
//! valgrind if it is installed.

// Miri starts no processes.
#![cfg(not(any(repool_loom, miri)))]

#[path = "support/example.rs"]
mod example;

use example::example;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;
use std::{env, fs};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Where the child writes its profile; empty if it is profiled from outside.
const TO: &str = "REPOOL_TEST_PROFILE";

/// How often each of the functions below is called.
const CALLS: usize = 200;

/// Two tables per visit, and two visits at the same time.
#[inline(never)]
fn expensive() {
    let one = [vec![1_u64; 4096], vec![2_u64; 4096]];
    let other = [vec![1_u64; 4096], vec![2_u64; 4096]];
    black_box((&one, &other));
}

/// Never two at the same time.
#[inline(never)]
fn scratch() {
    black_box(Vec::<u64>::with_capacity(512));
}

/// Small objects, many at the same time.
#[inline(never)]
fn tree() {
    let leaves: [Box<[u64; 3]>; 64] = std::array::from_fn(|n| Box::new([n as u64; 3]));
    black_box(&leaves);
}

#[inline(never)]
fn body(bytes: usize) -> Vec<u8> {
    Vec::<u8>::with_capacity(black_box(bytes))
}

/// Bytes of different sizes.
#[inline(never)]
fn bodies() {
    let small = [body(200), body(200)];
    let large = [body(6000), body(6000)];
    black_box((&small, &large));
}

/// Created once, and alive to the end.
#[inline(never)]
fn settings() -> Vec<Box<[u8; 5000]>> {
    (0..CALLS).map(|_| Box::new([0; 5000])).collect()
}

fn program() {
    let settings = black_box(settings());
    for _ in 0..CALLS {
        expensive();
        scratch();
        tree();
        bodies();
    }
    // So that short-lived objects live for a small part of the run.
    std::thread::sleep(Duration::from_millis(300));
    black_box(settings);
}

#[test]
#[ignore = "is what the other tests profile"]
fn profiled() {
    let to = env::var(TO).expect("run by another test");
    let profiler = (!to.is_empty()).then(|| {
        dhat::Profiler::builder()
            .file_name(to)
            .trim_backtraces(None)
            .build()
    });
    program();
    drop(profiler);
}

/// A file of this test, removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(env::temp_dir().join(format!("repool-candidates-{}-{name}", std::process::id())))
    }

    fn with(name: &str, text: impl AsRef<[u8]>) -> Self {
        let scratch = Self::new(name);
        fs::write(&scratch.0, text).expect("the temporary directory takes a file");
        scratch
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("made from text")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs the program above, under `command` if there is one.
fn profile(command: &[&str], to: &str) -> Output {
    let test = env::current_exe().expect("a test knows where it is");
    let test = test.to_str().expect("a path of text");
    let arguments = ["profiled", "--exact", "--ignored", "--test-threads=1"];
    let all: Vec<_> = command
        .iter()
        .copied()
        .chain([test])
        .chain(arguments)
        .collect();
    Command::new(all[0])
        .args(&all[1..])
        .env(TO, to)
        .output()
        .expect("it starts")
}

/// Records a profile with `dhat`.
fn recorded(name: &str) -> Scratch {
    let file = Scratch::new(name);
    let output = profile(&[], file.path());
    assert!(output.status.success(), "{output:?}");
    file
}

fn candidates(arguments: &[&str]) -> Output {
    Command::new(example("candidates"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn told(arguments: &[&str]) -> String {
    let output = candidates(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What the program says about one call site.
struct Said<'t> {
    function: &'t str,
    /// `leave` for a site that it advises against.
    advice: &'t str,
    figures: &'t str,
}

/// Returns everything that the program says about this file.
fn said(text: &str) -> Vec<Said<'_>> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((head, function)) = line
            .split_once("tests/candidates.rs:")
            .and_then(|(head, rest)| Some((head, rest.split_once(" in ")?.1)))
        else {
            continue;
        };
        let advice = match head.split_once(". ") {
            Some((_, rest)) => rest.split(": ").next().unwrap_or(rest),
            None if head.trim().starts_with('-') => "leave",
            // The line of its caller.
            None => continue,
        };
        let figures = lines[at..]
            .iter()
            .find(|line| line.contains(" calls") && !line.trim().starts_with("calls"))
            .expect("figures follow");
        found.push(Said {
            function: function.rsplit("::").next().unwrap_or(function),
            advice,
            figures: figures.trim(),
        });
    }
    found
}

#[test]
fn each_kind_of_call_site_gets_its_advice() {
    let file = recorded("kinds.json");
    let text = told(&[file.path(), "--assume", "100,5", "--top", "100"]);
    let found = said(&text);
    let expect = |advice: &str, calls: &str, size: &str| {
        let site = found
            .iter()
            .find(|site| site.figures.starts_with(calls) && site.figures.contains(size))
            .unwrap_or_else(|| panic!("no {calls} of {size}:\n{text}"));
        assert_eq!(site.advice, advice, "{calls} of {size}:\n{text}");
        site.function
    };
    assert_eq!(
        expect("a local variable", "200 calls", "4,096 B each"),
        "scratch"
    );
    let varied = "3,100 B on average (200 B to 6,000 B by path)";
    assert_eq!(expect("BufferPool", "800 calls", varied), "body");
    assert_eq!(expect("Pool", "400 calls", "32.0 KiB each"), "expensive");
    expect("ArenaPool", "12,800 calls", "24 B each");
    // The vector that holds the boxes is allocated there as well, unless it is inlined elsewhere.
    let kept = found.iter().find(|site| {
        ["200 at once", "201 at once"]
            .iter()
            .any(|most| site.figures.contains(most))
    });
    assert!(kept.is_some_and(|site| site.advice == "leave"), "{text}");
    // 12,800 leaves, minus the 64 that have to be created, at 95 ns each.
    assert!(
        text.contains("saves at most 12,736 allocator calls and 1.2 ms"),
        "{text}"
    );
}

#[test]
fn what_saves_most_comes_first_and_what_gains_nothing_is_left() {
    let file = recorded("order.json");
    let text = told(&[file.path(), "--assume", "100,5"]);
    let first = text.lines().find(|line| line.starts_with("  1. "));
    assert!(
        first.is_some_and(|line| line.contains("ArenaPool")),
        "{text}"
    );

    let text = told(&[file.path(), "--assume", "5,5", "--top", "100"]);
    assert!(text.contains("Nothing here is worth pooling."), "{text}");
    assert!(text.contains("nothing to gain"), "{text}");
    assert!(
        said(&text).iter().all(|site| site.advice == "leave"),
        "{text}"
    );
}

/// A folder named like a dependency's (`app-1.2.3`) is the user's if the program runs in it.
#[test]
fn a_project_in_a_folder_with_a_version_is_the_users() {
    let file = recorded("versioned.json");
    let projects = Scratch::new("projects");
    let project = projects.0.join("app-1.2.3");
    fs::create_dir_all(project.join("tests")).expect("a folder");
    fs::write(project.join("tests/candidates.rs"), "").expect("a file");
    let root = env!("CARGO_MANIFEST_DIR")
        .rsplit('/')
        .next()
        .expect("a name");
    let text = fs::read_to_string(file.path()).expect("recorded");
    let place = format!("{root}/tests/candidates.rs");
    assert!(text.contains(&place), "{place}");
    fs::write(
        file.path(),
        text.replace(&place, "app-1.2.3/tests/candidates.rs"),
    )
    .expect("a file");
    let output = Command::new(example("candidates"))
        .args([file.path(), "--assume", "100,5"])
        .current_dir(&project)
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().find(|line| line.starts_with("  1. "));
    assert!(
        first.is_some_and(|line| line.contains("ArenaPool")),
        "{text}"
    );
    fs::remove_dir_all(&projects.0).expect("its own folder");
}

/// Without `--assume`, it compares this machine's allocator and pools.
#[test]
fn costs_are_measured_when_none_are_assumed() {
    let file = recorded("measured.json");
    let text = told(&[file.path()]);
    assert!(text.contains("costs    measured now"), "{text}");
    assert!(text.contains("What this does not say"), "{text}");
}

#[test]
fn a_profile_of_valgrind_is_read_as_well() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: nothing to read");
        return;
    }
    let file = Scratch::new("valgrind.out");
    let to = format!("--dhat-out-file={}", file.path());
    let output = profile(&["valgrind", "--tool=dhat", "--fullpath-after=", &to], "");
    assert!(output.status.success(), "{output:?}");
    let text = told(&[file.path(), "--assume", "100,5", "--top", "100"]);
    assert!(text.contains(" instructions, "), "{text}");
    let found = said(&text);
    let scratch = found
        .iter()
        .find(|site| site.function == "scratch")
        .unwrap_or_else(|| panic!("nothing of scratch:\n{text}"));
    assert!(scratch.figures.starts_with("200 calls, "), "{text}");
    assert!(scratch.figures.contains("4,096 B"), "{text}");
    assert!(
        scratch.figures.contains("each byte read or written"),
        "{text}"
    );
    assert_ne!(scratch.advice, "leave", "{text}");
}

#[track_caller]
fn assert_refuses(arguments: &[&str], words: &[&str]) {
    let output = candidates(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
    }
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

#[test]
fn what_is_no_profile_gets_one_line_and_exit_code_2() {
    let refused = |name: &str, text: &[u8], words: &[&str]| {
        let file = Scratch::with(name, text);
        assert_refuses(&[file.path()], &[&[file.path()], words].concat());
    };
    refused("empty", b"", &["empty"]);
    refused("blank", b" \n\n", &["empty"]);
    refused("text", b"not a profile", &["no heap profile"]);
    refused("binary", &[0, 159, 146, 150], &["not text"]);
    refused("json", b"{\"a\": [1, 2]}", &["no heap profile"]);
    refused("list", b"[]", &["no heap profile"]);

    let file = recorded("whole.json");
    let whole = fs::read_to_string(&file.0).expect("just written");
    for share in [1, 2, 9] {
        let cut = whole.len() * share / 10;
        refused("cut", &whole.as_bytes()[..cut], &["ends in the middle"]);
    }
    let changed = |from: &str, to: &str, words: &[&str]| {
        let text = whole.replacen(from, to, 1);
        assert_ne!(text, whole, "{from} is not there");
        refused("changed", text.as_bytes(), words);
    };
    changed(
        "\"dhatFileVersion\": 2",
        "\"dhatFileVersion\": 3",
        &["version 3"],
    );
    changed("\"rust-heap\"", "\"rust-ad-hoc\"", &["rust-ad-hoc"]);

    refused(
        "none",
        br#"{"dhatFileVersion": 2, "mode": "heap", "cmd": "true", "tu": "instrs", "te": 1, "pps": [], "ftbl": []}"#,
        &["no allocations"],
    );
    refused(
        "frames",
        br#"{"dhatFileVersion": 2, "mode": "heap", "cmd": "true", "tu": "instrs", "te": 1,
            "pps": [{"tb": 1, "tbk": 1, "fs": [7]}], "ftbl": ["[root]"]}"#,
        &["frames"],
    );

    assert_refuses(&["/no/such/file"], &["/no/such/file"]);
    assert_refuses(&[env!("CARGO_MANIFEST_DIR")], &["directory"]);
    assert_refuses(&[], &["PROFILE", "--help"]);
    assert_refuses(&["--frobnicate"], &["--frobnicate", "--help"]);
    for wrong in ["", "1", "1,", "-1,2", "a,b", "nan,1"] {
        assert_refuses(&[file.path(), "--assume", wrong], &["--assume"]);
    }
}
