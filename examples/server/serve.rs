//! Connections: how many there may be, how long they may take, and how they end.

use crate::figures::{Connected, Figures};
use crate::options::Options;
use crate::routes;
use crate::source::Source;
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Write as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

/// The longest header of a request, and the most that hyper reads of a body at once, in bytes.
const READ_AT_ONCE: usize = 64 << 10;

/// How long to wait after an error while accepting, usually a lack of file descriptors.
const AFTER_AN_ERROR: Duration = Duration::from_millis(50);

/// Serves until the process is told to stop.
pub(crate) async fn run<S: Source>(options: Options) -> Result<(), Box<dyn Error>> {
    let stop = stop()?;
    tokio::pin!(stop);
    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("--listen {}: {error}", options.listen),
        )
    })?;
    // For the rest of the process, like the pools.
    static FIGURES: OnceLock<Figures> = OnceLock::new();
    let figures = Figures::new(&options)?;
    let figures = FIGURES.get_or_init(|| figures);
    // The port chosen for port 0 is printed here and nowhere else.
    println!(
        "listening on http://{} ({}, {})",
        listener.local_addr()?,
        options.side().text(),
        options.allocator.describe()
    );
    io::stdout().flush()?;

    let (stopping, stopped) = watch::channel(false);
    let permits = Arc::clone(&figures.permits);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            (stream, permit) = next(&listener, &permits) => {
                let connected = figures.connected(permit);
                tokio::spawn(connection::<S>(stream, connected, figures, stopped.clone()));
            }
        }
    }

    // New connections are refused from here on.
    drop(listener);
    stopping.send_replace(true);
    let all = u32::try_from(options.max_connections)?;
    let patience = 2 * options.patience() + Duration::from_secs(1);
    if tokio::time::timeout(patience, permits.acquire_many(all))
        .await
        .is_err()
    {
        let left = options.max_connections - permits.available_permits();
        return Err(format!("{left} connections did not end within {patience:?}").into());
    }
    Ok(())
}

/// Waits for a permit, then for the next connection.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(permits).acquire_owned().await;
    let permit = permit.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                eprintln!("accepting failed: {error}");
                tokio::time::sleep(AFTER_AN_ERROR).await;
            }
        }
    }
}

async fn connection<S: Source>(
    stream: TcpStream,
    connected: Connected,
    figures: &'static Figures,
    mut stopped: watch::Receiver<bool>,
) {
    // Answers are written in one piece.
    let _ = stream.set_nodelay(true);
    let patience = figures.limits.patience;
    let mut stream = Box::pin(TimeoutStream::new(stream));
    stream.as_mut().set_write_timeout_pinned(Some(patience));
    let service = service_fn(|request| async move {
        Ok::<_, Infallible>(routes::answer::<S>(request, figures).await)
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(READ_AT_ONCE)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);

    let mut stopping = false;
    let result = loop {
        tokio::select! {
            result = &mut connection => break result,
            _ = stopped.changed(), if !stopping => {
                stopping = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    // Errors of a connection are its client's: it went away, or its request was rejected.
    if result.is_err_and(|error| error.is_timeout()) {
        let parts = connection.into_parts();
        if !parts.read_buf.is_empty() {
            let answer = late(figures, patience).await;
            // If the client does not read that either, the connection just ends.
            let _ = parts.io.into_inner().write_all(&answer).await;
        }
    }
    drop(connected);
}

/// hyper silently ends a connection whose header does not arrive.
async fn late(figures: &Figures, patience: Duration) -> Vec<u8> {
    let answer = routes::late(patience).answer();
    let status = answer.status();
    figures.answered(status);
    let body = answer.into_body().collect().await;
    let body = body.unwrap_or_default().to_bytes();
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// Waits until the process is told to stop.
#[cfg(unix)]
fn stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Waits until the process is told to stop.
#[cfg(not(unix))]
fn stop() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
