//! The admin address answers probes over TCP, takes no orders, and no visitor can keep it from the others; where systemd has made
//! a directory for the service, the admin socket is in it unasked.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{
    daemon::{Daemon, Serve, executable},
    gate::Gate,
    http,
    packet::Packet,
    peer::Peer,
    process,
    reply::Reply,
    systemd::Systemd,
};

/// `serve` with an admin address on the loopback interface, started; and that address.
fn start(serve: Serve) -> (Daemon, String) {
    let address = format!("127.0.0.1:{}", process::free_port());
    (serve.option("--admin", &address).start(), address)
}

fn ask(address: &str, method: &str, target: &str) -> Reply {
    let mut peer = Peer::tcp(address);
    peer.send(http::request(method, target));
    peer.reply()
}

/// Runs `rusgi` with nothing said of an admin socket but this environment.
fn rusgi(arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(executable());
    command.args(arguments).env_remove("RUSGI_ADMIN_SOCKET").env_remove("RUNTIME_DIRECTORY");
    command.envs(environment.iter().copied()).output().unwrap()
}

#[test]
fn probes_are_answered_over_tcp() {
    let (daemon, address) = start(Serve::app("hello"));
    ask(&address, "GET", "/livez").expect(200).expect_body("alive\n");
    ask(&address, "GET", "/readyz").expect(200).expect_body("ready\n");
    assert_eq!(ask(&address, "GET", "/status").expect(200).json()["pid"], json!(daemon.pid()));
    let mut head = Peer::tcp(&address);
    head.send(http::request("HEAD", "/readyz"));
    let head = head.reply();
    assert_eq!((head.code(), head.header("Content-Length").as_deref(), head.body()), (200, Some("6"), &b""[..]));
    daemon.log.await_line(&["admin address: ", &address, "takes no orders"]);
    daemon.stop();
}

#[test]
fn an_ipv6_address_and_a_name_can_be_given() {
    let port = process::free_port();
    for (given, bound) in [(format!("[::1]:{port}"), "[::1]"), (format!("localhost:{port}"), "127.0.0.1")] {
        let daemon = Serve::app("hello").env("RUSGI_ADMIN", given).start();
        ask(&format!("{bound}:{port}"), "GET", "/livez").expect(200);
        daemon.stop();
    }
}

#[test]
fn readiness_is_told_from_the_first_moment_to_the_last() {
    let gate = Gate::new();
    let address = format!("127.0.0.1:{}", process::free_port());
    let daemon = Serve::app("hangs").option("--admin", &address).gate(&gate).spawn();
    let arrival = gate.await_arrival();
    ask(&address, "GET", "/livez").expect(200);
    ask(&address, "GET", "/readyz").expect(503);
    arrival.open();
    daemon.log.await_line(&["ready:"]);
    ask(&address, "GET", "/readyz").expect(200);
    daemon.stop();
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn no_order_is_taken_over_tcp() {
    let (daemon, address) = start(Serve::app("hello"));
    let workers = daemon.workers();
    for order in ["/reload", "/reload?wait", "/stop", "/upgrade", "/scale?workers=3"] {
        for method in ["POST", "GET", "PUT"] {
            let reply = ask(&address, method, order).expect(403);
            assert!(reply.text().contains("--admin-socket"), "{}", reply.text());
        }
    }
    let reply = ask(&address, "POST", "/status").expect(405);
    assert_eq!(reply.header("Allow").as_deref(), Some("GET, HEAD"));
    let status = ask(&address, "GET", "/status").expect(200).json();
    assert_eq!((&status["generation"], &status["wanted"], &status["state"]), (&json!(1), &json!(1), &json!("ready")));
    assert_eq!(daemon.workers(), workers);
}

#[test]
fn every_probe_is_answered_while_rusgi_itself_is_replaced() {
    let (daemon, address) = start(Serve::app("hello"));
    daemon.signal(Signal::SIGUSR2);
    let successor = || {
        ask(&address, "GET", "/readyz").expect(200);
        let pid = ask(&address, "GET", "/status").expect(200).json()["pid"].as_i64().unwrap();
        i32::try_from(pid).ok().filter(|pid| *pid != daemon.pid())
    };
    assert!(process::eventually(|| successor().is_some()), "{}", daemon.log.text());
    process::signal(successor().unwrap(), Signal::SIGTERM);
    assert!(process::eventually(|| TcpStream::connect(&address).is_err()));
    daemon.wait().expect(0);
}

#[test]
fn a_crowd_of_slow_visitors_keeps_no_probe_and_no_request_waiting() {
    let (daemon, address) = start(Serve::app("hello"));
    let before = process::descriptors(daemon.pid());
    let mut crowd: Vec<_> = (0..200).map(|_| Peer::tcp(&address)).collect();
    for (number, peer) in crowd.iter_mut().enumerate() {
        // Some say nothing whole, some ask and never take the answer.
        peer.send(if number % 2 == 0 { "G".to_owned() } else { http::request("GET", "/status") });
    }
    for byte in ["E", "T", " ", "/"] {
        // The supervisor may have closed those that came first.
        crowd.iter_mut().step_by(2).for_each(|peer| drop(peer.try_send(byte.as_bytes())));
        let begun = Instant::now();
        ask(&address, "GET", "/livez").expect(200);
        daemon.get("/").expect_body("Hello, world!\n");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    assert!(process::descriptors(daemon.pid()) <= before + 64, "{}", process::descriptors(daemon.pid()));
    drop(crowd);
    assert!(process::eventually(|| process::descriptors(daemon.pid()) == before));
    daemon.stop();
}

#[test]
fn what_is_not_http_is_told_so() {
    let (daemon, address) = start(Serve::app("hello"));
    let mut peer = Peer::tcp(&address);
    peer.send(Packet::get("/").bytes());
    peer.reply().expect(400);
    ask(&address, "GET", "/nothing").expect(404);
    daemon.stop();
}

#[test]
fn an_address_that_cannot_be_had_ends_the_start() {
    let (daemon, address) = start(Serve::app("hello"));
    Serve::app("hello").option("--admin", &address).fail().expect(1).expect_log("--admin: ");
    Serve::app("hello").option("--admin", "unix:/run/x.sock").fail().expect(78).expect_log("--admin-socket");
    daemon.stop();
}

#[test]
fn a_service_with_a_runtime_directory_has_an_admin_socket_in_it() {
    let systemd = Systemd::new();
    let serve = systemd.manage(Serve::app("hello"));
    let directory = serve.scratch().join("run");
    fs::create_dir(&directory).unwrap();
    let daemon = serve.env("RUNTIME_DIRECTORY", &directory).start();
    let status = rusgi(&["status", "--json"], &[("RUNTIME_DIRECTORY", &directory)]);
    assert!(String::from_utf8_lossy(&status.stdout).contains(&format!("\"pid\":{}", daemon.pid())), "{status:?}");
    // A name that is given is stronger than the directory.
    let elsewhere = daemon.scratch().join("elsewhere.sock");
    let lost = rusgi(&["status"], &[("RUNTIME_DIRECTORY", &directory), ("RUSGI_ADMIN_SOCKET", &elsewhere)]);
    assert_eq!(lost.status.code(), Some(1), "{lost:?}");
    let nowhere = rusgi(&["status"], &[]);
    assert_eq!(nowhere.status.code(), Some(78), "{nowhere:?}");
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("--admin-socket PATH"), "{nowhere:?}");
    daemon.stop();
    assert!(!directory.join("admin.sock").exists());
}

#[test]
fn an_admin_socket_nobody_asked_for_is_done_without_where_it_cannot_be_made() {
    let serve = Serve::app("hello");
    let directory = serve.scratch().join("run");
    // Something else has the name.
    fs::create_dir_all(directory.join("admin.sock")).unwrap();
    for directory in [directory, serve.scratch().join("missing")] {
        let daemon = Serve::app("hello").env("RUNTIME_DIRECTORY", &directory).start();
        daemon.get("/");
        assert_eq!((daemon.log.with(&["WARN"]), daemon.log.with(&["ERROR"])), (vec![], vec![]));
        daemon.stop();
    }
}

#[test]
fn a_probe_for_which_there_is_no_descriptor_costs_nothing_and_comes_in_later() {
    let (daemon, address) = start(Serve::app("hello"));
    let is_free = |number: &usize| !Path::new(&format!("/proc/{}/fd/{number}", daemon.pid())).exists();
    limit_open_files(&daemon, (0..).find(is_free).unwrap());
    let mut peer = Peer::tcp(&address);
    peer.send(http::request("GET", "/livez"));
    daemon.log.await_line(&["nobody can come in", "raise the limit on open files"]);
    limit_open_files(&daemon, 1024);
    peer.reply().expect(200);
    let log = daemon.stop().log;
    assert!(log.matches("nobody can come in").count() < 5, "{log}");
}

/// Only the supervisor's: the rest goes on.
fn limit_open_files(daemon: &Daemon, most: usize) {
    let (pid, limit) = (daemon.pid().to_string(), format!("--nofile={most}:"));
    assert!(Command::new("prlimit").args(["--pid", &pid, &limit]).status().unwrap().success());
}
