//! What the parent asks of a child, and the child's answer; both travel as JSON.

use crate::allocator;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One run: one workload on one side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) kind: Kind,
    pub(crate) workload: Workload,
    pub(crate) side: Side,
    pub(crate) threads: usize,
    pub(crate) seconds: f64,
    /// Read by the parent only: it starts the child with this allocator.
    pub(crate) allocator: allocator::Name,
    /// Whether the body of every request comes on stdin; otherwise the child generates bodies.
    pub(crate) body_on_stdin: bool,
}

/// What a run is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Timed,
    /// Counts allocator calls. Such a run is not timed.
    Counted,
    /// Writes a heap profile of these workloads, one after the other, to a file. Answers with the
    /// number of requests.
    Profiled(PathBuf, Vec<Workload>),
    /// Samples resident memory through a burst and the idle time after it. Answers with samples.
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
    /// Vectors of 1 KiB that one thread fills and another drops.
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

/// The percentiles in the tables, in this order.
pub(crate) const PERCENTILES: [f64; 4] = [50.0, 95.0, 99.0, 99.9];

/// The steps of a latency curve between one nine and the next.
pub(crate) const STEPS: usize = 20;

/// The result of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    /// Nanoseconds at [`PERCENTILES`]; `None` if no request lies above the percentile.
    pub(crate) latency: [Option<u64>; 4],
    /// Nanoseconds at the percentiles `1 - 10^(-n / STEPS)`, as far as there are requests above.
    pub(crate) curve: Vec<u64>,
    /// Checksum over the replies to all bodies: if the sides differ, one of them is wrong.
    pub(crate) checksum: u64,
    /// Allocator calls, if it was a counting run.
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
    /// Pages that the load made the system map; `None` if the system does not report it.
    pub(crate) faults: Option<u64>,
    /// In bytes; `None` if the system does not report it.
    pub(crate) peak_rss: Option<u64>,
    pub(crate) idle_rss: Option<u64>,
    pub(crate) pools: Option<Pools>,
    /// The share of requests whose objects were dropped by another thread than the one that created
    /// them, 0 to 1; `None` for workloads that hand nothing over.
    pub(crate) crossed: Option<f64>,
}

/// What all pools of a pooled run did together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pools {
    pub(crate) created: u64,
    pub(crate) reused: u64,
    /// Heap bytes of idle objects right after the load, and after the trim passes.
    pub(crate) idle_bytes: u64,
    pub(crate) trimmed_to_bytes: u64,
    /// One line per pool and piece of advice.
    pub(crate) advice: Vec<String>,
}

/// One sample of a process during a [`Kind::Burst`] run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Seconds since the start of the burst.
    pub(crate) seconds: f64,
    /// Resident memory, in bytes.
    pub(crate) rss: u64,
    /// Bytes idle in the pools, if there are any.
    pub(crate) idle_bytes: u64,
    /// Objects that passes have dropped so far.
    pub(crate) trimmed: u64,
}

/// The result of a [`Kind::Burst`] run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Burst {
    pub(crate) samples: Vec<Sample>,
    /// When the load ended, and when the allocator was asked to return free pages.
    pub(crate) load_ended: f64,
    pub(crate) allocator_trimmed: f64,
}

impl Workload {
    /// What runs by default: everything but the user's own work.
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
