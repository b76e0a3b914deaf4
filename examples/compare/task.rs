//! What the parent asks of a child, and what the child answers; both travel as JSON.

use serde::{Deserialize, Serialize};

/// One run: one workload, one side.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) workload: Workload,
    pub(crate) side: Side,
    pub(crate) threads: usize,
    pub(crate) seconds: f64,
    /// Count what the allocator is asked for. Such a run is not timed.
    pub(crate) counting: bool,
    /// The body of every request comes on stdin; otherwise the child generates bodies.
    pub(crate) body_on_stdin: bool,
}

/// What the threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    Request,
    Encode,
    Tiny,
    Local,
}

/// Where the objects come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Plain,
    Pooled,
}

/// The percentiles that a run reports, in this order.
pub(crate) const PERCENTILES: [f64; 4] = [50.0, 95.0, 99.0, 99.9];

/// What one run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    /// Nanoseconds, as [`PERCENTILES`]; `None` where no request lies above the percentile.
    pub(crate) latency: [Option<u64>; 4],
    /// Over the replies to all bodies: equal on both sides, or one of them is wrong.
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
}

/// What the pools of a pooled run did, all together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pools {
    pub(crate) created: u64,
    pub(crate) reused: u64,
    /// Heap bytes of idle objects right after the load, and after the trim passes.
    pub(crate) idle_bytes: u64,
    pub(crate) trimmed_to_bytes: u64,
}

impl Workload {
    pub(crate) const ALL: [Self; 4] = [Self::Request, Self::Encode, Self::Tiny, Self::Local];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Encode => "encode",
            Self::Tiny => "tiny",
            Self::Local => "local",
        }
    }
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Pooled => "pooled",
        }
    }
}
