//! The answers to events, the same on each side.

use crate::client::{Answer, Server, post};
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::io::{Read, Write};

const SIDES: [&[&str]; 3] = [&[], &["--plain"], &["--thread-local"]];

fn unpacked(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut text = Vec::new();
    GzDecoder::new(&answer.body[..])
        .read_to_end(&mut text)
        .expect("gzip");
    text
}

#[test]
fn an_event_is_counted_and_put_in_order_on_every_side() {
    for side in SIDES {
        let server = Server::start(side);
        let body = r#" {"b": [1, 2.5, -3], "a": {"z": null, "a": "\u00e4\/"}, "b2": true, "a": false, "": ""} "#;
        let answer = server.post("", body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("content-encoding"), None);
        let counts = json!({
            "bytes": body.len(), "depth": 2, "keys": 7, "distinct_keys": 5, "nulls": 1, "bools": 2, "numbers": 3,
            "texts": 2, "text_bytes": 3, "lists": 1, "maps": 2, "median": 1.0, "least": -3.0, "most": 2.5,
        });
        assert_eq!(answer.json()["counts"], counts, "{side:?}");
        // The last of equal keys, in byte order.
        let text = answer.text();
        let event = &text[text.find("\"event\":").unwrap()..];
        assert_eq!(
            event,
            r#""event":{"":"","a":false,"b":[1,2.5,-3],"b2":true}}"#
        );
    }
}

#[test]
fn any_json_document_is_an_event() {
    let server = Server::start(&[]);
    let deep = "[".repeat(127) + &"]".repeat(127);
    let wide = format!("[{}0]", "0,".repeat(100_000));
    let documents = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1e5",
        "18446744073709551615",
        "-9223372036854775808",
        "\"\"",
        "[]",
        "{}",
        " [ ] ",
        "\"\\ud83d\\ude00\"",
        "{\"\":{\"\":{\"\":[]}}}",
        &deep,
        &wide,
    ];
    for document in documents {
        let answer = server.post("", document.as_bytes());
        let start = &document[..document.len().min(60)];
        assert_eq!(answer.status, 200, "{start}: {answer:?}");
        // As a separate list it would be too deep for the parser.
        let (_, event) = answer.text().split_once("\"event\":").unwrap();
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(read(&event[..event.len() - 1]), read(document), "{start}");
    }
    for kind in [
        "",
        "Content-Type: application/json\r\n",
        "content-type: APPLICATION/JSON;charset=\"UTF-8\"\r\n",
        "Content-Type: application/cloudevents+json; charset=utf-8\r\n",
        "Content-Encoding: identity\r\n",
    ] {
        let answer = server.send(&post(kind, b"{}")).unwrap();
        assert_eq!(answer.status, 200, "{kind:?}: {answer:?}");
    }
    server.wait_for_rest();
}

#[test]
fn every_side_gives_the_same_answer_plain_and_compressed() {
    let servers = SIDES.map(Server::start);
    for items in [0, 1, 10, 100, 1_000, 5_000] {
        let items: Vec<_> = (0..items)
            .map(|n| json!({ "n": n, "square": n * n, "name": format!("name {n}"), "tags": ["a", n] }))
            .collect();
        let body = serde_json::to_vec(&items).unwrap();
        let expected = servers[0].post("", &body).body;
        assert!(expected.len() > body.len());
        for server in &servers {
            for _ in 0..3 {
                assert_eq!(server.post("", &body).body, expected);
                let answer = server.post("Accept-Encoding: br, gzip\r\n", &body);
                if expected.len() < 512 {
                    assert_eq!(answer.header("content-encoding"), None);
                    assert_eq!(answer.body, expected);
                } else {
                    assert!(answer.body.len() < expected.len());
                    assert_eq!(unpacked(&answer), expected);
                }
                assert_eq!(answer.header("vary"), Some("accept-encoding"));
            }
        }
    }
}

#[test]
fn an_answer_is_compressed_if_the_client_says_so() {
    let server = Server::start(&[]);
    let body = format!("[{}0]", "0,".repeat(1000));
    let answers =
        |accepts: &str| server.post(&format!("Accept-Encoding: {accepts}\r\n"), body.as_bytes());
    for yes in [
        "gzip",
        "GZIP",
        "x-gzip",
        "br, gzip",
        "gzip;q=0.1",
        "*",
        "*;q=0.5",
        "gzip;q=1, *;q=0",
        "identity;q=0, gzip",
        "deflate, gzip;q=1.0, *;q=0.5",
    ] {
        unpacked(&answers(yes));
    }
    for no in [
        "",
        "identity",
        "br",
        "deflate, br",
        "gzip;q=0",
        "gzip; q=0.0",
        "gzip;q=0, *",
        "*;q=0",
        "gzipped",
        "gzip;q=x",
    ] {
        let answer = answers(no);
        assert_eq!(answer.header("content-encoding"), None, "{no}");
        assert_eq!(answer.json()["counts"]["numbers"], 1001);
    }
}

#[test]
fn events_follow_each_other_on_one_connection_and_may_come_in_parts() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    for n in 0..50 {
        let body = format!("{{\"n\": {n}, \"text\": \"{}\"}}", "x".repeat(n * 2000));
        let request = post("", body.as_bytes());
        let half = request.len() / 2;
        stream.write_all(&request[..half]).unwrap();
        if n % 5 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        stream.write_all(&request[half..]).unwrap();
        let answer = Answer::read(&mut stream).expect("an answer");
        assert_eq!(answer.json()["event"]["n"], n);
    }
    // All at the same time.
    let requests: Vec<u8> = (0..20)
        .flat_map(|n| post("", n.to_string().as_bytes()))
        .collect();
    stream.write_all(&requests).unwrap();
    let mut answers = String::new();
    while answers.matches("HTTP/1.1 200").count() < 20 || !answers.ends_with("\"event\":19}") {
        let mut part = [0; 4096];
        let length = stream.read(&mut part).unwrap();
        assert!(length > 0, "{answers}");
        answers.push_str(std::str::from_utf8(&part[..length]).unwrap());
    }
    let figures = server.figures();
    assert_eq!(figures["events"], 70);
}
