//! The command line.

use crate::client::Server;
use crate::example::example;
use std::process::Command;

#[track_caller]
fn assert_refuses(arguments: &[&str], word: &str) {
    let output = Command::new(example("server"))
        .args(arguments)
        .output()
        .expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?}: {stderr}");
    assert!(stderr.contains(word), "{arguments:?}: {stderr}");
}

#[test]
fn bad_options_get_one_line_and_exit_code_2() {
    for wrong in [
        "",
        "8080",
        "localhost",
        "127.0.0.1",
        "127.0.0.1:70000",
        "::1",
    ] {
        assert_refuses(&["--listen", wrong], "--listen");
    }
    assert_refuses(&["--plain", "--thread-local"], "--thread-local");
    for wrong in ["0", "-1", "1025", "x"] {
        assert_refuses(&[&format!("--workers={wrong}")], "1 to 1024");
    }
    for (option, wrong) in [
        ("--max-body", "0"),
        ("--patience", "5"),
        ("--max-connections", "0"),
    ] {
        assert_refuses(&[option, wrong], option);
    }
    assert_refuses(&["--allocator", "none"], "--allocator");
    if cfg!(not(repool_jemalloc)) {
        assert_refuses(&["--allocator", "jemalloc"], "repool_jemalloc");
    }
    assert_refuses(&["--frobnicate"], "--frobnicate");
}

#[test]
fn an_address_in_use_is_one_line_and_exit_code_1() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    let output = Command::new(example("server"))
        .args(["--listen", &address])
        .output()
        .expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains(&address) && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn it_is_on_loopback_unless_told_otherwise() {
    let output = Command::new(example("server"))
        .arg("--help")
        .output()
        .expect("it starts");
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(help.contains("[default: 127.0.0.1:8080]"), "{help}");
}

#[test]
#[cfg(unix)]
fn it_runs_on_the_allocator_of_its_choice() {
    let server = Server::start(&["--allocator", "mimalloc", "--workers", "1"]);
    assert!(
        server.greeting.ends_with("(pooled, mimalloc)\n"),
        "{}",
        server.greeting
    );
    assert_eq!(server.figures()["allocator"], "mimalloc");
    assert_eq!(server.post("", b"{}").status, 200);
}

/// The other example: the load that it measures must really have run.
#[test]
fn the_open_loop_client_sends_what_is_due_and_times_it() {
    let server = Server::start(&[]);
    let address = server.address.to_string();
    let load = |arguments: &[&str]| {
        let output = Command::new(example("load"))
            .args([
                "--address",
                &address,
                "--seconds",
                "1",
                "--connections",
                "4",
            ])
            .args(arguments)
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("a line of JSON")
    };
    let line = load(&["--rate", "100"]);
    assert_eq!(
        (&line["requests"], &line["errors"]),
        (&100.into(), &0.into()),
        "{line}"
    );
    // The last request is due a hundredth before the end.
    assert!(line["per_second"].as_f64() <= Some(102.0), "{line}");
    let micros = |name: &str| line[name].as_f64().expect("a figure");
    assert!(
        micros("p50_us") > 10.0 && micros("p50_us") <= micros("p99_us"),
        "{line}"
    );
    assert!(micros("p999_us") <= micros("max_us"), "{line}");
    assert_eq!(server.figures()["events"], 100);

    // A rejected request counts as an error, not as a latency.
    let not_json = std::env::temp_dir().join(format!("repool-load-{}", std::process::id()));
    std::fs::write(&not_json, "not JSON").unwrap();
    let line = load(&["--rate", "50", "--bodies", not_json.to_str().unwrap()]);
    std::fs::remove_file(&not_json).unwrap();
    assert_eq!(
        (&line["requests"], &line["errors"]),
        (&0.into(), &50.into()),
        "{line}"
    );
}
