//! Workers that have served enough are replaced, one at a time, and nobody notices.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    DEADLINE,
    daemon::{Daemon, Serve},
    gate::Gate,
    http, load,
    nginx::Nginx,
    packet::Packet,
    peer::Peer,
    process,
};

/// The worker that answers.
fn worker(daemon: &Daemon) -> i32 {
    i32::try_from(daemon.get("/").json()["pid"].as_i64().unwrap()).unwrap()
}

#[test]
fn a_worker_is_replaced_after_its_requests() {
    let daemon = Serve::app("process").option("--max-requests", "10").start();
    let first = worker(&daemon);
    for _ in 1..10 {
        assert_eq!(worker(&daemon), first);
    }
    // The tenth request asks; up to a tenth more may be served.
    worker(&daemon);
    daemon.log.await_line(&[&format!("pid {first}"), "is to be replaced", "it has served"]);
    assert!(process::has_ended(first, DEADLINE));
    assert_ne!(worker(&daemon), first);
    daemon.stop();
}

#[test]
fn a_worker_is_replaced_when_it_is_old() {
    let daemon = Serve::app("process").workers(2).option("--max-lifetime", "300ms").start();
    let first = daemon.workers();
    for pid in first {
        assert!(process::has_ended(pid, DEADLINE));
    }
    worker(&daemon);
    daemon.log.await_line(&["is to be replaced", "--max-lifetime"]);
    assert!(daemon.log.with(&["ERROR"]).is_empty());
}

#[test]
fn a_worker_is_replaced_when_it_is_large() {
    let daemon = Serve::app("process").option("--max-rss", "1m").start();
    let first = worker(&daemon);
    daemon.log.await_line(&["is to be replaced", "--max-rss"]);
    assert!(process::has_ended(first, DEADLINE));
    worker(&daemon);
}

#[test]
fn a_request_that_takes_all_memory_is_cut_and_its_worker_replaced() {
    let daemon = Serve::app("grows").workers(2).option("--max-rss-hard", "200m").start();
    let before = daemon.workers();
    let begun = Instant::now();
    daemon.ask(&Packet::get("/to?600")).expect_reset();
    // At a MiB every two milliseconds the limit is reached after 0.4 seconds.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let said = daemon.log.await_line(&["is killed", "more than the 200 MiB of --max-rss-hard"]);
    let reason = "more than the 200 MiB of --max-rss-hard; replacing it";
    daemon.log.await_line(&["died: SIGKILL, because it uses ", reason]);
    let doomed = before.iter().find(|pid| said.contains(&format!("pid {pid}"))).unwrap();
    daemon.log.await_line(&[&format!("pid {doomed} has ended (SIGKILL)"), "method=GET", "path=/to", "age="]);
    assert!(process::eventually(|| daemon.workers().len() == 2 && !daemon.workers().contains(doomed)));
    daemon.get("/");
    assert_eq!(daemon.log.with(&["is killed"]).len(), 1);
    daemon.stop();
}

#[test]
fn an_outage_for_lack_of_memory_names_the_limit() {
    let serve = Serve::app("swollen").option("--max-rss-hard", "200m").option("--chdir", ".");
    // Until it is broken, it is small; from then on it outgrows the limit while it is imported.
    let source = "import gate, os, time\nif os.path.exists('broken'):\n    held = bytearray(300 << 20); time.sleep(60)\n\n\
        def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'well']\n";
    serve.scratch().write("swollen.py", source);
    let admin = serve.scratch().join("admin.sock");
    let daemon = serve.option("--admin-socket", &admin).start();
    daemon.scratch().write("broken", "");
    process::signal(daemon.workers()[0], Signal::SIGKILL);
    let reason = "of memory, more than the 200 MiB of --max-rss-hard";
    daemon.log.await_line(&["no worker serves (worker 1 died: SIGKILL, because it uses ", reason, "answered with 503"]);
    let mut peer = Peer::unix(&admin);
    peer.send(http::request("GET", "/status"));
    let outage = peer.reply().expect(200).json()["outage"]["reason"].clone();
    assert!(outage.as_str().unwrap().ends_with(reason), "{outage}");
    daemon.stop();
}

#[test]
fn between_the_two_limits_a_request_is_finished_before_its_worker_goes() {
    let gate = Gate::new();
    let limits = [("--max-rss", "1m"), ("--max-rss-hard", "4g")];
    let serve = limits.into_iter().fold(Serve::app("process"), |serve, (name, value)| serve.option(name, value));
    let daemon = serve.gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let arrival = gate.await_arrival();
    daemon.log.await_line(&["is to be replaced", "of --max-rss"]);
    arrival.open();
    peer.reply().expect(200);
    assert_eq!(daemon.log.with(&["is killed"]), [""; 0]);
    Serve::app("hello")
        .option("--max-rss", "2m")
        .option("--max-rss-hard", "1m")
        .fail()
        .expect(78)
        .expect_log("--max-rss-hard: ");
}

#[test]
fn a_request_in_a_worn_worker_is_finished() {
    let gate = Gate::new();
    let daemon = Serve::app("process").threads(2).option("--max-requests", "1").gate(&gate).start();
    let mut peer = daemon.connect();
    peer.send(Packet::get("/gated").bytes());
    let arrival = gate.await_arrival();
    let worn = worker(&daemon);
    daemon.log.await_line(&["is to be replaced"]);
    assert!(process::eventually(|| worker(&daemon) != worn));
    arrival.open();
    assert_eq!(peer.reply().expect(200).json()["pid"], worn);
    assert!(process::has_ended(worn, DEADLINE));
}

#[test]
fn code_that_cannot_be_loaded_any_more_does_not_take_the_worn_workers_place() {
    let serve = Serve::app("deployed").option("--max-requests", "5");
    let good = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'good']\n";
    serve.scratch().write("deployed.py", good);
    let daemon = serve.start();
    let first = daemon.workers();
    daemon.scratch().write("deployed.py", "import no_such_module");
    (0..5).for_each(|_| drop(daemon.get("/").expect_body("good")));
    daemon.log.await_line(&["died", "replacing it in"]);
    (0..20).for_each(|_| drop(daemon.get("/").expect_body("good")));
    assert!(daemon.workers().starts_with(&first));
    // The traceback is told once, however often loading is tried.
    let reason = "ModuleNotFoundError: No module named 'no_such_module'";
    daemon.log.await_line(&["deployed:application could not be loaded, same as before (3 times): ", reason]);
    assert_eq!(daemon.log.with(&["Traceback"]).len(), 1);
    daemon.scratch().write("deployed.py", "import another_module");
    daemon.log.await_line(&["    ModuleNotFoundError: No module named 'another_module'"]);
    daemon.scratch().write("deployed.py", good);
    assert!(process::has_ended(first[0], DEADLINE));
    daemon.get("/").expect_body("good");
}

#[test]
fn recycling_under_load_fails_no_request_and_never_takes_a_worker_away() {
    let serve = Serve::app("hello").workers(2).option("--max-requests", "50");
    let admin = serve.scratch().join("admin.sock");
    let daemon = serve.option("--admin-socket", &admin).start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let ready = || {
        let status = http::get(Peer::unix(&admin), "/status").expect(200).json();
        let workers = status["workers"].as_array().unwrap().clone();
        workers.into_iter().filter(|worker| worker["state"] == "ready").map(|worker| worker["pid"].as_i64().unwrap())
    };
    let seen = RefCell::new(BTreeSet::new());
    let work = || {
        let enough = process::eventually(|| {
            let ready: Vec<_> = ready().collect();
            assert!(ready.len() >= 2, "only {ready:?} are left");
            seen.borrow_mut().extend(ready);
            seen.borrow().len() >= 12
        });
        assert!(enough, "workers are not replaced: {seen:?}");
    };
    let report = load::during(300, || nginx.connect(), work);
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    nginx.expect_no_errors();
    assert!(report.worst < Duration::from_secs(5), "{:?}", report.worst);
    daemon.stop();
}

#[test]
fn sigttin_adds_a_worker_and_sigttou_takes_one_away() {
    let daemon = Serve::app("process").start();
    let count = |count: usize| process::eventually(|| daemon.workers().len() == count);
    daemon.signal(Signal::SIGTTIN);
    assert!(count(2));
    daemon.log.await_line(&["scaling to 2 workers"]);
    daemon.signal(Signal::SIGTTIN);
    assert!(count(3));
    daemon.signal(Signal::SIGTTOU);
    assert!(count(2));
    daemon.signal(Signal::SIGTTOU);
    assert!(count(1));
    daemon.signal(Signal::SIGTTOU).signal(Signal::SIGHUP);
    daemon.log.await_line(&["reloaded:"]);
    assert!(count(1));
    worker(&daemon);
    daemon.stop();
}
