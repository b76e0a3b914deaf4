//! The example `compare`, from outside: what it rejects, and a run that is too short to mean
//! anything but has every part.

// Miri starts no processes.
#![cfg(not(any(repool_loom, miri)))]

#[path = "support/example.rs"]
mod example;

use example::example;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs};

fn compare(arguments: &[&str]) -> Output {
    Command::new(example("compare"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

/// A file of this test, removed on drop.
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
    assert_refuses(&["--workload", "nap"], "--workload", "--help");
    assert_refuses(&["--allocator", "none"], "--allocator", "--help");
    if cfg!(not(repool_jemalloc)) {
        assert_refuses(&["--allocator", "jemalloc"], "jemalloc", "repool_jemalloc");
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
    let workloads = ["request", "encode", "tiny", "local", "handoff", "exchange"];
    for workload in workloads {
        assert!(tables.contains(&format!("\n{workload}: ")), "{tables}");
    }
    for heading in ["How it was measured", "What these figures do not show"] {
        assert!(tables.contains(heading), "{tables}");
    }
    assert!(!tables.contains("\nown: "), "{tables}");
    // The thousand small vectors of `tiny`, and `local`; no other pool has objects as small.
    let advice: Vec<_> = tables
        .lines()
        .filter_map(|line| line.strip_prefix("  advice for "))
        .collect();
    assert!(
        advice
            .iter()
            .any(|line| line.starts_with("tiny: idle objects have 5")),
        "{advice:?}"
    );
    assert!(
        advice.iter().all(|line| !line.starts_with("compressors: ")),
        "{advice:?}"
    );
}

#[test]
fn every_workload_and_allocator_runs_on_its_own() {
    for workload in [
        "request", "encode", "tiny", "local", "handoff", "exchange", "own",
    ] {
        let tables = short(&["--workload", workload]);
        assert_eq!(tables.matches("requests/s  ").count(), 1, "{tables}");
        assert!(tables.contains(&format!("\n{workload}: ")), "{tables}");
    }
    let mut allocators = vec!["glibc"];
    if cfg!(unix) {
        allocators.push("mimalloc");
    }
    let both = allocators.join(",");
    let tables = short(&["--workload", "tiny", "--allocator", &both]);
    assert_eq!(
        tables.matches("\nallocator  ").count(),
        allocators.len(),
        "{tables}"
    );
    assert_eq!(
        tables.matches("requests/s  ").count(),
        allocators.len(),
        "{tables}"
    );
}

#[test]
fn objects_cross_threads_where_they_should() {
    let args = ["--json", "--workload", "handoff,exchange,encode"];
    let result: Value = serde_json::from_str(&short(&args)).unwrap();
    let workloads = result["comparisons"][0]["summaries"].as_array().unwrap();
    for workload in &workloads[..2] {
        // The rest was left when the next worker had ended.
        assert!(workload["crossed"].as_f64() > Some(0.5), "{workload}");
    }
    assert_eq!(workloads[2]["crossed"], Value::Null);

    let alone = [
        "--threads=1",
        "--rounds=1",
        "--seconds=0.01",
        "--json",
        "--workload=exchange",
    ];
    let output = compare(&alone);
    assert!(output.status.success(), "{output:?}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let exchange = &result["comparisons"][0]["summaries"][0];
    assert_eq!(exchange["crossed"].as_f64(), Some(0.0), "{exchange}");
}

/// Switched off, the same code creates all objects again: `tiny` has a thousand.
#[test]
fn the_third_side_is_the_pooled_one_switched_off() {
    // Long enough for a few requests after the first, also on a busy machine under a sanitizer.
    let time = ["--threads", "2", "--rounds", "1", "--seconds", "0.2"];
    let output = compare(&[&time[..], &["--json", "--workload", "tiny,local,own"]].concat());
    assert!(output.status.success(), "{output:?}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let workloads = result["comparisons"][0]["summaries"].as_array().unwrap();
    for workload in workloads {
        let calls = &workload["rows"][5];
        assert_eq!(calls["figure"], "allocator calls/request");
        let (pooled, off) = (calls["pooled"].as_f64(), calls["off"].as_f64());
        assert!(pooled < Some(1.0), "{workload}");
        assert!(off >= Some(2.0), "{workload}");
    }
    assert!(workloads[0]["rows"][5]["off"].as_f64() >= Some(1000.0));
}

// Other systems do not report resident memory, so there is no report.
#[cfg(target_os = "linux")]
#[test]
fn the_report_is_one_page_that_needs_nothing_else() {
    let page = Scratch::new("report.html", "");
    let tables = short(&["--workload", "tiny,exchange", "--report", page.path()]);
    let html = fs::read_to_string(page.path()).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>"), "{html}");
    assert!(html.ends_with("</html>"), "{html}");
    // Throughput, calls, memory, and a curve per workload.
    assert_eq!(html.matches("<svg").count(), 5);
    assert_eq!(html.matches("</svg>").count(), 5);
    for outside in [
        "<script", "<link", "<img", "src=", "href=", "url(", "@import",
    ] {
        assert!(!html.contains(outside), "{outside}: {html}");
    }
    // The only address is the namespace of SVG.
    let namespaces = html.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
    assert_eq!(html.matches("http").count(), namespaces, "{html}");
    for part in [
        "prefers-color-scheme: dark",
        "@media print",
        "viewport",
        "malloc_trim",
    ] {
        assert!(html.contains(part), "no {part}: {html}");
    }
    // What ran, and on what machine: the same as in the tables.
    let machine = tables
        .lines()
        .next()
        .unwrap()
        .trim_start_matches("machine")
        .trim();
    assert!(html.contains(machine), "{html}");
    assert!(html.contains("--workload tiny,exchange"), "{html}");
    assert!(
        html.contains("too few rounds to name a winner in tiny and exchange"),
        "{html}"
    );

    let nowhere = compare(&[&SHORT[..], &["--workload=tiny", "--report=/no/such/r.html"]].concat());
    assert_eq!(nowhere.status.code(), Some(2), "{nowhere:?}");
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/no/such/r.html"));
}

/// `compare` writes a profile of its plain side, and `candidates` finds in it what the pooled side
/// pools.
#[test]
fn compare_writes_a_profile_that_candidates_reads() {
    let file = Scratch::new("heap.json", "");
    let output = short(&["--workload", "request,tiny", "--profile", file.path()]);
    assert!(output.contains(file.path()), "{output}");
    let output = Command::new(example("candidates"))
        .args([file.path(), "--assume", "1000000,5", "--top", "100"])
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let found = String::from_utf8(output.stdout).expect("UTF-8");
    let (worth, _) = found.split_once("\nLeave as it is").expect("two parts");
    let places = [
        "compressor.rs",
        "tiny",
        "tallies",
        "numbers",
        "text",
        "reply",
        "packed",
    ];
    for place in places {
        assert!(worth.contains(place), "no {place}:\n{found}");
    }
    assert!(worth.contains("ArenaPool: "), "{found}");

    let nowhere = compare(&["--profile", "/no/such/folder/heap.json"]);
    assert!(!nowhere.status.success());
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/no/such/folder/heap.json"));
}

#[test]
fn a_file_is_served_and_its_figures_add_up() {
    let file = Scratch::new(
        "ok.json",
        r#"{"a": [1, 2.5, null], "b": "http://x\"y", "c": {}}"#,
    );
    let result: Value = serde_json::from_str(&short(&["--json", "--input", file.path()])).unwrap();
    let workloads = result["comparisons"][0]["summaries"].as_array().unwrap();
    assert_eq!(workloads.len(), 6);
    let figure = |workload: &Value, name: &str, side: &str| {
        let rows = workload["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["figure"] == name);
        row.unwrap_or_else(|| panic!("no {name}: {workload}"))[side].as_f64()
    };
    for workload in workloads {
        for side in ["plain", "pooled", "off"] {
            assert!(
                figure(workload, "requests/s", side) > Some(0.0),
                "{workload}"
            );
        }
        // Nothing is idle after three passes, even with parked threads.
        assert_eq!(workload["pools"]["trimmed_to_bytes"], 0, "{workload}");
        // One round has no spread, so it names no winner.
        assert_eq!(workload["rows"][0]["better"], "unknown", "{workload}");
    }
    // The counter works: a thousand vectors of 32 bytes, and none where they are reused.
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
