//! Whatever is killed, reloaded, broken and scaled at random under load: every failed request has a cause, and the end is well.
//!
//! `RUSGI_CHAOS_SECONDS` says how long (5), `RUSGI_CHAOS_SEED` repeats a run.

use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{
    DEADLINE,
    daemon::{Daemon, Serve},
    http, load,
    nginx::Nginx,
    peer::Peer,
    process,
};

const GOOD: &str = "def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'good']\n";
const BROKEN: [&str; 4] =
    ["def", "import no_such_module", "import os; os._exit(9)", "import ctypes; ctypes.string_at(0)"];

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: write a number")))
}

/// What happens next, by a small generator (Knuth's MMIX) that a seed repeats.
struct Fate(Cell<u64>);

impl Fate {
    fn new() -> Self {
        let seed = from_env("RUSGI_CHAOS_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
        eprintln!("RUSGI_CHAOS_SEED={seed}");
        Self(Cell::new(seed))
    }

    fn choose(&self, choices: usize) -> usize {
        self.0.set(self.0.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        usize::try_from(self.0.get() >> 33).unwrap() % choices
    }
}

/// Does one thing to `daemon`; tells whether it may cost requests.
fn strike(daemon: &Daemon, fate: &Fate) -> bool {
    let forkservers = process::children(daemon.pid());
    let workers: Vec<_> = forkservers.iter().flat_map(|pid| process::children(*pid)).collect();
    // Whoever is chosen may have ended meanwhile.
    let send = |pids: &[i32], signal| {
        let chosen = pids.get(fate.choose(pids.len().max(1)));
        chosen.is_some_and(|pid| kill(Pid::from_raw(*pid), signal).is_ok())
    };
    match fate.choose(8) {
        0 => return send(&workers, Signal::SIGKILL),
        // Adopted workers are the supervisor's children too.
        1 => return send(&forkservers, Signal::SIGKILL),
        2 => drop(send(&workers, Signal::SIGTERM)),
        3 => drop(daemon.signal(Signal::SIGTTIN)),
        4 => drop(daemon.signal(Signal::SIGTTOU)),
        5 => {
            daemon.scratch().write("deployed.py", BROKEN[fate.choose(BROKEN.len())]);
            daemon.signal(Signal::SIGHUP);
        }
        _ => {
            daemon.scratch().write("deployed.py", GOOD);
            daemon.signal(Signal::SIGHUP);
        }
    }
    false
}

#[test]
fn every_failed_request_has_a_cause_and_the_end_is_well() {
    let serve = Serve::app("deployed").workers(3).option("--max-requests", "100");
    let admin = serve.scratch().join("admin.sock");
    serve.scratch().write("deployed.py", GOOD);
    let daemon = serve.option("--admin-socket", &admin).start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let fate = Fate::new();
    let end = Instant::now() + Duration::from_secs(from_env("RUSGI_CHAOS_SECONDS").unwrap_or(5));
    let mut costly = 0;
    let report = load::during(
        200,
        || nginx.connect(),
        || {
            while Instant::now() < end {
                costly += usize::from(strike(&daemon, &fate));
                // Chaos has its own pace: there is nothing to wait for.
                thread::sleep(Duration::from_millis(10 + 20 * fate.choose(10) as u64));
            }
        },
    );
    eprintln!(
        "{} requests, {} failed, {costly} killed, slowest {:?}",
        report.requests,
        report.failures.len(),
        report.worst
    );
    // Who is killed while the code is broken cannot be replaced; when the last one is, the site says so, and so does the log.
    let is_announced = !daemon.log.with(&["ERROR", "no worker serves"]).is_empty();
    let is_said = |failure: &String| failure.contains(" 503 ") && failure.contains("the application ");
    let (said, unsaid): (Vec<_>, Vec<_>) = report.failures.into_iter().partition(is_said);
    assert!(said.is_empty() || is_announced, "{said:#?}");
    assert!(unsaid.len() <= costly, "{costly} processes of one thread killed, but:\n{unsaid:#?}");
    settle(&daemon, &admin);
    daemon.stop();
}

/// With good code and a reload everything is as on the first day.
fn settle(daemon: &Daemon, admin: &Path) {
    daemon.scratch().write("deployed.py", GOOD);
    daemon.signal(Signal::SIGHUP);
    let is_well = || {
        let status = http::get(Peer::unix(admin), "/status").expect(200).json();
        let workers = status["workers"].as_array().unwrap().clone();
        status["state"] == "ready"
            && status["degraded"].is_null()
            && workers.len() as u64 == status["wanted"].as_u64().unwrap()
            && workers.iter().all(|worker| worker["state"] == "ready" && worker["generation"] == status["generation"])
            && process::children(daemon.pid()).len() == 1
    };
    assert!(process::eventually(is_well), "{}", http::get(Peer::unix(admin), "/status").text());
    daemon.get("/").expect_body("good");
}

/// The supervisor as the admin socket knows it.
fn current(admin: &Path) -> i32 {
    let status = http::get(Peer::unix(admin), "/status").expect(200).json();
    i32::try_from(status["pid"].as_i64().unwrap()).unwrap()
}

/// Has code that loads or does not be loaded by a reload or an upgrade, or has one worker more or less.
fn exchange(daemon: &Daemon, admin: &Path, fate: &Fate) {
    let code = if fate.choose(3) > 0 { GOOD } else { BROKEN[fate.choose(BROKEN.len())] };
    daemon.scratch().write("deployed.py", code);
    let signals = [Signal::SIGUSR2, Signal::SIGUSR2, Signal::SIGHUP, Signal::SIGTTIN, Signal::SIGTTOU];
    // It may have been replaced meanwhile.
    let _ = kill(Pid::from_raw(current(admin)), signals[fate.choose(signals.len())]);
}

#[test]
fn upgrades_reloads_and_scaling_at_random_fail_no_request() {
    let serve = Serve::app("deployed").workers(2);
    let admin = serve.scratch().join("admin.sock");
    serve.scratch().write("deployed.py", GOOD);
    let daemon = serve.option("--admin-socket", &admin).start();
    let nginx = Nginx::start("unix-socket.conf", &daemon);
    let fate = Fate::new();
    let end = Instant::now() + Duration::from_secs(from_env("RUSGI_CHAOS_SECONDS").unwrap_or(5));
    let work = || {
        while Instant::now() < end {
            exchange(&daemon, &admin, &fate);
            thread::sleep(Duration::from_millis(10 + 20 * fate.choose(10) as u64));
        }
    };
    let report = load::during(200, || nginx.connect(), work);
    let [upgraded, failed] = ["upgraded: pid", "upgrade failed"].map(|words| daemon.log.with(&[words]).len());
    eprintln!("{} requests, {upgraded} upgrades, {failed} rolled back, slowest {:?}", report.requests, report.worst);
    assert!(report.failures.is_empty(), "{:#?}", report.failures);
    nginx.expect_no_errors();
    let last = current(&admin);
    process::signal(last, Signal::SIGTERM);
    assert!(process::has_ended(last, DEADLINE) && process::has_ended(daemon.pid(), DEADLINE));
}
