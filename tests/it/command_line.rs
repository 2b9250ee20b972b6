//! The command line: help, versions, values as meant, mistakes named.

use std::process::{Command, Output};

use crate::support::{
    daemon::{Serve, Stopped, executable},
    packet::Packet,
    scratch::Scratch,
};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(executable()).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// Runs what must be refused as a mistake in the configuration.
fn mistaken(serve: Serve) -> Stopped {
    let stopped = serve.fail().expect(78);
    assert!(!stopped.log.contains("listening on"), "{}", stopped.log);
    stopped
}

#[test]
fn version_says_name_and_version() {
    let (code, out, _) = run(&["--version"]);
    assert_eq!((code, out.trim()), (Some(0), concat!("rusgi ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn completions_are_ones_that_the_shell_reads() {
    let (code, script, _) = run(&["completions", "bash"]);
    assert_eq!(code, Some(0));
    let file = Scratch::new();
    let script = file.write("rusgi.bash", &script);
    let complete = ". \"$0\"; COMP_WORDS=(rusgi serve --request-t); COMP_CWORD=2; _rusgi rusgi --request-t serve; echo \"${COMPREPLY[@]}\"";
    let output = Command::new("bash").args(["-c", complete]).arg(script).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "--request-timeout", "{output:?}");
}

#[test]
fn every_subcommand_has_a_manual_page() {
    let directory = Scratch::new();
    let (code, _, err) = run(&["man", &directory.path().display().to_string()]);
    assert_eq!(code, Some(0), "{err}");
    let (_, help, _) = run(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<_> =
        commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(names.len() > 5, "{help}");
    for name in names {
        let page = std::fs::read_to_string(directory.join(&format!("rusgi-{name}.1"))).unwrap();
        assert!(page.contains(".SH NAME"), "{page}");
    }
}

#[test]
fn help_names_every_subcommand_and_option() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for subcommand in ["serve", "status", "reload", "scale", "stop", "ping", "call"] {
        assert!(out.contains(subcommand), "no {subcommand} in {out}");
    }
    let (code, out, _) = run(&["serve", "--help"]);
    assert_eq!(code, Some(0));
    for option in [
        "--socket",
        "--workers",
        "--threads",
        "--chdir",
        "--pythonpath",
        "--virtualenv",
        "--socket-mode",
        "--socket-owner",
        "--backlog",
        "--allow-from",
        "--allow-user",
        "--log-level",
        "--log-format",
        "--preload",
        "--stop-timeout",
        "--start-timeout",
        "--warmup",
        "--reload-on-touch",
        "--max-requests",
        "--max-lifetime",
        "--max-rss",
        "--admin-socket",
        "--body-buffer",
        "--body-timeout",
        "--head-timeout",
        "--write-timeout",
    ] {
        assert!(out.contains(option), "no {option} in {out}");
    }
}

#[test]
fn a_mistake_on_the_command_line_is_named_and_ends_in_78() {
    for (option, value) in [
        ("--workers", "0"),
        ("--workers", "many"),
        ("--threads", "0"),
        ("--threads", "-1"),
        ("--socket-mode", "999"),
        ("--socket-owner", "no-such-user-here"),
        ("--backlog", "-5"),
        ("--log-level", "loud"),
        ("--log-format", "xml"),
        ("--stop-timeout", "soon"),
        ("--head-timeout", "1 fortnight"),
        ("--body-timeout", "-1"),
        ("--write-timeout", ""),
        ("--body-buffer", "a lot"),
        ("--socket", "localhost"),
        ("--socket", "localhost:99999"),
        ("--socket", "relative/path.sock"),
    ] {
        let serve = Serve::app("hello").default_workers();
        let stopped = mistaken(serve.flag(format!("{option}={value}")));
        assert!(stopped.log.contains(option), "{option}={value}: {}", stopped.log);
    }
}

#[test]
fn an_unknown_option_is_named() {
    mistaken(Serve::app("hello").flag("--no-such-option")).expect_log("--no-such-option");
}

#[test]
fn a_target_that_names_nothing_is_a_mistake() {
    for target in ["", ":app", "module:", "module:1app", "a..b:app", "module:app(", "module:a b"] {
        mistaken(Serve::app(target));
    }
}

#[test]
fn a_missing_target_is_a_mistake() {
    let (code, _, err) = run(&["serve"]);
    assert_eq!(code, Some(78));
    assert!(err.contains("TARGET"), "{err}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let log = mistaken(
        Serve::app("hello")
            .default_workers()
            .flag("--workers=0")
            .flag("--chdir=/nonexistent/place")
            .flag("--threads=0"),
    )
    .log;
    for word in ["--workers", "/nonexistent/place", "--threads"] {
        assert!(log.contains(word), "no {word} in:\n{log}");
    }
}

#[test]
fn a_path_too_long_for_a_socket_is_a_mistake_or_refused_by_name() {
    let path = format!("unix:/tmp/{}", "x".repeat(200));
    let stopped = Serve::app("hello").on(&path).fail();
    assert!([1, 78].contains(&stopped.code()), "{}", stopped.log);
    assert!(stopped.log.contains("xxx"), "{}", stopped.log);
}

#[test]
fn options_come_from_the_environment_and_flags_win() {
    let daemon = Serve::app("hello").env("RUSGI_THREADS", "3").env("RUSGI_WORKERS", "7").start();
    daemon.log.await_line(&["ready:", "1 worker ", "3 threads"]);
}

#[test]
fn durations_take_units() {
    for value in ["25", "25s", "500ms", "2m"] {
        Serve::app("hello").option("--stop-timeout", value).start().stop();
    }
}

#[test]
fn json_logs_are_one_object_a_line() {
    let daemon = Serve::app("fails").option("--log-format", "json").start();
    daemon.ask(&Packet::get("/before")).expect(500);
    let mut peer = daemon.connect();
    peer.send("GET / HTTP/1.1\r\n\r\n");
    peer.reply().expect(400);
    let stopped = daemon.stop();
    let lines: Vec<serde_json::Value> =
        stopped.log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.len() >= 4, "{}", stopped.log);
    assert!(lines.iter().all(serde_json::Value::is_object));
    assert!(stopped.log.contains("raised before the head"));
}

#[test]
fn log_level_decides_what_is_said() {
    let said = |level| {
        let daemon = Serve::app("hello").option("--log-level", level).spawn();
        daemon.get_when_it_listens("/");
        drop(daemon.connect());
        daemon.get("/");
        daemon.stop().log
    };
    let [error, info, debug] = ["error", "info", "debug"].map(said);
    assert_eq!(error, "");
    assert!(info.contains("INFO") && !info.contains("DEBUG"), "{info}");
    assert!(debug.contains("DEBUG"), "{debug}");
}

#[test]
fn logs_go_to_standard_error_without_colours() {
    let daemon = Serve::app("hello").start();
    daemon.get("/");
    let stopped = daemon.stop();
    assert_eq!(stopped.output, "");
    assert!(!stopped.log.contains('\u{1b}'), "{}", stopped.log);
}

#[test]
fn what_the_application_prints_reaches_standard_output_and_error() {
    let serve = Serve::bare("module").workers(1);
    let text = "import sys\n\
        def application(environ, start_response):\n    \
            print('to standard output')\n    \
            print('to standard error', file=sys.stderr)\n    \
            print('to wsgi.errors', file=environ['wsgi.errors'])\n    \
            start_response('204 No Content', [])\n    \
            return []\n";
    serve.scratch().write("module.py", text);
    let daemon = serve.start();
    daemon.ask(&Packet::get("/")).expect(204);
    let stopped = daemon.stop().expect_log("to standard error").expect_log("to wsgi.errors");
    assert!(stopped.output.contains("to standard output"), "{}", stopped.output);
}
