//! The command line, and a one-line error for anything invalid.

use crate::system;
use crate::variant::{OBJECT, Variant};
use clap::Parser;
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::path::PathBuf;

/// Threads that take objects, and hold caches.
pub(crate) const THREADS: usize = 64;

/// Does idle memory come back? Fills four kinds of pools from 64 threads, and watches them idle.
#[derive(Debug, Parser)]
#[command(name = "idle")]
pub(crate) struct Options {
    /// Draw the figure into this SVG file.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Seconds to watch each variant after the load, 1 to 3600.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600), allow_negative_numbers = true, default_value_t = 30)]
    pub(crate) seconds: u64,

    /// MiB that are out at the same time, in all threads together, 4 to 65536.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(4..=65536), allow_negative_numbers = true, default_value_t = 1024)]
    pub(crate) mib: u64,

    /// Leave freed memory to the allocator, without calling malloc_trim.
    #[arg(long)]
    pub(crate) no_malloc_trim: bool,

    /// The most arenas that glibc may have, 1 to 1024 [default: its own rule, 8 per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024), allow_negative_numbers = true)]
    pub(crate) arenas: Option<u64>,

    /// Run one variant, for the process that started this one.
    #[arg(long, hide = true)]
    pub(crate) child: Option<Variant>,
}

impl Options {
    /// Objects that each thread takes.
    pub(crate) fn objects(&self) -> usize {
        (self.mib as usize * 1024 * 1024 / OBJECT / THREADS).max(1)
    }

    /// Whether the child calls `malloc_trim`.
    pub(crate) fn trims_allocator(&self) -> bool {
        !self.no_malloc_trim && system::HAS_MALLOC_TRIM
    }

    /// The arguments of a child.
    pub(crate) fn for_child(&self, variant: Variant) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![
            format!("--child={}", variant.id()).into(),
            format!("--seconds={}", self.seconds).into(),
            format!("--mib={}", self.mib).into(),
        ];
        if self.no_malloc_trim {
            args.push("--no-malloc-trim".into());
        }
        args
    }

    /// What was done, for the title of the chart and the head of the table.
    pub(crate) fn title(&self) -> String {
        let out = (self.objects() * THREADS * OBJECT) >> 20;
        format!(
            "{THREADS} threads give back {out} MiB in {} KiB buffers, and park",
            OBJECT >> 10
        )
    }

    /// The allocator's part in it.
    pub(crate) fn caption(&self) -> [String; 2] {
        let name = system::allocator();
        let arenas = match self.arenas {
            Some(1) => "one arena".to_owned(),
            Some(arenas) => format!("at most {arenas} arenas"),
            None => "its usual arenas".to_owned(),
        };
        let tops = match self.arenas {
            Some(1) => "",
            _ => ", but for the top of each arena other than the first",
        };
        let [called, then] = if self.trims_allocator() {
            [
                "malloc_trim(0) is called once a second in all variants,".to_owned(),
                format!("and returns them to the system{tops}."),
            ]
        } else {
            ["malloc_trim is not called.".to_owned(), String::new()]
        };
        [
            format!("Allocator: {name}, {arenas}. It keeps freed pages; {called}"),
            then,
        ]
    }
}

/// Returns the options, or a one-line error. Prints the help and exits if that was requested.
pub(crate) fn read() -> Result<Options, String> {
    Options::try_parse().map_err(|error| {
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        ) {
            error.exit();
        }
        // clap describes the error in its first line; the rest is advice.
        let text = error.to_string();
        let line = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        format!("{line}; --help lists what is possible")
    })
}
