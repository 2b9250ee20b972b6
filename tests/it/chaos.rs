//! Whatever is killed, stopped, reloaded, broken, scaled, upgraded and overrun at random under load: every failed request has a cause on record, and the end is well.
//!
//! `RUSGI_CHAOS_SECONDS` says how long (5), `RUSGI_CHAOS_SEED` repeats a run; `make chaos MINUTES=5` sets the one and prints the other.

use std::{
    cell::Cell,
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
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
    how_many, http,
    load::{self, Failure, Report},
    nginx::Nginx,
    packet::Packet,
    peer::Peer,
    process,
};

/// Long enough in each request to be killed there now and then.
const GOOD: &str = "
import time
def application(environ, start_response):
    time.sleep(0.005)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'good']
";
const BROKEN: [&str; 4] =
    ["def", "import no_such_module", "import os; os._exit(9)", "import ctypes; ctypes.string_at(0)"];
/// Requests a second.
const RATE: u32 = 120;
/// Requests that an overload brings, more than one worker serves in the time that may be waited.
const BURST: usize = 240;

/// What can happen to a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strike {
    KillWorker,
    KillForkserver,
    StopWorker,
    TerminateWorker,
    ScaleBySignal,
    ScaleByAdmin,
    Reload,
    ReloadByAdmin,
    ReloadBroken,
    Overload,
}

impl Strike {
    const ALL: [Self; 10] = [
        Self::KillWorker,
        Self::KillForkserver,
        Self::StopWorker,
        Self::TerminateWorker,
        Self::ScaleBySignal,
        Self::ScaleByAdmin,
        Self::Reload,
        Self::ReloadByAdmin,
        Self::ReloadBroken,
        Self::Overload,
    ];
}

/// What happens next, by a small generator (Knuth's MMIX) that a seed repeats.
struct Fate(Cell<u64>);

impl Fate {
    fn new() -> Self {
        let given = std::env::var("RUSGI_CHAOS_SEED").ok();
        let seed = given.map(|text| text.parse().unwrap_or_else(|_| panic!("RUSGI_CHAOS_SEED={text}: write a number")));
        let seed = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        eprintln!("RUSGI_CHAOS_SEED={seed}");
        Self(Cell::new(seed))
    }

    fn choose(&self, choices: usize) -> usize {
        self.0.set(self.0.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        usize::try_from(self.0.get() >> 33).unwrap() % choices.max(1)
    }

    fn one_of<T: Copy>(&self, these: &[T]) -> Option<T> {
        these.get(self.choose(these.len())).copied()
    }
}

/// A daemon and what has been done to it.
struct Chaos {
    daemon: Daemon,
    admin: PathBuf,
    fate: Fate,
    strikes: BTreeMap<Strike, usize>,
    /// When a process was killed that may have been serving.
    kills: Vec<Instant>,
}

impl Chaos {
    fn begin() -> Self {
        let serve =
            Serve::app("deployed").workers(3).option("--max-requests", "200").option("--queue-timeout", "500ms");
        let admin = serve.scratch().join("admin.sock");
        serve.scratch().write("deployed.py", GOOD);
        let daemon = serve.option("--admin-socket", &admin).start();
        Self { daemon, admin, fate: Fate::new(), strikes: BTreeMap::new(), kills: Vec::new() }
    }

    /// Strikes again and again until `end`.
    fn rage(&mut self, end: Instant) {
        while Instant::now() < end {
            let strike = self.fate.one_of(&Strike::ALL).unwrap();
            *self.strikes.entry(strike).or_default() += 1;
            self.strike(strike);
            // Chaos has its own pace: there is nothing to wait for.
            thread::sleep(Duration::from_millis(10 + 20 * self.fate.choose(10) as u64));
        }
    }

    fn strike(&mut self, strike: Strike) {
        let forkservers = process::children(self.daemon.pid());
        let workers: Vec<_> = forkservers.iter().flat_map(|pid| process::children(*pid)).collect();
        match strike {
            Strike::KillWorker => {
                let signals = [Signal::SIGKILL, Signal::SIGSEGV, Signal::SIGABRT];
                self.kill(&workers, self.fate.one_of(&signals).unwrap());
            }
            // Workers that were adopted are the supervisor's children too.
            Strike::KillForkserver => self.kill(&forkservers, Signal::SIGKILL),
            Strike::StopWorker => self.stop(&workers),
            Strike::TerminateWorker => drop(self.fate.one_of(&workers).map(|pid| send(pid, Signal::SIGTERM))),
            Strike::ScaleBySignal => {
                let signals = [Signal::SIGTTIN, Signal::SIGTTOU];
                self.daemon.signal(self.fate.one_of(&signals).unwrap());
            }
            Strike::ScaleByAdmin => self.order(&format!("/scale?workers={}", 1 + self.fate.choose(5))),
            Strike::Reload => drop(self.deploy(GOOD).signal(Signal::SIGHUP)),
            Strike::ReloadByAdmin => {
                self.deploy(GOOD);
                self.order("/reload");
            }
            Strike::ReloadBroken => drop(self.deploy(self.fate.one_of(&BROKEN).unwrap()).signal(Signal::SIGHUP)),
            Strike::Overload => self.overload(),
        }
    }

    fn kill(&mut self, pids: &[i32], signal: Signal) {
        // Before it is done, so that no request can fail of it earlier.
        let now = Instant::now();
        if self.fate.one_of(pids).is_some_and(|pid| send(pid, signal)) {
            self.kills.push(now);
        }
    }

    /// A worker gets no CPU for a while.
    fn stop(&self, workers: &[i32]) {
        if let Some(pid) = self.fate.one_of(workers).filter(|pid| send(*pid, Signal::SIGSTOP)) {
            thread::sleep(Duration::from_millis(20 * self.fate.choose(10) as u64));
            send(pid, Signal::SIGCONT);
        }
    }

    /// Everybody comes at once, and one in four leaves again.
    fn overload(&self) {
        let packet = Packet::get("/burst").bytes();
        let send = || {
            let mut peer = self.daemon.connect();
            // A worker may be killed meanwhile.
            let _ = peer.try_send(&packet);
            peer
        };
        let mut peers: Vec<_> = std::iter::repeat_with(send).take(BURST).collect();
        peers.truncate(BURST / 4 * 3);
        thread::spawn(|| peers.into_iter().for_each(|peer| drop(peer.reply())));
    }

    fn deploy(&self, code: &str) -> &Daemon {
        self.daemon.scratch().write("deployed.py", code);
        &self.daemon
    }

    fn order(&self, uri: &str) {
        let mut peer = Peer::unix(&self.admin);
        peer.send(http::request("POST", uri));
        peer.reply().expect(202);
    }

    /// Every failure is a refusal that the log announced, has its line in the log, or fell together with the killing of a process.
    fn expect_causes(&self, failures: &[Failure]) {
        let log = self.daemon.log.text();
        let count = failures.len();
        let (refused, failures): (Vec<_>, Vec<_>) = failures.iter().partition(|failure| is_announced(failure, &log));
        let is_named = |failure: &&Failure| {
            log.lines().any(|line| line.contains("in the middle of a request") && names(line, &failure.uri))
        };
        let (named, others): (Vec<_>, Vec<_>) = failures.iter().copied().partition(is_named);
        // One whose packet had been accepted and not yet read: at most the one that a desk had at hand.
        let is_killed = |failure: &&&Failure| self.kills.iter().any(|kill| failure.times.contains(kill));
        let unexplained: Vec<_> = others.iter().filter(|failure| !is_killed(failure)).collect();
        let (refused, named, others, kills) = (refused.len(), named.len(), others.len(), self.kills.len());
        eprintln!(
            "of {count} failures {refused} were refused with 503, the log names {named}, {others} fell together with one of {kills} kills"
        );
        assert!(unexplained.is_empty(), "no cause is on record for\n{unexplained:#?}");
        assert!(failures.len() <= kills, "{kills} processes of one thread killed, but:\n{failures:#?}");
    }

    fn status(&self) -> serde_json::Value {
        http::get(Peer::unix(&self.admin), "/status").expect(200).json()
    }

    /// With good code and a reload everything is as on the first day.
    fn settle(&self) {
        self.deploy(GOOD).signal(Signal::SIGHUP);
        let is_well = || {
            let status = self.status();
            let workers = status["workers"].as_array().unwrap().clone();
            status["state"] == "ready"
                && status["degraded"].is_null()
                && workers.len() as u64 == status["wanted"].as_u64().unwrap()
                && workers.iter().all(|one| one["state"] == "ready" && one["generation"] == status["generation"])
                && process::children(self.daemon.pid()).len() == 1
        };
        assert!(process::eventually(is_well), "{}", self.status());
        self.daemon.get("/").expect_body("good");
    }

    /// The supervisor's descriptors, but for one that each worker has.
    fn descriptors(&self) -> usize {
        let wanted = usize::try_from(self.status()["wanted"].as_u64().unwrap()).unwrap();
        process::descriptors(self.daemon.pid()).saturating_sub(wanted)
    }

    /// What was done, what it cost, and what is left of it.
    fn print(&self, report: &Report) {
        eprintln!("{report}");
        for (strike, count) in &self.strikes {
            eprintln!("{:<16} {count:>6}", format!("{strike:?}"));
        }
        eprintln!("generations      {:>6}", self.status()["generation"]);
        eprintln!("resident KiB     {:>6}, the supervisor's", process::resident(self.daemon.pid()));
    }
}

fn send(pid: i32, signal: Signal) -> bool {
    // Whoever is chosen may have ended meanwhile.
    kill(Pid::from_raw(pid), signal).is_ok()
}

/// Whether it got a 503 with a reason, and `log` says when that began: an overload, or that nobody is left to serve (who is killed
/// while the code is broken cannot be replaced).
fn is_announced(failure: &Failure, log: &str) -> bool {
    let reasons = [("too many requests are waiting", "overload: "), ("the application ", "no worker serves")];
    let is_said = |(reason, line)| failure.reply.contains(reason) && log.contains(line);
    failure.reply.contains(" 503 ") && reasons.into_iter().any(is_said)
}

/// Whether `line` says `path=` and just `uri`.
fn names(line: &str, uri: &str) -> bool {
    line.split_whitespace().any(|word| word.strip_prefix("path=") == Some(uri))
}

#[test]
fn every_failed_request_has_a_cause_and_the_end_is_well() {
    let mut chaos = Chaos::begin();
    let nginx = Nginx::start("unix-socket.conf", &chaos.daemon);
    let descriptors = chaos.descriptors();
    let end = Instant::now() + Duration::from_secs(how_many("RUSGI_CHAOS_SECONDS", 5).into());
    let report = load::visit(RATE, |turn| (nginx.connect(), format!("/visit/{turn}")), || chaos.rage(end));
    chaos.settle();
    chaos.print(&report);
    chaos.expect_causes(&report.failures);
    expect_no_more_errors(&nginx, &report);
    assert!(process::eventually(|| chaos.descriptors() == descriptors), "{descriptors} -> {}", chaos.descriptors());
    chaos.daemon.stop();
}

/// nginx has seen no failure that its visitors have not.
fn expect_no_more_errors(nginx: &Nginx, report: &Report) {
    let errors = nginx.errors();
    let count = errors.lines().filter(|line| line.contains("[error]")).count();
    assert!(count <= report.failures.len(), "{} requests failed, but nginx says:\n{errors}", report.failures.len());
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
    let end = Instant::now() + Duration::from_secs(how_many("RUSGI_CHAOS_SECONDS", 5).into());
    let work = || {
        while Instant::now() < end {
            exchange(&daemon, &admin, &fate);
            thread::sleep(Duration::from_millis(10 + 20 * fate.choose(10) as u64));
        }
    };
    let report = load::during(RATE, || nginx.connect(), work);
    let [upgraded, failed] = ["upgraded: pid", "upgrade failed"].map(|words| daemon.log.with(&[words]).len());
    eprintln!("{} requests, {upgraded} upgrades, {failed} rolled back, slowest {:?}", report.requests, report.worst);
    let report = report.expect_no_failure();
    assert!(report.requests > 0);
    nginx.expect_no_errors();
    let last = current(&admin);
    process::signal(last, Signal::SIGTERM);
    assert!(process::has_ended(last, DEADLINE) && process::has_ended(daemon.pid(), DEADLINE));
}
