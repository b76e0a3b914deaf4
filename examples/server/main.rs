//! An HTTP service that takes JSON events, with scratch memory from pools, and shows what the pools
//! do.
//!
//! ```text
//! cargo run --release --example server -- --listen 127.0.0.1:8080
//! curl --compressed -H 'content-type: application/json' -d '{"b": [1, 2], "a": null}' \
//!     http://127.0.0.1:8080/v1/events
//! ```
//!
//! | path | what |
//! |---|---|
//! | `POST /v1/events` | takes any JSON document; answers with its counts and the document in a normal form, as gzip if the client accepts it |
//! | `GET /healthz` | `ok` |
//! | `GET /metrics` | figures for Prometheus |
//! | `GET /debug/pools` | the pools over time, drawn live; their figures are at `/debug/pools.json` |
//!
//! Any JSON document is an event, also a single value. serde_json's limits apply: 127 levels,
//! strings that are valid Unicode, numbers within the range of an `f64` (which is also the precision
//! of integers beyond 64 bits). Of equal keys, the last one counts.
//!
//! `--plain` creates all scratch memory for each request, `--thread-local` keeps it per thread: the
//! same service without pools, for comparison. `benches/server.sh` compares them under load.
//!
//! On SIGTERM or SIGINT the service accepts no more connections, finishes the requests in progress,
//! and exits with code 0.

#[path = "../compare/allocator.rs"]
mod allocator;
mod body;
#[path = "../compare/compressor.rs"]
mod compressor;
#[path = "../compare/document.rs"]
mod document;
mod event;
mod figures;
mod normal;
mod options;
#[path = "../compare/parts.rs"]
mod parts;
mod refusal;
mod routes;
mod serve;
mod source;

use crate::options::{Options, Side};
use crate::source::{Plain, Pooled, ThreadLocal};
use std::error::Error;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: allocator::Chosen = allocator::Chosen;

fn main() -> ExitCode {
    let options = match options::read() {
        Ok(options) => options,
        Err(line) => {
            eprintln!("{line}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    options.with_its_allocator()?;
    if options.count_allocations {
        allocator::start_counting();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.workers)
        // For large documents. A document without a thread waits for one.
        .max_blocking_threads(2 * options.workers)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match options.side() {
            Side::Pooled => serve::run::<Pooled>(options).await,
            Side::Plain => serve::run::<Plain>(options).await,
            Side::ThreadLocal => serve::run::<ThreadLocal>(options).await,
        }
    })
}
