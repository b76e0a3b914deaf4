//! The file: DHAT's JSON, version 2, as written by the crate `dhat` and by valgrind.
//!
//! valgrind's `dhat/dh_main.c` describes the format. A *program point* is everything allocated with
//! the same stack.

use serde::Deserialize;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// A heap profile.
#[derive(Debug, Deserialize)]
pub(crate) struct Profile {
    #[serde(rename = "dhatFileVersion")]
    version: u32,
    mode: String,
    #[serde(rename = "cmd")]
    pub(crate) command: String,
    /// The unit of time: `µs`, or `instrs` if valgrind wrote it.
    #[serde(rename = "tu")]
    pub(crate) unit: String,
    /// When the program ended.
    #[serde(rename = "te")]
    pub(crate) end: u64,
    #[serde(rename = "pps")]
    pub(crate) points: Vec<Point>,
    /// The frames that the numbers in [`Point::frames`] refer to.
    #[serde(rename = "ftbl")]
    pub(crate) frames: Vec<String>,
}

/// One program point. A field is `None` if the profiler did not record it.
#[derive(Debug, Deserialize)]
pub(crate) struct Point {
    #[serde(rename = "tb")]
    pub(crate) bytes: u64,
    #[serde(rename = "tbk")]
    pub(crate) blocks: u64,
    /// The sum of the lifetimes of all blocks.
    #[serde(rename = "tl")]
    pub(crate) lifetimes: Option<u64>,
    /// When this point had the most bytes alive.
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
    /// Present only if all blocks have the same small size.
    #[serde(rename = "acc")]
    pub(crate) accesses: Option<Vec<i64>>,
    /// Innermost first.
    #[serde(rename = "fs")]
    pub(crate) frames: Vec<usize>,
}

impl Profile {
    /// Returns the run time in seconds, if the profiler measured time.
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

/// Returns the profile, or a one-line error.
pub(crate) fn read(path: &Path) -> Result<Profile, String> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => format!("{name}: is no heap profile of dhat (not text)"),
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
        return wrong(format!(
            "has DHAT version {}, not version 2",
            profile.version
        ));
    }
    if !matches!(profile.mode.as_str(), "heap" | "rust-heap") {
        return wrong(format!(
            "is a {} profile; expected a heap profile",
            profile.mode
        ));
    }
    if profile.blocks() == 0 {
        return wrong("has no allocations: nothing to pool".to_owned());
    }
    let frames = profile.frames.len();
    let mut points = profile.points.iter();
    if points.any(|point| point.frames.iter().any(|&frame| frame >= frames)) {
        return wrong("refers to frames that it does not contain".to_owned());
    }
    Ok(profile)
}
