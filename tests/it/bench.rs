//! `rusgi bench` counts every request once, and latency from the moment that a request was due.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    process::Command,
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    daemon::{Serve, executable},
    scratch::Scratch,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A bench's exit code and result.
fn bench(address: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(executable()).args(["bench", address, "--json"]).args(arguments).output().unwrap();
    let result = serde_json::from_slice(&output.stdout);
    (output.status.code(), result.unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

/// A server that has `answer` deal with one connection after the other; returns its address.
fn serving(scratch: &Scratch, mut answer: impl FnMut(usize, UnixStream) + Send + 'static) -> String {
    let path = scratch.join("peer.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut header = [0; 4];
            stream.read_exact(&mut header).unwrap();
            stream.read_exact(&mut vec![0; usize::from(u16::from_le_bytes([header[1], header[2]]))]).unwrap();
            answer(number, stream);
        }
    });
    format!("unix:{}", path.display())
}

#[test]
fn every_request_is_sent_and_counted_once() {
    let daemon = Serve::app("hello").start();
    let address = format!("unix:{}", daemon.socket().display());
    let (code, result) = bench(&address, &["--requests", "300", "--connections", "4"]);
    assert_eq!(
        (code, &result["answered"], &result["statuses"]["200"]),
        (Some(0), &300.into(), &300.into()),
        "{result}"
    );
    let bars = result["histogram_us"].as_array().unwrap();
    assert_eq!(bars.iter().filter_map(|bar| bar["count"].as_u64()).sum::<u64>(), 300);
}

#[test]
fn a_stall_counts_for_every_request_that_it_held_up() {
    let scratch = Scratch::new();
    let address = serving(&scratch, |number, mut stream| {
        if number == 0 {
            thread::sleep(Duration::from_millis(400));
        }
        stream.write_all(ANSWER).unwrap();
    });
    let (code, result) = bench(&address, &["--rate", "100", "--duration", "600ms", "--connections", "1"]);
    assert_eq!((code, &result["answered"]), (Some(0), &60.into()), "{result}");
    // Forty requests were due while the first was being served.
    let latency = |name: &str| result["latency_us"][name].as_f64().unwrap();
    assert!(latency("p50") > 100_000.0 && latency("max") >= 400_000.0, "{result}");
}

#[test]
fn failures_are_told_apart() {
    let scratch = Scratch::new();
    let address = serving(&scratch, |number, mut stream| match number {
        0 => drop(stream),
        1 => stream.write_all(&ANSWER[..ANSWER.len() - 1]).unwrap(),
        2 => stream.write_all(b"uwsgi? no.\r\n\r\n").unwrap(),
        _ => stream.write_all(ANSWER).unwrap(),
    });
    let (code, result) = bench(&address, &["--requests", "4", "--connections", "1"]);
    assert_eq!((code, &result["answered"], &result["failed"]), (Some(1), &1.into(), &3.into()), "{result}");
    for kind in ["no answer", "cut response", "not HTTP"] {
        assert_eq!(result["failures"][kind], 1, "{result}");
    }
}

#[test]
fn a_socket_where_nobody_listens_is_reported() {
    let scratch = Scratch::new();
    let address = format!("unix:{}", scratch.join("nobody.sock").display());
    let (code, result) = bench(&address, &["--requests", "3"]);
    assert_eq!((code, &result["failures"]["connection refused"]), (Some(1), &3.into()), "{result}");
}

#[test]
fn an_answer_that_never_comes_is_a_failure() {
    let scratch = Scratch::new();
    let mut held = Vec::new();
    let address = serving(&scratch, move |_, stream| held.push(stream));
    let (code, result) = bench(&address, &["--requests", "2", "--timeout", "200ms"]);
    assert_eq!((code, &result["failures"]["timed out"]), (Some(1), &2.into()), "{result}");
}
