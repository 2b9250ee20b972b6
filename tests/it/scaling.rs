//! As many workers as the load demands: more when it comes, fewer when it has gone, and no request pays for either.

use std::{path::PathBuf, process::Command, thread, time::Duration};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    daemon::{Daemon, Serve, executable},
    gate::Gate,
    http, load,
    nginx::Nginx,
    packet::Packet,
    peer::Peer,
    process,
};

fn socket(daemon: &Daemon) -> PathBuf {
    daemon.scratch().join("admin.sock")
}

/// `serve` with this many workers and an admin socket, started.
fn start(serve: Serve, workers: &str) -> Daemon {
    let socket = serve.scratch().join("admin.sock");
    serve.default_workers().option("--workers", workers).option("--admin-socket", socket).start()
}

fn status(daemon: &Daemon) -> Value {
    http::get(Peer::unix(&socket(daemon)), "/status").expect(200).json()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Workers that accept.
fn ready(status: &Value) -> u64 {
    let workers = status["workers"].as_array().unwrap();
    workers.iter().filter(|worker| worker["state"] == "ready").count() as u64
}

fn scale(daemon: &Daemon, workers: &str) -> Option<i32> {
    let mut command = Command::new(executable());
    command.args(["scale", workers, "--admin-socket"]).arg(socket(daemon)).output().unwrap().status.code()
}

#[test]
fn workers_come_with_the_load_and_go_with_it_and_no_request_fails() {
    let serve = Serve::app("naps").env("NAP", "50").option("--scale-down-after", "500ms");
    let daemon = start(serve, "1..3");
    daemon.log.await_line(&["ready: 1..3 workers x 1 thread"]);
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    // Ten visitors at a time have work for ten.
    let report = load::during(
        200,
        || nginx.connect(),
        || {
            let has_risen = process::eventually(|| {
                let status = status(&daemon);
                assert!((1..=3).contains(&number(&status["wanted"])) && ready(&status) >= 1, "{status}");
                ready(&status) == 3
            });
            assert!(has_risen, "{}", status(&daemon));
        },
    );
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    let report = load::during(
        4,
        || nginx.connect(),
        || {
            let has_fallen = process::eventually(|| {
                let status = status(&daemon);
                assert!(ready(&status) >= number(&status["wanted"]), "{status}");
                daemon.workers().len() == 1
            });
            assert!(has_fallen, "{}", status(&daemon));
        },
    );
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    nginx.expect_no_errors();
    for words in ["scaling to 2 workers: ", "scaling to 3 workers: ", "scaling to 1 worker: "] {
        daemon.log.await_line(&[words, "threads are busy"]);
    }
    assert_eq!((daemon.log.with(&["WARN"]), daemon.log.with(&["ERROR"])), (vec![], vec![]));
    daemon.stop();
}

#[test]
fn a_worker_that_is_one_too_many_is_not_killed_while_it_serves() {
    let gate = Gate::new();
    let times = [("--request-timeout", "0"), ("--stop-timeout", "100ms")];
    let serve = times.into_iter().fold(Serve::app("naps"), |serve, (name, value)| serve.option(name, value));
    let daemon = start(serve.gate(&gate), "2");
    let mut peers = [daemon.connect(), daemon.connect()];
    for peer in &mut peers {
        peer.send(Packet::get("/gated").bytes());
    }
    let arrivals = [gate.await_arrival(), gate.await_arrival()];
    assert_eq!(scale(&daemon, "1"), Some(0));
    assert!(process::eventually(|| ready(&status(&daemon)) == 1));
    // What must not happen cannot be waited for: an old generation's worker would have been killed by now.
    thread::sleep(Duration::from_millis(500));
    arrivals.into_iter().for_each(|arrival| arrival.open());
    peers.into_iter().for_each(|peer| drop(peer.reply().expect(200)));
    assert!(process::eventually(|| daemon.workers().len() == 1));
    assert_eq!(daemon.log.with(&["killing"]), [""; 0]);
    daemon.stop();
}

#[test]
fn scale_fixes_the_number_or_gives_a_range() {
    let daemon = start(Serve::app("hello"), "1..2");
    let limits = |daemon: &Daemon| {
        let status = status(daemon);
        ["wanted", "least", "most"].map(|key| number(&status[key]))
    };
    assert_eq!(limits(&daemon), [1, 1, 2]);
    for (workers, expected) in [("3", [3, 3, 3]), ("2..4", [3, 2, 4]), ("1..2", [2, 1, 2])] {
        assert_eq!(scale(&daemon, workers), Some(0));
        assert_eq!(limits(&daemon), expected);
        assert!(process::eventually(|| daemon.workers().len() as u64 == expected[0]));
    }
    daemon.signal(Signal::SIGTTIN).signal(Signal::SIGTTOU);
    daemon.log.await_line(&["scaling to 1 worker (1..2 by load)"]);
    assert!(process::eventually(|| daemon.workers().len() == 1));
    assert_eq!(scale(&daemon, "4..2"), Some(78));
    let refused = http::request("POST", "/scale?workers=4..2");
    let mut peer = Peer::unix(&socket(&daemon));
    peer.send(refused);
    assert!(peer.reply().expect(400).text().contains("smaller number first"));
    daemon.signal(Signal::SIGHUP);
    daemon.log.await_line(&["reloaded:"]);
    assert_eq!((limits(&daemon), &status(&daemon)["generation"]), ([1, 1, 2], &json!(2)));
    daemon.stop();
}

#[test]
fn a_range_comes_from_the_environment_and_has_to_be_one() {
    let daemon = Serve::app("hello").default_workers().env("RUSGI_WORKERS", "2..5").start();
    daemon.log.await_line(&["ready: 2..5 workers"]);
    assert_eq!(daemon.workers().len(), 2);
    daemon.stop();
    let wrong = Serve::app("hello").default_workers().option("--workers", "5..2");
    wrong.fail().expect(78).expect_log("--workers: `5..2` goes down");
}
