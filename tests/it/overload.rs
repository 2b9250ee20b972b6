//! More requests than can be served: what is seen of them, and what becomes of them.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    crowd::{Crowd, Tally},
    daemon::{Daemon, Serve, executable},
    gate::Gate,
    http, load,
    nginx::Nginx,
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
        thread::sleep(Duration::from_millis(500));
        wakes() == before
    }));
}

/// Serves requests of 20 ms each, two at a time, and counts those that run.
fn naps() -> Serve {
    let serve = Serve::app("naps").workers(2).env("NAP", "20");
    let runs = serve.scratch().join("runs");
    serve.env("RUNS", runs)
}

/// How many requests have run.
fn runs(daemon: &Daemon) -> usize {
    fs::metadata(daemon.scratch().join("runs")).unwrap().len() as usize
}

const BURST: Duration = Duration::from_secs(4);
const QUEUE_TIMEOUT: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests a second, two at a time of 20 ms each; somewhat less is what a machine with other things to do achieves.
const CAPACITY: u32 = 100;

/// How many requests a second are answered to ten visitors at a time, who keep two workers busy.
fn capacity(nginx: &Nginx) -> f64 {
    let start = Instant::now();
    let report = load::during(10 * CAPACITY, || nginx.connect(), || thread::sleep(Duration::from_millis(500)));
    report.expect_no_failure().requests as f64 / start.elapsed().as_secs_f64()
}

/// Five times the capacity for a while, then little.
fn burst(nginx: &Nginx) -> (Tally, Tally) {
    let crowd = Crowd { address: nginx.address(), rate: 5 * CAPACITY, patience: PATIENCE };
    thread::scope(|scope| {
        let after = scope.spawn(|| {
            // The load itself is a schedule.
            thread::sleep(BURST);
            Crowd { rate: 30, ..crowd }.ask_for(Duration::from_secs(2))
        });
        (crowd.ask_for(BURST), after.join().unwrap())
    })
}

#[test]
fn five_times_the_capacity_is_served_as_well_as_can_be() {
    for (serve, conf) in [(naps(), "unix-socket.conf"), (naps().on_tcp(), "tcp.conf")] {
        let daemon = start(serve.option("--queue-timeout", format!("{}ms", QUEUE_TIMEOUT.as_millis())));
        let nginx = Nginx::start(conf, &daemon);
        // Whatever else the machine does takes capacity away, and never adds any.
        let mut shares = vec![goodput(&daemon, &nginx)];
        while shares.last() < Some(&0.9) && shares.len() < 3 {
            shares.push(goodput(&daemon, &nginx));
        }
        assert!(shares.last() >= Some(&0.9), "{conf}: {shares:?} of the capacity");
        daemon.log.await_line(&["overload over after", "answered with 503"]);
        assert!(daemon.log.with(&["overload"]).len() <= 4 * shares.len(), "{:#?}", daemon.log.with(&["overload"]));
        nginx.expect_no_errors();
        daemon.stop();
    }
}

/// Asserts that an overload is borne with grace; returns the share of the capacity that was of use to somebody.
fn goodput(daemon: &Daemon, nginx: &Nginx) -> f64 {
    let refused = || status(daemon)["valve"]["refused"].as_u64().unwrap();
    let capacity_before = capacity(nginx);
    let (ran_before, refused_before) = (runs(daemon), refused());
    let (burst, after) = burst(nginx);
    let (ran, refused) = (runs(daemon) - ran_before, refused() - refused_before);
    let normal = after.between(Duration::from_secs(1), PATIENCE);
    let capacity = capacity_before.min(capacity(nginx));
    eprintln!("{capacity:.1} requests a second can be served\nburst: {burst}; {ran} ran\nafter: {after}");
    eprintln!("a second later: {normal}\n{}", status(daemon)["valve"]);
    for visit in &burst.visits {
        assert!(matches!(visit.status, None | Some(200 | 503)), "{burst}");
        assert!(visit.status != Some(503) || visit.has_retry_after, "{visit:?}");
    }
    assert!(burst.percentile(99) <= QUEUE_TIMEOUT, "{burst}");
    assert_eq!(normal.count(Some(200)), normal.visits.len(), "{normal}");
    assert!(normal.percentile(99) < QUEUE_TIMEOUT / 2, "{normal}");
    let count = |status| burst.count(status) + after.count(status);
    assert!(ran * 10 <= count(Some(200)) * 11, "{ran} ran: {burst}");
    assert_eq!(refused, count(Some(503)) as u64);
    burst.count(Some(200)) as f64 / (capacity * BURST.as_secs_f64())
}

#[test]
fn a_request_whose_peer_has_left_is_not_run() {
    for serve in [naps().workers(1), naps().workers(1).on_tcp()] {
        let gate = Gate::new();
        let daemon = start(serve.gate(&gate));
        let ask = |path: &str| {
            let mut peer = daemon.connect();
            peer.send(Packet::get(path).bytes());
            peer
        };
        let busy = ask("/gated");
        let held = gate.await_arrival();
        let (gone, there) = ([(); 20].map(|()| ask("/")), ask("/"));
        drop(gone);
        // Nobody is asked whether he has left before he has waited for a while.
        thread::sleep(Duration::from_millis(500));
        held.open();
        busy.reply().expect(200);
        there.reply().expect(200);
        assert_eq!((runs(&daemon), &status(&daemon)["valve"]["left"]), (2, &json!(20)));
    }
}

#[test]
fn a_listen_queue_never_fills_up() {
    let gate = Gate::new();
    let options = [("--backlog", "64"), ("--queue-timeout", "0")];
    let serve = options.into_iter().fold(naps().workers(1), |serve, (name, value)| serve.option(name, value));
    let daemon = start(serve.gate(&gate));
    let busy = {
        let mut peer = daemon.connect();
        peer.send(Packet::get("/gated").bytes());
        peer
    };
    let held = gate.await_arrival();
    // A client of a full Unix socket is refused by the kernel; nginx makes 502 of that.
    let peers: Vec<_> = (0..200)
        .map(|_| {
            let mut peer = daemon.connect();
            peer.send(Packet::get("/").bytes());
            thread::sleep(Duration::from_millis(1));
            peer
        })
        .collect();
    held.open();
    busy.reply().expect(200);
    let codes: Vec<_> = peers.into_iter().map(|peer| peer.reply().code()).collect();
    // Those who have waited longest went first.
    assert!(codes.is_sorted_by(|first, second| first >= second), "{codes:?}");
    let refused = codes.iter().filter(|code| **code == 503).count();
    assert!((130..=160).contains(&refused), "{codes:?}");
    assert_eq!(status(&daemon)["valve"]["refused"], refused);
}

/// An application that cannot be imported while there is a file `broken`, and dies when asked to.
const FRAGILE: &str = "
import os

if os.path.exists('broken'):
    raise RuntimeError('a secret of the application')


def application(environ, start_response):
    if environ['PATH_INFO'] == '/die':
        os._exit(9)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'well']
";

#[test]
fn a_site_that_cannot_be_started_says_so_until_it_can() {
    let serve = Serve::app("fragile").option("--chdir", ".");
    serve.scratch().write("fragile.py", FRAGILE);
    let daemon = start(serve);
    let broken = daemon.scratch().write("broken", "");
    daemon.connect().ask(&Packet::get("/die")).expect_reset();
    daemon.log.await_line(&["ERROR", "no worker serves (RuntimeError: a secret of the application)"]);
    for _ in 0..3 {
        let reply = daemon.ask(&Packet::get("/")).expect(503);
        assert!(reply.header("Retry-After").is_some(), "{reply:?}");
        assert_eq!(reply.text(), "503 Service Unavailable\n\nthe application cannot be started.\n");
    }
    expect_down(&daemon, "RuntimeError: a secret of the application");
    fs::remove_file(broken).unwrap();
    daemon.log.await_line(&["a worker is ready after", "requests answered with 503 meanwhile: 3"]);
    daemon.get("/").expect_body("well");
    let status = status(&daemon);
    assert_eq!((&status["state"], &status["valve"]["state"]), (&json!("ready"), &json!("closed")));
    assert_eq!(status["outage"], json!(null));
}

/// Asserts that everything an operator asks has the same word for it, and the reason.
fn expect_down(daemon: &Daemon, reason: &str) {
    let status = status(daemon);
    assert_eq!((&status["state"], &status["valve"]["state"]), (&json!("down"), &json!("down")));
    assert_eq!(status["outage"]["reason"], reason);
    let socket = daemon.scratch().join("admin.sock");
    let mut probe = Peer::unix(&socket);
    probe.send(http::request("GET", "/readyz"));
    probe.reply().expect(503).expect_body("not ready: down\n");
    let output = Command::new(executable()).args(["status", "--admin-socket"]).arg(&socket).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(" down: generation 1, 0 of 1 workers ready"), "{said}");
    assert!(said.contains("down: no worker has served for") && said.contains(reason), "{said}");
}

#[test]
fn nobody_waits_for_ever_for_a_worker_that_is_stopped() {
    let daemon = Serve::app("hello").option("--queue-timeout", "1s").start();
    daemon.get("/").expect(200);
    let worker = daemon.workers()[0];
    process::signal(worker, Signal::SIGSTOP);
    let peers = [(); 3].map(|()| {
        let mut peer = daemon.connect();
        peer.send(Packet::get("/").bytes());
        peer
    });
    for peer in peers {
        peer.reply().expect(503);
    }
    process::signal(worker, Signal::SIGCONT);
    assert!(process::eventually(|| daemon.get("/").code() == 200));
    daemon.stop();
}
