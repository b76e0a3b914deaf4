//! A TCP server that echoes length-delimited frames and adds up their bytes, and a client that
//! loads it.
//!
//! The server reads each frame into a buffer, freezes it, and hands it to two tasks: one writes it
//! back, the other adds up its bytes. So the memory is free when the later one is done, on
//! whichever thread. The same server runs with buffers from a pool or with plain buffers:
//!
//! ```text
//! cargo run --release --example frames -- --side pooled
//! cargo run --release --example frames -- --side plain
//! ```
//!
//! Everything runs on loopback and is bounded: connections, frames in flight, frames in total.
//! Client and server share the process, so the throughput is that of both; only the server's
//! buffers differ. Allocator calls are counted in the whole process.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use clap::{Parser, ValueEnum};
use hdrhistogram::Histogram;
use repool::BufferPool;
use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// An echo server for length-delimited frames, with pooled or with plain buffers, under load.
#[derive(Clone, Copy, Parser)]
struct Options {
    /// Where the server's buffers come from.
    #[arg(long, value_enum, default_value = "pooled")]
    side: Side,
    /// Connections, each with its own client.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Frames on each connection.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    frames: u32,
    /// Bytes in each frame.
    #[arg(long, default_value_t = 16 << 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(LONGEST)))]
    bytes: u32,
    /// Frames that a client has in flight at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    window: u16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Side {
    Pooled,
    Plain,
}

/// Longer frames are refused: the length comes from the client.
const LONGEST: u32 = 1 << 20;

static BUFFERS: BufferPool = BufferPool::new();
static CALLS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, with a count of its calls.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is forwarded to `System` unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(block, layout) }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let sum = Arc::new(AtomicU64::new(0));
    let server = tokio::spawn(serve(listener, options, Arc::clone(&sum)));

    let mut clients = JoinSet::new();
    let start = Instant::now();
    let calls = CALLS.load(Relaxed);
    for seed in 0..options.connections {
        clients.spawn(async move { load(TcpStream::connect(address).await?, options, seed).await });
    }
    let mut latency = histogram();
    while let Some(one) = clients.join_next().await {
        latency.add(one??)?;
    }
    server.await??;
    let time = start.elapsed().as_secs_f64();
    let calls = CALLS.load(Relaxed) - calls;

    let frames = latency.len() as f64;
    println!(
        "{:?}: {frames} frames of {} bytes",
        options.side, options.bytes
    );
    println!("  {:>10.0} frames/s", frames / time);
    println!(
        "  {:>10.1} MiB/s each way",
        frames * f64::from(options.bytes) / time / f64::from(1 << 20)
    );
    println!("  {:>10} us p50", latency.value_at_quantile(0.5) / 1000);
    println!("  {:>10} us p99", latency.value_at_quantile(0.99) / 1000);
    println!(
        "  {:>10.3} allocator calls per frame",
        calls as f64 / frames
    );
    println!("  {:>10x} sum of all bytes", sum.load(Relaxed));
    if let Side::Pooled = options.side {
        println!("  {}", BUFFERS.stats());
    }
    Ok(())
}

// -------------------------------------------------------------------- the server

async fn serve(listener: TcpListener, options: Options, sum: Arc<AtomicU64>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    for _ in 0..options.connections {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        connections.spawn(connection(stream, options.side, Arc::clone(&sum)));
    }
    while let Some(one) = connections.join_next().await {
        one??;
    }
    Ok(())
}

/// Reads frames. Two tasks share each frame: one echoes it, the other adds up its bytes.
async fn connection(stream: TcpStream, side: Side, sum: Arc<AtomicU64>) -> io::Result<()> {
    let (mut reader, mut writer) = stream.into_split();
    // Bounded: if a client does not read, the server stops reading.
    let (to_echo, mut echo) = mpsc::channel::<Bytes>(16);
    let (to_adder, mut adder) = mpsc::channel::<Bytes>(16);
    let echo = tokio::spawn(async move {
        while let Some(frame) = echo.recv().await {
            writer.write_all(&frame).await?;
        }
        writer.shutdown().await
    });
    let adder = tokio::spawn(async move {
        while let Some(frame) = adder.recv().await {
            let bytes = frame.iter().map(|&byte| u64::from(byte)).sum();
            sum.fetch_add(bytes, Relaxed);
        }
    });
    loop {
        let len = match reader.read_u32().await {
            Ok(len) if len <= LONGEST => len,
            Ok(_) => return Err(io::Error::other("the frame is too long")),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        };
        let frame = match side {
            Side::Pooled => {
                let mut buffer = BUFFERS.get(4 + len as usize);
                fill(&mut reader, &mut buffer, len).await?;
                buffer.freeze()
            }
            Side::Plain => {
                let mut buffer = BytesMut::with_capacity(4 + len as usize);
                fill(&mut reader, &mut buffer, len).await?;
                buffer.freeze()
            }
        };
        let gone = |_| io::Error::other("the other task has failed");
        to_adder.send(frame.slice(4..)).await.map_err(gone)?;
        to_echo.send(frame).await.map_err(gone)?;
    }
    drop((to_echo, to_adder));
    echo.await??;
    adder.await?;
    Ok(())
}

/// Reads the rest of a frame after its length.
async fn fill(
    reader: &mut (impl AsyncReadExt + Unpin),
    buffer: &mut (impl BufMut + AsRef<[u8]>),
    len: u32,
) -> io::Result<()> {
    buffer.put_u32(len);
    let whole = 4 + len as usize;
    while buffer.as_ref().len() < whole {
        let missing = whole - buffer.as_ref().len();
        if reader.read_buf(&mut (&mut *buffer).limit(missing)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

// -------------------------------------------------------------------- the client

/// Sends frames, a window of them at a time, and checks the echoes. Returns nanoseconds per frame.
async fn load(stream: TcpStream, options: Options, seed: u16) -> io::Result<Histogram<u64>> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let len = options.bytes as usize;
    let window = Arc::new(Semaphore::new(options.window.into()));
    let (to_reader, mut sent) = mpsc::channel::<Instant>(options.window.into());
    let mut frame = BytesMut::with_capacity(4 + len);
    frame.put_u32(options.bytes);
    frame.extend((0..len).map(|n| (n * 31 + usize::from(seed)) as u8));
    let frame = frame.freeze();

    let (expected, returned) = (frame.clone(), Arc::clone(&window));
    let receiving = tokio::spawn(async move {
        let mut latency = histogram();
        let mut came = BytesMut::with_capacity(4 + len);
        while let Some(start) = sent.recv().await {
            while came.len() < expected.len() {
                if reader.read_buf(&mut came).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            if came[..expected.len()] != expected {
                return Err(io::Error::other("the echo differs"));
            }
            came.advance(expected.len());
            latency.saturating_record(start.elapsed().as_nanos() as u64);
            returned.add_permits(1);
        }
        Ok(latency)
    });
    for _ in 0..options.frames {
        let Ok(permit) = window.acquire().await else {
            break;
        };
        permit.forget();
        if to_reader.send(Instant::now()).await.is_err() {
            break; // the receiver has failed, and says why
        }
        writer.write_all(&frame).await?;
    }
    drop(to_reader);
    receiving.await.map_err(io::Error::other)?
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("sensible bounds")
}
