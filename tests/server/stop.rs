//! Stopping, on SIGTERM and SIGINT.
#![cfg(unix)]

use crate::client::{Answer, STUCK, Server, post};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant};

fn tell(server: &Server, signal: i32) {
    let process = i32::try_from(server.process.id()).unwrap();
    // SAFETY: sends a signal to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

fn end(server: &mut Server) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = server.process.try_wait().unwrap() {
            return status;
        }
        assert!(start.elapsed() < STUCK, "it does not end");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_ends_it_and_requests_under_way_get_their_answer() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut server = Server::start(&["--patience", "20000"]);
        let body = format!("[{}0]", "0,".repeat(50_000));
        let request = post("Accept-Encoding: gzip\r\n", body.as_bytes());
        let (first, rest) = request.split_at(request.len() / 2);
        let mut busy = server.connect();
        busy.write_all(first).unwrap();
        // One connection that has had its answer, and one that has sent nothing yet.
        let mut idle = server.connect();
        idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
            .unwrap();
        assert_eq!(Answer::read(&mut idle).unwrap().status, 200);
        let silent = server.connect();
        server.wait_for("four connections", |figures| figures["connections"] == 4);

        tell(&server, signal);
        let told = Instant::now();
        while TcpStream::connect(server.address).is_ok() {
            assert!(told.elapsed() < STUCK, "it still listens");
            sleep(Duration::from_millis(20));
        }
        assert_eq!(
            idle.read(&mut [0]).unwrap_or(0),
            0,
            "an idle connection is closed"
        );
        assert!(
            server.process.try_wait().unwrap().is_none(),
            "it has not waited"
        );
        busy.write_all(rest).unwrap();
        let answer = Answer::read(&mut busy).expect("the request under way is answered");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), Some("close"));
        let answered = Instant::now();
        assert_eq!(end(&mut server).code(), Some(0));
        assert!(
            answered.elapsed() < Duration::from_secs(10),
            "the silent one held it up"
        );
        drop(silent);
    }
}

#[test]
fn it_does_not_wait_for_a_client_for_ever() {
    let mut server = Server::start(&["--patience", "200"]);
    let mut stuck = server.connect();
    stuck.write_all(&post("", b"[1, 2, 3]")[..60]).unwrap();
    server.wait_for("both connections", |figures| figures["connections"] == 2);
    tell(&server, libc::SIGTERM);
    assert_eq!(end(&mut server).code(), Some(0));
}
