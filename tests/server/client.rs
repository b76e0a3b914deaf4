//! A server process for one test, and a client that can send what no HTTP library would.

use crate::example::example;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than anything takes that is not stuck, even on a busy machine.
pub(crate) const STUCK: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) address: SocketAddr,
    /// What the server prints when it listens.
    pub(crate) greeting: String,
}

impl Server {
    /// Starts a server on its own port.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(arguments, &[])
    }

    pub(crate) fn start_in(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut process = Command::new(example("server"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut greeting = String::new();
        let stdout = process.stdout.as_mut().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut greeting)
            .expect("it says where it listens");
        let address = greeting
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.split(' ').next())
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("no address in {greeting:?}"));
        Self {
            process,
            address,
            greeting,
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(STUCK)).unwrap();
        stream.set_write_timeout(Some(STUCK)).unwrap();
        stream
    }

    /// Sends `request` unchanged on a new connection, and reads the answer.
    pub(crate) fn send(&self, request: &[u8]) -> Option<Answer> {
        let mut stream = self.connect();
        // The server may reject it before it has read everything, and close.
        let _ = stream.write_all(request);
        Answer::read(&mut stream)
    }

    /// The same from a client that ends its stream.
    pub(crate) fn send_and_shut(&self, request: &[u8]) -> Option<Answer> {
        let mut stream = self.connect();
        let _ = stream.write_all(request);
        let _ = stream.shutdown(Shutdown::Write);
        Answer::read(&mut stream)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())
            .expect("it answers")
    }

    /// An event as JSON, with additional header lines.
    pub(crate) fn post(&self, more: &str, body: &[u8]) -> Answer {
        self.send(&post(
            &format!("Content-Type: application/json\r\n{more}"),
            body,
        ))
        .expect("it answers")
    }

    pub(crate) fn figures(&self) -> Value {
        let answer = self.get("/debug/pools.json");
        assert_eq!(answer.status, 200);
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    /// Waits until the figures satisfy a condition.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let figures = self.figures();
            if is_there(&figures) {
                return figures;
            }
            assert!(start.elapsed() < STUCK, "{what}, not in {figures:#}");
            sleep(Duration::from_millis(100));
        }
    }

    /// Waits until every other connection has ended and no object is in use.
    #[track_caller]
    pub(crate) fn wait_for_rest(&self) -> Value {
        self.wait_for("no object in use and no connection", |figures| {
            let pools = figures["pools"].as_array().expect("a list");
            figures["connections"] == 1 && pools.iter().all(|pool| pool["stats"]["in_use"] == 0)
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the pool of this name from the figures.
#[track_caller]
pub(crate) fn pool<'f>(figures: &'f Value, name: &str) -> &'f Value {
    let pools = figures["pools"].as_array().expect("a list");
    pools
        .iter()
        .find(|pool| pool["name"] == name)
        .unwrap_or_else(|| panic!("no pool {name} in {figures:#}"))
}

/// A `POST` with these header lines.
pub(crate) fn post(header: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /v1/events HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{header}\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    header: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads to the announced length, or to the end of the connection. Returns `None` if there is
    /// no answer.
    pub(crate) fn read(stream: &mut impl Read) -> Option<Self> {
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = Self::parse(&bytes, false) {
                return Some(answer);
            }
            let mut part = [0; 16 << 10];
            match stream.read(&mut part) {
                Ok(0) | Err(_) => return Self::parse(&bytes, true),
                Ok(length) => bytes.extend_from_slice(&part[..length]),
            }
        }
    }

    fn parse(bytes: &[u8], ended: bool) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let header = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let status = header.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        let mut answer = Self {
            status,
            header,
            body: bytes[end + 4..].to_vec(),
        };
        let length = answer.header("content-length").unwrap_or_default();
        let length: usize = length.parse().ok()?;
        answer.body.truncate(length);
        (ended || answer.body.len() == length).then_some(answer)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.header.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
