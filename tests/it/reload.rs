//! A reload serves new code without a failed request, and one that fails costs nothing.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::support::{
    DEADLINE,
    daemon::{Daemon, Serve, python},
    gate::Gate,
    how_many, load,
    nginx::Nginx,
    packet::Packet,
    process,
    scratch::Scratch,
};

/// Deploys an application that answers `version`, after running `first` while it is imported.
fn deploy(scratch: &Scratch, version: &str, first: &str) {
    scratch.write("deployed.py", &source(version, first));
}

fn source(version: &str, first: &str) -> String {
    format!(
        "{first}
def application(environ, start_response):
    if environ['PATH_INFO'] == '/gated':
        import gate
        gate.reach('{version}')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'{version}']
"
    )
}

/// Serves what is deployed, version `one` so far.
fn serve() -> Serve {
    let serve = Serve::app("deployed");
    deploy(serve.scratch(), "one", "");
    serve
}

/// Reloads and waits until `generation` serves alone.
fn reload(daemon: &Daemon, generation: u32) {
    let old = daemon.workers();
    daemon.signal(Signal::SIGHUP);
    await_generation(daemon, generation);
    for pid in old {
        assert!(process::has_ended(pid, DEADLINE), "pid {pid} of the old generation does not end");
    }
}

fn await_generation(daemon: &Daemon, generation: u32) {
    daemon.log.await_line(&["reloaded:", &format!("generation {generation} serves")]);
}

/// Has the reload to `generation` fail, and asserts that the first one goes on serving.
fn fail(daemon: &Daemon, generation: u32) {
    daemon.signal(Signal::SIGHUP);
    daemon.log.await_line(&[&format!("generation {generation} is discarded; degraded: still serving generation 1")]);
    daemon.get("/").expect_body("one");
}

#[test]
fn sighup_serves_new_code() {
    for flags in [&[][..], &["--preload"]] {
        let daemon = flags.iter().fold(serve().workers(2), |serve, flag| serve.flag(*flag)).start();
        daemon.get("/").expect_body("one");
        deploy(daemon.scratch(), "two", "");
        reload(&daemon, 2);
        daemon.get("/").expect_body("two");
        daemon.stop();
    }
}

#[test]
fn requests_that_were_begun_are_finished_by_the_old_code() {
    let gate = Gate::new();
    let daemon = serve().gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let arrival = gate.await_note("one");
    deploy(daemon.scratch(), "two", "");
    daemon.signal(Signal::SIGHUP);
    await_generation(&daemon, 2);
    daemon.get("/").expect_body("two");
    arrival.open();
    peer.reply().expect(200).expect_body("one");
    daemon.stop();
}

#[test]
fn requests_that_take_longer_than_a_stop_allows_are_cut_visibly() {
    let gate = Gate::new();
    let times = [("--stop-timeout", "200ms"), ("--request-timeout", "0")];
    let daemon = times.into_iter().fold(serve(), |serve, (name, value)| serve.option(name, value)).gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let _arrival = gate.await_note("one");
    daemon.signal(Signal::SIGHUP);
    peer.reply().expect_reset();
    daemon.log.await_line(&["does not end by itself", "its requests are cut"]);
    daemon.get("/").expect_body("one");
}

#[test]
fn the_old_generation_accepts_until_the_new_one_is_ready() {
    let gate = Gate::new();
    let daemon = serve().gate(&gate).start();
    deploy(daemon.scratch(), "two", "import gate; gate.reach('importing')");
    daemon.signal(Signal::SIGHUP);
    let arrival = gate.await_note("importing");
    for _ in 0..10 {
        daemon.get("/").expect_body("one");
    }
    arrival.open();
    await_generation(&daemon, 2);
}

#[test]
fn a_generation_that_fails_is_discarded_and_the_old_one_goes_on() {
    let failures = [
        ("SyntaxError", "def", ""),
        ("ModuleNotFoundError", "import no_such_module", ""),
        ("ZeroDivisionError", "1 / 0", ""),
        ("died: exit code 7", "import os; os._exit(7)", ""),
        ("died: SIGSEGV", "import ctypes; ctypes.string_at(0)", ""),
        ("died: SIGSEGV", "import ctypes; ctypes.string_at(0)", "--preload"),
        ("ModuleNotFoundError", "import no_such_module", "--preload"),
    ];
    for (reason, first, flag) in failures {
        let serve = serve().workers(2);
        let daemon = if flag.is_empty() { serve } else { serve.flag(flag) }.start();
        let workers = daemon.workers();
        deploy(daemon.scratch(), "two", first);
        fail(&daemon, 2);
        assert!(daemon.log.text().contains(reason), "no {reason} in:\n{}", daemon.log.text());
        deploy(daemon.scratch(), "three", "");
        assert_eq!(daemon.workers(), workers);
        reload(&daemon, 3);
        daemon.get("/").expect_body("three");
        daemon.stop();
    }
}

#[test]
fn a_generation_that_hangs_is_discarded_when_its_time_is_up() {
    for flag in ["--preload", "--log-format=text"] {
        let gate = Gate::new();
        let daemon = serve().flag(flag).option("--start-timeout", "500ms").gate(&gate).start();
        deploy(daemon.scratch(), "two", "import gate; gate.reach('importing')");
        fail(&daemon, 2);
        daemon.log.await_line(&["not ready within 500 ms", "--start-timeout"]);
        daemon.stop();
    }
}

#[test]
fn a_first_start_that_hangs_ends_with_its_own_exit_code() {
    let gate = Gate::new();
    let start = Serve::app("hangs").option("--start-timeout", "300ms").gate(&gate);
    start.fail().expect(3).expect_log("--start-timeout");
}

#[test]
fn a_stop_during_a_reload_is_a_stop() {
    let gate = Gate::new();
    let daemon = serve().gate(&gate).start();
    deploy(daemon.scratch(), "two", "import gate; gate.reach('importing')");
    daemon.signal(Signal::SIGHUP);
    let _arrival = gate.await_note("importing");
    daemon.stop();
}

#[test]
fn reloads_asked_for_during_a_reload_are_one_more() {
    let gate = Gate::new();
    let daemon = serve().gate(&gate).start();
    deploy(daemon.scratch(), "two", "import gate; gate.reach('importing')");
    daemon.signal(Signal::SIGHUP);
    let arrival = gate.await_note("importing");
    for _ in 0..5 {
        daemon.signal(Signal::SIGHUP);
    }
    daemon.log.await_line(&["it follows the start that goes on"]);
    arrival.open();
    gate.await_note("importing").open();
    await_generation(&daemon, 3);
    deploy(daemon.scratch(), "three", "");
    reload(&daemon, 4);
    assert_eq!(daemon.log.with(&["reloading:"]).len(), 3);
    assert!(gate.is_deserted());
}

#[test]
fn a_touched_file_reloads_and_an_untouched_one_does_not() {
    let serve = serve();
    let file = serve.scratch().join("reload-me");
    let daemon = serve.option("--reload-on-touch", &file).start();
    deploy(daemon.scratch(), "two", "");
    daemon.scratch().write("neighbour", "not this one");
    for generation in [2, 3] {
        daemon.scratch().write("reload-me", &generation.to_string());
        daemon.log.await_line(&["reload-me was touched"]);
        await_generation(&daemon, generation);
    }
    assert!(process::eventually(|| daemon.get("/").text() == "two"));
    assert_eq!(daemon.log.with(&["reloading:"]).len(), 2);
}

#[test]
fn a_symlink_deploy_is_followed() {
    let serve = Serve::bare("deployed").workers(1);
    let scratch = serve.scratch();
    scratch.write("releases/1/deployed.py", &source("one", ""));
    scratch.write("releases/2/deployed.py", &source("two", ""));
    let current = scratch.join("current");
    symlink("releases/1", &current).unwrap();
    let daemon = serve.option("--chdir", &current).start();
    daemon.get("/").expect_body("one");
    fs::remove_file(&current).unwrap();
    symlink("releases/2", &current).unwrap();
    reload(&daemon, 2);
    daemon.get("/").expect_body("two");
}

/// Makes a virtual environment whose packages hold the module `release` with its NAME.
fn make_virtualenv(folder: &Path, name: &str) {
    let mut venv = Command::new(python());
    let output = venv.args(["-m", "venv", "--without-pip"]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let versions = fs::read_dir(folder.join("lib")).unwrap().flatten();
    let site_packages =
        versions.map(|version| version.path().join("site-packages")).find(|path| path.is_dir()).unwrap();
    fs::write(site_packages.join("release.py"), format!("NAME = '{name}'\n")).unwrap();
}

#[test]
fn a_virtualenv_behind_a_symlink_is_followed() {
    for flag in ["--preload", "--log-format=text"] {
        let serve = Serve::bare("deployed").workers(1).flag(flag);
        let scratch = serve.scratch();
        let source =
            source("one", "import sys, release").replace("[b'one']", "[(release.NAME + ' ' + sys.prefix).encode()]");
        scratch.write("deployed.py", &source);
        let (old, new, current) = (scratch.join("venv-1"), scratch.join("venv-2"), scratch.join("venv"));
        make_virtualenv(&old, "one");
        make_virtualenv(&new, "two");
        symlink(&old, &current).unwrap();
        let daemon = serve.option("--virtualenv", &current).start();
        daemon.get("/").expect_body(format!("one {}", old.display()));
        fs::remove_file(&current).unwrap();
        symlink(&new, &current).unwrap();
        reload(&daemon, 2);
        daemon.get("/").expect_body(format!("two {}", new.display()));
        daemon.stop();
    }
}

#[test]
fn the_old_generation_leaves_although_the_listen_queue_is_never_empty() {
    let serve = Serve::app("deployed");
    let slow = source("one", "import time").replace("    start_response", "    time.sleep(0.005)\n    start_response");
    serve.scratch().write("deployed.py", &slow);
    let daemon = serve.start();
    let old = daemon.workers();
    let is_over = AtomicBool::new(false);
    let visit = || {
        while !is_over.load(Ordering::Relaxed) {
            daemon.get("/").expect_body("one");
        }
    };
    thread::scope(|scope| {
        let visitors: Vec<_> = (0..16).map(|_| scope.spawn(visit)).collect();
        daemon.signal(Signal::SIGHUP);
        // Less than it would be given before it is killed.
        let has_left = old.into_iter().all(|pid| process::has_ended(pid, DEADLINE));
        is_over.store(true, Ordering::Relaxed);
        visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
        assert!(has_left, "the old worker still accepts");
    });
    assert_eq!(daemon.log.with(&["does not end by itself"]), [""; 0]);
}

#[test]
fn a_killed_forkserver_of_a_new_generation_is_a_reload_that_failed() {
    let gate = Gate::new();
    let daemon = serve().flag("--preload").gate(&gate).start();
    deploy(daemon.scratch(), "two", "import gate; gate.reach('importing')");
    daemon.signal(Signal::SIGHUP);
    let _arrival = gate.await_note("importing");
    let new = process::children(daemon.pid())[1];
    process::signal(new, Signal::SIGKILL);
    daemon.log.await_line(&["generation 2 is discarded"]);
    assert_eq!(daemon.log.with(&["forkserver g2", &new.to_string(), "SIGKILL"]).len(), 1);
    daemon.get("/").expect_body("one");
}

#[test]
fn a_killed_supervisor_takes_both_generations_along() {
    let gate = Gate::new();
    let daemon = serve().gate(&gate).start();
    deploy(daemon.scratch(), "two", "import gate; gate.reach('importing')");
    daemon.signal(Signal::SIGHUP);
    let arrival = gate.await_note("importing");
    daemon.signal(Signal::SIGKILL);
    arrival.open();
    daemon.log.await_end();
}

#[test]
fn a_generation_answers_its_warm_up_before_it_serves() {
    let gate = Gate::new();
    let daemon = serve().option("--warmup", "/gated").gate(&gate).spawn();
    gate.await_note("one").open();
    daemon.log.await_line(&["ready:"]);
    deploy(daemon.scratch(), "two", "");
    daemon.signal(Signal::SIGHUP);
    let arrival = gate.await_note("two");
    daemon.get("/").expect_body("one");
    arrival.open();
    await_generation(&daemon, 2);
}

#[test]
fn a_generation_that_fails_its_warm_up_is_discarded() {
    let daemon = serve().workers(2).option("--warmup", "/").start();
    let broken = "def application(environ, start_response):\n    return [b'%d' % (1 / 0)]\n";
    daemon.scratch().write("deployed.py", broken);
    fail(&daemon, 2);
    daemon.log.await_line(&["--warmup /: the application answered 500"]);
    daemon.log.await_line(&["ZeroDivisionError"]);
    daemon.scratch().write(
        "deployed.py",
        &format!("SIZE = 4 << 20\n{}", source("three", "")).replace("[b'three']", "[b'x' * SIZE]"),
    );
    reload(&daemon, 3);
    assert_eq!(daemon.get("/").body().len(), 4 << 20);
}

#[test]
fn a_first_start_that_fails_its_warm_up_ends_with_its_own_exit_code() {
    let serve = Serve::app("fails").option("--warmup", "/before");
    serve.fail().expect(3).expect_log("--warmup /before: the application answered 500");
}

/// Visits `daemon` through nginx 300 times a second during `work`, and expects no failure anywhere.
fn visit(daemon: &Daemon, work: impl FnOnce()) {
    let nginx = Nginx::start("unix-socket.conf", daemon);
    let report = load::during(300, || nginx.connect(), work);
    eprintln!("reloads under load: {report}");
    let report = report.expect_no_failure();
    nginx.expect_no_errors();
    // Whoever asks for a number of reloads wants to know; every day the machine has other things to do as well.
    let most = if std::env::var_os(RELOADS).is_some() { Duration::from_millis(500) } else { Duration::from_secs(5) };
    assert!(report.worst < most, "{report}");
}

/// How many reloads are made under load, or ten times as many as those that take two seconds.
const RELOADS: &str = "RUSGI_TEST_RELOADS";

#[test]
fn reloads_under_load_fail_no_request() {
    let daemon = serve().workers(2).start();
    visit(&daemon, || {
        (2..2 + how_many(RELOADS, 20)).for_each(|generation| {
            daemon.signal(Signal::SIGHUP);
            await_generation(&daemon, generation);
        })
    });
    daemon.stop();
}

#[test]
fn reloads_under_load_fail_no_request_while_one_is_held_and_the_import_is_slow() {
    let gate = Gate::new();
    let daemon = serve().workers(2).gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let arrival = gate.await_note("one");
    deploy(daemon.scratch(), "two", "import time; time.sleep(2)");
    visit(&daemon, || {
        (2..2 + how_many(RELOADS, 20) / 10).for_each(|generation| {
            daemon.signal(Signal::SIGHUP);
            await_generation(&daemon, generation);
        })
    });
    arrival.open();
    peer.reply().expect(200).expect_body("one");
    daemon.stop();
}
