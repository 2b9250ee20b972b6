//! Whoever waits in a listen queue when nobody will accept any more is told so, unless somebody else keeps the queue.

use std::{
    fs,
    net::TcpListener,
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    DEADLINE,
    daemon::{Daemon, Serve},
    gate::{Arrival, Gate},
    http, in_repository,
    nginx::Nginx,
    packet::Packet,
    peer::Peer,
    process,
    scratch::Scratch,
    systemd::Systemd,
};

/// A request that the application holds at the gate.
fn hold(daemon: &Daemon, gate: &Gate) -> (Peer, Arrival) {
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    (peer, gate.await_note("called"))
}

/// A request that waits at `peer` for a desk that is not to be had.
fn wait_at(mut peer: Peer) -> Peer {
    peer.send(Packet::get("/one").bytes());
    peer
}

#[test]
fn whoever_waits_when_no_worker_accepts_any_more_is_told_so() {
    let (local, open) = (process::free_port(), process::free_port());
    let gate = Gate::new();
    let serve = Serve::app("respond").option("--socket", format!("127.0.0.1:{local}"));
    let daemon = serve.option("--socket", format!("0.0.0.0:{open}")).gate(&gate).start();
    let (peer, arrival) = hold(&daemon, &gate);
    let waiting = [daemon.connect(), daemon.connect(), Peer::tcp(&format!("127.0.0.1:{local}"))].map(wait_at);
    let elsewhere = wait_at(Peer::tcp(&format!("127.0.0.1:{open}")));
    let told = Instant::now();
    daemon.signal(Signal::SIGTERM).await_stopping();
    for one in waiting {
        let reply = one.reply().expect(503);
        assert_eq!(reply.header("Retry-After").as_deref(), Some("1"));
        assert_eq!(reply.text(), "503 Service Unavailable\n\nthe server is stopping: try again in a moment.\n");
    }
    // nginx on another machine tries its next server after a reset, and not after a 503.
    assert!(elsewhere.reply().expect_reset().is_empty());
    assert!(told.elapsed() > Duration::from_secs(1), "desks had no time to accept: {:?}", told.elapsed());
    assert!(peer.is_waiting());
    // By TCP they go on coming.
    wait_at(Peer::tcp(&format!("127.0.0.1:{local}"))).reply().expect(503);
    arrival.open();
    peer.reply().expect(200).expect_body("let through");
    let stopped = daemon.wait().expect(0);
    stopped.expect_log("connections that no worker accepted any more were turned away while stopping: 5");
}

#[test]
fn nginx_repeats_on_another_server_what_a_stopping_one_cannot_take() {
    let gate = Gate::new();
    let going = Serve::app("respond").on(&format!("0.0.0.0:{}", process::free_port())).gate(&gate).start();
    let staying = Serve::app("respond").on_tcp().start();
    let first = "    server 127.0.0.1:3031 max_fails=0;\n";
    let both = format!("{first}    server {} max_fails=0;\n", staying.address());
    let conf = fs::read_to_string(in_repository("nginx/tcp.conf")).unwrap().replace(first, &both);
    let scratch = Scratch::new();
    let nginx = Nginx::start(scratch.write("two.conf", &conf).to_str().unwrap(), &going);
    let (peer, arrival) = hold(&going, &gate);
    let mut client = nginx.connect();
    client.send(http::request("GET", "/one"));
    going.signal(Signal::SIGTERM);
    client.reply().expect(200).expect_body("one chunk");
    assert!(nginx.errors().contains("Connection reset by peer"), "{}", nginx.errors());
    arrival.open();
    peer.reply().expect(200);
    going.wait().expect(0);
}

#[test]
fn whoever_waits_when_a_daemon_stops_at_once_is_told_so_and_keeps_it_for_a_moment_only() {
    let gate = Gate::new();
    let daemon = Serve::app("respond").gate(&gate).start();
    let (_peer, _arrival) = hold(&daemon, &gate);
    // Neither says that it has nothing more to send.
    let waiting = [(); 300].map(|()| wait_at(daemon.connect()));
    let told = Instant::now();
    daemon.signal(Signal::SIGQUIT);
    daemon.wait().expect(0);
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    waiting.into_iter().for_each(|one| drop(one.reply().expect(503)));
}

#[test]
fn whoever_waits_for_a_start_that_fails_is_told_so() {
    let gate = Gate::new();
    let serve = Serve::bare("late").option("--pythonpath", in_repository("tests/apps")).gate(&gate);
    serve.scratch().write("late.py", "import gate; gate.reach('importing'); import no_such_module");
    let daemon = serve.workers(1).spawn();
    let arrival = gate.await_note("importing");
    let early = wait_at(daemon.connect());
    arrival.open();
    early.reply().expect(503);
    daemon.wait().expect(3);
}

#[test]
fn whoever_waits_at_a_socket_that_systemd_keeps_is_left_to_the_next_daemon() {
    let (systemd, gate, scratch) = (Systemd::new(), Gate::new(), Scratch::new());
    let address = format!("unix:{}", scratch.join("web.sock").display());
    let passed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = passed.local_addr().unwrap().to_string();
    let sockets = [("web", passed.as_fd())];
    let daemon = systemd.pass("respond", &sockets).env("FDSTORE", "8").on(&address).gate(&gate).start();
    let kept = systemd.await_line("FDSTORE=1");
    let name = kept.state.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap();
    let (busy, arrival) = hold(&daemon, &gate);
    let waiting = [daemon.connect(), Peer::tcp(&port)].map(wait_at);
    daemon.signal(Signal::SIGTERM).await_stopping();
    // Until long after the worker has ceased to accept.
    thread::sleep(Duration::from_millis(1300));
    arrival.open();
    busy.reply().expect(200);
    daemon.wait().expect(0);
    assert!(waiting.iter().all(Peer::is_waiting));
    let socket = kept.descriptor.unwrap();
    let sockets = [("web", passed.as_fd()), (name, socket.as_fd())];
    let _next = systemd.pass("respond", &sockets).env("FDSTORE", "8").on(&address).start();
    waiting.into_iter().for_each(|peer| drop(peer.reply().expect(200)));
}

#[test]
fn whoever_waits_is_left_to_the_new_process_and_told_when_that_stops() {
    let gate = Gate::new();
    let port = format!("127.0.0.1:{}", process::free_port());
    let daemon = Serve::app("respond").option("--socket", &port).gate(&gate).start();
    let (old, first) = hold(&daemon, &gate);
    let waiting = wait_at(Peer::tcp(&port));
    daemon.signal(Signal::SIGUSR2);
    waiting.reply().expect(200);
    let line = daemon.log.await_line(&["upgraded: pid ", "in place of"]);
    let next = line.split("upgraded: pid ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
    let (new, second) = hold(&daemon, &gate);
    let waiting = wait_at(Peer::tcp(&port));
    process::signal(next, Signal::SIGTERM);
    waiting.reply().expect(503);
    [first, second].into_iter().for_each(Arrival::open);
    [old, new].into_iter().for_each(|peer| drop(peer.reply().expect(200)));
    assert!(process::has_ended(next, DEADLINE));
    daemon.wait().expect(0);
}
