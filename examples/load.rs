//! An open-loop client for the example `server`: sends events at a fixed rate, whether or not
//! answers come.
//!
//! ```text
//! cargo run --release --example load -- --address 127.0.0.1:8080 --rate 500 --seconds 10
//! ```
//!
//! Each request has a time at which it is due, and its latency counts from then. If the server
//! stalls, the requests that were due meanwhile are late as well. A client that waits for each
//! answer before it goes on would not notice that.
//!
//! Each connection is a thread that sleeps until its next request is due, which is more exact than
//! a timer wheel of milliseconds.

use clap::Parser;
use hdrhistogram::Histogram;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Sends events to the example `server` at a fixed rate, and prints latencies as one line of JSON.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Options {
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:8080")]
    address: SocketAddr,
    /// Requests per second, on all connections together.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How long, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Connections, each with one request in flight at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Bodies to send in turn, one JSON document per file [default: a small one].
    #[arg(long, value_name = "FILE", num_args = 1..)]
    bodies: Vec<PathBuf>,
    /// Do not ask for gzip.
    #[arg(long)]
    identity: bool,
}

/// How long a request waits for its answer at most.
const STUCK: Duration = Duration::from_secs(30);

/// What to send, and when the next one is due.
struct Plan {
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    start: Instant,
    between: Duration,
    count: u64,
    next: AtomicU64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut bodies = Vec::new();
    for path in &options.bodies {
        let body = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        bodies.push(body);
    }
    if bodies.is_empty() {
        bodies.push(br#"{"id": 17, "tags": ["a", "b"], "at": 1.5}"#.to_vec());
    }
    let accepts = match options.identity {
        true => "",
        false => "Accept-Encoding: gzip\r\n",
    };
    let plan = Plan {
        address: options.address,
        requests: bodies
            .iter()
            .map(|body| request(options.address, accepts, body))
            .collect(),
        // Time for all connections to be established.
        start: Instant::now() + Duration::from_millis(100),
        between: Duration::from_secs(1) / options.rate,
        count: u64::from(options.rate) * u64::from(options.seconds),
        next: AtomicU64::new(0),
    };
    let (mut latency, mut errors) = (histogram(), 0_u64);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..options.connections)
            .map(|_| scope.spawn(|| client(&plan)))
            .collect();
        for client in clients {
            let (its_latency, its_errors) = client.join().map_err(|_| "a client has panicked")?;
            latency.add(its_latency)?;
            errors += its_errors;
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    let microseconds = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    let line = serde_json::json!({
        "requests": latency.len(),
        "errors": errors,
        "per_second": latency.len() as f64 / plan.start.elapsed().as_secs_f64(),
        "p50_us": microseconds(0.5),
        "p90_us": microseconds(0.9),
        "p99_us": microseconds(0.99),
        "p999_us": microseconds(0.999),
        "max_us": latency.max() as f64 / 1e3,
    });
    println!("{line}");
    Ok(())
}

fn request(address: SocketAddr, accepts: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n{accepts}\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Sends what is due until everything is sent. Returns latencies in nanoseconds, and the number of
/// failed requests.
fn client(plan: &Plan) -> (Histogram<u64>, u64) {
    let (mut latency, mut errors) = (histogram(), 0);
    let mut connection = None;
    let mut answer = Vec::with_capacity(64 << 10);
    loop {
        let number = plan.next.fetch_add(1, Relaxed);
        if number >= plan.count {
            return (latency, errors);
        }
        let due = plan.start + plan.between.mul_f64(number as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let request = &plan.requests[number as usize % plan.requests.len()];
        match exchange(&mut connection, plan.address, request, &mut answer) {
            Ok(()) => latency.saturating_record(due.elapsed().as_nanos() as u64),
            Err(_) => {
                errors += 1;
                connection = None;
            }
        }
    }
}

/// Sends one request and reads its whole answer, which must have status 200.
fn exchange(
    connection: &mut Option<TcpStream>,
    address: SocketAddr,
    request: &[u8],
    answer: &mut Vec<u8>,
) -> io::Result<()> {
    let stream = match connection {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(STUCK))?;
            connection.insert(stream)
        }
    };
    stream.write_all(request)?;
    answer.clear();
    let mut part = [0; 16 << 10];
    loop {
        let length = stream.read(&mut part)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&part[..length]);
        if let Some(whole) = whole(answer) {
            return match answer.len() == whole && answer.starts_with(b"HTTP/1.1 200") {
                true => Ok(()),
                false if answer.len() < whole => continue,
                false => Err(io::ErrorKind::InvalidData.into()),
            };
        }
    }
}

/// Returns the length of an answer once its header has arrived.
fn whole(answer: &[u8]) -> Option<usize> {
    let header = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&answer[..header]).ok()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    })?;
    Some(header + 4 + length)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("sensible bounds")
}
