//! The server's own figures.

use crate::client::{Answer, STUCK, Server, pool, post};
use std::collections::HashSet;
use std::io::Write;
use std::time::Instant;

const POOLS: [&str; 8] = [
    "bodies",
    "compressors",
    "documents",
    "keys",
    "numbers",
    "orders",
    "replies",
    "texts",
];

/// Uses every pool.
fn work(server: &Server, events: usize) {
    let body = format!("[{}{{\"a\": 1}}]", "{\"k\": [1, 2, \"x\"]},".repeat(3000));
    for _ in 0..events {
        assert_eq!(
            server
                .post("Accept-Encoding: gzip\r\n", body.as_bytes())
                .status,
            200
        );
        assert_eq!(server.post("", b"{}").status, 200);
    }
}

#[test]
fn the_pages_figures_are_those_of_the_pools() {
    let server = Server::start(&[]);
    let before = server.figures();
    assert_eq!(before["side"], "pooled");
    assert_eq!(
        before["pools"].as_array().map(Vec::len),
        Some(0),
        "no pool before its first use"
    );
    work(&server, 20);
    let figures = server.wait_for_rest();
    let names: Vec<_> = figures["pools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pool| pool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, POOLS);
    assert_eq!(figures["events"], 40);
    assert_eq!(figures["answers"]["refused"], 0);
    let compressors = pool(&figures, "compressors");
    assert_eq!(compressors["kind"], "objects");
    assert_eq!(compressors["enabled"], true);
    let stats = &compressors["stats"];
    let (created, reused) = (
        stats["created"].as_u64().unwrap(),
        stats["reused"].as_u64().unwrap(),
    );
    assert_eq!(created + reused, 20);
    assert_eq!(compressors["hit_rate"].as_f64(), Some(reused as f64 / 20.0));
    assert_eq!(compressors["advice"].as_array().map(Vec::len), Some(0));
    assert!(figures["resident_bytes"].as_u64() > Some(1 << 20) || !cfg!(target_os = "linux"));
}

/// No more and no less than there are: a permit that waits for a client is no connection.
#[test]
fn connections_are_counted_as_they_are() {
    let server = Server::start(&[]);
    let held = [server.connect(), server.connect()];
    let mut stream = server.connect();
    let mut connections = || {
        stream
            .write_all(b"GET /debug/pools.json HTTP/1.1\r\nHost: test\r\n\r\n")
            .unwrap();
        Answer::read(&mut stream).unwrap().json()["connections"].clone()
    };
    let start = Instant::now();
    while connections() != 3 {
        assert!(start.elapsed() < STUCK, "{} connections", connections());
    }
    for _ in 0..200 {
        assert_eq!(connections(), 3);
    }
    drop(held);
}

#[test]
fn advice_is_among_the_figures() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    for _ in 0..1_100 {
        stream.write_all(&post("", b"{\"a\": [1, 2, 3]}")).unwrap();
        assert_eq!(Answer::read(&mut stream).unwrap().status, 200);
    }
    let figures = server.figures();
    let advice = pool(&figures, "orders")["advice"].as_array().unwrap();
    assert!(
        advice
            .iter()
            .any(|advice| advice.as_str().unwrap().contains("bytes on average")),
        "{advice:?}"
    );
}

#[test]
fn prometheus_reads_every_pool_and_the_server() {
    let server = Server::start(&["--count-allocations"]);
    work(&server, 3);
    assert_eq!(server.get("/nowhere").status, 404);
    let answer = server.get("/metrics");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let text = answer.text();
    let lines = || {
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
    };
    assert!(lines().count() > 100);
    for line in lines() {
        let (metric, figure) = line.rsplit_once(' ').expect("a name and a figure");
        assert!(metric.starts_with("repool_"), "{line}");
        assert!(
            figure.parse::<f64>().is_ok_and(|figure| figure >= 0.0),
            "{line}"
        );
    }
    let names: HashSet<_> = lines()
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    assert_eq!(names.len(), lines().count(), "a metric is there twice");
    for pool in POOLS {
        let pool = format!("{{pool=\"{pool}\",kind=");
        assert!(text.contains(&format!("repool_idle_bytes{pool}")), "{pool}");
    }
    let figure = |metric: &str| -> f64 {
        let line = lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {metric} in {text}"))
            .parse()
            .unwrap()
    };
    assert_eq!(figure("repool_server_events_total"), 6.0);
    assert_eq!(figure("repool_server_answers_total{status=\"ok\"}"), 6.0);
    assert_eq!(
        figure("repool_server_answers_total{status=\"refused\"}"),
        1.0
    );
    assert!(figure("repool_server_connections") >= 1.0);
    assert!(figure("repool_server_allocator_calls_total") > 100.0);
    // A second scrape continues from there.
    assert_eq!(server.post("", b"1").status, 200);
    let again = server.get("/metrics");
    assert!(
        again.text().contains("repool_server_events_total 7"),
        "{}",
        again.text()
    );
}

#[test]
fn without_pools_there_are_no_figures_of_any() {
    for side in ["--plain", "--thread-local"] {
        let server = Server::start(&[side]);
        work(&server, 3);
        let figures = server.figures();
        assert_eq!(figures["side"], side.trim_start_matches('-'));
        assert_eq!(figures["pools"].as_array().map(Vec::len), Some(0));
        assert!(
            server
                .get("/metrics")
                .text()
                .contains("repool_server_events_total 6")
        );
    }
}

#[test]
fn pools_that_the_environment_switches_off_are_shown_as_off() {
    let server = Server::start_in(&[], &[("REPOOL", "off:compressors")]);
    work(&server, 3);
    let figures = server.figures();
    assert_eq!(pool(&figures, "compressors")["enabled"], false);
    assert_eq!(pool(&figures, "compressors")["stats"]["reused"], 0);
    assert_eq!(pool(&figures, "documents")["enabled"], true);
}

#[test]
fn the_page_is_whole() {
    let server = Server::start(&[]);
    let answer = server.get("/debug/pools");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'"));
    let page = answer.text();
    assert!(page.ends_with("</html>\n"));
    for elsewhere in ["src=", "http:", "https:", "@import", "url("] {
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    let healthy = server.get("/healthz");
    assert_eq!((healthy.status, healthy.text()), (200, "ok\n"));
    assert_eq!(server.get("/healthz?full=1").status, 200);
}
