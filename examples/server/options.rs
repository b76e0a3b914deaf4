//! The command line, and a one-line error for anything invalid.

use crate::allocator;
use clap::Parser;
use clap::error::ErrorKind;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::thread::available_parallelism;
use std::time::Duration;

/// A JSON service with pooled scratch: POST /v1/events, GET /healthz, /metrics, /debug/pools.
#[derive(Debug, Parser)]
#[command(name = "server")]
pub(crate) struct Options {
    /// Where to listen. Other machines can connect only if you name such an address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Create all scratch memory for each request.
    #[arg(long, conflicts_with = "thread_local")]
    plain: bool,

    /// Keep scratch memory in thread-locals.
    #[arg(long)]
    thread_local: bool,

    /// glibc (the system's), mimalloc or jemalloc.
    #[arg(long, value_name = "NAME", default_value = "glibc")]
    pub(crate) allocator: allocator::Name,

    /// Worker threads, 1 to 1024.
    #[arg(long, value_name = "N", value_parser = within(1..=1024), default_value_t = cores())]
    pub(crate) workers: usize,

    /// Largest accepted body, in bytes.
    #[arg(long, value_name = "BYTES", value_parser = within(1..=1 << 30), default_value_t = 1 << 20)]
    pub(crate) max_body: usize,

    /// Milliseconds that a client has for its header, for its body, and between two parts of the
    /// answer that it reads.
    #[arg(long, value_name = "MS", value_parser = within(10..=3_600_000), default_value_t = 10_000)]
    patience: usize,

    /// Connections at the same time. Others wait in the system's queue.
    #[arg(long, value_name = "N", value_parser = within(1..=65_536), default_value_t = 1024)]
    pub(crate) max_connections: usize,

    /// Count allocator calls for /metrics, which makes each of them slightly slower.
    #[arg(long)]
    pub(crate) count_allocations: bool,
}

/// Where scratch memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Pooled,
    Plain,
    ThreadLocal,
}

impl Side {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Pooled => "pooled",
            Self::Plain => "plain",
            Self::ThreadLocal => "thread-local",
        }
    }
}

impl Options {
    pub(crate) fn side(&self) -> Side {
        match (self.plain, self.thread_local) {
            (true, _) => Side::Plain,
            (_, true) => Side::ThreadLocal,
            _ => Side::Pooled,
        }
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience as u64)
    }

    /// Restarts this program if it runs on another allocator: the environment chooses the allocator
    /// before `main`, for the whole life of a process.
    #[cfg(unix)]
    pub(crate) fn with_its_allocator(&self) -> io::Result<()> {
        use std::os::unix::process::CommandExt;
        let chosen = self.allocator.text();
        let present = std::env::var(allocator::VARIABLE);
        if present.as_deref().unwrap_or(allocator::Name::Glibc.text()) == chosen {
            return Ok(());
        }
        let error = std::process::Command::new(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .env(allocator::VARIABLE, chosen)
            .exec();
        Err(error)
    }

    /// Other allocators were rejected.
    #[cfg(not(unix))]
    pub(crate) fn with_its_allocator(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the options, or a one-line error. Prints the help and exits if that was requested.
pub(crate) fn read() -> Result<Options, String> {
    let options = Options::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            format!("{line} (see --help)")
        }
    })?;
    options.allocator.check()?;
    Ok(options)
}

fn within(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected {} to {}", range.start(), range.end())),
    }
}

fn cores() -> usize {
    available_parallelism().map_or(1, |cores| cores.get().min(1024))
}
