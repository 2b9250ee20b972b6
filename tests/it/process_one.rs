//! As process 1 of a container the daemon stops as asked, says how it ended, and buries the dead.

use nix::{sys::signal::Signal, unistd::Uid};

use crate::support::{
    daemon::{Daemon, Serve, executable},
    gate::Gate,
    http, in_repository,
    packet::Packet,
    peer::Peer,
    process,
    scratch::Scratch,
};

/// Serves `target` as process 1 of a process namespace; without root, of a user namespace as well.
fn serve(scratch: &Scratch, target: &str) -> Serve {
    let user = if Uid::effective().is_root() { "" } else { "--user --map-root-user " };
    let script = format!("exec unshare {user}--pid --fork --mount-proc {:?} \"$@\"\n", executable());
    let script = scratch.write("as-process-1", &script);
    Serve::run_by("sh", &script, target).option("--pythonpath", in_repository("tests/apps")).workers(1)
}

/// The daemon below `unshare`.
fn process_one(daemon: &Daemon) -> i32 {
    process::children(daemon.pid())[0]
}

#[test]
fn term_finishes_requests_and_stops() {
    let (scratch, gate) = (Scratch::new(), Gate::new());
    let daemon = serve(&scratch, "respond").gate(&gate).start();
    daemon.log.await_line(&["ready:", "pid 1"]);
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let arrival = gate.await_note("called");
    process::signal(process_one(&daemon), Signal::SIGTERM);
    daemon.await_stopping();
    arrival.open();
    peer.reply().expect(200);
    let socket = daemon.socket();
    daemon.wait().expect(0);
    assert!(!socket.exists());
}

#[test]
fn term_while_the_application_hangs_in_its_import_stops() {
    let (scratch, gate) = (Scratch::new(), Gate::new());
    let daemon = serve(&scratch, "hangs").gate(&gate).spawn();
    let _arrival = gate.await_note("importing");
    process::signal(process_one(&daemon), Signal::SIGTERM);
    daemon.wait().expect(0);
}

#[test]
fn what_applications_leave_behind_is_buried() {
    let scratch = Scratch::new();
    let daemon = serve(&scratch, "surroundings").start();
    let orphans: Vec<_> = (0..3).map(|_| daemon.get("/orphan").text()).collect();
    for orphan in orphans {
        let is_gone = || daemon.get(&format!("/exists?{orphan}")).text() == "false";
        assert!(process::eventually(is_gone), "process {orphan} was not collected");
    }
}

#[test]
fn exit_codes_are_those_of_any_process() {
    let scratch = Scratch::new();
    serve(&scratch, "no_such_module").fail().expect(3);
    serve(&scratch, "hello").option("--threads", "none").fail().expect(78);
    serve(&scratch, "hello").option("--socket", "unix:/nowhere/app.sock").fail().expect(1);
}

#[test]
fn an_upgrade_is_refused_because_the_container_would_end() {
    let scratch = Scratch::new();
    let admin = scratch.join("admin.sock");
    let daemon = serve(&scratch, "hello").option("--admin-socket", &admin).start();
    process::signal(process_one(&daemon), Signal::SIGUSR2);
    daemon
        .log
        .await_line(&["upgrade refused: rusgi is process 1 of its container", "start a container of the new image"]);
    let mut visitor = Peer::unix(&admin);
    visitor.send(http::request("POST", "/upgrade?wait"));
    let refused = visitor.reply().expect(409);
    assert!(refused.text().contains("process 1"), "{}", refused.text());
    daemon.get("/");
}

#[test]
fn a_killed_worker_is_replaced() {
    let scratch = Scratch::new();
    let daemon = serve(&scratch, "process").start();
    let before = daemon.get("/").json();
    let forkserver = process::children(process_one(&daemon))[0];
    process::signal(process::children(forkserver)[0], Signal::SIGKILL);
    daemon.log.await_line(&["died", "SIGKILL"]);
    assert_ne!(daemon.get("/").json()["pid"], before["pid"]);
}

#[test]
fn signals_that_are_not_for_workers_are_not_passed_on() {
    let scratch = Scratch::new();
    let daemon = serve(&scratch, "process").start();
    let before = daemon.get("/").json();
    for signal in [Signal::SIGUSR1, Signal::SIGWINCH, Signal::SIGCONT, Signal::SIGTTIN, Signal::SIGTTOU] {
        process::signal(process_one(&daemon), signal);
    }
    // The last of them has arrived, and so have all.
    daemon.log.await_line(&["scaling to 1 worker"]);
    let after = daemon.get("/").json();
    assert_eq!((&after["pid"], &after["signals"]), (&before["pid"], &0.into()));
}
