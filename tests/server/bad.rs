//! Bad requests: each gets a 4xx, and no object stays in use after any of them.

use crate::client::{Answer, STUCK, Server, pool, post};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Well-formed, with a value of every kind.
const GOOD: &str =
    r#"{"id": 17, "tags": ["a", "b\n"], "at": 1.5e3, "on": true, "none": null, "in": {"d": [[]]}}"#;

/// Not JSON, with one line per kind of mistake.
const NOT_JSON: &[&[u8]] = &[
    b"",
    b" ",
    b"\n\n",
    b"{",
    b"[",
    b"}",
    b"]",
    b"{]",
    b"[}",
    b"[[]",
    b"{\"a\":{}",
    b"nul",
    b"nulll",
    b"tru",
    b"True",
    b"NULL",
    b"fals",
    b"NaN",
    b"nan",
    b"Infinity",
    b"-Infinity",
    b"undefined",
    b"-",
    b"+",
    b"+1",
    b"--1",
    b"01",
    b"-01",
    b"00",
    b"1.",
    b".5",
    b"-.5",
    b"1.e3",
    b"1e",
    b"1e+",
    b"1e-",
    b"1E.5",
    b"0x10",
    b"1_000",
    b"1,000",
    b"1 2",
    b"1e999",
    b"-1e999",
    b"\"",
    b"\"a",
    b"a\"",
    b"'a'",
    b"\"\\\"",
    b"\"\\x\"",
    b"\"\\u\"",
    b"\"\\u12\"",
    b"\"\\u12g4\"",
    b"\"\\U0001\"",
    b"\"\\ud800\"",
    b"\"\\ud800x\"",
    b"\"\\udc00\"",
    b"\"\\ud800\\ud800\"",
    b"\"\n\"",
    b"\"\t\"",
    b"\"\x00\"",
    b"\"\x1f\"",
    b"\"\x80\"",
    b"\"\xff\"",
    b"\"\xc0\xaf\"",
    b"\"\xed\xa0\x80\"",
    b"\"\xe2\x82\"",
    b"\"\xf4\x90\x80\x80\"",
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\x00}\x00",
    b"\x00",
    b"{}\x00",
    b"[1,]",
    b"[,1]",
    b"[,]",
    b"[1,,2]",
    b"[1 2]",
    b"[1;2]",
    b"[1:2]",
    b"(1)",
    b"{\"a\"}",
    b"{\"a\":}",
    b"{:1}",
    b"{\"a\" 1}",
    b"{\"a\":1,}",
    b"{,\"a\":1}",
    b"{\"a\":1 \"b\":2}",
    b"{\"a\":1;\"b\":2}",
    b"{a:1}",
    b"{'a':1}",
    b"{1:2}",
    b"{null:1}",
    b"{[]:1}",
    b"{\"a\"=1}",
    b"// c\n1",
    b"/* c */ 1",
    b"# c\n1",
    b"1 // c",
    b"{} {}",
    b"[] x",
    b"1}",
    b"\"a\"]",
    b"a=1&b=2",
    b"<a/>",
    b"---\na: 1",
    b"\x1f\x8b\x08\x00",
    b"null,",
    b"{\"a\":\"\\q\"}",
    b"[\"a\",\"b",
];

/// Headers for which no body is accepted.
const NOT_TAKEN: &[&str] = &[
    "Content-Type: text/plain",
    "Content-Type: text/json",
    "Content-Type: text/html; charset=utf-8",
    "Content-Type: application/x-www-form-urlencoded",
    "Content-Type: multipart/form-data; boundary=x",
    "Content-Type: application/xml",
    "Content-Type: application/jsonp",
    "Content-Type: application/x-ndjson",
    "Content-Type: application/json-seq",
    "Content-Type: application/+json",
    "Content-Type: application/octet-stream",
    "Content-Type: application",
    "Content-Type: json",
    "Content-Type: /",
    "Content-Type:",
    "Content-Type: ; charset=utf-8",
    "Content-Type: application/json, text/plain",
    "Content-Type: application/json; charset=utf-16",
    "Content-Type: application/json; charset=iso-8859-1",
    "Content-Type: \u{e4}pplication/json",
    "Content-Type: application/json\r\nContent-Type: application/json",
    "Content-Encoding: gzip",
    "Content-Encoding: br",
    "Content-Encoding: deflate",
    "Content-Encoding: zstd",
    "Content-Encoding: identity, gzip",
    "Content-Encoding: identity\r\nContent-Encoding: gzip",
    "Content-Encoding:",
];

/// Not HTTP, or not allowed by HTTP. `@` stands for the header lines of a good event.
const NOT_HTTP: &[&str] = &[
    "\r\n\r\nhello\r\n\r\n",
    "hello\r\n\r\n",
    "GET\r\n\r\n",
    "GET /healthz\r\n\r\n",
    "GET /healthz HTTP\r\n\r\n",
    "GET /healthz HTTP/1\r\n\r\n",
    "GET /healthz HTTP/1.2\r\nHost: test\r\n\r\n",
    "GET /healthz HTTP/3.0\r\nHost: test\r\n\r\n",
    "GET /healthz http/1.1\r\nHost: test\r\n\r\n",
    "GET /healthz FTP/1.1\r\nHost: test\r\n\r\n",
    "GET  /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
    "GET /heal thz HTTP/1.1\r\nHost: test\r\n\r\n",
    "GET healthz HTTP/1.1\r\nHost: test\r\n\r\n",
    "G\u{e4}T /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
    "(GET) /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
    "\0GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n",
    "GET /heal\0thz HTTP/1.1\r\nHost: test\r\n\r\n",
    "GET /healthz HTTP/1.1\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost test\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: test\r\nNo colon\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: test\r\n: empty\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: test\r\nA B: c\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost : test\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: test\r\n folded: x\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: test\r\nA: b\0c\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: test\r\nA: b\u{7f}c\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: test\r\n\u{fc}: c\r\n\r\n",
    "POST /v1/events HTTP/1.1\r\n@Content-Length: x\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Content-Length: -1\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Content-Length: +2\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Content-Length: 2.0\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Content-Length: 0x2\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Content-Length: 2 2\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Content-Length:\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Content-Length: 99999999999999999999999\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Content-Length: 2, 3\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: gzip\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: chunked, gzip\r\n\r\n{}",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: chunkedx\r\n\r\n{}",
    "POST /v1/events HTTP/1.0\r\n@Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: chunked\r\n\r\nz\r\n{}\r\n0\r\n\r\n",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: chunked\r\n\r\n\r\n{}\r\n0\r\n\r\n",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: chunked\r\n\r\n2{}\r\n0\r\n\r\n",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{}\r\n0\r\n\r\n",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "POST /v1/events HTTP/1.1\r\n@Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /v1/events HTTP/1.1\r\n@\r\n",
];

const METHODS: &[&str] = &[
    "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "POSTS", "post", "BREW",
];
const PAGES: &[&str] = &["/healthz", "/metrics", "/debug/pools", "/debug/pools.json"];
const NOWHERE: &[&str] = &[
    "/",
    "/v1",
    "/v1/events/",
    "/v1/events/1",
    "//v1/events",
    "/V1/EVENTS",
    "/v2/events",
    "/debug",
    "/debug/",
    "/metrics/x",
    "/healthz/..",
    "/../etc/passwd",
    "/%76%31/events",
    "/debug/pools.html",
    "/favicon.ico",
    "*",
];

/// Longer than the limit of the server under test.
const LIMIT: usize = 64 << 10;

struct Sent {
    requests: usize,
}

impl Sent {
    #[track_caller]
    fn refused(&mut self, what: &str, request: &[u8], answer: Option<Answer>, status: &[u16]) {
        self.requests += 1;
        let request = String::from_utf8_lossy(&request[..request.len().min(300)]);
        let Some(answer) = answer else {
            panic!("{what}: no answer to {request:?}");
        };
        let right = match status {
            [] => (400..500).contains(&answer.status),
            some => some.contains(&answer.status),
        };
        assert!(right, "{what}: {answer:?} to {request:?}, not {status:?}");
    }
}

#[test]
fn hundreds_of_kinds_of_bad_requests_get_a_4xx_and_leak_nothing() {
    let server = Server::start(&["--max-body", &LIMIT.to_string(), "--patience", "3000"]);
    // So that each pool has been used.
    assert_eq!(server.post("", GOOD.as_bytes()).status, 200);
    let mut sent = Sent { requests: 0 };

    let json = "Content-Type: application/json\r\n";
    let mut refuse = |what, request: Vec<u8>, status: &[u16]| {
        let answer = server.send(&request);
        sent.refused(what, &request, answer, status);
    };
    for body in NOT_JSON {
        refuse("not JSON", post(json, body), &[400]);
    }
    for length in 0..GOOD.len() {
        refuse("cut JSON", post(json, &GOOD.as_bytes()[..length]), &[400]);
    }
    for depth in [128, 129, 1000, 10_000] {
        let lists = "[".repeat(depth) + &"]".repeat(depth);
        refuse("deep lists", post(json, lists.as_bytes()), &[400]);
        let maps = "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
        refuse("deep maps", post(json, maps.as_bytes()), &[400]);
    }
    for header in NOT_TAKEN {
        let body = format!("{header}\r\n");
        refuse("not taken", post(&body, GOOD.as_bytes()), &[415]);
    }
    for text in NOT_HTTP {
        let request = text.replace('@', &format!("Host: test\r\n{json}"));
        refuse("not HTTP", request.into_bytes(), &[]);
    }
    for method in METHODS {
        let request = format!("{method} /v1/events HTTP/1.1\r\nHost: test\r\n\r\n");
        refuse("wrong method", request.into_bytes(), &[405]);
    }
    for page in PAGES {
        for method in ["POST", "PUT", "DELETE"] {
            let request =
                format!("{method} {page} HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{{}}");
            refuse("wrong method", request.into_bytes(), &[405]);
        }
    }
    for path in NOWHERE {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        refuse("nowhere", request.into_bytes(), &[404]);
    }
    let long = "x".repeat(200_000);
    let path = format!("GET /{long} HTTP/1.1\r\nHost: test\r\n\r\n");
    refuse("a long path", path.into_bytes(), &[414, 431]);
    let header = format!("GET /healthz HTTP/1.1\r\nHost: test\r\nA: {long}\r\n\r\n");
    refuse("a long header", header.into_bytes(), &[431]);
    let many = "A: b\r\n".repeat(1000);
    let header = format!("GET /healthz HTTP/1.1\r\nHost: test\r\n{many}\r\n");
    refuse("many headers", header.into_bytes(), &[431]);

    for length in [LIMIT + 1, 2 * LIMIT, 10 * LIMIT] {
        let body = format!("\"{}\"", "x".repeat(length - 2));
        refuse("too large", post(json, body.as_bytes()), &[413]);
        refuse("too large", chunked(body.as_bytes(), 1000), &[413]);
    }
    for length in ["70000", "9007199254740993", "18446744073709551615"] {
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nHost: test\r\n{json}Content-Length: {length}\r\n\r\n[1, 2"
        );
        refuse(
            "announced too large",
            request.into_bytes(),
            &[400, 413, 431],
        );
    }

    // The client ends its stream too early.
    let large = large();
    for body in [GOOD.as_bytes(), &large] {
        for at in cuts(body.len()) {
            let mut plain = post(json, body);
            plain.truncate(plain.len() - body.len() + at);
            let mut parts = chunked(body, 700);
            parts.truncate(parts.len() - body.len() + at);
            for request in [plain, parts] {
                let answer = server.send_and_shut(&request);
                sent.refused("cut body", &request, answer, &[400]);
            }
        }
    }
    let requests = sent.requests;
    assert!(requests > 400, "{requests} requests");

    let figures = server.wait_for_rest();
    let refused = figures["answers"]["refused"].as_u64().unwrap();
    // hyper rejects what is not HTTP without calling the service.
    assert!(
        refused as usize > requests - NOT_HTTP.len() - 10,
        "{refused} of {requests}"
    );
    assert_eq!(figures["answers"]["failed"], 0);
    for pool in figures["pools"].as_array().unwrap() {
        let created = pool["stats"]["created"].as_u64().unwrap();
        assert!(created < 100, "objects do not come back: {pool:#}");
    }
    assert_eq!(server.post("", GOOD.as_bytes()).status, 200);
}

/// RFC 9112, 6.3: the length of the chunks counts, and nothing is read behind them.
#[test]
fn a_request_with_two_lengths_ends_its_connection() {
    let server = Server::start(&[]);
    for lengths in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 2",
    ] {
        let smuggled = "POST /v1/events HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\n1";
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nHost: test\r\n{lengths}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{smuggled}"
        );
        let mut stream = server.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let answer = Answer::read(&mut stream).expect("an answer");
        assert!(matches!(answer.status, 200 | 400), "{lengths}: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{lengths}");
        assert_eq!(
            stream.read(&mut [0]).unwrap_or(0),
            0,
            "{lengths}: more than one answer"
        );
    }
}

#[test]
fn clients_that_go_away_leave_nothing_behind() {
    let server = Server::start(&["--patience", "30000"]);
    let large = large();
    let whole = post("Accept-Encoding: gzip\r\n", &large);
    let parts = chunked(&large, 3000);
    for request in [&whole, &parts] {
        for at in cuts(request.len()) {
            let mut stream = server.connect();
            stream.write_all(&request[..at]).unwrap();
        }
    }
    // Closes the connection while the answer is sent.
    for taken in 0..20 {
        let mut stream = server.connect();
        stream.write_all(&post("", &large)).unwrap();
        stream.read_exact(&mut vec![0; taken * 50]).unwrap();
    }
    let figures = server.wait_for_rest();
    assert_eq!(figures["answers"]["failed"], 0);

    // The same figures do show a client that stays.
    let mut stays = server.connect();
    stays.write_all(&parts[..parts.len() - 10]).unwrap();
    server.wait_for("a body in use", |figures| {
        figures["connections"] == 2 && pool(figures, "bodies")["stats"]["in_use"] == 1
    });
    drop(stays);
    server.wait_for_rest();
}

#[test]
fn a_request_that_takes_too_long_gets_a_408() {
    let server = Server::start(&["--patience", "300"]);
    let whole = post("", &large());
    // In the middle of the header, after it, and in the middle of the body.
    let header = whole.len() - large().len();
    for at in [
        1,
        20,
        header - 2,
        header,
        header + 1,
        header + 3000,
        whole.len() - 1,
    ] {
        let mut stream = server.connect();
        stream.write_all(&whole[..at]).unwrap();
        let answer = Answer::read(&mut stream).unwrap_or_else(|| panic!("no answer after {at}"));
        assert_eq!(answer.status, 408, "after {at} bytes: {answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "closed");
    }
    // A client that sends a byte now and then gets no more time.
    let mut stream = server.connect();
    let start = Instant::now();
    for byte in &whole {
        if stream.write_all(&[*byte]).is_err() || start.elapsed() > STUCK {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        if is_readable(&stream) {
            break;
        }
    }
    assert_eq!(
        Answer::read(&mut stream).map(|answer| answer.status),
        Some(408)
    );
    // A client that sends nothing is disconnected without an answer.
    let mut stream = server.connect();
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    server.wait_for_rest();
}

#[test]
fn a_client_that_does_not_read_is_let_go() {
    let server = Server::start(&["--patience", "300", "--max-body", "8000000"]);
    let text = format!("\"{}\"", "x".repeat(7_000_000));
    let mut stream = server.connect();
    stream.write_all(&post("", text.as_bytes())).unwrap();
    // The answer is larger than the buffers of the two sockets.
    server.wait_for_rest();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.len() < text.len(), "it was not let go");
}

#[test]
fn connections_above_the_limit_wait_for_their_turn() {
    let server = Server::start(&["--max-connections", "2", "--patience", "30000"]);
    let held = [server.connect(), server.connect()];
    let waiting = server.address;
    let answered = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(waiting).unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
            .unwrap();
        Answer::read(&mut stream).map(|answer| answer.status)
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!answered.is_finished(), "a third connection was served");
    drop(held);
    assert_eq!(answered.join().unwrap(), Some(200));
}

fn is_readable(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let is_readable = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).unwrap();
    is_readable
}

/// Arrives in more than one part.
fn large() -> Vec<u8> {
    let items: Vec<_> = (0..400)
        .map(|n| format!("{{\"n\": {n}, \"is\": {GOOD}}}"))
        .collect();
    format!("[{}]", items.join(", ")).into_bytes()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut request =
        b"POST /v1/events HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(size) {
        request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

/// Where to cut something of this length.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..40).map(move |n| n * (length - 1) / 40)
}
