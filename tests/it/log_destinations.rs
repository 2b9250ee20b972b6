//! Wherever the log goes, and whatever becomes of it there, requests are served as ever.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use crate::support::{
    daemon::{Daemon, Serve, executable},
    in_repository,
    log::Log,
    packet::Packet,
    scratch::Scratch,
};

/// Far less than anything that waited for a reader would take, and more than a busy machine does.
const PROMPT: Duration = Duration::from_millis(900);
/// Requests, each with a traceback of some hundred bytes.
const FAILURES: usize = 200;

/// A pipe that holds a page.
fn small_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    (reader, writer)
}

/// Has `daemon` log a traceback with each of many requests; none may be late.
fn fail_promptly(daemon: &Daemon) {
    daemon.get_when_it_listens("/well");
    let mut worst = Duration::ZERO;
    for _ in 0..FAILURES {
        let asked = Instant::now();
        daemon.ask(&Packet::get("/before")).expect(500);
        worst = worst.max(asked.elapsed());
    }
    eprintln!("{FAILURES} tracebacks, the slowest response took {worst:?}");
    assert!(worst < PROMPT, "{worst:?}");
    daemon.get("/well").expect_body("well");
}

#[test]
fn a_full_device_costs_no_request() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let daemon = Serve::app("fails").log_to(full).spawn();
    fail_promptly(&daemon);
    daemon.stop();
}

#[test]
fn a_closed_pipe_costs_no_request() {
    let (reader, writer) = small_pipe();
    let daemon = Serve::app("fails").log_to(writer).spawn();
    daemon.get_when_it_listens("/well");
    drop(reader);
    fail_promptly(&daemon);
    daemon.stop();
}

#[test]
fn a_pipe_that_nobody_reads_costs_no_request_and_no_stop() {
    let (_reader, writer) = small_pipe();
    let daemon = Serve::app("fails").log_to(writer).spawn();
    fail_promptly(&daemon);
    daemon.stop();
}

#[test]
fn a_journal_that_does_not_read_costs_no_request() {
    let (_journal, ours) = UnixStream::pair().unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(&ours, 4096).unwrap();
    let daemon = Serve::app("fails").log_to(OwnedFd::from(ours)).spawn();
    fail_promptly(&daemon);
    daemon.stop();
}

#[test]
fn a_standard_error_that_is_closed_costs_no_request() {
    let scratch = Scratch::new();
    let script = scratch.write("without-log", &format!("exec {:?} \"$@\" 2>&-\n", executable()));
    let serve = Serve::run_by("sh", &script, "fails");
    let daemon = serve.option("--pythonpath", in_repository("tests/apps")).workers(1).spawn();
    fail_promptly(&daemon);
    daemon.stop();
}

/// How many lines the log says are lost.
fn confessed_in(log: &Log) -> usize {
    let lines = log.with(&["log lines are lost"]);
    let before = |line: &str| String::from(line.split(" log lines are lost").next().unwrap());
    lines.iter().map(|line| before(line).rsplit([' ', '"']).next().unwrap().parse::<usize>().unwrap()).sum()
}

#[test]
fn lines_that_nobody_read_are_counted_for_whoever_reads_on() {
    for format in ["text", "json"] {
        let (reader, writer) = small_pipe();
        let daemon = Serve::app("fails").option("--log-format", format).log_to(writer).spawn();
        fail_promptly(&daemon);
        let log = Log::follow(reader);
        // What is in the pipe has to be read before there is room for more.
        log.await_line(&["raised before the head"]);
        let mut asked = FAILURES;
        let confessed = || {
            asked += 1;
            daemon.ask(&Packet::get("/before")).expect(500);
            log.with(&["log lines are lost"]).len() == 1
        };
        assert!(std::iter::repeat_with(confessed).take(100).any(|is_told| is_told), "{}", log.text());
        daemon.stop();
        log.await_end();
        let lost = confessed_in(&log);
        let read = log.with(&["ValueError: raised before the head"]).len();
        assert_eq!(read + lost, asked, "of {asked} tracebacks {read} were read and {lost} lost");
    }
}
