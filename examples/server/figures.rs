//! The service's figures, for the page and for Prometheus.
//!
//! Requests add to atomic counters. Everything else is read when a client asks for it.

use crate::allocator;
use crate::options::{Options, Side};
use crate::refusal::Refusal;
use hyper::StatusCode;
use metrics::Unit;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use repool::{JanitorStats, PoolInfo};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The media type of Prometheus' text format.
pub(crate) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The limits for clients.
pub(crate) struct Limits {
    pub(crate) max_body: usize,
    pub(crate) patience: Duration,
}

pub(crate) struct Figures {
    pub(crate) limits: Limits,
    /// One permit per allowed connection. The server also holds one while it waits for a client.
    pub(crate) permits: Arc<Semaphore>,
    connections: AtomicUsize,
    side: Side,
    allocator: allocator::Name,
    counts_allocations: bool,
    start: Instant,
    prometheus: PrometheusHandle,
    /// Answers with a status of 2xx, of 4xx, and with any other.
    ok: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    events: AtomicU64,
    event_bytes: AtomicU64,
}

impl Figures {
    pub(crate) fn new(options: &Options) -> Result<Self, metrics_exporter_prometheus::BuildError> {
        let zero = || AtomicU64::new(0);
        Ok(Self {
            limits: Limits {
                max_body: options.max_body,
                patience: options.patience(),
            },
            permits: Arc::new(Semaphore::new(options.max_connections)),
            connections: AtomicUsize::new(0),
            side: options.side(),
            allocator: options.allocator,
            counts_allocations: options.count_allocations,
            start: Instant::now(),
            prometheus: PrometheusBuilder::new().install_recorder()?,
            ok: zero(),
            refused: zero(),
            failed: zero(),
            events: zero(),
            event_bytes: zero(),
        })
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        let count = match status.as_u16() {
            200..=299 => &self.ok,
            400..=499 => &self.refused,
            _ => &self.failed,
        };
        count.fetch_add(1, Relaxed);
    }

    /// Counts the body of an event.
    pub(crate) fn received(&self, bytes: usize) {
        self.events.fetch_add(1, Relaxed);
        self.event_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts a connection until it is dropped.
    pub(crate) fn connected(&'static self, permit: OwnedSemaphorePermit) -> Connected {
        self.connections.fetch_add(1, Relaxed);
        Connected {
            figures: self,
            _permit: permit,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// Returns the calls since the start, if they are counted. The few calls made while this reads
    /// are lost.
    fn allocator_calls(&self) -> Option<u64> {
        self.counts_allocations.then(|| {
            let (calls, _) = allocator::stop_counting();
            allocator::start_counting();
            calls
        })
    }

    /// Returns the figures in Prometheus' text format.
    pub(crate) fn metrics(&self) -> String {
        repool::record_metrics();
        let count = |name, status, count: &AtomicU64| {
            metrics::counter!(name, "status" => status).absolute(count.load(Relaxed));
        };
        metrics::describe_counter!(ANSWERS, Unit::Count, "Answers, by class of status.");
        count(ANSWERS, "ok", &self.ok);
        count(ANSWERS, "refused", &self.refused);
        count(ANSWERS, "failed", &self.failed);
        metrics::describe_counter!(EVENTS, Unit::Count, "Events whose body has arrived.");
        metrics::counter!(EVENTS).absolute(self.events.load(Relaxed));
        metrics::describe_counter!(EVENT_BYTES, Unit::Bytes, "Their bodies.");
        metrics::counter!(EVENT_BYTES).absolute(self.event_bytes.load(Relaxed));
        metrics::describe_gauge!(CONNECTIONS, Unit::Count, "Open connections.");
        metrics::gauge!(CONNECTIONS).set(self.connections() as f64);
        if let Some(bytes) = resident_bytes() {
            metrics::describe_gauge!(RESIDENT, Unit::Bytes, "Resident memory of the process.");
            metrics::gauge!(RESIDENT).set(bytes as f64);
        }
        if let Some(calls) = self.allocator_calls() {
            metrics::describe_counter!(
                CALLS,
                Unit::Count,
                "Calls that requested a block from the allocator."
            );
            metrics::counter!(CALLS).absolute(calls);
        }
        self.prometheus.run_upkeep();
        self.prometheus.render()
    }

    /// Returns the figures for the page.
    pub(crate) fn json(&self) -> Result<String, Refusal> {
        let shown = Shown {
            side: self.side.text(),
            allocator: self.allocator.text(),
            uptime_seconds: self.start.elapsed().as_secs_f64(),
            answers: Answers {
                ok: self.ok.load(Relaxed),
                refused: self.refused.load(Relaxed),
                failed: self.failed.load(Relaxed),
            },
            events: self.events.load(Relaxed),
            connections: self.connections(),
            resident_bytes: resident_bytes(),
            allocator_calls: self.allocator_calls(),
            janitor: repool::janitor_stats(),
            pools: repool::pools().into_iter().map(Row::new).collect(),
        };
        serde_json::to_string(&shown)
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }
}

/// An open connection.
pub(crate) struct Connected {
    figures: &'static Figures,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.figures.connections.fetch_sub(1, Relaxed);
    }
}

const ANSWERS: &str = "repool_server_answers_total";
const EVENTS: &str = "repool_server_events_total";
const EVENT_BYTES: &str = "repool_server_event_bytes_total";
const CONNECTIONS: &str = "repool_server_connections";
const RESIDENT: &str = "repool_server_resident_bytes";
const CALLS: &str = "repool_server_allocator_calls_total";

#[derive(Serialize)]
struct Shown {
    side: &'static str,
    allocator: &'static str,
    uptime_seconds: f64,
    answers: Answers,
    events: u64,
    connections: usize,
    resident_bytes: Option<u64>,
    allocator_calls: Option<u64>,
    janitor: JanitorStats,
    pools: Vec<Row>,
}

#[derive(Serialize)]
struct Answers {
    ok: u64,
    refused: u64,
    failed: u64,
}

/// The figures of a pool.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    pool: PoolInfo,
    hit_rate: f64,
    advice: Vec<String>,
}

impl Row {
    fn new(pool: PoolInfo) -> Self {
        let advice = pool.stats.advice();
        Self {
            hit_rate: pool.stats.hit_rate(),
            advice: advice.iter().map(ToString::to_string).collect(),
            pool,
        }
    }
}

/// Returns the resident memory of this process, if `/proc` reports it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}
