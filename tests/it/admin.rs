//! The admin socket answers at once, whatever the workers are doing, and its subcommands use it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    daemon::{Daemon, Serve, executable},
    gate::{Arrival, Gate},
    http,
    packet::Packet,
    peer::Peer,
    process,
    reply::Reply,
    scratch::Scratch,
};

const GOOD: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'good']\n";

fn socket(scratch: &Scratch) -> PathBuf {
    scratch.join("admin.sock")
}

/// `serve` with an admin socket, started.
fn start(serve: Serve) -> Daemon {
    let socket = socket(serve.scratch());
    serve.option("--admin-socket", socket).start()
}

fn deployed() -> Serve {
    let serve = Serve::app("deployed");
    serve.scratch().write("deployed.py", GOOD);
    serve
}

fn ask(daemon: &Daemon, method: &str, target: &str) -> Reply {
    let mut peer = Peer::unix(&socket(daemon.scratch()));
    peer.send(http::request(method, target));
    peer.reply()
}

fn status(daemon: &Daemon) -> Value {
    ask(daemon, "GET", "/status").expect(200).json()
}

/// Runs `rusgi` with these arguments and the daemon's admin socket.
fn rusgi(daemon: &Daemon, arguments: &[&str]) -> Output {
    let mut command = Command::new(executable());
    command.args(arguments).env("RUSGI_ADMIN_SOCKET", socket(daemon.scratch())).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs it and expects that it succeeds; returns what it printed.
fn succeed(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = rusgi(daemon, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn hold(daemon: &Daemon, gate: &Gate) -> (Peer, Arrival) {
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    (peer, gate.await_arrival())
}

#[test]
fn there_is_no_admin_socket_unless_it_is_asked_for() {
    let daemon = Serve::app("hello").start();
    assert!(!socket(daemon.scratch()).exists());
}

#[test]
fn the_socket_is_for_its_owner_and_goes_with_the_daemon() {
    let daemon = start(Serve::app("hello"));
    let path = socket(daemon.scratch());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    daemon.get("/");
    daemon.signal(Signal::SIGHUP);
    daemon.log.await_line(&["reloaded:"]);
    assert!(path.exists());
    daemon.signal(Signal::SIGTERM).await_stopping();
    assert!(process::eventually(|| !path.exists()));
    daemon.wait().expect(0);
}

#[test]
fn a_live_admin_socket_is_not_taken_over() {
    let daemon = start(Serve::app("hello"));
    let rival = Serve::app("hello").option("--admin-socket", socket(daemon.scratch()));
    rival.fail().expect(1).expect_log("--admin-socket: ");
    assert_eq!(status(&daemon)["state"], "ready");
}

#[test]
fn status_tells_what_there_is() {
    let daemon = start(Serve::app("hello").workers(2));
    let status = status(&daemon);
    assert_eq!((&status["pid"], &status["wanted"]), (&json!(daemon.pid()), &json!(2)));
    assert_eq!(
        (&status["generation"], &status["candidate"], &status["degraded"]),
        (&json!(1), &json!(null), &json!(null))
    );
    let pids: Vec<_> = status["workers"].as_array().unwrap().iter().map(|worker| worker["pid"].clone()).collect();
    assert_eq!(json!(pids), json!(daemon.workers()));
    for worker in status["workers"].as_array().unwrap() {
        assert_eq!((&worker["state"], &worker["generation"]), (&json!("ready"), &json!(1)));
        assert!(worker["age"].as_f64().is_some(), "{worker}");
    }
}

#[test]
fn answers_come_while_every_worker_is_busy_or_stopped() {
    let gate = Gate::new();
    let daemon = start(Serve::app("process").gate(&gate));
    let (_peer, _arrival) = hold(&daemon, &gate);
    let worker = daemon.workers()[0];
    process::signal(worker, Signal::SIGSTOP);
    ask(&daemon, "GET", "/livez").expect(200).expect_body("alive\n");
    ask(&daemon, "GET", "/readyz").expect(200).expect_body("ready\n");
    assert_eq!(status(&daemon)["workers"][0]["pid"], worker);
    process::signal(worker, Signal::SIGCONT);
}

#[test]
fn ready_means_that_the_application_is_loaded() {
    let gate = Gate::new();
    let serve = Serve::app("hangs").gate(&gate);
    let path = socket(serve.scratch());
    let daemon = serve.option("--admin-socket", path).spawn();
    let arrival = gate.await_arrival();
    ask(&daemon, "GET", "/readyz").expect(503);
    ask(&daemon, "GET", "/livez").expect(200);
    assert_eq!(status(&daemon)["state"], "starting");
    arrival.open();
    daemon.log.await_line(&["ready:"]);
    ask(&daemon, "GET", "/readyz").expect(200);
}

#[test]
fn a_stopping_daemon_is_alive_and_not_ready() {
    let gate = Gate::new();
    let daemon = start(Serve::app("process").gate(&gate));
    let (peer, arrival) = hold(&daemon, &gate);
    assert_eq!(succeed(&daemon, &["stop"]), "stopping: requests in flight are finished first\n");
    daemon.await_stopping();
    ask(&daemon, "GET", "/livez").expect(200);
    ask(&daemon, "GET", "/readyz").expect(503);
    assert_eq!(status(&daemon)["workers"][0]["state"], "draining");
    assert_eq!(text(&rusgi(&daemon, &["reload"]).stderr), "rusgi: no reload: rusgi is stopping\n");
    assert_eq!(text(&rusgi(&daemon, &["scale", "3"]).stderr), "rusgi: nothing is scaled: rusgi is stopping\n");
    arrival.open();
    peer.reply().expect(200);
    daemon.wait().expect(0);
}

#[test]
fn a_second_stop_says_that_it_cuts_what_the_first_one_lets_finish() {
    let gate = Gate::new();
    let daemon = start(Serve::app("process").gate(&gate));
    let (peer, _arrival) = hold(&daemon, &gate);
    succeed(&daemon, &["stop"]);
    daemon.await_stopping();
    assert_eq!(succeed(&daemon, &["stop"]), "stopping at once: what was still in flight is cut\n");
    peer.reply().expect_reset();
    daemon.wait().expect(0);
}

#[test]
fn what_nobody_understands_is_refused_politely() {
    let daemon = start(Serve::app("hello"));
    ask(&daemon, "GET", "/nothing").expect(404);
    ask(&daemon, "GET", "/reload").expect(405);
    ask(&daemon, "POST", "/status").expect(405);
    ask(&daemon, "POST", "/scale").expect(400);
    ask(&daemon, "POST", "/scale?workers=0").expect(400);
    let mut peer = Peer::unix(&socket(daemon.scratch()));
    peer.send(Packet::get("/").bytes());
    peer.reply().expect(400);
    assert_eq!(status(&daemon)["generation"], 1);
}

#[test]
fn visitors_who_say_nothing_keep_nobody_waiting() {
    let daemon = start(Serve::app("hello"));
    let before = process::descriptors(daemon.pid());
    let mut silent: Vec<_> = (0..20).map(|_| Peer::unix(&socket(daemon.scratch()))).collect();
    for peer in &mut silent {
        peer.send("GET /sta");
    }
    assert_eq!(status(&daemon)["state"], "ready");
    assert!(process::descriptors(daemon.pid()) >= before + 20);
    drop(silent);
    assert!(process::eventually(|| process::descriptors(daemon.pid()) == before));
}

#[test]
fn reload_wait_returns_when_the_new_code_serves() {
    let daemon = start(deployed());
    daemon.scratch().write("deployed.py", &GOOD.replace("good", "better"));
    let said = succeed(&daemon, &["reload", "--wait"]);
    assert!(said.starts_with("reloaded in ") && said.ends_with("s: generation 2 serves\n"), "{said}");
    assert_eq!(status(&daemon)["generation"], 2);
    assert!(process::eventually(|| daemon.get("/").text() == "better"));
}

#[test]
fn reload_wait_prints_the_traceback_of_code_that_cannot_be_loaded() {
    let daemon = start(deployed());
    daemon.scratch().write("deployed.py", "def broken(:\n");
    let output = rusgi(&daemon, &["reload", "--wait"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("SyntaxError") && said.contains("deployed.py"), "{said}");
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("rusgi: the reload failed after ") && !first.contains('{'), "{said}");
    assert!(first.ends_with("; the old code goes on serving (generation 1, 1 of 1 workers ready):"), "{said}");
    daemon.get("/").expect_body("good");
    let degraded = status(&daemon)["degraded"].clone();
    assert_eq!(degraded["generation"], 2);
    assert!(degraded["reason"].as_str().unwrap().contains("SyntaxError"), "{degraded}");
    let said = succeed(&daemon, &["status"]);
    assert!(said.contains("degraded: generation 2 was discarded, still serving generation 1"), "{said}");
    daemon.scratch().write("deployed.py", GOOD);
    succeed(&daemon, &["reload", "--wait"]);
    assert_eq!((&status(&daemon)["degraded"], &status(&daemon)["generation"]), (&json!(null), &json!(3)));
}

#[test]
fn programs_get_json_of_an_order_that_succeeds_and_of_one_that_fails() {
    let daemon = start(deployed());
    let json = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    assert_eq!(json(&rusgi(&daemon, &["reload", "--wait", "--json"])), json!({"generation": 2}));
    assert_eq!(json(&rusgi(&daemon, &["scale", "1", "--json"])), json!({"least": 1, "most": 1}));
    daemon.scratch().write("deployed.py", "def broken(:\n");
    let output = rusgi(&daemon, &["reload", "--wait", "--json"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), String::new()));
    let failure = json(&output);
    assert_eq!(failure["status"], 500);
    assert!(failure["text"].as_str().unwrap().contains("SyntaxError"), "{failure}");
}

#[test]
fn reload_wait_waits_for_the_reload_it_asked_for() {
    let gate = Gate::new();
    let daemon = start(deployed().gate(&gate));
    daemon.scratch().write("deployed.py", &format!("import gate; gate.reach('importing')\n{GOOD}"));
    succeed(&daemon, &["reload"]);
    let arrival = gate.await_note("importing");
    daemon.scratch().write("deployed.py", &GOOD.replace("good", "better"));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| succeed(&daemon, &["reload", "--wait"]));
        daemon.log.await_line(&["it follows the start that goes on"]);
        arrival.open();
        let said = waiting.join().unwrap();
        assert!(said.contains("generation 3 serves"), "{said}");
    });
}

#[test]
fn a_stop_ends_the_wait_for_a_reload() {
    let gate = Gate::new();
    let daemon = start(deployed().gate(&gate));
    daemon.scratch().write("deployed.py", "import gate; gate.reach('importing')");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| rusgi(&daemon, &["reload", "--wait"]));
        let _arrival = gate.await_note("importing");
        daemon.signal(Signal::SIGTERM);
        let output = waiting.join().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        assert_eq!(text(&output.stderr), "rusgi: no reload: rusgi is stopping\n");
    });
    daemon.wait().expect(0);
}

#[test]
fn scale_changes_the_number_of_workers() {
    let daemon = start(Serve::app("hello"));
    for count in [3, 1] {
        let said = succeed(&daemon, &["scale", &count.to_string()]);
        assert!(said.starts_with(&format!("scaling to {count} worker")), "{said}");
        assert!(process::eventually(|| daemon.workers().len() == count));
    }
    assert_eq!(rusgi(&daemon, &["scale", "0"]).status.code(), Some(78));
}

#[test]
fn ping_asks_the_admin_socket_or_a_worker() {
    let daemon = start(Serve::app("hello"));
    assert_eq!(succeed(&daemon, &["ping"]), "alive\n");
    succeed(&daemon, &["ping", daemon.address()]);
    let tcp = Serve::app("hello").on_tcp().start();
    succeed(&daemon, &["ping", tcp.address()]);
    let output = rusgi(&daemon, &["ping", "unix:/nowhere/at/all.sock"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nowhere/at/all.sock"), "{}", text(&output.stderr));
}

#[test]
fn a_ping_that_nobody_answers_fails_in_time() {
    let gate = Gate::new();
    let daemon = start(Serve::app("process").gate(&gate));
    let (_peer, _arrival) = hold(&daemon, &gate);
    let output = rusgi(&daemon, &["ping", daemon.address(), "--timeout", "200ms"]);
    assert_eq!(output.status.code(), Some(1));
    succeed(&daemon, &["ping"]);
}

#[test]
fn a_subcommand_without_a_daemon_says_so() {
    for arguments in [&["status"][..], &["reload"], &["stop"], &["scale", "2"], &["ping"]] {
        let mut command = Command::new(executable());
        let output = command.args(arguments).args(["--admin-socket", "/nowhere/admin.sock"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains("/nowhere/admin.sock") && said.contains("is rusgi running"), "{said}");
    }
    assert!(!Path::new("/nowhere").exists());
}
