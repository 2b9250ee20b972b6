//! More requests than can be served: what is seen of them, and what becomes of them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    daemon::{Daemon, Serve},
    gate::Gate,
    http,
    packet::Packet,
    peer::Peer,
    process,
};

/// `serve` with an admin socket, started.
fn start(serve: Serve) -> Daemon {
    let socket = serve.scratch().join("admin.sock");
    serve.option("--admin-socket", socket).start()
}

fn status(daemon: &Daemon) -> Value {
    let mut peer = Peer::unix(&daemon.scratch().join("admin.sock"));
    peer.send(http::request("GET", "/status"));
    peer.reply().expect(200).json()
}

#[test]
fn status_tells_how_many_wait_and_how_many_are_served() {
    for serve in [Serve::app("respond"), Serve::app("respond").on_tcp()] {
        let gate = Gate::new();
        let daemon = start(serve.option("--backlog", "64").gate(&gate));
        let queue = |length: u32| json!([{"address": daemon.address(), "length": length, "limit": 64}]);
        let before = status(&daemon);
        assert_eq!((&before["queues"], &before["threads"], &before["busy"]), (&queue(0), &json!(1), &json!(0)));
        let ask = |path: &str| {
            let mut peer = daemon.connect();
            peer.send(Packet::get(path).bytes());
            peer
        };
        let busy = ask("/gated");
        let held = gate.await_note("called");
        let waiting = [(); 3].map(|()| ask("/one"));
        assert!(process::eventually(|| status(&daemon)["queues"] == queue(3)), "{}", status(&daemon));
        assert_eq!(status(&daemon)["busy"], 1);
        held.open();
        for peer in waiting.into_iter().chain([busy]) {
            peer.reply().expect(200);
        }
        assert_eq!(status(&daemon)["queues"], queue(0));
    }
}

#[test]
fn a_daemon_with_nothing_to_do_sleeps() {
    let daemon = Serve::app("hello").start();
    daemon.get("/");
    let wakes = || process::sleeps(daemon.pid());
    // It looks on for a second after the last request.
    assert!(process::eventually(|| {
        let before = wakes();
        std::thread::sleep(Duration::from_millis(500));
        wakes() == before
    }));
}
