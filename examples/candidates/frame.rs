//! Whose code a frame is: the user's or a library's.
//!
//! A profile has a name and a file for each frame, and neither is complete. Names of inlined
//! functions lack their crate, and the crate `dhat` keeps three components of a path. So files are
//! looked up among the sources below the current directory. If none is there, the rules below go by
//! the usual paths of std, the registry and rustc's own dependencies. Where they are wrong, use
//! `--skip`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One parsed frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Frame<'p> {
    pub(crate) name: &'p str,
    /// The file with line and column, if the profile has them; empty if it has no file.
    pub(crate) place: &'p str,
}

/// How paths in Rust's own sources start, from `library/` on or from two folders above a file.
const RUST: [&str; 40] = [
    "library/",
    "alloc/src/",
    "core/src/",
    "std/src/",
    "src/raw_vec/",
    "src/vec/",
    "src/boxed/",
    "src/collections/",
    "src/ops/",
    "src/iter/",
    "src/slice/",
    "src/str/",
    "src/fmt/",
    "src/io/",
    "src/sync/",
    "src/thread/",
    "src/sys/",
    "src/num/",
    "src/hash/",
    "src/panic/",
    "src/char/",
    "src/array/",
    "src/ffi/",
    "iter/traits/",
    "iter/adapters/",
    "iter/sources/",
    "collections/hash/",
    "collections/btree/",
    "collections/vec_deque/",
    "collections/binary_heap/",
    "sync/mpmc/",
    "sync/poison/",
    "sys/alloc/",
    "sys/thread_local/",
    "sys/pal/",
    "sys/backtrace",
    // hashbrown's, which std's maps use.
    "src/raw/mod.rs",
    "src/raw/alloc.rs",
    "src/map.rs",
    "src/set.rs",
];

impl<'p> Frame<'p> {
    /// Parses `0x1234: name (file:line:column)`, `0x1234: name (in library)` or just a name.
    pub(crate) fn parse(text: &'p str) -> Self {
        let text = match text.split_once(": ") {
            Some((address, rest)) if address.starts_with("0x") => rest,
            _ => text,
        };
        // Names contain parentheses too: `call_once<fn(), ()>`.
        let (name, place) = match text.rsplit_once(" (") {
            Some((name, place)) if place.ends_with(')') => (name, &place[..place.len() - 1]),
            _ => (text, ""),
        };
        let place = if place.starts_with("in ") || place.starts_with("???") {
            ""
        } else {
            place
        };
        Self { name, place }
    }

    /// Returns whether this is the allocator's entry: frames inside it are the allocator's and the
    /// profiler's.
    pub(crate) fn is_allocator(&self) -> bool {
        let entry = self.name.rsplit("::").next().unwrap_or(self.name);
        matches!(
            entry,
            "__rust_alloc"
                | "__rust_alloc_zeroed"
                | "__rust_realloc"
                | "malloc"
                | "calloc"
                | "realloc"
        ) || self.place.contains("alloc/src/alloc.rs")
            || self
                .dependency()
                .is_some_and(|name| name.starts_with("dhat-"))
    }

    /// Returns the crate and version that a file of the registry belongs to, such as
    /// `bytes-1.10.1`.
    pub(crate) fn dependency(&self) -> Option<&'p str> {
        self.place.split('/').find(|part| {
            part.rsplit_once('-').is_some_and(|(name, version)| {
                let mut numbers = version.splitn(3, '.');
                let number = |text: Option<&str>| {
                    text.is_some_and(|text| text.starts_with(|first: char| first.is_ascii_digit()))
                };
                !name.is_empty()
                    && number(numbers.next())
                    && number(numbers.next())
                    && number(numbers.next())
            })
        })
    }

    /// Returns whether the frame can be a call site: its code is neither Rust's own nor a
    /// dependency's. `here` is the current directory, which may be named like a dependency.
    fn looks_yours(&self, here: &Path) -> bool {
        let here = |folder: &str| here.iter().any(|part| part == folder);
        if self.name == "UnknownInlinedFun" || self.dependency().is_some_and(|name| !here(name)) {
            return false;
        }
        // `<alloc::vec::Vec<T> as Clone>::clone`, `core::ops::function::FnOnce::call_once`.
        let first = self.name.trim_start_matches(['<', '&', '*']);
        let of_rust = |name: &str| {
            ["alloc::", "core::", "std::", "hashbrown::", "__rust"]
                .iter()
                .any(|start| name.starts_with(start))
        };
        if of_rust(first) || self.place.contains("/rustc/") || self.place.contains("/rust/deps/") {
            return false;
        }
        match self.place.contains('/') {
            true => !RUST.iter().any(|start| self.place.starts_with(start)),
            // A file without a folder: only a name with a crate shows whose it is.
            false => {
                let name = first.split('<').next().unwrap_or_default();
                name.contains("::") && !self.place.is_empty()
            }
        }
    }

    /// Returns the place without its column: all calls in a line are one call site.
    pub(crate) fn line(&self) -> &'p str {
        match self.place.rsplit_once(':') {
            Some((line, column)) if line.contains(':') && column.parse::<u32>().is_ok() => line,
            _ => self.place,
        }
    }

    /// Returns the name without its type parameters, for the output.
    pub(crate) fn short(&self) -> String {
        let mut short = String::new();
        let mut depth = 0_u32;
        for (at, character) in self.name.char_indices() {
            match character {
                // `<Vec<T> as Clone>::clone` starts with the part to keep.
                '<' if at > 0 => depth += 1,
                '>' if depth > 0 => depth -= 1,
                _ if depth == 0 => short.push(character),
                _ => {}
            }
        }
        short.trim_end_matches(':').to_owned()
    }
}

/// Tells the user's code from libraries.
pub(crate) struct Yours<'o> {
    skip: &'o [String],
    here: PathBuf,
    /// The last three components of every Rust file below the current directory; empty if the
    /// profile's files are not among them.
    sources: HashSet<String>,
}

/// Returns a file without its line, and without folders above the last two.
fn tail(place: &str) -> &str {
    let file = place.split(':').next().unwrap_or_default();
    match file.rmatch_indices('/').nth(2) {
        Some((at, _)) => &file[at + 1..],
        None => file,
    }
}

/// The most files that are searched for sources.
const FILES: usize = 20_000;
const DEPTH: usize = 8;

impl<'o> Yours<'o> {
    /// Searches for the sources of `frames`.
    pub(crate) fn new<'p>(skip: &'o [String], frames: impl Iterator<Item = &'p String>) -> Self {
        let mut sources = HashSet::new();
        // Canonical, because the profile's three components may start with this folder's own name.
        let here = Path::new(".").canonicalize().unwrap_or_default();
        collect(&here, DEPTH, &mut sources);
        let known = frames
            .map(|frame| Frame::parse(frame))
            .any(|frame| frame.looks_yours(&here) && sources.contains(tail(frame.place)));
        if !known {
            sources.clear();
        }
        Self {
            skip,
            here,
            sources,
        }
    }

    pub(crate) fn is(&self, frame: &Frame<'_>) -> bool {
        let skipped = |text: &String| frame.name.contains(text) || frame.place.contains(text);
        frame.looks_yours(&self.here)
            && (self.sources.is_empty() || self.sources.contains(tail(frame.place)))
            && !self.skip.iter().any(skipped)
    }
}

fn collect(folder: &Path, depth: usize, sources: &mut HashSet<String>) {
    // Unreadable folders have no sources.
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let hidden = name.starts_with('.') || name == "target";
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 && !hidden => collect(&path, depth - 1, sources),
            Ok(kind) if kind.is_file() && name.ends_with(".rs") && sources.len() < FILES => {
                sources.insert(tail(&path.to_string_lossy()).to_owned());
            }
            _ => {}
        }
    }
}
