//! What the parent asks of a child, and what the child answers; both travel as JSON.

use crate::allocator;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One run: one workload, one side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) kind: Kind,
    pub(crate) workload: Workload,
    pub(crate) side: Side,
    pub(crate) threads: usize,
    pub(crate) seconds: f64,
    /// Only the parent reads it: it starts the child with this one.
    pub(crate) allocator: allocator::Name,
    /// The body of every request comes on stdin; otherwise the child generates bodies.
    pub(crate) body_on_stdin: bool,
}

/// What a run is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Timed,
    /// Counts what the allocator is asked for. Such a run is not timed.
    Counted,
    /// Writes a heap profile of these workloads, one after the other, to a file. Answers with the
    /// number of requests.
    Profiled(PathBuf, Vec<Workload>),
    /// Samples resident memory through a burst and the idle time after it; answers with samples.
    Burst,
}

/// What the threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    /// Parse JSON, pick and rewrite fields, serialise, compress, hash.
    Request,
    /// The same without compression.
    Encode,
    /// Vectors of 32 bytes, one after the other.
    Tiny,
    /// The same, but plain keeps one in a local variable.
    Local,
    /// Bodies are read into buffers by one thread, and served and dropped by another.
    Handoff,
    /// Vectors of 1 KiB that one thread fills and another one drops.
    Exchange,
    /// Your own: see examples/compare/own.rs.
    Own,
}

/// Where the objects come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Plain,
    Pooled,
    /// The pooled code, with every pool switched off.
    Off,
}

/// The percentiles that the tables show, in this order.
pub(crate) const PERCENTILES: [f64; 4] = [50.0, 95.0, 99.0, 99.9];

/// The steps of a latency curve: this many between one nine and the next.
pub(crate) const STEPS: usize = 20;

/// What one run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    /// Nanoseconds, as [`PERCENTILES`]; `None` where no request lies above the percentile.
    pub(crate) latency: [Option<u64>; 4],
    /// Nanoseconds at the percentiles `1 - 10^(-n / STEPS)`, as far as there are requests above.
    pub(crate) curve: Vec<u64>,
    /// Over the replies to all bodies: equal on all sides, or one of them is wrong.
    pub(crate) checksum: u64,
    /// Of the allocator, if it was a counting run.
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
    /// Pages that the load made the system map; `None` where the system does not say.
    pub(crate) faults: Option<u64>,
    /// Bytes; `None` likewise.
    pub(crate) peak_rss: Option<u64>,
    pub(crate) idle_rss: Option<u64>,
    pub(crate) pools: Option<Pools>,
    /// Share of the requests whose objects were dropped by another thread than the one that made
    /// them, 0 to 1; `None` for workloads that hand nothing over.
    pub(crate) crossed: Option<f64>,
}

/// What the pools of a pooled run did, all together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pools {
    pub(crate) created: u64,
    pub(crate) reused: u64,
    /// Heap bytes of idle objects right after the load, and after the trim passes.
    pub(crate) idle_bytes: u64,
    pub(crate) trimmed_to_bytes: u64,
    /// A line for each pool and piece of advice.
    pub(crate) advice: Vec<String>,
}

/// One look at a process during a [`Kind::Burst`] run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Since the start of the burst.
    pub(crate) seconds: f64,
    /// Resident memory, in bytes.
    pub(crate) rss: u64,
    /// Of the pools, if there are any.
    pub(crate) idle_bytes: u64,
    /// Objects that passes have dropped so far.
    pub(crate) trimmed: u64,
}

/// What a [`Kind::Burst`] run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Burst {
    pub(crate) samples: Vec<Sample>,
    /// When the load ended, and when the allocator was asked to give free pages back.
    pub(crate) load_ended: f64,
    pub(crate) allocator_trimmed: f64,
}

impl Workload {
    /// What runs when nothing is chosen: all but the user's own.
    pub(crate) const BUILT_IN: [Self; 6] = [
        Self::Request,
        Self::Encode,
        Self::Tiny,
        Self::Local,
        Self::Handoff,
        Self::Exchange,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Encode => "encode",
            Self::Tiny => "tiny",
            Self::Local => "local",
            Self::Handoff => "handoff",
            Self::Exchange => "exchange",
            Self::Own => "own",
        }
    }
}

impl Side {
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::Pooled, Self::Off];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Pooled => "pooled",
            Self::Off => "off",
        }
    }
}
