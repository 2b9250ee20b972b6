//! systemd knows how the service is, opens its sockets, and keeps them when it dies.

use std::{
    net::TcpListener,
    os::{fd::AsFd, unix::net::UnixListener},
    path::Path,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::support::{
    DEADLINE,
    daemon::{Daemon, Serve, executable},
    gate::Gate,
    in_repository,
    packet::Packet,
    peer::Peer,
    process,
    scratch::Scratch,
    systemd::Systemd,
};

fn address(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// A daemon whose listening socket systemd keeps under `name`, and that socket.
struct Kept {
    daemon: Daemon,
    name: String,
    socket: std::os::fd::OwnedFd,
}

fn start_kept(systemd: &Systemd, serve: Serve, address: &str) -> Kept {
    let daemon = systemd.manage(serve.on(address)).env("FDSTORE", "8").start();
    let told = systemd.await_line("FDSTORE=1");
    let name = told.state.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap().to_owned();
    Kept { daemon, name, socket: told.descriptor.unwrap() }
}

#[test]
fn ready_is_told_when_the_application_is_loaded_and_not_before() {
    let (systemd, gate) = (Systemd::new(), Gate::new());
    let daemon = systemd.manage(Serve::app("hangs").gate(&gate)).spawn();
    let arrival = gate.await_note("importing");
    assert!(systemd.rest().iter().all(|told| !told.has("READY=1")));
    arrival.open();
    let told = systemd.await_line("READY=1");
    assert!(told.has(&format!("MAINPID={}", daemon.pid())), "{told:?}");
    assert!(told.has("STATUS=1 of 1 worker ready, application hangs:application"), "{told:?}");
    daemon.get("/");
    daemon.stop();
}

#[test]
fn ready_is_not_told_when_the_application_cannot_be_loaded() {
    let systemd = Systemd::new();
    systemd.manage(Serve::app("no_such_module")).fail().expect(3);
    assert!(systemd.rest().iter().all(|told| !told.has("READY=1")));
}

#[test]
fn the_status_tells_of_a_worker_that_is_missing() {
    let systemd = Systemd::new();
    let daemon = systemd.manage(Serve::app("hello").workers(2)).start();
    systemd.await_line("STATUS=2 of 2 workers ready");
    process::signal(daemon.workers()[0], Signal::SIGKILL);
    systemd.await_line("STATUS=1 of 2 workers ready");
    let told = systemd.await_line("STATUS=2 of 2 workers ready");
    assert!(!told.has("READY=1"), "{told:?}");
}

#[test]
fn the_status_tells_that_no_worker_serves_and_of_what_the_last_one_died() {
    let systemd = Systemd::new();
    let daemon = systemd.manage(Serve::app("hello")).start();
    systemd.await_line("READY=1");
    process::signal(daemon.workers()[0], Signal::SIGKILL);
    systemd.await_line("STATUS=down: no worker serves (worker 1 died: SIGKILL); 0 of 1 worker ready");
    systemd.await_line("STATUS=1 of 1 worker ready");
    daemon.stop();
}

#[test]
fn stopping_is_told_before_requests_in_flight_have_finished() {
    let (systemd, gate) = (Systemd::new(), Gate::new());
    let daemon = systemd.manage(Serve::app("respond").gate(&gate)).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let arrival = gate.await_note("called");
    daemon.signal(Signal::SIGTERM);
    systemd.await_line("STOPPING=1");
    arrival.open();
    peer.reply().expect(200);
    daemon.wait().expect(0);
}

#[test]
fn a_reload_is_told_from_its_beginning_to_its_end() {
    let systemd = Systemd::new();
    let daemon = systemd.manage(Serve::app("hello")).start();
    systemd.await_line("READY=1");
    let before = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    daemon.signal(Signal::SIGHUP);
    let told = systemd.await_line("RELOADING=1");
    let began = told.state.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    // systemd takes a reload for its own when it is younger than the signal.
    assert!(began.parse::<i64>().unwrap() >= before.tv_sec * 1_000_000 + before.tv_nsec / 1000, "{told:?}");
    systemd.await_line("READY=1");
    daemon.log.await_line(&["reloaded: generation 2 serves"]);
    daemon.get("/");
    daemon.stop();
}

#[test]
fn a_reload_that_fails_ends_for_systemd_too_and_the_status_says_so() {
    let systemd = Systemd::new();
    let serve = Serve::bare("deployed").workers(1);
    serve.scratch().write("deployed.py", "def application(environ, start_response):\n    return []\n");
    let daemon = systemd.manage(serve).start();
    systemd.await_line("READY=1");
    daemon.scratch().write("deployed.py", "import no_such_module\n");
    daemon.signal(Signal::SIGHUP);
    systemd.await_line("RELOADING=1");
    let told = systemd.await_line("READY=1");
    assert!(told.has("STATUS=degraded: still serving generation 1"), "{told:?}");
    daemon.stop();
}

/// Upgrades `daemon` once systemd has heard that it is ready; returns the process in its place.
fn upgrade(systemd: &Systemd, daemon: &Daemon) -> i32 {
    systemd.await_line_of_main("READY=1", daemon.pid());
    daemon.signal(Signal::SIGUSR2);
    let main = systemd.await_line_of_main("MAINPID=", daemon.pid());
    assert_ne!(main, daemon.pid());
    assert!(process::has_ended(daemon.pid(), DEADLINE));
    main
}

#[test]
fn in_an_upgrade_only_the_main_process_speaks_and_names_the_next() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let script = format!("WATCHDOG_PID=$$ exec {:?} \"$@\"\n", executable());
    let serve = Serve::run_by("sh", &scratch.write("watched", &script), "hello").workers(1);
    let apps = in_repository("tests/apps");
    let daemon = systemd.manage(serve).option("--pythonpath", apps).env("WATCHDOG_USEC", "400000").start();
    assert_eq!(systemd.await_line_of_main("READY=1", daemon.pid()), daemon.pid());
    daemon.signal(Signal::SIGUSR2);
    let main = systemd.await_line_of_main("STATUS=upgrading: pid ", daemon.pid());
    let main = systemd.await_line_of_main("MAINPID=", main);
    assert_ne!(main, daemon.pid());
    assert_eq!(systemd.await_line_of_main("READY=1", main), main);
    assert!(process::has_ended(daemon.pid(), DEADLINE));
    for _ in 0..3 {
        assert_eq!(systemd.await_line_of_main("WATCHDOG=1", main), main);
    }
    daemon.get("/");
    process::signal(main, Signal::SIGTERM);
    systemd.await_line_of_main("STOPPING=1", main);
    daemon.wait().expect(0);
}

#[test]
fn an_upgrade_that_fails_leaves_the_main_process_as_it_is() {
    let systemd = Systemd::new();
    let serve = Serve::bare("deployed").workers(1);
    serve.scratch().write("deployed.py", "def application(environ, start_response):\n    return []\n");
    let daemon = systemd.manage(serve).start();
    systemd.await_line_of_main("READY=1", daemon.pid());
    daemon.scratch().write("deployed.py", "import no_such_module\n");
    daemon.signal(Signal::SIGUSR2);
    assert_eq!(systemd.await_line_of_main("STATUS=upgrade failed; 1 of 1 worker ready", daemon.pid()), daemon.pid());
    daemon.stop();
}

#[test]
fn passed_sockets_are_served_after_an_upgrade_and_stay_systemds() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let path = scratch.join("web.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let daemon = systemd.pass("hello", &[("web", unix.as_fd())]).activated_on(&address(&path)).start();
    let next = upgrade(&systemd, &daemon);
    daemon.get("/");
    assert_eq!(daemon.log.with(&["listening on"]).len(), 2);
    assert_eq!(daemon.log.with(&["WARN"]), [""; 0]);
    process::signal(next, Signal::SIGTERM);
    assert!(process::has_ended(next, DEADLINE));
    assert!(path.exists(), "the socket's file belongs to systemd");
}

#[test]
fn a_kept_socket_comes_back_after_an_upgrade_too() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let address = address(&scratch.join("web.sock"));
    let Kept { daemon, name, socket } = start_kept(&systemd, Serve::app("hello"), &address);
    let upgraded = upgrade(&systemd, &daemon);
    process::signal(upgraded, Signal::SIGKILL);
    daemon.log.await_end();
    let mut between = daemon.connect();
    between.send(Packet::get("/").bytes());
    let next = systemd.pass("hello", &[(&name, socket.as_fd())]).env("FDSTORE", "8").on(&address).start();
    between.reply().expect(200);
    next.log.await_line(&["listening on", &address, "passed by systemd"]);
    assert!(systemd.rest().iter().all(|told| !told.has("FDSTOREREMOVE=1")));
}

#[test]
fn the_watchdog_is_fed_in_half_its_time_while_no_request_moves() {
    let (systemd, gate) = (Systemd::new(), Gate::new());
    let watched = systemd.manage(Serve::app("respond").gate(&gate)).env("WATCHDOG_USEC", "1000000");
    let daemon = watched.start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let _arrival = gate.await_note("called");
    systemd.rest();
    let fed: Vec<_> = (0..4).map(|_| systemd.await_line("WATCHDOG=1").at).collect();
    let pauses: Vec<_> = fed.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause < Duration::from_millis(900)), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause > Duration::from_millis(100)), "{pauses:?}");
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let systemd = Systemd::new();
    let serve = systemd.manage(Serve::app("hello")).env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    serve.start().stop();
    assert!(systemd.rest().iter().all(|told| !told.has("WATCHDOG=1")));
}

#[test]
fn a_notify_socket_that_is_not_there_costs_a_warning() {
    let daemon = Serve::app("hello").env("NOTIFY_SOCKET", "/nowhere/notify").start();
    daemon.log.await_line(&["WARN", "NOTIFY_SOCKET=/nowhere/notify"]);
    daemon.get("/");
}

#[test]
fn passed_sockets_are_served_in_place_of_the_default() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let path = scratch.join("web.sock");
    let (unix, tcp) = (UnixListener::bind(&path).unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = tcp.local_addr().unwrap();
    let daemon =
        systemd.pass("hello", &[("web", unix.as_fd()), ("metrics", tcp.as_fd())]).activated_on(&address(&path)).start();
    for _ in 0..3 {
        daemon.get("/");
        Peer::tcp(&port.to_string()).ask(&Packet::get("/")).expect(200);
    }
    daemon.log.await_line(&["listening on", &address(&path), "web"]);
    daemon.log.await_line(&["listening on", &port.to_string(), "metrics"]);
    assert_eq!(daemon.log.with(&["listening on"]).len(), 2);
    daemon.stop();
    assert!(path.exists(), "the socket's file belongs to systemd");
}

#[test]
fn a_request_that_came_before_the_daemon_is_served() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let path = scratch.join("web.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let mut early = Peer::unix(&path);
    early.send(Packet::get("/").bytes());
    let _daemon = systemd.pass("hello", &[("web", unix.as_fd())]).activated_on(&address(&path)).start();
    early.reply().expect(200);
}

#[test]
fn a_socket_that_is_passed_and_named_is_opened_once() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let path = scratch.join("web.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let other = scratch.join("other.sock");
    let serve = systemd.pass("hello", &[("web", unix.as_fd())]).on(&address(&path));
    let daemon = serve.option("--socket", address(&other)).start();
    daemon.get("/");
    Peer::unix(&other).ask(&Packet::get("/")).expect(200);
    assert_eq!(daemon.log.with(&["listening on"]).len(), 2);
    daemon.stop();
    assert!(path.exists() && !other.exists());
}

#[test]
fn the_application_learns_nothing_of_systemd() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let path = scratch.join("web.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let serve = systemd.pass("surroundings", &[("web", unix.as_fd())]).env("WATCHDOG_USEC", "9000000");
    let facts = serve.env("FDSTORE", "1").activated_on(&address(&path)).start().get("/").json();
    let inherited = facts["inherited"].as_str().unwrap();
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "FDSTORE"] {
        assert!(facts["environment"].get(name).is_none(), "{name} is in os.environ");
        assert!(!inherited.contains(&format!("{name}=")), "{name} is inherited");
    }
}

#[test]
fn programs_of_the_application_inherit_no_passed_socket() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let path = scratch.join("web.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let daemon = systemd.pass("respond", &[("web", unix.as_fd())]).activated_on(&address(&path)).start();
    let shown = daemon.get("/program").text();
    assert!(!shown.contains("socket:"), "{shown}");
}

#[test]
fn sockets_meant_for_another_process_are_left_alone() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let path = scratch.join("web.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let daemon = systemd.pass("hello", &[("web", unix.as_fd())]).env("LISTEN_PID", "1").start();
    daemon.log.await_line(&["WARN", "LISTEN_PID=1"]);
    daemon.get("/");
    assert_eq!(daemon.log.with(&["listening on"]).len(), 1);
}

#[test]
fn what_is_passed_and_is_no_listening_socket_is_refused() {
    let (systemd, gate) = (Systemd::new(), Gate::new());
    let connected = std::os::unix::net::UnixStream::connect(gate.path()).unwrap();
    let refused = systemd.pass("hello", &[("web", connected.as_fd())]).fail().expect(1);
    refused.expect_log("descriptor 3 (web): not a listening stream socket");
    let file = std::fs::File::open("/dev/null").unwrap();
    let refused = systemd.pass("hello", &[("web", file.as_fd())]).fail().expect(1);
    refused.expect_log("descriptor 3 (web): not a listening stream socket");
}

#[test]
fn a_killed_supervisor_gets_its_socket_back_and_nobody_is_refused() {
    let (systemd, gate, scratch) = (Systemd::new(), Gate::new(), Scratch::new());
    let address = address(&scratch.join("web.sock"));
    let Kept { daemon, name, socket } = start_kept(&systemd, Serve::app("respond").gate(&gate), &address);
    let mut in_flight = daemon.connect();
    in_flight.send(Packet::get("/gated").bytes());
    let arrival = gate.await_note("called");
    daemon.signal(Signal::SIGKILL);
    daemon.log.await_line(&["the supervisor has died: draining"]);
    let mut between = daemon.connect();
    between.send(Packet::get("/one").bytes());
    arrival.open();
    in_flight.reply().expect(200).expect_body("let through");
    daemon.log.await_end();
    let mut late = daemon.connect();
    late.send(Packet::get("/one").bytes());
    let next = systemd.pass("respond", &[(&name, socket.as_fd())]).env("FDSTORE", "8").on(&address).start();
    between.reply().expect(200);
    late.reply().expect(200);
    next.get("/one");
    next.log.await_line(&["listening on", &address, "passed by systemd"]);
    assert!(systemd.rest().iter().all(|told| !told.has("FDSTOREREMOVE=1")));
}

#[test]
fn a_restart_with_a_kept_socket_refuses_nobody() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let address = address(&scratch.join("web.sock"));
    let Kept { daemon, name, socket } = start_kept(&systemd, Serve::app("hello"), &address);
    let path = daemon.socket();
    daemon.stop();
    let mut between = Peer::unix(&path);
    between.send(Packet::get("/").bytes());
    let _next = systemd.pass("hello", &[(&name, socket.as_fd())]).on(&address).start();
    between.reply().expect(200);
}

#[test]
fn a_kept_tcp_socket_comes_back_too() {
    let systemd = Systemd::new();
    let address = format!("127.0.0.1:{}", process::free_port());
    let Kept { daemon, name, socket } = start_kept(&systemd, Serve::app("hello"), &address);
    daemon.signal(Signal::SIGKILL);
    daemon.log.await_end();
    let mut between = Peer::tcp(&address);
    between.send(Packet::get("/").bytes());
    let _next = systemd.pass("hello", &[(&name, socket.as_fd())]).on(&address).start();
    between.reply().expect(200);
}

#[test]
fn a_kept_socket_that_nobody_asks_for_any_more_is_let_go() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let old = address(&scratch.join("old.sock"));
    let Kept { daemon, name, socket } = start_kept(&systemd, Serve::app("hello"), &old);
    daemon.stop();
    systemd.rest();
    let next = systemd.pass("hello", &[(&name, socket.as_fd())]).start();
    let told = systemd.await_line("FDSTOREREMOVE=1");
    assert!(told.has(&format!("FDNAME={name}")), "{told:?}");
    next.get("/");
    assert_eq!(next.log.with(&["listening on"]).len(), 1);
}

#[test]
fn a_kept_socket_whose_file_is_gone_is_bound_anew() {
    let (systemd, scratch) = (Systemd::new(), Scratch::new());
    let address = address(&scratch.join("web.sock"));
    let Kept { daemon, name, socket } = start_kept(&systemd, Serve::app("hello"), &address);
    std::fs::remove_file(daemon.socket()).unwrap();
    daemon.stop();
    systemd.rest();
    let next = systemd.pass("hello", &[(&name, socket.as_fd())]).on(&address).start();
    systemd.await_line("FDSTOREREMOVE=1");
    next.get("/");
}

#[test]
fn without_a_store_nothing_is_kept_and_the_file_is_removed() {
    let systemd = Systemd::new();
    let daemon = systemd.manage(Serve::app("hello")).start();
    let path = daemon.socket();
    daemon.stop();
    assert!(systemd.rest().iter().all(|told| !told.has("FDSTORE=1")));
    assert!(!path.exists());
}
