//! The file: DHAT's JSON, version 2, as the crate `dhat` and valgrind write it.
//!
//! The format is described in valgrind's `dhat/dh_main.c`. A *program point* is everything that was
//! allocated with one and the same stack.

use serde::Deserialize;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// A profile of a heap.
#[derive(Debug, Deserialize)]
pub(crate) struct Profile {
    #[serde(rename = "dhatFileVersion")]
    version: u32,
    mode: String,
    #[serde(rename = "cmd")]
    pub(crate) command: String,
    /// The unit of times: `µs`, or `instrs` when valgrind wrote it.
    #[serde(rename = "tu")]
    pub(crate) unit: String,
    /// When the program ended.
    #[serde(rename = "te")]
    pub(crate) end: u64,
    #[serde(rename = "pps")]
    pub(crate) points: Vec<Point>,
    /// What the numbers in [`Point::frames`] mean.
    #[serde(rename = "ftbl")]
    pub(crate) frames: Vec<String>,
}

/// One program point. `None` where the profiler did not record it.
#[derive(Debug, Deserialize)]
pub(crate) struct Point {
    #[serde(rename = "tb")]
    pub(crate) bytes: u64,
    #[serde(rename = "tbk")]
    pub(crate) blocks: u64,
    /// Lifetimes of all blocks, added up.
    #[serde(rename = "tl")]
    pub(crate) lifetimes: Option<u64>,
    /// When most bytes of this point were alive.
    #[serde(rename = "mb")]
    pub(crate) most_bytes: Option<u64>,
    #[serde(rename = "mbk")]
    pub(crate) most_blocks: Option<u64>,
    #[serde(rename = "ebk")]
    pub(crate) end_blocks: Option<u64>,
    #[serde(rename = "rb")]
    pub(crate) read: Option<u64>,
    #[serde(rename = "wb")]
    pub(crate) written: Option<u64>,
    /// Only where all blocks have one size, and a small one.
    #[serde(rename = "acc")]
    pub(crate) accesses: Option<Vec<i64>>,
    /// Innermost first.
    #[serde(rename = "fs")]
    pub(crate) frames: Vec<usize>,
}

impl Profile {
    /// Seconds, if that is what was measured.
    pub(crate) fn seconds(&self) -> Option<f64> {
        (self.unit == "µs").then(|| self.end as f64 / 1e6)
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.points.iter().map(|point| point.blocks).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.points.iter().map(|point| point.bytes).sum()
    }
}

/// The profile, or the line to fail with.
pub(crate) fn read(path: &Path) -> Result<Profile, String> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => format!("{name}: is no heap profile of dhat (it is not text)"),
        _ => format!("{name}: {error}"),
    })?;
    if text.trim().is_empty() {
        return Err(format!("{name}: is empty; was the program still running?"));
    }
    let profile: Profile = serde_json::from_str(&text).map_err(|error| {
        let what = if error.is_eof() {
            "ends in the middle"
        } else if error.is_data() {
            "is JSON, but no heap profile of dhat"
        } else {
            "is no heap profile of dhat"
        };
        format!("{name}: {what} ({error})")
    })?;
    let wrong = |what: String| Err(format!("{name}: {what}"));
    if profile.version != 2 {
        return wrong(format!("is of DHAT's version {}, not 2", profile.version));
    }
    if !matches!(profile.mode.as_str(), "heap" | "rust-heap") {
        return wrong(format!(
            "is a {} profile; possible is one of the heap",
            profile.mode
        ));
    }
    if profile.blocks() == 0 {
        return wrong("has no allocations: nothing to pool".to_owned());
    }
    let frames = profile.frames.len();
    let mut points = profile.points.iter();
    if points.any(|point| point.frames.iter().any(|&frame| frame >= frames)) {
        return wrong("names frames that it does not have".to_owned());
    }
    Ok(profile)
}
