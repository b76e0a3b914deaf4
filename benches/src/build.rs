//! Tells the programs from which compiler and commit they were built.

use std::path::Path;
use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = output(Command::new(rustc).arg("-V")).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=BENCH_RUSTC={rustc}");

    let head = output(Command::new("git").args(["rev-parse", "--short=12", "HEAD"]));
    // Only what the figures depend on: a changed README makes no new commit here.
    let sources = [
        "../src",
        "../Cargo.toml",
        "examples",
        "src",
        "Cargo.toml",
        "Cargo.lock",
    ];
    let changed = output(
        Command::new("git")
            .args(["status", "--porcelain", "--"])
            .args(sources),
    );
    let commit = match (head, changed) {
        (Some(head), Some(changed)) if changed.is_empty() => head,
        (Some(head), _) => format!("{head} with local changes"),
        (None, _) => "unknown".to_owned(),
    };
    println!("cargo:rustc-env=BENCH_COMMIT={commit}");

    // A missing file would run this on every build.
    for path in sources
        .into_iter()
        .chain(["../.git/logs/HEAD", "../.git/index"])
    {
        if Path::new(path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}

fn output(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
