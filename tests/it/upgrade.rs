//! An upgrade puts another process in the place of the running one without a failed request, and one that fails costs nothing.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::support::{
    DEADLINE,
    daemon::{Daemon, Serve, executable},
    gate::Gate,
    http, load,
    nginx::Nginx,
    packet::Packet,
    peer::Peer,
    process,
    scratch::Scratch,
};

/// An application that answers `/gated` when a gate is opened, after running `first` while it is imported.
fn deploy(scratch: &Scratch, version: &str, first: &str) {
    let source = format!(
        "{first}
def application(environ, start_response):
    if environ['PATH_INFO'] == '/gated':
        import gate
        gate.reach('{version}')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'{version}']
"
    );
    scratch.write("deployed.py", &source);
}

/// Serves what is deployed, version `one` so far, with an admin socket.
fn prepared(serve: Serve) -> Serve {
    deploy(serve.scratch(), "one", "");
    let socket = admin_socket(serve.scratch());
    serve.option("--admin-socket", socket)
}

fn serve() -> Serve {
    prepared(Serve::app("deployed"))
}

fn admin_socket(scratch: &Scratch) -> PathBuf {
    scratch.join("admin.sock")
}

/// Upgrades the rusgi that runs as `pid`, waits until that has gone, and returns the process in its place.
fn upgrade(daemon: &Daemon, pid: i32) -> i32 {
    process::signal(pid, Signal::SIGUSR2);
    let next = await_upgrade(daemon, pid);
    assert!(process::has_ended(pid, DEADLINE), "pid {pid}, which was replaced, does not end");
    next
}

/// Waits until another process serves in place of `pid`, and returns that.
fn await_upgrade(daemon: &Daemon, pid: i32) -> i32 {
    let line = daemon.log.await_line(&["upgraded: pid", &format!("in place of pid {pid},")]);
    let number = line.split("upgraded: pid ").nth(1).unwrap();
    number.split(' ').next().unwrap().parse().unwrap()
}

/// Stops what runs as `pid`, and expects that everything has ended well.
fn finish(daemon: Daemon, pid: i32) {
    process::signal(pid, Signal::SIGTERM);
    assert!(process::has_ended(pid, DEADLINE), "pid {pid} does not end");
    daemon.wait().expect(0);
}

fn ask(daemon: &Daemon, method: &str, target: &str) -> crate::support::reply::Reply {
    let mut peer = Peer::unix(&admin_socket(daemon.scratch()));
    peer.send(http::request(method, target));
    peer.reply()
}

fn status(daemon: &Daemon) -> Value {
    ask(daemon, "GET", "/status").expect(200).json()
}

/// Runs `rusgi` with these arguments and the daemon's admin socket.
fn rusgi(daemon: &Daemon, arguments: &[&str]) -> Output {
    let mut command = Command::new(executable());
    command.args(arguments).env("RUSGI_ADMIN_SOCKET", admin_socket(daemon.scratch())).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Puts a shell script in the place of whatever is at `path`.
fn replace(path: &Path, commands: &str) {
    fs::remove_file(path).unwrap();
    fs::write(path, format!("#!/bin/sh\n{commands}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A daemon that was started by a symbolic link, and that link.
fn start_by_link(scratch: &Scratch) -> (Daemon, PathBuf) {
    let link = scratch.join("rusgi");
    symlink(executable(), &link).unwrap();
    (prepared(Serve::started_as(&link, "deployed").workers(1)).start(), link)
}

#[test]
fn usr2_has_another_process_serve_on_the_same_sockets() {
    let port = format!("127.0.0.1:{}", process::free_port());
    let daemon = serve().workers(2).option("--socket", &port).start();
    let before = fs::metadata(daemon.socket()).unwrap().ino();
    deploy(daemon.scratch(), "two", "");
    let next = upgrade(&daemon, daemon.pid());
    daemon.get("/").expect_body("two");
    Peer::tcp(&port).ask(&Packet::get("/")).expect(200).expect_body("two");
    assert_eq!(fs::metadata(daemon.socket()).unwrap().ino(), before);
    let (socket, admin) = (daemon.socket(), admin_socket(daemon.scratch()));
    finish(daemon, next);
    assert!(!socket.exists() && !admin.exists());
}

#[test]
fn whoever_may_not_connect_may_not_after_an_upgrade_either() {
    let port = format!("127.0.0.1:{}", process::free_port());
    let daemon = serve().option("--socket", &port).option("--allow-from", "127.0.0.2").start();
    let next = upgrade(&daemon, daemon.pid());
    daemon.get("/");
    let mut stranger = Peer::tcp(&port);
    let _ = stranger.try_send(&Packet::get("/").bytes());
    assert!(stranger.reply().is_empty());
    finish(daemon, next);
}

#[test]
fn the_new_executable_is_what_the_path_leads_to_by_now() {
    let scratch = Scratch::new();
    let (daemon, link) = start_by_link(&scratch);
    replace(&link, &format!("echo the new executable: $* >&2; exec {:?} \"$@\"", executable()));
    let next = upgrade(&daemon, daemon.pid());
    daemon.log.await_line(&["the new executable: serve deployed", "--admin-socket"]);
    daemon.log.await_line(&["INFO  successor: rusgi", "ready: 1 worker"]);
    daemon.get("/").expect_body("one");
    finish(daemon, next);
}

#[test]
fn a_signal_to_every_process_is_the_supervisors_alone() {
    let gate = Gate::new();
    let daemon = serve().gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let arrival = gate.await_note("one");
    killpg(Pid::from_raw(daemon.pid()), Signal::SIGUSR2).unwrap();
    let next = await_upgrade(&daemon, daemon.pid());
    arrival.open();
    peer.reply().expect(200);
    daemon.get("/").expect_body("one");
    finish(daemon, next);
}

#[test]
fn requests_that_were_begun_are_finished_by_the_old_process() {
    let gate = Gate::new();
    let daemon = serve().gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let arrival = gate.await_note("one");
    deploy(daemon.scratch(), "two", "");
    daemon.signal(Signal::SIGUSR2);
    let next = await_upgrade(&daemon, daemon.pid());
    daemon.get("/").expect_body("two");
    // Somebody stops the service: the request has as long as any stop allows.
    daemon.signal(Signal::SIGTERM);
    daemon.log.await_line(&["stopping: requests in flight may take up to 25 s"]);
    arrival.open();
    peer.reply().expect(200).expect_body("one");
    finish(daemon, next);
}

/// How many upgrades the load test makes: `RUSGI_TEST_UPGRADES`, else few enough for every day.
fn upgrades() -> u32 {
    std::env::var("RUSGI_TEST_UPGRADES").map_or(10, |text| text.parse().expect("RUSGI_TEST_UPGRADES is a number"))
}

#[test]
fn upgrades_under_load_fail_no_request_and_lose_no_descriptor() {
    let daemon = serve().workers(2).start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let (mut pids, mut descriptors) = (vec![daemon.pid()], Vec::new());
    let report = load::during(
        300,
        || nginx.connect(),
        || {
            for _ in 0..upgrades() {
                let next = upgrade(&daemon, *pids.last().unwrap());
                descriptors.push(process::descriptors(next));
                pids.push(next);
            }
        },
    );
    eprintln!("{} requests, {} failed, the slowest took {:?}", report.requests, report.failures.len(), report.worst);
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    assert!(report.requests > pids.len(), "{} requests in {} upgrades", report.requests, pids.len() - 1);
    nginx.expect_no_errors();
    assert!(descriptors.windows(2).skip(1).all(|pair| pair[1] <= pair[0]), "{descriptors:?}");
    assert_eq!(daemon.log.with(&["ERROR"]), [""; 0]);
    finish(daemon, *pids.last().unwrap());
}

#[test]
fn upgrade_wait_returns_when_the_new_process_serves_and_the_admin_socket_answers() {
    let daemon = serve().start();
    assert_eq!(status(&daemon)["upgrade"], json!(null));
    assert!(rusgi(&daemon, &["scale", "2"]).status.success());
    let output = rusgi(&daemon, &["upgrade", "--wait"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let status = status(&daemon);
    let said = text(&output.stdout);
    assert!(
        said.starts_with("upgraded in ") && said.ends_with(&format!("s: pid {} serves\n", status["pid"])),
        "{said}"
    );
    assert_ne!(status["pid"], daemon.pid());
    // What an operator has changed since the start is not forgotten.
    assert_eq!((&status["wanted"], &status["state"], &status["upgrade"]), (&json!(2), &json!("ready"), &json!(null)));
    let pid = i32::try_from(status["pid"].as_i64().unwrap()).unwrap();
    assert!(rusgi(&daemon, &["stop"]).status.success());
    assert!(process::has_ended(pid, DEADLINE));
    daemon.wait().expect(0);
}

/// Asserts that an upgrade fails for this reason and leaves everything as it was.
fn fail(daemon: &Daemon, reason: &str) {
    let workers = daemon.workers();
    let descriptors = process::descriptors(daemon.pid());
    let output = rusgi(daemon, &["upgrade", "--wait"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the old rusgi goes on serving") && said.contains(reason), "no {reason:?} in {said}");
    daemon.log.await_line(&["ERROR", "upgrade failed, this process goes on serving"]);
    let status = status(daemon);
    assert_eq!((&status["pid"], &status["upgrade"]["state"]), (&json!(daemon.pid()), &json!("failed")));
    assert!(status["upgrade"]["reason"].as_str().unwrap().contains(reason), "{status}");
    assert!(text(&rusgi(daemon, &["status"]).stdout).contains("the last upgrade failed"));
    daemon.get("/").expect_body("one");
    // The successor may take a moment to go.
    let is_alone = || process::children(daemon.pid()).len() == 1 && process::descriptors(daemon.pid()) == descriptors;
    assert!(process::eventually(is_alone), "{:?}", process::children(daemon.pid()));
    assert_eq!(daemon.workers(), workers);
    assert!(daemon.socket().exists() && admin_socket(daemon.scratch()).exists());
}

#[test]
fn an_executable_that_does_not_work_is_rolled_back() {
    let scratch = Scratch::new();
    let (daemon, link) = start_by_link(&scratch);
    replace(&link, "exit 7");
    fail(&daemon, "exit code 7");
    fs::remove_file(&link).unwrap();
    fail(&daemon, "No such file or directory");
    fs::write(&link, "no program").unwrap();
    fail(&daemon, "cannot be executed");
    fs::remove_file(&link).unwrap();
    symlink(executable(), &link).unwrap();
    let next = upgrade(&daemon, daemon.pid());
    daemon.get("/").expect_body("one");
    finish(daemon, next);
}

#[test]
fn an_application_that_does_not_load_is_rolled_back() {
    let daemon = serve().start();
    deploy(daemon.scratch(), "two", "1 / 0");
    fail(&daemon, "ZeroDivisionError");
    let supervisor = "int(open(f'/proc/{os.getppid()}/stat').read().rsplit(')', 1)[1].split()[1])";
    deploy(daemon.scratch(), "two", &format!("import os; os.kill({supervisor}, 9); os._exit(1)"));
    fail(&daemon, "SIGKILL");
    daemon.stop();
}

#[test]
fn an_application_that_hangs_is_rolled_back_when_its_time_is_up() {
    let gate = Gate::new();
    let daemon = serve().option("--start-timeout", "2s").gate(&gate).start();
    deploy(daemon.scratch(), "two", "import gate; gate.reach('importing')");
    fail(&daemon, "not loaded within 2 s");
    daemon.stop();
}

#[test]
fn a_setting_that_is_wrong_by_now_is_rolled_back() {
    let serve = serve();
    let folder = serve.scratch().join("folder");
    fs::create_dir(&folder).unwrap();
    let daemon = serve.option("--pythonpath", &folder).start();
    fs::remove_dir(&folder).unwrap();
    fail(&daemon, "--pythonpath");
    daemon.stop();
}

#[test]
fn a_stop_during_an_upgrade_stops_both() {
    let gate = Gate::new();
    let daemon = serve().gate(&gate).start();
    deploy(daemon.scratch(), "two", "import gate; gate.reach('importing')");
    daemon.signal(Signal::SIGUSR2);
    let _arrival = gate.await_note("importing");
    daemon.signal(Signal::SIGUSR2);
    daemon.log.await_line(&["upgrade refused: an upgrade goes on"]);
    let socket = daemon.socket();
    daemon.stop();
    assert!(!socket.exists());
}

#[test]
fn a_stop_of_every_process_during_an_upgrade_cuts_nothing() {
    let gate = Gate::new();
    let daemon = serve().workers(2).gate(&gate).start();
    deploy(daemon.scratch(), "two", "import gate; gate.reach('importing')");
    let begin = |version| {
        let mut peer = daemon.connect();
        peer.send(Packet::get("/gated").bytes());
        (peer, gate.await_note(version))
    };
    let mut requests = vec![begin("one"), begin("one")];
    daemon.signal(Signal::SIGUSR2);
    gate.await_note("importing").open();
    let _late = gate.await_note("importing");
    requests.push(begin("two"));
    killpg(Pid::from_raw(daemon.pid()), Signal::SIGINT).unwrap();
    daemon.log.await_line(&["successor: stopping"]);
    daemon.log.await_line(&["the upgrade is called off"]);
    for (peer, arrival) in requests {
        arrival.open();
        peer.reply().expect(200);
    }
    assert!(!daemon.wait().log.contains("asked to stop again"));
}

#[test]
fn a_stop_ends_a_successor_that_is_no_rusgi_at_all() {
    let scratch = Scratch::new();
    let (daemon, link) = start_by_link(&scratch);
    replace(&link, "exec sleep 1000");
    daemon.signal(Signal::SIGUSR2);
    daemon.log.await_line(&["upgrading: pid"]);
    assert_eq!(status(&daemon)["upgrade"]["state"], "starting");
    daemon.stop();
}

#[test]
fn a_new_process_takes_over_from_an_old_one_that_is_killed() {
    let gate = Gate::new();
    let daemon = serve().gate(&gate).start();
    deploy(daemon.scratch(), "two", "import gate; gate.reach('importing')");
    daemon.signal(Signal::SIGUSR2);
    let arrival = gate.await_note("importing");
    daemon.signal(Signal::SIGKILL);
    daemon.log.await_line(&["has died: taking over"]);
    arrival.open();
    assert!(process::eventually(|| daemon.get("/").text() == "two"));
    let pid = i32::try_from(status(&daemon)["pid"].as_i64().unwrap()).unwrap();
    let socket = daemon.socket();
    process::signal(pid, Signal::SIGTERM);
    assert!(process::has_ended(pid, DEADLINE));
    assert!(!socket.exists());
}

#[test]
fn a_reload_asked_for_during_an_upgrade_is_made_in_the_end() {
    let gate = Gate::new();
    let daemon = serve().gate(&gate).start();
    deploy(daemon.scratch(), "two", "import gate; gate.reach('importing')");
    daemon.signal(Signal::SIGUSR2);
    let of_the_new = gate.await_note("importing");
    daemon.signal(Signal::SIGHUP);
    let _of_the_reload = gate.await_note("importing");
    deploy(daemon.scratch(), "three", "");
    of_the_new.open();
    let next = await_upgrade(&daemon, daemon.pid());
    daemon.log.await_line(&["reloaded: generation 2 serves"]);
    let is_new = process::eventually(|| daemon.get("/").text() == "three");
    assert!(is_new, "still {:?}", daemon.get("/").text());
    finish(daemon, next);
}

#[test]
fn a_service_that_systemd_would_end_is_not_upgraded() {
    let scratch = Scratch::new();
    let script = scratch.write("simple", &format!("SYSTEMD_EXEC_PID=$$ exec {:?} \"$@\"\n", executable()));
    let daemon = prepared(Serve::run_by("sh", &script, "deployed").workers(1)).start();
    daemon.signal(Signal::SIGUSR2);
    daemon.log.await_line(&["upgrade refused: systemd would end the service", "Type=notify"]);
    let refused = ask(&daemon, "POST", "/upgrade").expect(409);
    assert!(refused.text().contains("Type=notify"), "{}", refused.text());
    daemon.stop();
}
