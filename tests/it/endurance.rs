//! However long it runs: descriptors, threads and memory stay what they were.
//!
//! `RUSGI_TEST_REQUESTS` (100 000) and `RUSGI_TEST_RELOADS` (20) say how long that is.

use std::{thread, time::Instant};

use nix::sys::signal::Signal;

use crate::support::{
    daemon::{Daemon, Serve, executable},
    how_many, in_repository,
    packet::Packet,
    process,
    scratch::Scratch,
};

/// What a process holds.
#[derive(Debug)]
struct Size {
    what: &'static str,
    descriptors: usize,
    threads: usize,
    /// KiB.
    resident: u64,
}

impl Size {
    fn of(what: &'static str, pid: i32) -> Self {
        let (descriptors, threads) = (process::descriptors(pid), process::threads(pid));
        Self { what, descriptors, threads, resident: process::resident(pid) }
    }

    /// Whether a process holds as much as before, but for `more` KiB.
    fn is_still(&self, before: &Self, more: u64) -> bool {
        let counted = (self.descriptors, self.threads) == (before.descriptors, before.threads);
        counted && self.resident <= before.resident + more
    }
}

fn sizes(daemon: &Daemon) -> Vec<Size> {
    let workers = daemon.workers().into_iter().map(|pid| Size::of("worker", pid));
    let above = [Size::of("supervisor", daemon.pid()), Size::of("forkserver", daemon.forkserver())];
    above.into_iter().chain(workers).collect()
}

/// Prints both sizes of every process, and asserts that they are the same but for `more` KiB.
fn expect_flat(daemon: &Daemon, before: &[Size], more: u64) {
    let is_flat = |after: &[Size]| {
        after.len() == before.len() && after.iter().zip(before).all(|(after, before)| after.is_still(before, more))
    };
    // What was accepted last may still be on its way out.
    process::eventually(|| is_flat(&sizes(daemon)));
    let after = sizes(daemon);
    for (before, after) in before.iter().zip(&after) {
        let Size { what, descriptors, threads, resident } = before;
        let (then, now) = ((descriptors, threads), (after.descriptors, after.threads));
        eprintln!("{what}: descriptors and threads {then:?} -> {now:?}, {resident} KiB -> {} KiB", after.resident);
    }
    assert!(is_flat(&after), "{before:#?}\n{after:#?}");
}

/// Makes `count` requests on four connections at a time: most of them plain, some with a body, some that nobody waits for.
fn ask(daemon: &Daemon, count: u32) {
    let plain = Packet::get("/").bytes();
    let body = Packet::post("/", vec![b'x'; 20_000]).bytes();
    let visit = |first: u32| {
        for number in (first..count).step_by(4) {
            let mut peer = daemon.connect();
            peer.send(if number % 50 < 5 { &body } else { &plain });
            if number % 50 > 0 {
                assert_eq!(peer.reply().code(), 200);
            }
        }
    };
    thread::scope(|scope| (0..4).for_each(|first| drop(scope.spawn(move || visit(first)))));
}

#[test]
fn requests_leave_nothing_behind() {
    let count = how_many("RUSGI_TEST_REQUESTS", 100_000);
    let daemon = Serve::app("hello").workers(2).threads(2).start();
    ask(&daemon, 4000);
    let before = sizes(&daemon);
    let start = Instant::now();
    ask(&daemon, count);
    eprintln!("{count} requests in {:.1?}", start.elapsed());
    expect_flat(&daemon, &before, 1024);
    daemon.stop();
}

#[test]
fn reloads_leave_nothing_behind() {
    let daemon = Serve::app("hello").workers(2).start();
    let mut generation = 1;
    let mut reload = |count: u32| {
        for _ in 0..count {
            generation += 1;
            daemon.signal(Signal::SIGHUP);
            daemon.log.await_line(&["reloaded:", &format!("generation {generation} serves")]);
        }
        let settled = || process::children(daemon.pid()).len() == 1 && daemon.workers().len() == 2;
        assert!(process::eventually(settled), "{:?}", process::children(daemon.pid()));
    };
    reload(4);
    let before = sizes(&daemon);
    reload(how_many("RUSGI_TEST_RELOADS", 20));
    expect_flat(&daemon, &before, 2048);
    assert!(daemon.log.with(&["ERROR"]).is_empty());
    daemon.stop();
}

/// A daemon whose processes may open `limit` files, below `tracer`, ready and asked once.
fn limited(limit: u32, tracer: &str) -> Daemon {
    let scratch = Scratch::new();
    let text = format!("ulimit -n {limit} || exit 1\nexec {tracer} {:?} \"$@\"\n", executable());
    let script = scratch.write("limited", &text);
    let serve = Serve::run_by("sh", &script, "hello").option("--pythonpath", in_repository("tests/apps"));
    let daemon = serve.workers(2).start();
    daemon.get("/").expect_body("Hello, world!\n");
    daemon
}

/// What all processes together hold of memory, in KiB.
fn resident_with(limit: u32) -> u64 {
    let daemon = limited(limit, "");
    sizes(&daemon).iter().map(|size| size.resident).sum()
}

/// The system calls of a whole life.
fn calls_with(limit: u32) -> usize {
    let scratch = Scratch::new();
    let trace = scratch.join("trace");
    // As a child of its own (-D), so that the daemon is the process that was started.
    let daemon = limited(limit, &format!("strace -D -f -qq -o {}", trace.display()));
    daemon.stop();
    std::fs::read_to_string(trace).unwrap().lines().count()
}

#[test]
fn a_high_limit_on_open_files_costs_neither_memory_nor_time() {
    // As much as whoever runs the tests may ask for: 2^20 for root and in most containers.
    let most = most_descriptors();
    let (little, much) = (resident_with(1024), resident_with(most));
    eprintln!("{little} KiB with 1024 descriptors, {much} KiB with {most}");
    assert!(much < little + 1024, "{little} KiB with 1024 descriptors, {much} KiB with {most}");
    let (few, many) = (calls_with(1024), calls_with(most));
    eprintln!("{few} system calls with 1024 descriptors, {many} with {most}");
    assert!(many < few + 1000, "{few} system calls with 1024 descriptors, {many} with {most}");
}

/// The highest limit on open files that may be set, at most 2^20.
fn most_descriptors() -> u32 {
    let text = "ulimit -n 1048576 2>/dev/null || ulimit -n $(ulimit -Hn); ulimit -n";
    let output = std::process::Command::new("sh").args(["-c", text]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}
