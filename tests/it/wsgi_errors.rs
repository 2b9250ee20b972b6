//! `wsgi.errors` takes any text and writes it to the log, a line at a time, with the request it belongs to.

use crate::support::{daemon::Serve, packet::Packet, process};

#[test]
fn pep3333_errors_takes_text_by_every_method() {
    let daemon = Serve::app("faults").start();
    daemon.get("/say").expect_body("said");
    for line in [
        "said in two writes",
        "first of two lines",
        "second of two lines",
        "not ended",
        "printed",
        "logged by logging",
        "bytes are refused",
    ] {
        daemon.log.await_line(&[line]);
        assert_eq!(daemon.log.with(&[line]).len(), 1, "{line}");
    }
}

#[test]
fn pep3333_errors_takes_any_text_even_lone_surrogates() {
    let daemon = Serve::app("faults").start();
    daemon.get("/say");
    daemon.log.await_line(&["caf\u{e9} \u{2603} \u{1f600} lone ", "udc80", "ud800", " surrogates"]);
}

#[test]
fn lines_of_many_threads_are_never_mixed() {
    let daemon = Serve::app("faults").start();
    daemon.get("/say-at-once");
    for letter in 'a'..='h' {
        let line = letter.to_string().repeat(500);
        daemon.log.await_line(&[&line]);
        let whole = daemon.log.with(&[&line]);
        assert_eq!(whole.len(), 50, "{letter}");
        // One letter more, of any kind, would be a piece of another line.
        let tail = format!("{line}{letter}");
        assert!(whole.iter().all(|line| !line.contains(&tail)));
    }
    let letters = |line: &String| line.chars().filter(char::is_ascii_lowercase).count();
    assert_eq!(daemon.log.with(&["wsgi.errors"]).iter().filter(|line| letters(line) > 600).count(), 0);
}

#[test]
fn lines_of_a_request_carry_its_id() {
    let daemon = Serve::app("faults").option("--log-format", "json").start();
    daemon.ask(&Packet::get("/say").var("HTTP_X_REQUEST_ID", "id-of-nginx-1")).expect(200);
    let line = daemon.log.await_line(&["printed"]);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["request_id"], "id-of-nginx-1", "{line}");
}

#[test]
fn a_request_without_an_id_gets_one_of_its_own() {
    let daemon = Serve::app("faults").option("--log-format", "json").start();
    for id in ["", "two words", "x\u{1b}[31m", &"x".repeat(201)] {
        daemon.ask(&Packet::get("/say").var("HTTP_X_REQUEST_ID", id)).expect(200);
    }
    daemon.get("/say");
    daemon.get("/well");
    assert!(process::eventually(|| daemon.log.with(&["printed"]).len() == 5), "{}", daemon.log.text());
    let lines = daemon.log.with(&["printed"]);
    let ids: Vec<_> = lines
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["request_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 5, "{lines:?}");
    let pid = format!("{:x}-", daemon.workers()[0]);
    assert!(ids.iter().all(|id| id.starts_with(&pid)), "{pid}: {ids:?}");
    let mut distinct = ids.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 5, "{ids:?}");
}
