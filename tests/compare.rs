//! The main job, `examples/compare`, from outside: what it refuses, and a run that is too short to
//! mean anything but has every part.

// Miri starts no processes.
#![cfg(not(any(repool_loom, miri)))]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// Cargo names the programs of a package to its tests, but not its examples; they are built
/// beside the tests.
fn program() -> PathBuf {
    let test = env::current_exe().expect("a test knows where it is");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("in target/<profile>/deps");
    let program = profile
        .join("examples")
        .join(format!("compare{}", env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "{} is missing: `cargo test` builds it, `cargo test --test compare` does not; \
         run `cargo build --example compare` first",
        program.display()
    );
    program
}

fn compare(arguments: &[&str]) -> Output {
    Command::new(program())
        .args(arguments)
        .output()
        .expect("the program starts")
}

/// A file of this test's own, gone with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = env::temp_dir().join(format!("repool-compare-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("the temporary directory takes a file");
        Self(path)
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

#[track_caller]
fn assert_refuses(arguments: &[&str], asked: &str, possible: &str) {
    let output = compare(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    assert!(
        stderr.contains(asked) && stderr.contains(possible),
        "{arguments:?}: {stderr}"
    );
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

#[test]
fn bad_input_gets_one_line_and_exit_code_2() {
    let text = Scratch::new("text", "not a document");
    let cut = Scratch::new("cut", "{\"a\": [1, 2");
    let empty = Scratch::new("empty", "");
    assert_refuses(
        &["--input", "/no/such/file"],
        "/no/such/file",
        "one JSON document",
    );
    assert_refuses(
        &["--input", env!("CARGO_MANIFEST_DIR")],
        "--input",
        "one JSON document",
    );
    for file in [&text, &cut, &empty] {
        assert_refuses(&["--input", file.path()], file.path(), "one JSON document");
    }
    for wrong in ["0", "-1", "1025", "two", ""] {
        assert_refuses(&["--threads", wrong], "--threads", "1 to 1024");
    }
    assert_refuses(&["--rounds", "0"], "--rounds", "1 to 1000");
    for wrong in ["0", "-1", "nan", "inf", "1e9"] {
        assert_refuses(&["--seconds", wrong], "--seconds", "0.01 to 3600");
    }
    assert_refuses(&["--frobnicate"], "--frobnicate", "--help");
    assert_refuses(&["file.json"], "file.json", "--help");
}

const SHORT: [&str; 6] = ["--threads", "2", "--rounds", "1", "--seconds", "0.01"];

fn short(more: &[&str]) -> String {
    let output = compare(&[&SHORT, more].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_short_run_prints_every_table() {
    let tables = short(&[]);
    for workload in ["request: ", "encode: ", "tiny: ", "local: "] {
        assert!(tables.contains(&format!("\n{workload}")), "{tables}");
    }
    for heading in ["How it was measured", "What these figures do not show"] {
        assert!(tables.contains(heading), "{tables}");
    }
}

#[test]
fn a_file_is_served_and_its_figures_add_up() {
    let file = Scratch::new(
        "ok.json",
        r#"{"a": [1, 2.5, null], "b": "http://x\"y", "c": {}}"#,
    );
    let result: Value = serde_json::from_str(&short(&["--json", "--input", file.path()])).unwrap();
    let workloads = result["workloads"].as_array().unwrap();
    assert_eq!(workloads.len(), 4);
    let figure = |workload: &Value, name: &str, side: &str| {
        let rows = workload["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["figure"] == name);
        row.unwrap_or_else(|| panic!("no {name}: {workload}"))[side].as_f64()
    };
    for workload in workloads {
        for side in ["plain", "pooled"] {
            assert!(
                figure(workload, "requests/s", side) > Some(0.0),
                "{workload}"
            );
        }
        // Nothing idle is left after three passes, parked threads or not.
        assert_eq!(workload["pools"]["trimmed_to_bytes"], 0, "{workload}");
        // One round has no spread, so it names no winner.
        assert_eq!(workload["rows"][0]["better"], "unknown", "{workload}");
    }
    // The counter counts: a thousand vectors of 32 bytes, and none where they are reused.
    let calls = |workload: &Value, side| figure(workload, "allocator calls/request", side);
    let tiny = &workloads[2];
    assert_eq!(tiny["workload"], "tiny");
    assert_eq!(calls(tiny, "plain"), Some(1000.0));
    assert_eq!(
        figure(tiny, "allocated bytes/request", "plain"),
        Some(32_000.0)
    );
    assert_eq!(calls(tiny, "pooled"), Some(0.0));
    assert_eq!(calls(&workloads[3], "plain"), Some(0.0));
    assert!(calls(&workloads[0], "pooled") < calls(&workloads[0], "plain"));
    if cfg!(target_os = "linux") {
        assert!(figure(tiny, "idle RSS MiB", "plain") > Some(0.0));
    }
}
